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

/* Tasks in a row; delivery_lane.c. */
enum {
    DELIVERY_LINE_CALLOUTS, /* they come first */
    DELIVERY_LINE_FRESH,
    DELIVERY_LINE_OLD, /* what has waited */
    DELIVERY_LINES,
};
struct delivery_line {
    struct list tasks;
    uint32_t count;
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

    struct delivery_line lines[DELIVERY_LINES];
    uint32_t lane_count; /* of all */
    uint32_t turn;
    uint64_t tokens, tokens_ms; /* of messages_per_minute: see delivery_lane.c */
    uint64_t window_ms;         /* how fast tasks leave, a second */
    uint32_t window_taken, rate;
    uint64_t moved_ms; /* when one last left, or came into an empty lane */

    /* What waits at the origins: see delivery_site_call.c. */
    struct list calls;    /* of origins that have something */
    uint32_t expected;    /* called, and not here yet */
    uint64_t expected_ms; /* since when none has come */
    uint32_t missed;      /* times that none came of what was called */
    uint32_t ramp;        /* tasks at a time since it was down; DELIVERY_RAMP_OVER: any */
    uint32_t probes;      /* that failed in a row */
    bool stuck;           /* nothing leaves: what waits has gone home */

    struct list connections; /* all */
    struct list idle;        /* last used first */
    uint32_t connection_count;
    uint32_t attempts;   /* not yet greeted */
    uint32_t stalled;    /* of these, waiting for so long that others are tried */
    uint32_t unanswered; /* of these, without a connection */
    uint32_t standing;   /* greeted and of use */
    uint32_t lost_in_row;

    uint64_t used_ms, down_until_ms;
    uint64_t asked_ms;     /* when the operator has last made us try */
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
/* Tasks that it is to have of each line. */
uint32_t delivery_lane_cap(const struct delivery_site *s);
bool delivery_lane_is_full(const struct delivery_site *s, const struct delivery_task *t);
void delivery_lane_push(struct delivery_site *s, struct delivery_task *t, bool front);
/* The next one; NULL. The last one. */
const struct delivery_task *delivery_lane_first(const struct delivery_site *s);
struct delivery_task *delivery_lane_pop(struct delivery_site *s);
struct delivery_task *delivery_lane_pop_last(struct delivery_site *s); /* no call-out */
/* The first task, if the rate allows one; NULL. The rate is of messages: call-outs are none. */
struct delivery_task *delivery_lane_take(struct delivery_site *s);
/* Whether the rate allows `count` more tasks now, and when it allows one. */
bool delivery_lane_may_take(const struct delivery_site *s, uint32_t count);
uint64_t delivery_lane_take_ms(const struct delivery_site *s);

/* ---- delivery_site_call.c ----------------------------------------------------------------- */

#define DELIVERY_RAMP_OVER UINT32_MAX

/* Whether a task that has just come may wait here; else it is parked. */
bool delivery_site_has_room(const struct delivery_site *s, const struct delivery_task *t);
/* Home, to wait until it is called. */
void delivery_site_park_full(struct delivery_site *s, struct delivery_task *t);
/* One that was called is here. */
void delivery_site_arrived(struct delivery_site *s);
/* Calls as many as there is room for; sends home what waits behind connections that do not move. When to
 * look again; WHEEL_NEVER. */
void delivery_site_call(struct delivery_site *s);
uint64_t delivery_site_call_ms(const struct delivery_site *s);
/* Of a site that ends, or is not the one any more. */
void delivery_site_calls_drop(struct delivery_site *s);
/* A transaction went well: more at a time. */
void delivery_site_ramp_up(struct delivery_site *s);

#endif
