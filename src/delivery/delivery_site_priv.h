/*
 * delivery_site_priv: a site, and its lane: the tasks that wait for it, and how many may leave it.
 */
#ifndef DELIVERY_SITE_PRIV_H
#define DELIVERY_SITE_PRIV_H

#include "delivery_remote_priv.h"

enum delivery_site_state {
    DELIVERY_SITE_NEW,    /* for a task */
    DELIVERY_SITE_ASKING, /* for addresses */
    DELIVERY_SITE_UP,     /* for connections and tasks */
    DELIVERY_SITE_DOWN,   /* for the end of the back-off */
};

struct delivery_site {
    struct hash_node by_key;
    struct delivery *d;
    struct slice key;        /* owned */
    const struct conf *conf; /* a reference; what `route` is a part of */
    const struct conf_route *route;
    struct sts_policy *policy; /* NULL: none is applied */
    struct wheel_timer timer;
    struct delivery_addresses addresses;
    uint8_t state; /* enum delivery_site_state */
    bool stepping, again;
    bool retired;       /* of a former generation: no further task */
    bool login_refused; /* by the last who could say */
    bool was_down;      /* and has not taken a message since: one attempt at a time */

    struct list lane;     /* tasks */
    struct list callouts; /* those that are: they come first */
    uint32_t lane_count;  /* of both */
    uint32_t callout_count;
    uint64_t tokens, tokens_ms; /* of messages_per_minute: see delivery_lane.c */
    uint64_t window_ms;         /* how fast tasks leave */
    uint32_t window_taken, rate;

    struct list connections; /* all */
    struct list idle;        /* last used first */
    uint32_t connection_count;
    uint32_t attempts;   /* not yet greeted */
    uint32_t stalled;    /* of these, waiting for so long that others are tried */
    uint32_t unanswered; /* of these, without a connection */
    uint32_t standing;   /* greeted and of use */
    uint32_t lost_in_row;

    uint64_t used_ms, down_until_ms;
    uint64_t grow_from_ms; /* no further connection before, while others stand */
    bool refused; /* the last further connection: the next one asks alone, for all that wait */
    struct delivery_reason why; /* the last failure */
    uint32_t why_round;
};

/* ---- delivery_site.c ---------------------------------------------------------------------- */

/* s->why says why: every waiting task ends, and new ones will until the back-off is over. */
void delivery_site_go_down(struct delivery_site *s);
void delivery_site_end_task(struct delivery_site *s, struct delivery_task *t);

/* ---- delivery_tls_report.c ---------------------------------------------------------------- */

void delivery_tls_report_refused(struct delivery_site *s, const struct delivery_host *host,
                                 enum delivery_tlsa tlsa);

/* ---- delivery_site_pool.c ----------------------------------------------------------------- */

/* Idle connections take what waits. */
void delivery_site_assign(struct delivery_site *s);
/* Whether the tasks are worth another connection, within the limits. */
bool delivery_site_may_open(const struct delivery_site *s);
/* Begins it. False: there is no address to be tried now. */
bool delivery_site_open(struct delivery_site *s);

/* ---- delivery_lane.c ---------------------------------------------------------------------- */

void delivery_lane_init(struct delivery_site *s);
bool delivery_lane_is_full(const struct delivery_site *s, const struct delivery_task *t);
void delivery_lane_push(struct delivery_site *s, struct delivery_task *t, bool front);
struct delivery_task *delivery_lane_pop(struct delivery_site *s);
/* The first task, if the rate allows one; NULL. The rate is of messages: call-outs are none. */
struct delivery_task *delivery_lane_take(struct delivery_site *s);
/* The first that waits; NULL. */
const struct delivery_task *delivery_lane_first(const struct delivery_site *s);
/* Whether the rate allows `count` more tasks now, and when it allows one. */
bool delivery_lane_may_take(const struct delivery_site *s, uint32_t count);
uint64_t delivery_lane_take_ms(const struct delivery_site *s);
/* When there will be room again, going by how fast tasks have been leaving. */
uint64_t delivery_lane_drain_ms(struct delivery_site *s);
void delivery_lane_postpone(struct delivery_site *s, struct delivery_task *t, uint64_t ms);

#endif
