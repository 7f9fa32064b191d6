/*
 * io_sim_world: time, chance, the heap of events and the trace.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base_crc32c.h"
#include "base_hash.h"
#include "base_log.h"
#include "io_sim_priv.h"

#define NS_PER_MS   UINT64_C(1000000)
#define START_NS    (UINT64_C(1000000) * NS_PER_MS) /* not zero: a forgotten "0 is never" shows */
#define JUMP_MAX_MS (UINT64_C(12) * 3600 * 1000)

static uint64_t now_ms(const struct sim *sim)
{
    return sim->now_ns / NS_PER_MS;
}

struct sim *sim_create(uint64_t seed, const struct sim_options *options)
{
    struct sim *sim = mem_zalloc(sizeof(*sim));

    ASSERT(options->recv_buffers > 0 && options->recv_buffers <= UINT16_MAX);
    ASSERT(options->recv_buffer_len > 0 && options->link_buffer_len > 0);
    sim->options = *options;
    rand_seed(&sim->rand, seed);
    rand_seed(&sim->entropy, seed ^ UINT64_C(0x9e3779b97f4a7c15));
    sim->now_ns = sim->start_ns = START_NS;
    sim->trace = seed;
    list_init(&sim->machines);
    list_init(&sim->ready);
    return sim;
}

void sim_destroy(struct sim *sim)
{
    if (!sim)
        return;
    while (!list_empty(&sim->machines))
        sim_machine_free(container_of(sim->machines.next, struct sim_machine, node));
    ASSERT(sim->heap_len == 0);
    mem_free(sim->heap);
    mem_free(sim);
}

struct sim_options *sim_options(struct sim *sim)
{
    return &sim->options;
}

struct rand *sim_rand(struct sim *sim)
{
    return &sim->rand;
}

uint64_t sim_now_ms(struct sim *sim)
{
    return now_ms(sim);
}

/* --- chance and the trace ------------------------------------------------------------------- */

/* Draws nothing for a fault that is off, so that switching one on disturbs the least. */
bool sim_chance(struct sim *sim, unsigned of_ten_thousand)
{
    return of_ten_thousand > 0 && rand_below(&sim->rand, 10000) < of_ten_thousand;
}

uint64_t sim_below(struct sim *sim, uint64_t bound)
{
    return rand_below(&sim->rand, bound);
}

bool sim_coin(struct sim *sim)
{
    return rand_below(&sim->rand, 2) == 0;
}

/* In steps of 8 us, so that completions often meet and are seen as one batch. */
uint64_t sim_delay_ns(struct sim *sim)
{
    uint64_t us = rand_below(&sim->rand, sim->options.latency_max_us + 1);

    if (sim_chance(sim, sim->options.latency_spike))
        us = 1000 + 100 * us;
    return us / 8 * 8 * 1000;
}

void sim_trace(struct sim *sim, uint64_t value)
{
    sim->trace = hash_u64(sim->trace * 31 + value);
}

void sim_trace_bytes(struct sim *sim, const void *data, size_t len)
{
    sim_trace(sim, (uint64_t)len << 32 | crc32c(0, data, len));
}

uint64_t sim_trace_hash(const struct sim *sim)
{
    return sim->trace;
}

void sim_broken(const struct sim_io *io, const char *rule, const struct io_op *op)
{
    struct log_record r;

    log_begin(&r, LOG_CRITICAL, "io contract broken");
    log_str(&r, "rule", rule);
    log_u64(&r, "io", io->serial);
    if (op) {
        log_u64(&r, "kind", op->kind);
        log_i64(&r, "fd", op->fd);
    }
    log_end(&r);
    /* The log may lead nowhere in a test, and the assertion's text cannot name the rule. */
    fprintf(stderr, "io_sim: contract broken: %s (io %llu, kind %d, fd %d)\n", rule,
            (unsigned long long)io->serial, op ? op->kind : -1, op ? op->fd : -1);
    assert_failed(rule, __FILE__, __LINE__);
}

/* --- the heap ------------------------------------------------------------------------------- */

static bool earlier(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_ns != b->at_ns ? a->at_ns < b->at_ns : a->tie < b->tie;
}

static void heap_place(struct sim *sim, size_t slot, struct sim_event *event)
{
    sim->heap[slot - 1] = event;
    event->slot = slot;
}

