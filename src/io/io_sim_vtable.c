/*
 * io_sim_vtable: struct io's table for the simulated world, and the calls that are a few lines.
 */
#include <errno.h>
#include <string.h>

#include "io_sim_priv.h"

#define NS_PER_MS UINT64_C(1000000)

static struct sim_io *sim_io_of(struct io *io)
{
    return container_of(io, struct sim_io, io);
}

static void vt_flush(struct io *io)
{
    (void)io; /* what is submitted is on its way */
}

static void vt_wake_from_thread(struct io *to)
{
    struct sim_io *io = sim_io_of(to);

    if (io->wake.slot == 0)
        sim_schedule(io->sim, &io->wake, io->sim->now_ns + sim_delay_ns(io->sim));
}

static void vt_wake(struct io *from, struct io *to)
{
    ASSERT(sim_io_of(from)->machine == sim_io_of(to)->machine); /* shards of one process */
    vt_wake_from_thread(to);
}

static uint64_t vt_now_ns(struct io *io)
{
    return sim_io_of(io)->sim->now_ns;
}

static uint64_t vt_unix_ms(struct io *io)
{
    struct sim *sim = sim_io_of(io)->sim;
    uint64_t passed_ms = (sim->now_ns - sim->start_ns) / NS_PER_MS;

    return sim->options.unix_ms + passed_ms + (uint64_t)sim->clock_off_ms;
}

static void vt_entropy(struct io *io, void *out, size_t len)
{
    struct rand *r = &sim_io_of(io)->sim->entropy;

    for (uint8_t *p = out; len > 0;) {
        uint64_t word = rand_u64(r);
        size_t part = len < sizeof(word) ? len : sizeof(word);

        memcpy(p, &word, part);
        p += part;
        len -= part;
    }
}

static int vt_socket(struct io *io, int family, int type)
{
    /* The resolver has a simulated twin of its own, so datagrams have no world to travel in. */
    if (type != SOCK_STREAM)
        return -EOPNOTSUPP;
    return sim_sock_create(sim_io_of(io), family);
}

static int vt_listen(struct io *io, const struct io_addr *addr, unsigned flags, int backlog)
{
    return sim_sock_listen(sim_io_of(io), addr, flags, backlog);
}

static struct sim_handle *handle_of(struct io *io, int fd, enum sim_handle_kind kind)
{
    struct sim_handle *h = sim_fd_get(sim_io_of(io)->machine, fd);

    if (!h || h->closing || h->kind != kind)
        sim_broken(sim_io_of(io), "an fd that is not open, or is something else", NULL);
    return h;
}

/* Everybody on the simulated machine is the same user. */
static int vt_peer_uid(struct io *io, int fd, uint32_t *out_uid)
{
    (void)handle_of(io, fd, SIM_HANDLE_SOCK);
    *out_uid = 1000;
    return 0;
}

static int vt_addresses(struct io *io, int fd, struct io_addr *out_local, struct io_addr *out_peer)
{
    return sim_sock_addresses(handle_of(io, fd, SIM_HANDLE_SOCK)->sock, out_local, out_peer);
}

static int vt_dgram_connect(struct io *io, int fd, const struct io_addr *addr)
{
    (void)io, (void)fd, (void)addr;
    return -EOPNOTSUPP;
}

static int64_t vt_dgram_send(struct io *io, int fd, const struct iovec *iov, int count)
{
    (void)io, (void)fd, (void)iov, (void)count;
    return -EOPNOTSUPP;
}

static int64_t vt_dgram_recv(struct io *io, int fd, void *data, size_t len,
                             struct io_addr *out_from)
{
    (void)io, (void)fd, (void)data, (void)len, (void)out_from;
    return -EOPNOTSUPP;
}

static void vt_close_now(struct io *base, int fd)
{
    struct sim_io *io = sim_io_of(base);
    struct sim_handle *h = sim_fd_get(io->machine, fd);

    if (!h || h->closing)
        sim_broken(io, "an fd that is not open", NULL);
    if (h->inflight > 0)
        sim_broken(io, "closed with an op in flight", NULL);
    sim_fd_close(io->machine, fd);
}

static int vt_list(struct io *io, const char *path, bool (*visit)(void *context, const char *name),
                   void *context)
{
    return sim_dir_list(sim_io_of(io)->machine, path, visit, context);
}

static int vt_lock(struct io *io, int fd)
{
    return sim_file_lock(handle_of(io, fd, SIM_HANDLE_FILE));
}

static uint64_t vt_disk_free(struct io *io, const char *path)
{
    (void)path; /* one disk a machine */
    return sim_disk_free(sim_io_of(io)->machine);
}

const struct io_vtable sim_io_vtable = {
    .destroy = sim_io_destroy,
    .wait = sim_io_wait,
    .submit = sim_op_submit,
    .cancel = sim_op_cancel,
    .flush = vt_flush,
    .lent_return = sim_lent_return,
    .wake = vt_wake,
    .wake_from_thread = vt_wake_from_thread,
    .now_ns = vt_now_ns,
    .unix_ms = vt_unix_ms,
    .entropy = vt_entropy,
    .socket = vt_socket,
    .listen = vt_listen,
    .addresses = vt_addresses,
    .peer_uid = vt_peer_uid,
    .dgram_connect = vt_dgram_connect,
    .dgram_send = vt_dgram_send,
    .dgram_recv = vt_dgram_recv,
    .close_now = vt_close_now,
    .list = vt_list,
    .lock = vt_lock,
    .disk_free = vt_disk_free,
};
