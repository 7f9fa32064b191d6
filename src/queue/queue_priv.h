/*
 * queue_priv: what the queue's modules share.
 *
 *   queue.c          an entry's life
 *   queue_ready.c    the lines of what is ready
 *   queue_lot.c      where entries wait for something to happen
 *   queue_time.c     how long to wait, and for how long at all
 *   queue_operator.c what an operator does and sees
 *   queue_holds.c    rules that hold mail
 *   queue_reason.c   texts, each once
 */
#ifndef QUEUE_PRIV_H
#define QUEUE_PRIV_H

#include "queue_lot.h"
#include "queue_reason_priv.h"

enum {
    QUEUE_LEVELS = 19, /* priorities -9 to 9 */
    QUEUE_PARKED_FLAG =
        1 << 7, /* of a recipient (not in the log): waits for the lot of its entry */

    /* The wall clock may leap; what was planned on it is looked at again at least this often, and not
     * everything at once. */
    QUEUE_RECHECK_MS = 3600 * 1000,
    QUEUE_RECHECK_SPREAD_MS = 900 * 1000,
};

/* ---- queue_ready.c ------------------------------------------------------------------------ */

struct queue_ready *queue_ready_create(void);
void queue_ready_destroy(struct queue_ready *r);
void queue_ready_push(struct queue_entry *e, enum queue_line line); /* state is READY then */
void queue_ready_remove(struct queue_entry *e);
/* The next one, from lines that may have a turn now; NULL. */
struct queue_entry *queue_ready_pop(struct queue *q);
bool queue_ready_any(const struct queue *q); /* pop would answer one */
uint32_t queue_ready_count(const struct queue *q, enum queue_line line);

/* A message's level: 0 is the highest. */
static inline unsigned queue_level(const struct spool_message *m)
{
    int priority = m->terms.priority;

    priority = priority > 9 ? 9 : priority < -9 ? -9 : priority;
    return (unsigned)(9 - priority);
}

/* ---- queue.c ------------------------------------------------------------------------------ */

/* Puts an entry with work left, which is nowhere, in line, or lets it wait for the earliest of its
 * recipients. */
void queue_entry_schedule(struct queue_entry *e, enum queue_line line);
/* Out of wherever it waits: timer, line or lot. Not when it is OUT. */
void queue_entry_lift(struct queue_entry *e);
void queue_entry_free(struct queue_entry *e);
/* Ends all its waiting recipients as DELETED, and with them the message; the entry stays. */
void queue_entry_delete_recipients(struct queue_entry *e);
void queue_entry_reason_set(struct queue_entry *e, struct slice text);
/* One record of the same outcome for all recipients that wait. */
void queue_entry_record(struct queue_entry *e, const struct spool_outcome *like);

/* ---- queue_lot.c -------------------------------------------------------------------------- */

/* All parts are back: into the lot that it was to go to. False: it has to wait for a time. */
bool queue_lot_enter(struct queue_entry *e);
void queue_lot_leave(struct queue_entry *e);  /* a PARKED one */
void queue_lot_forget(struct queue_entry *e); /* an OUT one is not to go there any more */
/* A PARKED entry's timer. */
void queue_lot_due(struct queue_entry *e);
struct slice queue_lot_reason(const struct queue_lot *lot);
struct slice queue_lot_key(const struct queue_lot *lot);
uint32_t queue_lot_next_s(const struct queue_lot *lot);
bool queue_lot_is_rule(const struct queue_lot *lot);
/* The lots of sites: their keys mean nothing any more. */
void queue_lots_dissolve_sites(struct queue *q);
/* Up to n entries of dissolved lots are ready. */
void queue_lots_drain(struct queue *q, uint32_t n);
void queue_lots_finish(struct queue *q);

/* ---- queue_time.c ------------------------------------------------------------------------- */

void queue_time_init(struct queue *q);
void queue_time_look(struct queue *q); /* each pass: has the wall clock leapt? */
uint32_t queue_interval_max_s(const struct conf *conf);
/* The Unix time at which it is so late in the message's patient seconds. */
uint32_t queue_wall_s(const struct queue *q, const struct spool_message *m, uint32_t patient_s);
/* The wheel's time for a Unix time, at most a recheck away. */
uint64_t queue_timer_ms(struct queue *q, uint32_t unix_s);

/* ---- queue_holds.c ------------------------------------------------------------------------ */

void queue_holds_start(struct queue *q);

#endif
