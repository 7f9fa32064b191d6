/*
 * sts_priv: what sts's modules share.
 *
 *   sts.c         life, lookups, who is told when
 *   sts_entry.c   a domain: its states, from the TXT record to a policy
 *   sts_fetch.c   a policy by HTTPS, on a helper thread
 *   sts_store.c   policies on disk
 *   sts_policy.c  the two texts (pure)
 */
#ifndef STS_PRIV_H
#define STS_PRIV_H

#include "base_hash.h"
#include "sts.h"

enum sts_times {
    STS_TRUST_MS = 5 * 60 * 1000, /* in what the TXT record said */
    STS_TXT_RETRY_MS = 60 * 1000, /* when DNS did not answer for it */
    STS_RETRY_MS = 5 * 60 * 1000, /* after a fetch that failed; doubles (3.3) */
    STS_RETRY_MAX_MS = 60 * 60 * 1000,
    STS_REFRESH_S = 24 * 3600, /* 3.3: once a day */
    STS_REFRESH_MIN_S = 10,
    STS_UNUSED_S = 60 * 24 * 3600,   /* nobody has asked for so long: left to run out */
    STS_REFRESH_WAIT_MS = 30 * 1000, /* when enough others are being refreshed */
    STS_FETCH_TIMEOUT_MS = 30 * 1000,
};
enum sts_bounds {
    STS_POLICIES_MAX = 16384,
    STS_EMPTY_MAX = 32768, /* domains without a policy that are remembered */
    STS_ADDRESSES_MAX = 8, /* of a policy host that are tried */
    STS_REFRESHING_MAX = 2,
};
#define STS_BYTES_MAX ((uint64_t)32 << 20)

/* A policy and how many refer to it: its entry, queries that were answered with it. */
struct sts_held {
    uint32_t references;
    struct sts_policy *policy;
};

enum sts_state {
    STS_IDLE,
    STS_ASKING,   /* for the TXT record */
    STS_LOCATING, /* asking for the policy host's addresses */
    STS_FETCHING, /* the policy, on a helper */
};

/* A fetch on its way; the helper's while the job is busy. */
struct sts_job {
    struct work_job work;
    struct sts_entry *entry;
    struct ip_addr addresses[STS_ADDRESSES_MAX];
    struct sts_fetch fetch;
};

/* A domain. Owned by the sts's list of all. */
struct sts_entry {
    struct hash_node by_name;
    struct list all;
    struct list by_use; /* among those with a policy, or those without; on neither while not idle */
    struct list dirty;  /* to be written, or unlinked */
    struct sts *sts;
    struct list queries; /* waiting */
    enum sts_state state;
    bool refreshing; /* nobody has asked: who asks meanwhile gets the policy that holds */
    bool leaving;    /* forgotten; here until its file is gone */
    bool on_disk;
    bool listed_keeper; /* which of the two orders it is in */
    bool announced;     /* by the TXT record, with `id` */
    char id[STS_ID_MAX + 1];
    struct sts_held *held;    /* the last policy, mode none included; NULL: none, or it ran out */
    enum sts_problem problem; /* of the last fetch */
    char *reason;
    uint32_t failures;
    uint64_t trusted_until_ms; /* what is known needs no question */
    uint64_t retry_ms;         /* no fetch before */
    uint64_t used_s;
    struct dns_query query;
    struct sts_job *job;
    struct wheel_timer refresh;
    char name[]; /* lower case */
};

enum sts_store_state {
    STS_STORE_IDLE,
    STS_STORE_OPEN,
    STS_STORE_WRITE,
    STS_STORE_SYNC,
    STS_STORE_CLOSE,
    STS_STORE_RENAME,
    STS_STORE_OPEN_DIRECTORY,
    STS_STORE_SYNC_DIRECTORY,
    STS_STORE_CLOSE_DIRECTORY,
    STS_STORE_UNLINK
};

/* Writes one file at a time. */
struct sts_store {
    enum sts_store_state state;
    struct io_op op;
    struct list dirty;
    struct sts_entry *entry; /* being written */
    int fd;
    int error;
    size_t written;
    struct buf text;
    struct buf path, new_path; /* with a NUL at the end */
};

struct sts {
    struct sts_options o;
    struct hash_table table;
    struct list all;
    struct list keepers, empties; /* by use, the one used longest ago first */
    uint32_t keeper_count, empty_count;
    uint32_t keeper_max, empty_max;
    uint64_t bytes, bytes_max; /* of policies */
    struct list ready;         /* queries whose `done` is due */
    struct wheel_timer flush;
    uint32_t jobs; /* fetches under way */
    uint32_t refreshing;
    _Atomic bool cancel;
    bool stopping;
    uint64_t seed;
    struct sts_store store;
    struct sts_counters counters;
};

uint64_t sts_now_s(const struct sts *s);

/* ---- sts.c ---------------------------------------------------------------------------------- */

/* Takes the entry's present knowledge; `done` follows from a timer. */
void sts_answer(struct sts *s, struct sts_query *q, const struct sts_entry *e);

/* ---- sts_entry.c ---------------------------------------------------------------------------- */

struct sts_entry *sts_entry_find(struct sts *s, struct slice name);
struct sts_entry *sts_entry_create(struct sts *s, struct slice name);
void sts_entry_free(struct sts_entry *e);
/* Whether the policy's time is not over; drops one whose time is. */
bool sts_entry_valid(struct sts_entry *e);
void sts_entry_ask(struct sts_entry *e);
/* From disk. Takes over the policy. False: its time is over. */
bool sts_entry_load(struct sts *s, struct slice name, struct sts_policy *policy, uint64_t used_s);
/* Into the order of use, behind all others; what is too much goes. */
void sts_entry_settle(struct sts_entry *e);
void sts_entry_stop(struct sts_entry *e);
void sts_held_drop(struct sts_held *h);

/* ---- sts_store.c ---------------------------------------------------------------------------- */

bool sts_store_open(struct sts *s, struct buf *out_error);
/* Its file is to be what the entry is: written, or gone. */
void sts_store_mark(struct sts_entry *e);
bool sts_store_idle(const struct sts *s);
void sts_store_finish(struct sts *s);
/* A file's text; pure. NULL: not one. */
void sts_file_compose(const struct sts_policy *policy, struct slice domain, uint64_t used_s,
                      struct buf *out);
struct sts_policy *sts_file_parse(struct slice text, struct slice domain, uint64_t *out_used_s);

#endif
