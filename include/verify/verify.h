/*
 * verify: what is asked of others before mail is taken: whether a domain exists, by DNS, and whether the next hop
 * would take a recipient, by a call-out. So that mail which could not be delivered, or not returned, is
 * refused while its sender is still there. One a shard, with a cache.
 *
 *     q->done = checked;                      (q is embedded in its owner)
 *     verdict = verify_recipient(v, q, &question);
 *     if (verdict == VERIFY_WAIT) ...         q->verdict in done, unless verify_give_up(q) comes first
 *     if (verdict refuses) say q->reply
 *
 * `done` is called at most once, never inside verify_sender() or verify_recipient(). Equal questions under
 * way are asked once. What is known is answered at once:
 *
 *   - a domain that is there is trusted for ten minutes, one that is not for two, and while the DNS does not
 *     say (SERVFAIL, timeout) it is left alone for some seconds;
 *   - a recipient for conf.verify.callout.positive or .negative. In the last quarter of the first it is asked for
 *     again in the background; while the next hop is silent, what it has said before holds a little longer;
 *   - a next hop that takes an address which we made up takes any: its domain is not asked about for a while.
 *
 * Next hops are asked gently: a few questions at a time for a domain, and so many a second; the others wait in line.
 * A client who names many recipients that do not exist is told to come back later, without a
 * question to anybody, until time has passed: dictionaries are not for the inner server to read.
 *
 * The asking itself is the caller's, since next hops are delivery's.
 */
#ifndef VERIFY_H
#define VERIFY_H

#include "base_codec.h"
#include "base_list.h"
#include "base_wheel.h"
#include "conf.h"
#include "io.h"
#include "smtp_address.h"
#include "smtp_reply.h"

struct dns;
struct verify;

enum verify_verdict {
    VERIFY_WAIT,      /* `done` will be called */
    VERIFY_GOOD,      /* or nobody wants it checked */
    VERIFY_NO_ANSWER, /* the next hop does not say, and mail is to be taken then */
    /* The rest refuse: q->reply. */
    VERIFY_NO_DOMAIN, /* such a name is not in the DNS, or it takes no mail */
    VERIFY_NULL_MX,   /* RFC 7505: it says so itself */
    VERIFY_NO_DNS,    /* the DNS does not say now */
    VERIFY_UNKNOWN,   /* the next hop would refuse it for good */
    VERIFY_SILENT,    /* the next hop does not say, and mail is to wait until it does */
    VERIFY_TOO_MANY,  /* questions: of this client's, in line, or altogether */
};
/* "good", "no-domain"..., for logs. */
const char *verify_verdict_name(enum verify_verdict verdict);
static inline bool verify_refuses(enum verify_verdict verdict)
{
    return verdict > VERIFY_NO_ANSWER;
}

enum { VERIFY_WORDS_MAX = 256 };

struct verify_query {
    void (*done)(struct verify_query *q);
    enum verify_verdict verdict;
    struct smtp_reply reply;      /* if the verdict refuses: its text is static, or `words` */
    char words[VERIFY_WORDS_MAX]; /* of the next hop */
    bool sender;                  /* the rest is verify's */
    struct list node;
    void *entry; /* NULL: nothing is open */
};

/* The domain of a sender, if conf.verify.sender_domain wants it checked: not the null sender's, not a literal, none
 * of ours. */
enum verify_verdict verify_sender(struct verify *v, struct verify_query *q, const struct conf *conf,
                                  const struct smtp_address *sender);
/* A final recipient, behind aliases: one of a domain with `callout` is asked for; one of a domain of others is
 * looked up, if conf.verify.recipient_domain wants it and its mail goes to its MX: a route to a host does not
 * need the DNS, which may not even know the domain. */
struct verify_question {
    const struct conf *conf;
    struct slice sender; /* empty: the null sender */
    const struct smtp_address *recipient;
    struct ip_addr client;
};
enum verify_verdict verify_recipient(struct verify *v, struct verify_query *q,
                                     const struct verify_question *question);
void verify_give_up(struct verify_query *q); /* fine if nothing is open, also on zeroed memory */

/* ---- call-outs ------------------------------------------------------------------------------ */

enum verify_answer {
    VERIFY_ANSWER_YES,
    VERIFY_ANSWER_NO,    /* a 5yz to RCPT: code, enhanced, text */
    VERIFY_ANSWER_LATER, /* a 4yz to RCPT */
    VERIFY_ANSWER_NONE, /* no connection, or an answer before RCPT that says nothing of the recipient */
};
/* verify's; the asker's from `ask` to `done`, which he calls exactly once. */
struct verify_ask {
    const struct conf *conf; /* stays */
    struct slice sender;     /* conf.verify.callout.sender */
    struct slice recipient;
    uint64_t timeout_ms; /* nobody waits longer than that; the answer is welcome later, too */
    void (*done)(struct verify_ask *ask);
    /* The answer; `text` need not outlive `done`. */
    enum verify_answer answer;
    uint16_t code;
    uint16_t enhanced[3];
    struct slice text;
    void *room[12]; /* for the asker */
};

/* ---- life ----------------------------------------------------------------------------------- */

struct verify_options {
    struct io *io;
    struct wheel *wheel;
    struct dns *dns;
    /* False: the answer is there already, and `done` will not be called. (It is not called inside.) */
    bool (*ask)(void *context, struct verify_ask *ask);
    void *context;
    uint32_t entries_max; /* 0: 16,384; beyond, the one used longest ago is forgotten */
};

struct verify *verify_create(const struct verify_options *options);
/* Who waits, and whoever comes later, is told to try again. Loop until idle. */
void verify_stop(struct verify *v);
bool verify_idle(const struct verify *v); /* no call-out is under way */
/* Idle, and no query open; or, with crashed (simulator), in any state. NULL is fine. */
void verify_destroy(struct verify *v, bool crashed);

struct verify_counters {
    uint64_t domains, domains_cached;       /* checked; of these, without a question to the DNS */
    uint64_t domains_refused;               /* that do not exist or take no mail */
    uint64_t domains_deferred;              /* while the DNS did not say */
    uint64_t recipients, recipients_cached; /* the same for call-outs */
    uint64_t recipients_refused;
    uint64_t recipients_unanswered; /* taken or deferred without an answer */
    uint64_t recipients_limited;    /* told to come back: too many questions */
    uint64_t callouts;              /* next hops asked, refreshes and probes included */
    uint64_t callouts_unanswered;
    uint64_t catch_all; /* recipients taken since their next hop takes any */
    uint64_t cached;    /* answers kept now */
};
void verify_counters(const struct verify *v, struct verify_counters *out);

#endif
