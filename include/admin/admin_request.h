/*
 * admin_request: what an operator asks of the queue, in words. The command reads its arguments with it,
 * so that mistakes are told before anybody is asked; the server reads the request line with it.
 *
 *     queue VERB [ID... | all] [--OPTION[=VALUE]...] [json]
 *
 * A line is words with blanks between them; a word in which there are blanks, quotes, backslashes or
 * control characters stands in double quotes, with \" \\ \n \r \t and \xHH inside. Words without any need
 * no quotes.
 *
 * Pure. What a request names points into the words that it was made of.
 */
#ifndef ADMIN_REQUEST_H
#define ADMIN_REQUEST_H

#include "base_buf.h"

/* ---- lines ---------------------------------------------------------------------------------- */

/* Appends a word, and a blank before it if there is something already. */
bool admin_word_append(struct buf *line, struct slice word);

enum { ADMIN_WORDS_BAD = -1, ADMIN_WORDS_TOO_MANY = -2 };
/* Takes the line apart in place: it is written over, and the words point into it. The number of words, or
 * one of the above. */
ptrdiff_t admin_words_split(uint8_t *line, size_t len, struct slice *words, size_t max);

/* ---- filters -------------------------------------------------------------------------------- */

enum admin_state {                          /* a set */
                   ADMIN_STATE_WAITING = 1, /* for the time of its next attempt */
                   ADMIN_STATE_READY = 2,   /* in line */
                   ADMIN_STATE_ACTIVE = 4,  /* being delivered, or waiting for a connection */
                   ADMIN_STATE_PARKED = 8,  /* until its site is up, or has room */
                   ADMIN_STATE_HELD = 16,
};
const char *admin_state_name(enum admin_state state);

enum admin_sender { ADMIN_SENDER_ANY, ADMIN_SENDER_ADDRESS, ADMIN_SENDER_DOMAIN };

/* Criteria; all that are set must hold. What is said of recipients must hold of one that is still to be
 * served. Text is compared without regard to case. */
struct admin_filter {
    uint64_t *ids; /* owned; NULL: any */
    size_t id_count;
    enum admin_sender sender_kind;
    struct slice sender;    /* address (empty: the null sender) or domain */
    struct slice recipient; /* pattern in which * stands for anything; empty: any */
    struct slice domain;    /* the recipient's: a name, or a pattern */
    struct slice route;     /* a pattern of a route, as configured; or "domain NAME": one of ours */
    struct slice reason;    /* a part of why it waits */
    uint64_t older_s, younger_s;       /* age; 0, UINT64_MAX: any */
    uint64_t size_min, size_max;       /* of the body; 0, UINT64_MAX: any */
    unsigned states;                   /* a set of enum admin_state; 0: any */
    uint64_t limit;                    /* messages; UINT64_MAX: all */
    uint32_t sender_hash, domain_hash; /* as spool keeps them */
};

/* Whether it says anything about messages at all; an id is something. */
bool admin_filter_is_set(const struct admin_filter *f);
/* Whether it says something about recipients: what is done then concerns those that it names only. */
bool admin_filter_by_recipient(const struct admin_filter *f);
/* * stands for any number of characters, none too. */
bool admin_pattern_match(struct slice pattern, struct slice text);
struct slice admin_domain_of(struct slice address); /* behind the last @; empty: none */
uint32_t admin_hash(struct slice text);             /* as spool hashes: in lower case */

/* ---- requests ------------------------------------------------------------------------------- */

enum admin_verb {
    ADMIN_LIST,
    ADMIN_SHOW,
    ADMIN_SUMMARY,
    ADMIN_RETRY,
    ADMIN_HOLD,
    ADMIN_RELEASE,
    ADMIN_DELETE,
    ADMIN_BOUNCE,
    ADMIN_SET,
    ADMIN_HOLDS,
    ADMIN_EXPORT,
    ADMIN_IMPORT,
    ADMIN_VERB_COUNT,
};

enum admin_by {
    ADMIN_BY_DOMAIN,
    ADMIN_BY_SENDER,
    ADMIN_BY_SENDER_DOMAIN,
    ADMIN_BY_ROUTE,
    ADMIN_BY_REASON,
    ADMIN_BY_STATE,
};

/* A moment, as operators give it. */
struct admin_time {
    enum { ADMIN_TIME_UNSET, ADMIN_TIME_NEVER, ADMIN_TIME_IN, ADMIN_TIME_AT } kind;
    uint64_t s; /* from now, or Unix time */
};
/* Unix time; `unset` if nothing was said, `never` if that was. */
uint32_t admin_time_s(const struct admin_time *t, uint64_t now_s, uint32_t unset, uint32_t never);

/* Records of an export that an import leaves out, as in "1-40,42". */
struct admin_range {
    uint64_t from, to;
};

struct admin_request {
    enum admin_verb verb;
    struct admin_filter filter;
    bool all; /* the word */
    bool json;
    bool dry_run; /* tell what would be hit */
    bool copy;    /* of export: what is exported stays as it is */
    bool future;  /* of hold: mail to come as well */
    bool hold;    /* of import */
    enum admin_by by;
    struct slice note; /* of hold: why; of bounce: what the sender is told */
    struct slice rule; /* of release: the id of a rule, or "all" */
    struct admin_time until;
    struct admin_time deliver_by;
    bool set_priority;
    int8_t priority;
    struct admin_range *skip; /* owned */
    size_t skip_count;
};

/* The words behind "queue". False: *out_error has one line that says what is wrong and what would be
 * right; *r is empty then. */
bool admin_request_parse(struct admin_request *r, const struct slice *words, size_t count,
                         struct buf *out_error);
void admin_request_finish(struct admin_request *r); /* also fine on zeroed memory */
bool admin_request_skips(const struct admin_request *r, uint64_t record);

const char *admin_verb_name(enum admin_verb verb);
/* The verbs and options with a line each, for people. */
void admin_request_usage(struct buf *out);

#endif
