/*
 * queue_holds: rules of the operator's that hold mail: from a sender, to a recipient, to a domain. They are
 * matched when a message is dispatched, so each costs a look into a table, and nothing while there are
 * none. What a rule holds is parked in the rule's lot, neither tried nor expiring; when the rule is removed
 * or over, it is released.
 *
 * Every shard has the same rules. They are kept by whoever adds them (queue_holds_format() is for that).
 */
#ifndef QUEUE_HOLDS_H
#define QUEUE_HOLDS_H

#include "base_buf.h"
#include "base_hash.h"
#include "base_list.h"
#include "base_slice.h"

struct queue;

enum queue_hold_kind {
    QUEUE_HOLD_SENDER,        /* an address; "<>": the null sender */
    QUEUE_HOLD_SENDER_DOMAIN, /* a domain; its subdomains are others */
    QUEUE_HOLD_RECIPIENT,     /* an address */
    QUEUE_HOLD_DOMAIN,        /* of the recipient */
    QUEUE_HOLD_ROUTE,         /* a route's pattern, as the configuration writes it */
};
enum { QUEUE_HOLD_KINDS = 5, QUEUE_HOLDS_MAX = 100000, QUEUE_HOLD_TEXT_MAX = 512 };

struct queue_hold_rule {
    uint32_t id; /* unique; not 0 */
    enum queue_hold_kind kind;
    struct slice value;  /* compared without regard to case */
    struct slice reason; /* for people; one line */
    uint32_t until_s;    /* Unix time; SPOOL_DUE_NEVER: until it is removed */
};

struct queue_hold_node;

/* A set of rules. Zeroed is empty. */
struct queue_holds {
    struct hash_table by_id, by_value;
    struct list all; /* in order of adding; NULL: not initialised yet */
    uint32_t count;
    uint32_t of_kind[QUEUE_HOLD_KINDS];
};

void queue_holds_finish(struct queue_holds *set);
/* The texts are copied. False: the id is taken, the value is empty or too long, or the set is full. */
bool queue_holds_insert(struct queue_holds *set, const struct queue_hold_rule *rule);
bool queue_holds_erase(struct queue_holds *set, uint32_t id);
const struct queue_hold_rule *queue_holds_find(const struct queue_holds *set, uint32_t id);
/* In order of adding. Stops when `visit` returns false. */
void queue_holds_each(const struct queue_holds *set,
                      bool (*visit)(const struct queue_hold_rule *rule, void *context),
                      void *context);
/* The first rule that holds this recipient's mail, or NULL. Addresses are without brackets. */
const struct queue_hold_rule *queue_holds_match(const struct queue_holds *set, struct slice sender,
                                                struct slice recipient, struct slice route);
const char *queue_hold_kind_name(enum queue_hold_kind kind); /* "sender", "sender-domain", ... */
bool queue_hold_kind_parse(struct slice name, enum queue_hold_kind *out);

/* A file: a line a rule, "id kind until value reason", until a date's seconds or "never"; value and reason
 * with blanks, controls and percent signs as %XX. */
void queue_holds_format(const struct queue_holds *set, struct buf *out);
/* Inserts what the text says. 0; or the number of the first line that is none (those before are in). */
size_t queue_holds_parse(struct queue_holds *set, struct slice text);

/* ---- a queue's rules ------------------------------------------------------------------------- */

/* From now on; messages that are on their way go. False as for queue_holds_insert(). */
bool queue_holds_add(struct queue *q, const struct queue_hold_rule *rule);
/* What it held is released, a bounded number a pass. False: there is none. */
bool queue_holds_remove(struct queue *q, uint32_t id);
/* The key of its lot (queue_lot.h). */
enum { QUEUE_HOLD_KEY_SIZE = 32 };
void queue_hold_key(const struct queue_hold_rule *rule, char out[QUEUE_HOLD_KEY_SIZE]);

#endif
