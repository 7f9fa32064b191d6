/*
 * delivery_notice_priv: one notice in the making: letter after letter about the recipients of some tasks of
 * one message. A letter is a message of its own: for each kind of notice one to the sender, and one to the
 * postmaster if he wants copies.
 *
 *   delivery_notice.c        when it begins and ends
 *   delivery_notice_letter.c reads the message, writes the letters
 *   delivery_notice_fill.c   what stands in them
 */
#ifndef DELIVERY_NOTICE_PRIV_H
#define DELIVERY_NOTICE_PRIV_H

#include "delivery_priv.h"
#include "mail_dsn.h"
#include "routing.h"

enum notice_state {
    NOTICE_ENVELOPE, /* being read: where the message came from */
    NOTICE_HEADERS,
    NOTICE_PREPARED, /* the next letter, if there is one */
    NOTICE_BODY,     /* the message on its way into the letter */
    NOTICE_TAIL,
    NOTICE_COMMIT,
};

/* Owned by itself; its tasks are its own until delivery_notice_end(). */
struct notice {
    struct list open;
    struct list node; /* of those that wait */
    struct delivery *d;
    const struct conf *conf; /* a reference */
    struct list tasks;
    uint64_t id;     /* of the message */
    uint32_t weight; /* recipients */
    uint32_t arrived_s;
    uint16_t flags; /* of the message */
    uint64_t size;
    enum delivery_reader reader;

    uint8_t state;   /* enum notice_state */
    bool unreadable; /* the message, from here on */
    bool ended;      /* the letter's last bytes are in `out` */
    struct spool_reader message;
    struct spool_writer writer;
    struct buf facts, envid, headers; /* copies */
    struct slice piece;               /* of the message, the reader's */
    struct buf out;                   /* of the letter, on its way to the spool */
    uint16_t letter_flags;
    bool line_start;

    /* The letter. */
    enum delivery_notice kind;
    bool copy;                                /* for the postmaster, besides */
    uint32_t from;                            /* index in rcpts */
    bool unsaid[DELIVERY_NOTICE_SUCCESS + 1]; /* of this kind a letter could not be stored */
    struct mail_dsn dsn;
    struct mail_dsn_original original;
    struct slice to;
    char letter_id[ID_TEXT_SIZE], about_id[ID_TEXT_SIZE];

    /* Those of `kind`, and their texts. */
    struct mail_dsn_rcpt *rcpts;
    struct buf *texts;
    uint32_t rcpt_count;
};

struct notice *delivery_notice_create(struct delivery *d, struct list *tasks); /* takes the tasks */
void delivery_notice_start(struct notice *n);
void delivery_notice_destroy(struct notice *n); /* its tasks are gone */
void delivery_notice_abandon(
    struct notice *n); /* after a crash: without calls into io or the spool */
/* Frees the notice and records its tasks; `told` as for delivery_outcome_record(). */
void delivery_notice_end(struct notice *n, unsigned told);

/* ---- delivery_notice_fill.c ----------------------------------------------------------------- */

/* The first task: all are of one message. */
struct delivery_task *delivery_notice_task(const struct notice *n);
/* Gathers the recipients of n->kind. */
void delivery_notice_gather(struct notice *n);
void delivery_notice_ungather(struct notice *n);
/* Whoever is to read the letter; empty: nobody. And the envelope's recipients: what that address stands
 * for here, in the arena. */
struct slice delivery_notice_to(struct notice *n, struct arena *arena, struct routing_targets *out);
/* n->dsn, of the letter about rcpts from n->from on. */
void delivery_notice_fill(struct notice *n);

#endif