static void heap_up(struct sim *sim, size_t slot, struct sim_event *event)
{
    for (; slot > 1 && earlier(event, sim->heap[slot / 2 - 1]); slot /= 2)
        heap_place(sim, slot, sim->heap[slot / 2 - 1]);
    heap_place(sim, slot, event);
}

static void heap_down(struct sim *sim, size_t slot, struct sim_event *event)
{
    for (;;) {
        size_t child = 2 * slot;

        if (child > sim->heap_len)
            break;
        if (child < sim->heap_len && earlier(sim->heap[child], sim->heap[child - 1]))
            child++;
        if (!earlier(sim->heap[child - 1], event))
            break;
        heap_place(sim, slot, sim->heap[child - 1]);
        slot = child;
    }
    heap_place(sim, slot, event);
}

void sim_schedule(struct sim *sim, struct sim_event *event, uint64_t at_ns)
{
    ASSERT(event->slot == 0);
    if (sim->heap_len == sim->heap_capacity) {
        sim->heap_capacity = sim->heap_capacity ? 2 * sim->heap_capacity : 64;
        sim->heap = mem_realloc(sim->heap, sim->heap_capacity * sizeof(struct sim_event *));
    }
    event->at_ns = at_ns < sim->now_ns ? sim->now_ns : at_ns;
    event->tie = rand_u64(&sim->rand);
    sim->heap_len++;
    heap_up(sim, sim->heap_len, event);
}

void sim_unschedule(struct sim *sim, struct sim_event *event)
{
    size_t slot = event->slot;

    if (slot == 0)
        return;
    event->slot = 0;
    struct sim_event *last = sim->heap[--sim->heap_len];

    if (last == event)
        return;
    if (slot > 1 && earlier(last, sim->heap[slot / 2 - 1]))
        heap_up(sim, slot, last);
    else
        heap_down(sim, slot, last);
}

/* --- steps ---------------------------------------------------------------------------------- */

static void maybe_jump_clock(struct sim *sim)
{
    if (!sim_chance(sim, sim->options.clock_jump))
        return;
    int64_t jump = (int64_t)sim_below(sim, 2 * JUMP_MAX_MS) - (int64_t)JUMP_MAX_MS;

    sim->clock_off_ms += jump;
    sim_trace(sim, (uint64_t)jump);
}

bool sim_fire_next(struct sim *sim)
{
    if (sim->heap_len == 0)
        return false;
    struct sim_event *event = sim->heap[0];

    ASSERT(event->at_ns >= sim->now_ns);
    sim_unschedule(sim, event);
    sim->now_ns = event->at_ns;
    sim_trace(sim, sim->now_ns);
    maybe_jump_clock(sim);
    event->fire(sim, event);
    return true;
}

void sim_make_ready(struct sim_io *io)
{
    if (list_linked(&io->ready_node))
        return;
    list_push_back(&io->sim->ready, &io->ready_node);
    io->sim->ready_count++;
}

void sim_make_unready(struct sim_io *io)
{
    if (!list_linked(&io->ready_node))
        return;
    list_remove(&io->ready_node);
    io->sim->ready_count--;
}

struct io *sim_step(struct sim *sim)
{
    while (sim->ready_count == 0) {
        if (!sim_fire_next(sim))
            return NULL;
    }
    /* Usually all that happens at this moment is seen in one pass, sometimes only a part. */
    while (sim->heap_len > 0 && sim->heap[0]->at_ns == sim->now_ns && sim_below(sim, 4) != 0)
        (void)sim_fire_next(sim); /* not empty */

    struct list *node = sim->ready.next;

    for (uint64_t skip = sim_below(sim, sim->ready_count); skip > 0; skip--)
        node = node->next;
    struct sim_io *io = container_of(node, struct sim_io, ready_node);

    sim_make_unready(io);
    sim_trace(sim, io->serial);
    return &io->io;
}

void sim_advance_ms(struct sim *sim, uint64_t ms)
{
    uint64_t to_ns = sim->now_ns + ms * NS_PER_MS;

    if (sim->ready_count > 0)
        return;
    if (sim->heap_len > 0 && sim->heap[0]->at_ns < to_ns)
        to_ns = sim->heap[0]->at_ns;
    sim->now_ns = to_ns;
    sim_trace(sim, to_ns);
}
