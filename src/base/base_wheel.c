/*
 * Times are read as numbers of base 64. A timer stands at the level of the highest digit in which
 * its due time differs from now, in the slot of that digit. Three things follow, and carry the rest:
 *
 * - Every occupied slot of a level lies after now's own digit there, so the lowest bit is the next.
 * - Everything on a level is due before anything on the levels above.
 * - While now moves up to the earliest slot's start, no other timer has to move.
 *
 * So advancing goes from one occupied slot to the next, however far away it is. Reaching a slot
 * above level 0 spreads its timers over the levels below. Timers that are due or late stand on no
 * slot: a timer is in a slot if and only if it is set for a time after now.
 */
#include "base_wheel.h"

enum { WHEEL_DIGIT_BITS = 6 };

_Static_assert(1 << WHEEL_DIGIT_BITS == WHEEL_SLOTS, "a digit is a slot");
_Static_assert(WHEEL_LEVELS *WHEEL_DIGIT_BITS >= 64, "every time has a level");
_Static_assert(WHEEL_SLOTS <= 64, "a level's slots fit a word");

void wheel_init(struct wheel *w, uint64_t now_ms)
{
    *w = (struct wheel){.now_ms = now_ms};
    list_init(&w->late);
    for (unsigned level = 0; level < WHEEL_LEVELS; level++)
        for (unsigned slot = 0; slot < WHEEL_SLOTS; slot++)
            list_init(&w->slots[level][slot]);
}

void wheel_timer_init(struct wheel_timer *t, void (*fire)(struct wheel_timer *timer))
{
    list_init(&t->node);
    t->due_ms = 0;
    t->fire = fire;
}

bool wheel_timer_is_set(const struct wheel_timer *t)
{
    return t->node.next != NULL && list_linked(&t->node); /* NULL: zeroed memory */
}

static unsigned wheel_level(const struct wheel *w, uint64_t due_ms)
{
    unsigned highest_bit = 63 - (unsigned)__builtin_clzll(due_ms ^ w->now_ms);

    return highest_bit / WHEEL_DIGIT_BITS;
}

static unsigned wheel_slot(uint64_t due_ms, unsigned level)
{
    return due_ms >> level * WHEEL_DIGIT_BITS & (WHEEL_SLOTS - 1);
}

static void wheel_place(struct wheel *w, struct wheel_timer *t)
{
    if (t->due_ms <= w->now_ms) {
        list_push_back(&w->late, &t->node);
        return;
    }
    unsigned level = wheel_level(w, t->due_ms);
    unsigned slot = wheel_slot(t->due_ms, level);
    list_push_back(&w->slots[level][slot], &t->node);
    w->occupied[level] |= (uint64_t)1 << slot;
    w->levels |= (uint32_t)1 << level;
}

static void wheel_mark_empty(struct wheel *w, unsigned level, unsigned slot)
{
    w->occupied[level] &= ~((uint64_t)1 << slot);
    if (w->occupied[level] == 0)
        w->levels &= ~((uint32_t)1 << level);
}

static void wheel_unplace(struct wheel *w, struct wheel_timer *t)
{
    list_remove(&t->node);
    if (t->due_ms <= w->now_ms)
        return; /* was late, or is among those that fire now */
    unsigned level = wheel_level(w, t->due_ms);
    unsigned slot = wheel_slot(t->due_ms, level);
    if (list_empty(&w->slots[level][slot]))
        wheel_mark_empty(w, level, slot);
}

void wheel_set(struct wheel *w, struct wheel_timer *t, uint64_t due_ms)
{
    ASSERT(t->fire != NULL);
    if (wheel_timer_is_set(t))
        wheel_unplace(w, t);
    else
        w->count++;
    t->due_ms = due_ms;
    wheel_place(w, t);
}

void wheel_cancel(struct wheel *w, struct wheel_timer *t)
{
    if (!wheel_timer_is_set(t))
        return;
    ASSERT(w->count > 0);
    w->count--;
    wheel_unplace(w, t);
}

/* When the earliest occupied slot begins; WHEEL_NEVER if there is none. */
static uint64_t wheel_next_slot(const struct wheel *w, unsigned *out_level, unsigned *out_slot)
{
    if (w->levels == 0)
        return WHEEL_NEVER;
    unsigned level = (unsigned)__builtin_ctz(w->levels);
    unsigned slot = (unsigned)__builtin_ctzll(w->occupied[level]);
    unsigned shift = level * WHEEL_DIGIT_BITS;
    uint64_t digit_and_below = ((uint64_t)WHEEL_SLOTS << shift) - 1; /* all ones at the top level */

    *out_level = level;
    *out_slot = slot;
    return (w->now_ms & ~digit_and_below) | (uint64_t)slot << shift;
}

uint64_t wheel_next_ms(const struct wheel *w)
{
    unsigned level;
    unsigned slot;

    if (!list_empty(&w->late))
        return w->now_ms;
    return wheel_next_slot(w, &level, &slot);
}

static void wheel_fire(struct wheel *w, struct list *due)
{
    struct list *node;

    while ((node = list_pop_front(due)) != NULL) {
        struct wheel_timer *t = container_of(node, struct wheel_timer, node);

        ASSERT(w->count > 0);
        w->count--;
        t->fire(t); /* may free its owner */
    }
}

/* Takes the slot's timers: those due at its start go to `due`, the others to levels below. */
static void wheel_open_slot(struct wheel *w, unsigned level, unsigned slot, struct list *due)
{
    struct list timers;
    struct list *node;

    list_init(&timers);
    list_splice_back(&timers, &w->slots[level][slot]);
    wheel_mark_empty(w, level, slot);
    if (level == 0) {
        list_splice_back(due, &timers);
        return;
    }
    while ((node = list_pop_front(&timers)) != NULL) {
        struct wheel_timer *t = container_of(node, struct wheel_timer, node);

        ASSERT(t->due_ms >= w->now_ms);
        if (t->due_ms == w->now_ms)
            list_push_back(due, node);
        else
            wheel_place(w, t);
    }
}

void wheel_advance(struct wheel *w, uint64_t now_ms)
{
    struct list due;
    unsigned level = 0;
    unsigned slot = 0;

    ASSERT(now_ms >= w->now_ms);
    ASSERT(!w->advancing);
    w->advancing = true;
    list_init(&due);
    list_splice_back(&due, &w->late);
    wheel_fire(w, &due);
    while (w->levels != 0) {
        uint64_t start_ms = wheel_next_slot(w, &level, &slot);

        if (start_ms > now_ms)
            break;
        ASSERT(start_ms > w->now_ms);
        w->now_ms = start_ms;
        wheel_open_slot(w, level, slot, &due);
        wheel_fire(w, &due);
    }
    w->now_ms = now_ms;
    w->advancing = false;
}
