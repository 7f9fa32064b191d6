/*
 * io_sim_machine: machines, the fds of their process, and how both end.
 */
#include <errno.h>

#include "io_sim_priv.h"

enum { FD_FIRST = 3, PORT_EPHEMERAL_FIRST = 32768 };

struct sim_machine *sim_machine_create(struct sim *sim, const char *ip)
{
    struct sim_machine *m = mem_zalloc(sizeof(*m));
    bool ok = ip_parse(slice_str(ip), &m->ip);

    ASSERT(ok);
    m->sim = sim;
    m->port_next = PORT_EPHEMERAL_FIRST;
    m->disk = sim_disk_create(sim);
    list_init(&m->ios);
    list_init(&m->listeners);
    list_push_back(&sim->machines, &m->node);
    return m;
}

struct sim_handle *sim_fd_get(struct sim_machine *machine, int fd)
{
    if (fd < 0 || (size_t)fd >= machine->fd_capacity)
        return NULL;
    return machine->fds[fd];
}

/* The lowest free one, as a kernel would: a stale fd soon means somebody else. */
int sim_fd_open(struct sim_io *io, struct sim_handle *handle)
{
    struct sim_machine *m = io->machine;
    size_t fd = FD_FIRST;

    if (m->sim->options.fds_max > 0 && m->fd_count >= m->sim->options.fds_max)
        return -EMFILE;
    while (fd < m->fd_capacity && m->fds[fd])
        fd++;
    if (fd >= m->fd_capacity) {
        size_t capacity = m->fd_capacity ? 2 * m->fd_capacity : 16;

        m->fds = mem_realloc(m->fds, capacity * sizeof(struct sim_handle *));
        for (size_t i = m->fd_capacity; i < capacity; i++)
            m->fds[i] = NULL;
        m->fd_capacity = capacity;
    }
    handle->io = io;
    m->fds[fd] = handle;
    m->fd_count++;
    return (int)fd;
}

void sim_fd_close(struct sim_machine *machine, int fd)
{
    struct sim_handle *h = sim_fd_get(machine, fd);

    ASSERT(h && h->inflight == 0);
    machine->fds[fd] = NULL;
    machine->fd_count--;
    if (h->kind == SIM_HANDLE_FILE)
        sim_file_close(h);
    else
        sim_sock_close(machine, h->sock);
    mem_free(h);
}

unsigned sim_open_files(const struct sim_machine *machine)
{
    return machine->fd_count;
}

/* Writes in flight, whose bytes may be on their way to the disk: the last look at what the ops' owner
 * promised to leave alone, since it frees its memory next. */
static void interrupt_writes(struct sim_machine *m)
{
    LIST_EACH(&m->ios, node)
    {
        struct sim_io *io = container_of(node, struct sim_io, node);

        LIST_EACH(&io->inflight, op_node)
        sim_file_interrupt(container_of(op_node, struct sim_op, node));
    }
}

/* The process is no more: its ops never complete. */
static void process_end(struct sim_machine *m, bool power_lost)
{
    while (!list_empty(&m->ios))
        sim_io_free(container_of(m->ios.next, struct sim_io, node));
    for (size_t fd = 0; fd < m->fd_capacity; fd++) {
        struct sim_handle *h = m->fds[fd];

        if (!h)
            continue;
        h->inflight = 0;
        /* A kernel closes what a killed process leaves, which a peer may take for an orderly end. */
        if (h->kind == SIM_HANDLE_SOCK && (power_lost || sim_coin(m->sim)))
            sim_sock_reset(h->sock);
        sim_fd_close(m, (int)fd);
    }
}

void sim_machine_kill(struct sim_machine *machine)
{
    sim_trace(machine->sim, 1);
    interrupt_writes(machine);
    process_end(machine, false);
}

void sim_machine_crash(struct sim_machine *machine)
{
    sim_trace(machine->sim, 2);
    interrupt_writes(machine);
    process_end(machine, true);
    sim_disk_crash(machine->disk);
}

bool sim_machine_fail_ops(struct sim_machine *machine, uint64_t after, uint64_t count)
{
    bool came = machine->fail_end > machine->fail_from && machine->file_ops > machine->fail_from;

    machine->fail_from = machine->file_ops + after;
    machine->fail_end =
        count > UINT64_MAX - machine->fail_from ? UINT64_MAX : machine->fail_from + count;
    return came;
}

uint64_t sim_machine_ops(const struct sim_machine *machine)
{
    return machine->file_ops;
}

void sim_machine_free(struct sim_machine *machine)
{
    process_end(machine, false);
    sim_disk_destroy(machine->disk);
    list_remove(&machine->node);
    mem_free(machine->fds);
    mem_free(machine);
}
