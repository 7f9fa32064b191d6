/* verify_priv: what verify's modules share. */
#ifndef VERIFY_PRIV_H
#define VERIFY_PRIV_H

#include "base_hash.h"
#include "base_log.h"
#include "dns.h"
#include "verify.h"

enum {
    VERIFY_ENTRIES_MAX = 16384,
    VERIFY_CLIENTS_MAX = 4096,
    /* Domains, in milliseconds. */
    VERIFY_DOMAIN_GOOD_MS = 10 * 60 * 1000,
    VERIFY_DOMAIN_BAD_MS = 2 * 60 * 1000,
    VERIFY_DOMAIN_DOUBT_MS = 5 * 1000,
    /* Call-outs. */
    VERIFY_LATER_MS = 60 * 1000,            /* a 4yz */
    VERIFY_DOWN_MS = 10 * 1000,             /* a silent next hop is left alone */
    VERIFY_CATCH_ALL_MS = 60 * 60 * 1000,   /* until it is asked again whether it takes anybody */
    VERIFY_SELECTIVE_MS = 24 * 3600 * 1000, /* the same where it does not */
    VERIFY_PROBE_AGAIN_MS = 10 * 60 * 1000, /* where it did not say */
    VERIFY_SITE_ASKS_MAX = 10,              /* at a time, a domain */
    VERIFY_SITE_BURST = 100,                /* questions at once, a domain */
    VERIFY_SITE_EACH_MS = 20,               /* then one each so long */
    VERIFY_SITE_LINE_MAX = 1000,
    VERIFY_CLIENT_BURST = 50, /* recipients that do not exist, a client */
    VERIFY_CLIENT_EACH_MS = 6000,
};

/* So many at once, then one each so long. */
struct verify_bucket {
    uint64_t full_ms; /* when it would be full again; at most `burst` times `each` from now */
};
/* When the next may be taken: now or earlier, or later. */
static inline uint64_t verify_bucket_ready_ms(const struct verify_bucket *b, uint32_t burst,
                                              uint32_t each_ms)
{
    uint64_t room_ms = (uint64_t)(burst - 1) * each_ms;

    return b->full_ms > room_ms ? b->full_ms - room_ms : 0;
}
static inline void verify_bucket_take(struct verify_bucket *b, uint32_t each_ms, uint64_t now_ms)
{
    b->full_ms = (b->full_ms > now_ms ? b->full_ms : now_ms) + each_ms;
}

/* Who has named recipients that do not exist. */
struct verify_client {
    struct hash_node node;
    struct list used;
    struct ip_addr ip; /* IPv6: the /64 */
    struct verify_bucket unknown;
};

/* A domain that is asked about, at its next hop. */
struct verify_site {
    struct hash_node node;
    struct list all;
    struct verify *v;
    uint32_t entries; /* that refer to it */
    uint32_t asking;
    uint32_t waiting;
    struct list line; /* of entries */
    struct verify_bucket pace;
    struct wheel_timer timer; /* somebody in line may go on */
    uint64_t down_until_ms;
    uint64_t catch_all_until_ms;
    uint64_t probed_until_ms; /* it is known whether it takes anybody */
    bool probing;
    uint16_t name_len;
    char name[]; /* lower case */
};

enum verify_kind { VERIFY_KIND_DOMAIN, VERIFY_KIND_RECIPIENT, VERIFY_KIND_PROBE };
enum verify_state { VERIFY_IDLE, VERIFY_LINE, VERIFY_ASKING };

/* A question with its answer, and with those who wait for it. */
struct verify_entry {
    struct hash_node node;
    struct list used; /* by last use */
    struct list queries;
    struct verify *v;
    uint8_t kind;    /* enum verify_kind */
    uint8_t state;   /* enum verify_state */
    uint8_t verdict; /* of the last answer: enum verify_verdict; VERIFY_WAIT: none yet */
    uint64_t expires_ms, refresh_ms;
    uint32_t generation; /* of the conf that it was asked by */
    uint16_t enhanced[3];
    uint16_t key_len, text_len;
    char *words;              /* of the next hop, or NULL */
    struct wheel_timer timer; /* the patience of those who wait for a call-out */
    struct list line;         /* the site's; or verify.ready */
    struct verify_site *site; /* NULL: a domain */
    struct ip_addr client;    /* who asked first */
    union {
        struct dns_query dns;
        struct verify_ask ask;
    };
    char bytes[]; /* the key, then the text to ask for */
};

struct verify {
    struct verify_options o;
    struct hash_table entries, sites, clients;
    struct list used; /* entries, the one used longest ago first */
    struct list all_sites;
    struct list used_clients;
    struct list ready;        /* entries that were answered at once */
    struct wheel_timer flush; /* tells who waits for them */
    uint32_t asks;            /* under way, at the caller's */
    bool stopping;
    struct verify_counters counters;
};

/* verify.c */
static inline uint64_t verify_now_ms(const struct verify *v)
{
    return io_now_ms(v->o.io);
}
static inline struct slice verify_text(const struct verify_entry *e)
{
    return slice_of(e->bytes + e->key_len, e->text_len);
}
/* The one with this key, or a new one; NULL: the cache is full of questions under way. */
struct verify_entry *verify_entry_get(struct verify *v, enum verify_kind kind, struct slice key,
                                      struct slice text);
struct verify_entry *verify_entry_create(struct verify *v, enum verify_kind kind, struct slice key,
                                         struct slice text);
void verify_entry_free(struct verify_entry *e);
bool verify_entry_valid(const struct verify_entry *e, const struct conf *conf);
/* All who wait are told. The entry may be gone afterwards. */
void verify_tell(struct verify_entry *e, enum verify_verdict verdict);
enum verify_verdict verify_wait_for(struct verify_entry *e, struct verify_query *q);
/* The answer of a query that does not wait. */
enum verify_verdict verify_answer_now(struct verify *v, struct verify_query *q,
                                      const struct verify_entry *e, enum verify_verdict verdict);

/* verify_reply.c: fills q->reply and q->words. */
void verify_reply(struct verify_query *q, const struct verify_entry *e);

/* verify_domain.c */
enum verify_verdict verify_domain(struct verify *v, struct verify_query *q, const struct conf *conf,
                                  struct slice domain);

/* verify_callout.c */
enum verify_verdict verify_callout(struct verify *v, struct verify_query *q,
                                   const struct verify_question *question);
void verify_callout_stop(struct verify_entry *e);
void verify_callout_flush(struct wheel_timer *timer);
void verify_site_free(struct verify_site *site);

/* verify_client.c */
bool verify_client_may_ask(struct verify *v, const struct ip_addr *ip);
void verify_client_was_wrong(struct verify *v, const struct ip_addr *ip);
void verify_clients_free(struct verify *v);

#endif
