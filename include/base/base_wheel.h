/*
 * base_wheel: a hierarchical timer wheel. Times are milliseconds on io's monotonic clock. Adding
 * and removing is O(1); a timer fires in the first advance that reaches its due time, never before.
 * Eleven levels of 64 slots cover every 64-bit time, so nothing is too far away.
 *
 * The owner embeds struct wheel_timer. It fires once, from wheel_advance() only; `fire` may add and
 * remove any timer, its own included.
 */
#ifndef BASE_WHEEL_H
#define BASE_WHEEL_H

#include <stdbool.h>
#include <stdint.h>

#include "base_list.h"

enum { WHEEL_LEVELS = 11, WHEEL_SLOTS = 64 };

struct wheel_timer {
    struct list node;
    uint64_t due_ms;
    void (*fire)(struct wheel_timer *timer);
};

struct wheel {
    uint64_t now_ms;
    uint64_t count;
    struct list late; /* set for a time that was already over: next advance */
    uint32_t levels;  /* a bit a level with an occupied slot */
    bool advancing;
    uint64_t occupied[WHEEL_LEVELS]; /* a bit a slot */
    struct list slots[WHEEL_LEVELS][WHEEL_SLOTS];
};

#define WHEEL_NEVER UINT64_MAX

void wheel_init(struct wheel *w, uint64_t now_ms);
void wheel_timer_init(struct wheel_timer *t, void (*fire)(struct wheel_timer *timer));
/* (Re)arms; a due time in the past fires at the next advance. */
void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t due_ms);
void wheel_cancel(struct wheel *w, struct wheel_timer *t); /* fine if it is not set */
bool wheel_timer_is_set(const struct wheel_timer *t);
/* A lower bound for the next due time, for the wait's timeout; WHEEL_NEVER if no timer is set. */
uint64_t wheel_next_ms(const struct wheel *w);
/* Fires everything due up to and including now_ms, in order of due time; what was late when it was
 * set comes first. now_ms of the wheel is the due time while `fire` runs. Time does not go back. */
void wheel_advance(struct wheel *w, uint64_t now_ms);

#endif
