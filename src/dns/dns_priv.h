/*
 * dns_priv: what the resolvers share.
 *
 *   dns.c           questions of callers: joined, answered from the cache, told
 *   dns_cache.c     entries: their memory, the table, the order of use
 *   dns_name.c      names: what may be asked for
 *   dns_message.c   a reply's bytes -> records (pure)
 *   dns_resolver.c  the resolver of production: c-ares does the asking
 *   dns_socket.c    c-ares' sockets over io
 *   dns_trust.c     whose word about DNSSEC counts
 *   dns_hosts.c     /etc/hosts
 *   dns_sim.c       the resolver of the simulator
 *
 * A resolver embeds a struct dns, is asked through its vtable, and reports with dns_answered().
 */
#ifndef DNS_PRIV_H
#define DNS_PRIV_H

#include "base_buf.h"
#include "base_hash.h"
#include "base_wheel.h"
#include "dns.h"
#include "io.h"

enum dns_type {
    DNS_TYPE_A = 1,
    DNS_TYPE_CNAME = 5,
    DNS_TYPE_MX = 15,
    DNS_TYPE_TXT = 16,
    DNS_TYPE_AAAA = 28,
    DNS_TYPE_TLSA = 52,
};

enum dns_bounds {
    DNS_MX_MAX = 64, /* of an answer; the best are kept */
    DNS_ADDRESSES_MAX = 64,
    DNS_TEXTS_MAX = 64,         /* TLSA or TXT records */
    DNS_TEXTS_SIZE_MAX = 16384, /* of their data, together; what is beyond is left out */
    DNS_RECORDS_MAX = 256,      /* looked at */
    DNS_TTL_MIN_S = 5,
    DNS_TTL_MAX_S = 24 * 3600,
    DNS_TTL_NEGATIVE_S = 60, /* where no SOA says otherwise */
    DNS_TTL_NEGATIVE_MAX_S = 3600,
    DNS_TTL_TEMPORARY_S =
        5,               /* a burst of mail to a broken domain waits for one timeout, not many */
    DNS_TTL_HALF_S = 60, /* of addresses of one family, when the other's question failed */
};

/* What was found to one question. */
struct dns_part {
    enum dns_status status;
    bool secure;    /* the AD bit; whoever asked says whether that is worth anything */
    uint32_t ttl_s; /* of what is there, or of its absence */
    /* In the server's order: struct dns_mx; struct ip_addr; for TLSA and TXT each a uint16_t, the length
     * of the data, and the data. */
    struct buf records;
    char *canonical; /* where CNAMEs led; NULL: there were none */
};
void dns_part_finish(struct dns_part *p);
/* Appends a record of TLSA or TXT. False: it does not fit. */
bool dns_part_add_text(struct dns_part *p, struct slice data);

enum dns_kind { DNS_KIND_MX, DNS_KIND_ADDRESSES, DNS_KIND_ALIAS, DNS_KIND_TLSA, DNS_KIND_TXT };

/* A question of callers and its answer. Counted: each query attached to it, and the table. */
struct dns_entry {
    struct hash_node by_name;
    struct list by_use; /* the cache's, when it has an answer that expires */
    struct dns *dns;
    struct list queries; /* waiting for the answer */
    uint64_t expires_ms;
    uint32_t references;
    uint8_t kind;       /* enum dns_kind */
    uint8_t parts_left; /* questions to the resolver without an answer */
    bool tabled;
    bool secure;
    enum dns_status status;
    struct dns_answer answer; /* its arrays are ours */
    struct dns_part parts[2]; /* one; or A and AAAA */
    char name[];
};

struct dns_vtable {
    /* Asks, and reports once with dns_answered(), be it within the call. */
    void (*ask)(struct dns *d, struct dns_entry *e, enum dns_type type);
    /* Frees the resolver; the front is finished after it. */
    void (*destroy)(struct dns *d);
};

struct dns {
    const struct dns_vtable *vtable;
    struct io *io;
    struct wheel *wheel;
    struct hash_table table;
    struct list by_use; /* oldest first */
    uint32_t cached;    /* of by_use */
    uint32_t cache_max;
    uint32_t open; /* entries that wait for the resolver */
    bool trusted;
    struct list ready; /* queries whose `done` is due */
    struct wheel_timer flush;
    struct dns_counters counters;
};

/* ---- dns.c ---------------------------------------------------------------------------------- */

void dns_front_init(struct dns *d, const struct dns_vtable *vtable, struct io *io,
                    struct wheel *wheel, uint32_t cache_max);
/* Takes what is in `part` and leaves it empty. */
void dns_answered(struct dns_entry *e, enum dns_type type, struct dns_part *part);
/* The same, with nothing found and no word from a server about how long that holds. */
void dns_answered_nothing(struct dns_entry *e, enum dns_type type, enum dns_status status);

/* ---- dns_cache.c ---------------------------------------------------------------------------- */

struct dns_entry *dns_entry_create(struct dns *d, enum dns_kind kind, const char *name);
struct dns_entry *dns_entry_find(struct dns *d, enum dns_kind kind, const char *name);
void dns_entry_table(struct dns_entry *e);  /* can be found from now on */
void dns_entry_forget(struct dns_entry *e); /* cannot, and is freed when nobody holds it */
void dns_entry_hold(struct dns_entry *e);
void dns_entry_drop(struct dns_entry *e);
/* It has an answer: makes `status` and `answer` of its parts, sets its time, counts it. */
void dns_entry_settle(struct dns_entry *e);
void dns_entry_used(struct dns_entry *e);
/* An address that never expires. */
void dns_entry_fix(struct dns *d, const char *name, const struct ip_addr *ip);
void dns_cache_finish(struct dns *d);

/* ---- dns_name.c ----------------------------------------------------------------------------- */

/* A byte of a label that a host or mail domain may have. */
bool dns_name_byte(uint8_t c);
/* Folded to lower case, without a final dot. False: DNS_BAD_NAME. */
bool dns_name_clean(struct slice text, char out[DNS_NAME_MAX]);

/* ---- dns_message.c -------------------------------------------------------------------------- */

/* Finds the answer for `name` (clean) in a reply, along its CNAMEs (unless it is a CNAME that was asked
 * for). Whatever the bytes are: what makes no sense is DNS_TEMPORARY. `out` is new; the caller finishes it. */
void dns_message_parse(struct slice message, enum dns_type type, const char *name,
                       struct dns_part *out);

/* ---- dns_hosts.c ---------------------------------------------------------------------------- */

/* Start-up only: the names of the file (if it is there) and localhost get fixed addresses. */
void dns_hosts_read(struct dns *d, const char *path);
void dns_hosts_parse(struct dns *d, struct slice text);
/* The beginning of a file: its length, or negative errno. Start-up only. */
int dns_file_read(struct io *io, const char *path, uint8_t *out, size_t size);
/* Takes the next word off the front of a line; empty at its end. */
struct slice dns_next_word(struct slice *line);

#endif
