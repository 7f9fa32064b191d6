/*
 * sim_days: worlds that last for days, as those of an operator do: intervals of minutes and hours, next hops
 * that are away for a night, come back, flap, say 4yz for a day; notices whose readers are away as well;
 * crashes, restarts, reloads and the operator in between; a wall clock that leaps.
 *
 *   sim_days_plan.c   who is away when, what is sent, what happens meanwhile
 *   sim_days.c        the world goes through it
 *   sim_days_check.c  what is promised: when senders are told, when mail flows again, and at what cost
 *
 * Times are ms of the simulator's monotonic clock; those of the plan count from the world's beginning.
 */
#ifndef SIM_DAYS_H
#define SIM_DAYS_H

#include "sim_mail.h"

enum { PHASES_MAX = 8, EVENTS_MAX = 24, NOTICES_MAX = 1024 };

/* How a next hop is, for a while. */
enum mood {
    MOOD_UP,
    MOOD_CLOSED, /* nobody listens */
    MOOD_DROPS,  /* connections end before a greeting */
    MOOD_SORRY,  /* 421 */
    MOOD_SILENT, /* no greeting ever comes */
    MOOD_BUSY,   /* 4yz to each message */
    MOOD_REFUSES,
    MOOD_FLAPS, /* up and down by turns */
    MOOD_COUNT
};

struct phase {
    uint64_t from_ms;
    uint8_t mood;          /* enum mood */
    bool at_mail;          /* busy at MAIL, else at RCPT */
    uint64_t period_ms;    /* of flapping */
    uint32_t connections;  /* that were made in it */
    uint32_t deferrals;    /* that the log has told of in it, of mail for this host alone */
    uint32_t disturbances; /* what makes the server try again: starts, reloads, the operator */
};

enum days_event_kind {
    DAYS_PHASE, /* a host's next */
    DAYS_STOP,
    DAYS_CRASH,
    DAYS_KILL,
    DAYS_RELOAD,
    DAYS_OPERATE,
    DAYS_LEAP,
    DAYS_EVENT_KINDS
};

struct days_event {
    uint64_t at_ms;
    uint8_t kind; /* enum days_event_kind */
    int64_t leap_ms;
    bool done;
};

/* What a route's retry says. */
struct days_terms {
    uint64_t expire_ms, expire_bounces_ms, warn_after_ms;
    uint64_t interval_max_ms; /* with jitter, in any configuration */
};

/* What the operator has done to a message. */
struct days_order {
    uint64_t held_from_ms, held_until_ms;   /* the last time; 0: never */
    uint64_t ruled_from_ms, ruled_until_ms; /* by a rule about its sender; likewise */
    uint64_t free_ms;                       /* since when no hold is in force any more */
    uint64_t deliver_by_ms;
    bool returned;
};

/* A notice that the server has made. */
struct days_notice {
    uint64_t id, about;
    uint32_t message; /* of the model; UINT32_MAX: about a notice */
    bool delay, to_postmaster;
    uint64_t made_ms, dropped_ms; /* the latter: given up; 0: not */
    bool told;                    /* a copy says that it was given up */
};

struct days {
    uint64_t start_ms;
    struct phase phases[SINKS][PHASES_MAX];
    uint32_t phase_count[SINKS];
    struct days_event events[EVENTS_MAX];
    uint32_t event_count;
    struct wheel_timer timer; /* on the keeper: so that the world does not sleep through an event */
    unsigned jitter;
    struct days_terms terms, terms_b; /* of all routes; of b.test's */
    bool postmaster, copies_all;
    uint64_t longest_ms; /* that it may last */
    struct days_order orders[MESSAGES_MAX];
    uint64_t delay_told_ms[MESSAGES_MAX]; /* first; 0: never */
    struct days_notice notices[NOTICES_MAX];
    uint32_t notice_count;
    uint32_t copies; /* to the postmaster */
    uint64_t boots_ms[64], reloads_ms[EVENTS_MAX];
    uint32_t boots, reloads;
};

/* Every tenth seed. */
bool days_wanted(uint64_t seed);
void days_plan(struct world *w);
void days_start(struct world *w);
void days_run(struct world *w);
void days_finish(struct world *w);
/* The phase that a sink is in, now or at some time. */
struct phase *days_phase_at(struct world *w, unsigned sink, uint64_t at_ms);
const struct days_terms *days_terms_of(const struct world *w, struct slice address);
/* Of the wall clock, by all leaps in between: those forward, and those back. */
uint64_t days_leaps_forward(const struct world *w, uint64_t from_ms, uint64_t to_ms);
uint64_t days_leaps_back(const struct world *w, uint64_t from_ms, uint64_t to_ms);

/* ---- for the others ------------------------------------------------------------------------ */

/* How the sink is now; a session is told when it begins, and what says so is counted. */
enum mood days_mood(struct world *w, unsigned sink, bool *out_at_mail);
void days_connected(struct world *w, unsigned sink);
void days_booted(struct world *w);
void days_log(struct world *w, struct slice event, struct slice line);
void days_check(struct world *w);

#endif
