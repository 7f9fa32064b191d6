/*
 * io_sim_io: an io of the simulated world: its making, its end, its waiting.
 */
#include <string.h>

#include "base_log.h"
#include "io_priv.h"
#include "io_sim_priv.h"

#define NS_PER_MS UINT64_C(1000000)

static struct sim_io *sim_io_of(struct io *io)
{
    return container_of(io, struct sim_io, io);
}

/* --- creation ------------------------------------------------------------------------------- */

static void deadline_passed(struct sim *sim, struct sim_event *event)
{
    struct sim_io *io = container_of(event, struct sim_io, deadline);

    (void)sim;
    io->woken = true;
    sim_make_ready(io);
}

static void wake_arrived(struct sim *sim, struct sim_event *event)
{
    struct sim_io *io = container_of(event, struct sim_io, wake);

    (void)sim;
    io->woken = true;
    sim_make_ready(io);
}

struct io *sim_io_create(struct sim_machine *machine, size_t registered_len)
{
    struct sim_io *io = mem_zalloc(sizeof(*io));
    struct sim *sim = machine->sim;

    io->io.vtable = &sim_io_vtable;
    io->io.now_ms = sim->now_ns / NS_PER_MS;
    io->machine = machine;
    io->sim = sim;
    io->serial = ++sim->io_serial;
    io->deadline.fire = deadline_passed;
    io->wake.fire = wake_arrived;
    list_init(&io->ready_node);
    list_init(&io->inflight);
    list_init(&io->done);
    list_init(&io->starved);
    sim_lent_init(io);
    if (registered_len > 0) {
        io->registered_memory = mem_zalloc(registered_len + IO_ALIGN);
        uintptr_t start = ((uintptr_t)io->registered_memory + IO_ALIGN - 1) / IO_ALIGN * IO_ALIGN;

        io->io.registered = (void *)start;
        io->io.registered_len = registered_len;
    }
    list_push_back(&machine->ios, &io->node);
    sim_make_ready(io);
    return &io->io;
}

void sim_io_set_context(struct io *io, void *context)
{
    sim_io_of(io)->context = context;
}

void *sim_io_context(const struct io *io)
{
    return container_of(io, const struct sim_io, io)->context;
}

struct sim_machine *sim_io_machine(const struct io *io)
{
    return container_of(io, const struct sim_io, io)->machine;
}

void sim_io_set_stepping(struct io *io, bool stepping)
{
    sim_io_of(io)->stepping = stepping;
}

static void free_ops(struct list *ops)
{
    LIST_EACH_SAFE(ops, node)
    sim_op_free(container_of(node, struct sim_op, node));
}

void sim_io_free(struct sim_io *io)
{
    free_ops(&io->inflight);
    free_ops(&io->done);
    sim_make_unready(io);
    sim_unschedule(io->sim, &io->deadline);
    sim_unschedule(io->sim, &io->wake);
    list_remove(&io->node);
    for (size_t fd = 0; fd < io->machine->fd_capacity; fd++)
        if (io->machine->fds[fd] && io->machine->fds[fd]->io == io)
            io->machine->fds[fd]->io = NULL;
    mem_free(io->registered_memory);
    sim_lent_finish(io);
    mem_free(io);
}

static void report_leak(struct sim_io *io, size_t fd)
{
    struct log_record r;

    io->sim->leaked_fds++;
    log_begin(&r, LOG_ERROR, "fd left open");
    log_u64(&r, "io", io->serial);
    log_u64(&r, "fd", fd);
    log_end(&r);
}

void sim_io_destroy(struct io *base)
{
    struct sim_io *io = sim_io_of(base);

    if (!list_empty(&io->inflight) || !list_empty(&io->done))
        sim_broken(io, "destroyed with an op in flight", NULL);
    if (base->counters.lent_out != 0)
        sim_broken(io, "destroyed with a buffer lent", NULL);
    for (size_t fd = 0; fd < io->machine->fd_capacity; fd++)
        if (io->machine->fds[fd] && io->machine->fds[fd]->io == io)
            report_leak(io, fd);
    sim_io_free(io);
}

/* --- waiting ---------------------------------------------------------------------------------- */

static void run_one(struct sim_io *io, struct sim_op *sop)
{
    struct io_op *op = sop->op;
    int32_t res = sop->res;
    bool echo = sop->echo;

    if (sop->kind == IO_RECV && res > 0) {
        op->lent = sop->lent;
        op->lent_id = sop->lent_id;
        io->io.counters.lent_out++;
    }
    sim_trace(io->sim, (uint64_t)sop->kind << 32 | (uint32_t)res);
    sim_op_free(sop);
    if (echo)
        io_op_complete_more(&io->io, op, res);
    else
        io_op_complete(&io->io, op, res);
}

/* Mostly everything that is there, as a ring would; sometimes less, as a bounded pass may. */
static int run_some(struct sim_io *io)
{
    size_t bound = io->done_count;
    int ran = 0;

    if (bound > 1 && sim_below(io->sim, 8) == 0)
        bound = 1 + sim_below(io->sim, bound);
    while (bound > 0 && !list_empty(&io->done)) {
        run_one(io, container_of(io->done.next, struct sim_op, node));
        bound--;
        ran++;
    }
    return ran;
}

static void register_deadline(struct sim_io *io, uint64_t deadline_ms)
{
    sim_unschedule(io->sim, &io->deadline);
    if (deadline_ms == UINT64_MAX)
        return;
    /* One that has passed already still costs time, or a loop that never sleeps would stop the world. */
    if (deadline_ms <= io->io.now_ms)
        sim_schedule(io->sim, &io->deadline, io->sim->now_ns + 1000);
    else
        sim_schedule(io->sim, &io->deadline, deadline_ms * NS_PER_MS);
}

/* Until this io has something to do or its deadline comes. */
static void step_world(struct sim_io *io, uint64_t deadline_ms)
{
    register_deadline(io, deadline_ms);
    while (list_empty(&io->done) && !io->woken) {
        if (!sim_fire_next(io->sim))
            sim_broken(io, "waits for what will never happen", NULL);
    }
    sim_unschedule(io->sim, &io->deadline);
}

int sim_io_wait(struct io *base, uint64_t deadline_ms)
{
    struct sim_io *io = sim_io_of(base);
    bool stepping = io->stepping || base->awaiting;

    base->counters.waits++;
    if (io->sim->options.lent_strict && base->counters.lent_out != 0)
        sim_broken(io, "a lent buffer is held into the next pass", NULL);
    if (stepping && deadline_ms > io->sim->now_ns / NS_PER_MS)
        step_world(io, deadline_ms);
    else if (stepping)
        (void)sim_fire_next(io->sim); /* a loop that only looks takes time too */
    base->now_ms = io->sim->now_ns / NS_PER_MS;
    sim_make_unready(io);

    bool idle = !io->woken && list_empty(&io->done);

    io->woken = false;
    if (deadline_ms != 0 && !stepping)
        register_deadline(io, deadline_ms);
    int ran = run_some(io);

    /* See sim_step(): what it did may have changed for when its owner wants to be woken. */
    if (!list_empty(&io->done) || (!idle && deadline_ms != 0 && !io->stepping))
        sim_make_ready(io);
    return ran;
}
