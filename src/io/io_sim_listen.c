/*
 * io_sim_listen: how links come to be: sockets, listeners, connect, accept.
 */
#include <errno.h>
#include <string.h>
#include <sys/un.h>

#include "io_sim_net_priv.h"

#define NS_PER_S UINT64_C(1000000000)
enum { SYN_RETRIES = 6, PORT_LAST = 60999, PORT_FIRST = 32768 };

struct sim_sock *sim_sock_new(struct sim_machine *machine, int family)
{
    struct sim_sock *s = mem_zalloc(sizeof(*s));

    s->machine = machine;
    s->family = family;
    buf_init(&s->rx, 0);
    list_init(&s->listener_node);
    list_init(&s->backlog);
    list_init(&s->backlog_node);
    list_init(&s->polls);
    return s;
}

int sim_sock_handle(struct sim_io *io, struct sim_sock *s)
{
    struct sim_handle *h = mem_zalloc(sizeof(*h));

    h->kind = SIM_HANDLE_SOCK;
    h->sock = s;
    int fd = sim_fd_open(io, h);

    if (fd < 0)
        mem_free(h);
    return fd;
}

int sim_sock_create(struct sim_io *io, int family)
{
    if (family != AF_INET && family != AF_INET6 && family != AF_UNIX)
        return -EAFNOSUPPORT;
    struct sim_sock *s = sim_sock_new(io->machine, family);
    int fd = sim_sock_handle(io, s);

    if (fd < 0)
        sim_sock_close(io->machine, s);
    return fd;
}

int sim_sock_addresses(const struct sim_sock *s, struct io_addr *out_local,
                       struct io_addr *out_peer)
{
    if (out_peer && s->state != SIM_SOCK_CONNECTED)
        return -ENOTCONN;
    if (out_local)
        *out_local = s->local;
    if (out_peer)
        *out_peer = s->remote;
    return 0;
}

/* --- addresses --------------------------------------------------------------------------------- */

static bool is_loopback(const struct ip_addr *ip)
{
    static const struct ip_addr v6 = {{[15] = 1}};

    return ip_is_v4(ip) ? ip->bytes[12] == 127 : memcmp(ip, &v6, sizeof(v6)) == 0;
}

static bool is_any(const struct ip_addr *ip)
{
    static const uint8_t zeros[16];

    return ip_is_v4(ip) ? memcmp(ip->bytes + 12, zeros, 4) == 0 : memcmp(ip->bytes, zeros, 16) == 0;
}

static bool same_unix(const struct io_addr *a, const struct io_addr *b)
{
    if (a->storage.ss_family != AF_UNIX || b->storage.ss_family != AF_UNIX)
        return false;
    return strncmp(((const struct sockaddr_un *)&a->storage)->sun_path,
                   ((const struct sockaddr_un *)&b->storage)->sun_path,
                   sizeof(((struct sockaddr_un *)NULL)->sun_path))
           == 0;
}

/* How well a listener fits: 0 not at all, 1 by wildcard, 2 by its own address. */
static int listener_fits(const struct sim_sock *l, const struct io_addr *to)
{
    struct ip_addr want;
    struct ip_addr have;
    uint16_t want_port;
    uint16_t have_port;

    if (!io_addr_to_ip(to, &want, &want_port))
        return same_unix(&l->local, to) ? 2 : 0;
    if (!io_addr_to_ip(&l->local, &have, &have_port) || want_port != have_port)
        return 0;
    if (memcmp(&want, &have, sizeof(want)) == 0)
        return 2;
    if (!is_any(&have))
        return 0;
    if (ip_is_v4(&have) || (l->listen_flags & IO_LISTEN_V6ONLY))
        return ip_is_v4(&have) == ip_is_v4(&want);
    return 1;
}

/* SO_REUSEPORT: of those that fit equally well, any. */
static struct sim_sock *find_listener(struct sim_machine *m, const struct io_addr *to)
{
    struct sim_sock *found = NULL;
    uint64_t equals = 0;
    int best = 1;

    LIST_EACH(&m->listeners, node)
    {
        struct sim_sock *l = container_of(node, struct sim_sock, listener_node);
        int fit = listener_fits(l, to);

        if (fit < best)
            continue;
        if (fit > best)
            equals = 0;
        best = fit;
        if (sim_below(m->sim, ++equals) == 0)
            found = l;
    }
    return found;
}

static struct sim_machine *find_machine(struct sim_machine *from, const struct io_addr *to)
{
    struct ip_addr ip;
    uint16_t port;

    if (!io_addr_to_ip(to, &ip, &port) || is_loopback(&ip))
        return from;
    LIST_EACH(&from->sim->machines, node)
    {
        struct sim_machine *m = container_of(node, struct sim_machine, node);

        if (memcmp(&m->ip, &ip, sizeof(ip)) == 0)
            return m;
    }
    return NULL;
}

static uint16_t ephemeral_port(struct sim_machine *m)
{
    uint16_t port = m->port_next;

    m->port_next = port >= PORT_LAST ? PORT_FIRST : port + 1;
    return port;
}

/* The connecting end's own address. */
static void source_address(struct sim_machine *m, const struct io_addr *to, struct io_addr *out)
{
    struct ip_addr ip;
    uint16_t port;

    memset(out, 0, sizeof(*out));
    if (!io_addr_to_ip(to, &ip, &port)) {
        out->storage.ss_family = AF_UNIX; /* unnamed */
        out->len = sizeof(sa_family_t);
        return;
    }
    io_addr_from_ip(is_loopback(&ip) ? &ip : &m->ip, ephemeral_port(m), out);
}

