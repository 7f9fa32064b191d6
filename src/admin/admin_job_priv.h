/*
 * admin_job: one request about the queue, at work.
 *
 * Each shard is asked in turn. It walks its messages in portions: so many are looked at, so many envelopes
 * are read at a time (memory has hashes only), and what comes of it, rows or deeds, is bounded, too. Then
 * the portion travels to the first shard, its rows are sent, and the next one begins. So a listing of any
 * length costs bounded memory, thousands can be acted on, and no shard is held up.
 *
 * What is done with a message is the business of the job's kind.
 */
#ifndef ADMIN_JOB_PRIV_H
#define ADMIN_JOB_PRIV_H

#include "admin_filter_priv.h"
#include "admin_priv.h"

enum {
    ADMIN_PORTION_BYTES = 32 * 1024, /* of rows */
};

struct admin_job;

/* A message's envelope, good during the call. */
struct admin_envelope {
    struct slice sender, facts, envid;
    const struct slice *recipients; /* message->recipient_count */
    const struct spool_dsn *dsn;    /* as many */
};

struct admin_job_kind {
    void (*start)(struct admin_job *j); /* on the first shard: makes `matter`; may be NULL */
    /* On the message's shard: whether it is to be read even if the filter needs no more. */
    bool (*wants_envelope)(const struct admin_job *j, const struct spool_message *m);
    /* On the message's shard: it is one of those that are meant. `e` is NULL if it was not read. */
    void (*take)(struct admin_job *j, struct spool_message *m, const struct admin_envelope *e);
    /* On the first shard: before the first rows, and when all shards are through. May be NULL. */
    void (*begin)(struct admin_job *j, struct buf *out);
    /* On the shard, before each portion and at the end: gives back what was held for the portion before.
     * Before the end, on the first shard, `halt`. Both may be NULL. */
    void (*give_back)(struct admin_job *j);
    void (*halt)(struct admin_job *j);
    /* On the first shard: sends what the portion brought; false: not yet, it steps the client when there is
     * more. NULL: its rows. */
    bool (*send)(struct admin_job *j);
    /* All shards are through: work that remains, a bounded part a call, false until it is done. May be NULL. */
    bool (*prepare)(struct admin_job *j);
    void (*finish)(struct admin_job *j, struct buf *out);
    void (*release)(struct admin_job *j); /* may be NULL */
};

struct admin_job {
    struct shard_call call;
    struct admin_client *client;
    struct admin_request request;
    uint8_t *line; /* that the request points into */
    const struct admin_job_kind *kind;
    void *matter;        /* the kind's */
    uint64_t rows_limit; /* the kind's, where --limit is not of messages */
    bool prepared;

    /* On the shard that is being asked. */
    unsigned shard;
    struct shard *on;
    struct spool_bulk *bulk; /* from the first portion to the end; NULL: the walk is not there */
    unsigned batch;          /* messages that were added to it; their rows are being taken */
    uint64_t after;          /* of the walk */
    size_t id_next;          /* the same, where ids were named */
    bool walked, ending;
    unsigned looks_left;  /* in this portion */
    uint64_t portion_end; /* of it, in terms of `matched` */
    struct buf rows;
    bool shard_done;

    bool began;       /* the answer */
    uint64_t matched; /* messages */
    uint64_t left;    /* messages that match, but are not to be touched */
};

/* ---- admin_walk.c --------------------------------------------------------------------------- */

/* On the shard: the next portion; answers j->call when it is through. */
void admin_walk_run(struct shard *on, struct shard_call *call);
/* The shard is left: frees what the walk has there, and answers. */
void admin_walk_end_run(struct shard *on, struct shard_call *call);
void admin_walk_end(struct admin_job *j);
bool admin_walk_is_over(const struct admin_job *j); /* the limit is reached */

/* ---- admin_actions.c ------------------------------------------------------------------------ */

/* Puts a message on hold, with a reason for people. */
bool admin_act_hold(struct admin_job *j, const struct spool_message *m, uint32_t until_s,
                    struct slice reason);

/* ---- admin_rows.c --------------------------------------------------------------------------- */

/* A message into j->rows, as the request wants it. */
void admin_row(struct admin_job *j, const struct spool_message *m, const struct admin_envelope *e);

/* ---- kinds ---------------------------------------------------------------------------------- */

extern const struct admin_job_kind admin_rows_kind; /* list, show, and any verb's --dry-run */
extern const struct admin_job_kind
    admin_actions_kind; /* retry, hold, release, delete, bounce, set */
extern const struct admin_job_kind admin_summary_kind;
extern const struct admin_job_kind admin_export_kind;
extern const struct admin_job_kind admin_explain_kind; /* of messages */

/* Asks with this kind; admin_queue() chooses it by the request. */
void admin_job_begin(struct admin_client *c, struct admin_request *request, uint8_t *line,
                     const struct admin_job_kind *kind);

/* JSON: ,"key":"2026-11-21T22:19:50.000Z"; nothing if it is 0 or SPOOL_DUE_NEVER. */
void admin_json_date(struct buf *out, const char *key, uint32_t unix_s);

#endif
