/*
 * report_priv: what report's modules share.
 *
 *   report.c          life, days
 *   report_table.c    results summed up; as text and back (pure)
 *   report_file.c     a text to a file, and from it, by io
 *   report_send.c     a period that is over: files -> domains -> mail and HTTPS
 *   report_target.c   the TXT record that says who wants reports (pure)
 *   report_compose.c  a report as JSON, gzip and message, on a helper (pure)
 */
#ifndef REPORT_PRIV_H
#define REPORT_PRIV_H

#include "base_hash.h"
#include "base_list.h"
#include "report.h"

enum report_bounds {
    REPORT_ROWS_MAX = 20000,
    REPORT_FAILURES_MAX = 100, /* different ones of a policy; more are only counted */
    REPORT_POLICY_MAX = 4096, /* octets of its text, and of its MX patterns; whole lines are kept */
    REPORT_TEXT_MAX = 256,    /* of each other text */
    REPORT_FILE_MAX = 64 << 20,
    REPORT_SHARDS_MAX = 256, /* that may have left files */
    REPORT_TARGETS_MAX = 4,  /* of a domain */
    REPORT_URI_MAX = 512,
    REPORT_PERIOD_MAX = 32, /* octets of its name */
    REPORT_DAYS_MAX = 7,    /* older ones interest nobody any more */
};
#define REPORT_BYTES_MAX ((uint64_t)32 << 20)

enum report_times {
    REPORT_SAVE_MS = 5 * 60 * 1000,
    REPORT_DELAY_MIN_MS = 2 * 60 * 1000, /* after midnight: until all shards have written */
    REPORT_DELAY_MAX_MS = 4 * 3600 * 1000,
    REPORT_RETRY_MS = 30 * 60 * 1000,
    REPORT_POST_TIMEOUT_MS = 60 * 1000,
    REPORT_DAY_S = 24 * 3600,
};

/* ---- report_table.c ------------------------------------------------------------------------- */

/* A failure of a kind, owned by its policy. */
struct report_failure {
    struct list node;
    enum report_result result;
    uint64_t count;
    bool has_sending, has_receiving;
    struct ip_addr sending, receiving;
    struct slice mx_host, helo, information, reason;
    uint8_t text[];
};

/* A policy, owned by its table. */
struct report_policy {
    struct hash_node by_key;
    struct list node;
    struct list failures;
    uint32_t failure_count;
    enum report_policy_type type;
    uint64_t successful, failed; /* sessions */
    struct slice domain;         /* lower case */
    struct slice policy, mx;     /* lines, LF between them */
    uint8_t text[];
};

struct report_table {
    struct hash_table policies;
    struct list order;
    uint32_t rows, rows_max;
    uint64_t bytes, bytes_max;
    uint64_t start_s, end_s; /* what it is about, Unix time; the end is its last second */
    uint64_t dropped;
};

void report_table_init(struct report_table *t, uint32_t rows_max, uint64_t bytes_max);
void report_table_finish(struct report_table *t);
void report_table_clear(struct report_table *t); /* the rows */
void report_table_add(struct report_table *t, const struct report_session *session);
void report_table_remove(struct report_table *t, struct report_policy *p);
void report_table_write(const struct report_table *t, struct buf *out);
/* Adds what a text says to what is there. False: it is damaged, nothing was added. */
bool report_table_read(struct report_table *t, struct slice text);
const char *report_result_name(enum report_result result);
const char *report_type_name(enum report_policy_type type);

/* ---- report_target.c ------------------------------------------------------------------------ */

struct report_target {
    bool https;
    char uri[REPORT_URI_MAX]; /* a URL, or an address */
};

/* One TXT record. True if it is one of ours, right or not; *out_count is 0 if it is not right. */
bool report_record_parse(struct slice record, struct report_target out[REPORT_TARGETS_MAX],
                         size_t *out_count);

/* ---- report_compose.c ----------------------------------------------------------------------- */

struct report_facts {
    struct slice hostname, organization, contact, from;
    struct slice domain; /* whose report it is */
    const struct report_policy *const *policies;
    size_t policy_count;
    uint64_t start_s, end_s;
};

void report_compose_id(const struct report_facts *f, struct buf *out);
void report_compose_json(const struct report_facts *f, struct buf *out);
void report_compose_gzip(struct slice plain, struct buf *out);
/* A whole message to `to` with the report in it. */
void report_compose_mail(const struct report_facts *f, struct slice gzip, struct slice to,
                         struct slice message_id, uint64_t now_s, struct buf *out);

/* ---- report_file.c -------------------------------------------------------------------------- */

enum report_file_state {
    REPORT_FILE_IDLE,
    REPORT_FILE_OPEN,
    REPORT_FILE_IO,
    REPORT_FILE_SYNC,
    REPORT_FILE_CLOSE,
    REPORT_FILE_RENAME,
    REPORT_FILE_OPEN_DIRECTORY,
    REPORT_FILE_SYNC_DIRECTORY,
    REPORT_FILE_CLOSE_DIRECTORY,
    REPORT_FILE_UNLINK,
};

/* Does one thing at a time for its owner. */
struct report_file {
    struct io *io;
    void (*done)(struct report_file *f); /* f->error: 0 or a negative errno */
    enum report_file_state state;
    struct io_op op;
    int fd;
    int error;
    bool reading;
    size_t at;
    struct buf text; /* written; or what was read */
    struct buf path, new_path, directory;
};

void report_file_init(struct report_file *f, struct io *io, void (*done)(struct report_file *f));
void report_file_finish(struct report_file *f);
bool report_file_busy(const struct report_file *f);
/* <directory>/<period>.<shard> */
void report_file_write(struct report_file *f, const char *directory, const char *period,
                       unsigned shard); /* f->text; whole or not at all */
void report_file_read(struct report_file *f, const char *directory, const char *period,
                      unsigned shard);
void report_file_unlink(struct report_file *f, const char *directory, const char *period,
                        unsigned shard);

/* ---- report.c ------------------------------------------------------------------------------- */

/* A time that is over, to be reported. */
struct report_period {
    struct list node;
    uint64_t due_ms; /* UINT64_MAX: when somebody says so */
    char name[REPORT_PERIOD_MAX];
};

/* A text on its way to a file. Owned by the report's list. */
struct report_write {
    struct list node;
    struct report_close *close; /* to be told; NULL: nobody */
    unsigned tries;
    char period[REPORT_PERIOD_MAX];
    struct buf text; /* empty: nothing to write */
};

struct report {
    struct report_options o;
    const struct conf *conf; /* a reference of ours */
    char *directory;
    struct rand rand;
    struct report_table table;
    uint64_t day;     /* of the table: days since 1970 */
    bool dirty;       /* the table is not as its file is */
    bool save_wanted; /* now */
    bool stopping;
    struct wheel_timer tick;
    struct report_file file;
    struct report_write *writing; /* NULL while the file is busy: the table itself */
    struct list writes;
    struct list periods;          /* on the first shard */
    struct report_sender *sender; /* likewise */
    struct report_counters counters;
};

uint64_t report_now_s(const struct report *r);

/* ---- report_send.c -------------------------------------------------------------------------- */

struct report_sender *report_sender_create(struct report *r);
/* There may be a period that is due, or will be. */
void report_sender_wake(struct report_sender *s);
void report_sender_stop(struct report_sender *s);
bool report_sender_idle(const struct report_sender *s);
void report_sender_destroy(struct report_sender *s, bool crashed);

#endif