/* --- listening --------------------------------------------------------------------------------- */

int sim_sock_listen(struct sim_io *io, const struct io_addr *addr, unsigned flags, int backlog)
{
    struct sim_machine *m = io->machine;
    struct io_addr local = *addr;
    struct ip_addr ip;
    uint16_t port;

    if (io_addr_to_ip(addr, &ip, &port)) {
        if (!is_any(&ip) && find_machine(m, addr) != m)
            return -EADDRNOTAVAIL;
        if (port == 0)
            io_addr_from_ip(&ip, ephemeral_port(m), &local);
    }
    LIST_EACH(&m->listeners, node)
    {
        struct sim_sock *l = container_of(node, struct sim_sock, listener_node);

        if (listener_fits(l, &local) == 2 && !(flags & l->listen_flags & IO_LISTEN_REUSEPORT))
            return -EADDRINUSE;
    }
    struct sim_sock *s = sim_sock_new(m, addr->storage.ss_family);

    s->state = SIM_SOCK_LISTENING;
    s->local = local;
    s->listen_flags = flags;
    s->backlog_max = backlog > 0 ? (size_t)backlog : 1;
    list_push_back(&m->listeners, &s->listener_node);
    int fd = sim_sock_handle(io, s);

    if (fd < 0)
        sim_sock_close(m, s);
    return fd;
}

void sim_listener_close(struct sim_sock *s)
{
    struct list *node;

    list_remove(&s->listener_node);
    while ((node = list_pop_front(&s->backlog)) != NULL) {
        struct sim_sock *waiting = container_of(node, struct sim_sock, backlog_node);

        sim_sock_reset(waiting);
        sim_sock_close(s->machine, waiting);
    }
}

void sim_accept_fire(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);
    struct sim_sock *l = sop->handle->sock;

    (void)sim;
    while (l->backlog_count > 0) {
        struct list *node = l->backlog.next;
        int fd = sim_sock_handle(sop->io, container_of(node, struct sim_sock, backlog_node));

        if (fd < 0) {
            sim_op_finish(sop, fd); /* EMFILE: who waits stays in the backlog */
            return;
        }
        list_remove(node);
        l->backlog_count--;
        sim_op_echo(sop, fd);
    }
}

void sim_accept_submit(struct sim_op *sop)
{
    struct sim_sock *l = sop->handle->sock;

    if (l->accept_op)
        sim_broken(sop->io, "two accepts on one listener", sop->op);
    l->accept_op = sop;
    sop->cancelled = sim_sock_cancelled;
    sim_sock_poke(l);
}

/* --- connecting -------------------------------------------------------------------------------- */

static void connect_end(struct sim_op *sop, int res)
{
    sop->handle->sock->state = res == 0 ? SIM_SOCK_CONNECTED : SIM_SOCK_NEW;
    sim_op_finish(sop, res);
}

static void link_make(struct sim_sock *s, struct sim_sock *listener, const struct io_addr *to)
{
    struct sim_sock *other = sim_sock_new(listener->machine, s->family);

    source_address(s->machine, to, &s->local);
    s->remote = other->local = *to;
    other->remote = s->local;
    other->state = SIM_SOCK_CONNECTED;
    s->peer = other;
    other->peer = s;
    list_push_back(&listener->backlog, &other->backlog_node);
    listener->backlog_count++;
    sim_sock_poke(listener);
}

static void connect_fire(struct sim *sim, struct sim_event *event)
{
    struct sim_op *sop = container_of(event, struct sim_op, event);
    const struct io_addr *to = sop->op->data;
    struct sim_machine *m = find_machine(sop->io->machine, to);
    struct sim_sock *listener = m ? find_listener(m, to) : NULL;

    if (!m) {
        connect_end(sop, -EHOSTUNREACH);
    } else if (!listener || sim_chance(sim, sim->options.connect_refused)) {
        connect_end(sop, to->storage.ss_family == AF_UNIX && !listener ? -ENOENT : -ECONNREFUSED);
    } else if (listener->backlog_count < listener->backlog_max) {
        link_make(sop->handle->sock, listener, to);
        connect_end(sop, 0);
    } else if (sop->progress++ < SYN_RETRIES) {
        /* A full backlog drops the SYN, and the client tries again after a while. */
        sim_schedule(sim, event, sim->now_ns + (NS_PER_S << sop->progress));
    } else {
        connect_end(sop, -ETIMEDOUT);
    }
}

void sim_connect_submit(struct sim_op *sop)
{
    struct sim_sock *s = sop->handle->sock;
    struct sim *sim = sop->io->sim;

    if (s->connect_op)
        sim_broken(sop->io, "two connects on one socket", sop->op);
    s->connect_op = sop;
    sop->cancelled = sim_sock_cancelled;
    if (s->state != SIM_SOCK_NEW) {
        sim_op_finish(sop, s->state == SIM_SOCK_CONNECTED ? -EISCONN : -EINVAL);
        return;
    }
    s->state = SIM_SOCK_CONNECTING;
    sop->event.fire = connect_fire;
    if (!sim_chance(sim, sim->options.connect_stall))
        sim_op_later(sop, connect_fire);
}
