/*
 * dns_socket: the sockets that c-ares asks for, on io. It reads, writes and connects by calls that do
 * not wait; that a socket is ready it learns from a poll op, one a socket, armed again each time.
 *
 * c-ares closes whenever it likes, also while a poll is in flight, which io does not allow: the fd then
 * lives on, out of c-ares' sight, until the poll has ended.
 */
#include <errno.h>

#include "base_mem.h"
#include "dns_resolver_priv.h"

/* Owned by the resolver's list, until its fd is closed. */
struct dns_socket {
    struct list node;
    struct dns_resolver *resolver;
    int fd;
    unsigned wanted; /* events that c-ares waits for */
    unsigned polled; /* those of the op in flight */
    bool cancelled;  /* the op in flight */
    bool closing;
    struct io_op op; /* a poll, or the close */
};

static struct dns_socket *socket_find(struct dns_resolver *r, int fd)
{
    LIST_EACH(&r->sockets, node)
    {
        struct dns_socket *s = container_of(node, struct dns_socket, node);
        if (s->fd == fd && !s->closing)
            return s;
    }
    return NULL;
}

static void socket_closed(struct io_op *op)
{
    struct dns_socket *s = container_of(op, struct dns_socket, op);

    list_remove(&s->node);
    mem_free(s);
}

static void socket_polled(struct io_op *op);

/* Does what is to be done next. */
static void socket_step(struct dns_socket *s)
{
    struct io *io = s->resolver->dns.io;

    if (io_op_busy(&s->op)) {
        if (!s->cancelled && (s->closing || s->wanted != s->polled)) {
            s->cancelled = true;
            io_cancel(io, &s->op);
        }
    } else if (s->closing) {
        s->op.done = socket_closed;
        io_close(io, &s->op, s->fd);
    } else if (s->wanted != 0) {
        s->polled = s->wanted;
        s->cancelled = false;
        s->op.done = socket_polled;
        io_poll(io, &s->op, s->fd, s->polled);
    }
}

static void socket_polled(struct io_op *op)
{
    struct dns_socket *s = container_of(op, struct dns_socket, op);
    struct dns_resolver *r = s->resolver;
    unsigned ready = op->res > 0 ? (unsigned)op->res : 0;

    if (op->res < 0 && op->res != -ECANCELED)
        ready = s->polled; /* c-ares' own call will say what it is */
    if (!s->closing && ready != 0) {
        ares_process_fd(r->channel, (ready & IO_POLL_IN) != 0 ? s->fd : ARES_SOCKET_BAD,
                        (ready & IO_POLL_OUT) != 0 ? s->fd : ARES_SOCKET_BAD);
        dns_resolver_rearm(r);
    }
    if (!io_op_busy(&s->op))
        socket_step(s);
}

void dns_socket_state(void *resolver, ares_socket_t fd, int readable, int writable)
{
    struct dns_socket *s = socket_find(resolver, fd);

    ASSERT(s != NULL);
    s->wanted = (readable != 0 ? IO_POLL_IN : 0u) | (writable != 0 ? IO_POLL_OUT : 0u);
    socket_step(s);
}

/* ---- c-ares' calls: -1 and errno ------------------------------------------------------------- */

static ares_socket_t call_socket(int family, int type, int protocol, void *resolver)
{
    struct dns_resolver *r = resolver;
    int fd = type == SOCK_DGRAM ? io_socket_dgram(r->dns.io, family)
                                : io_socket_stream(r->dns.io, family);
    struct dns_socket *s;

    (void)protocol; /* there is one for each type */
    if (fd < 0) {
        errno = -fd;
        return ARES_SOCKET_BAD;
    }
    s = mem_zalloc(sizeof(*s));
    s->resolver = r;
    s->fd = fd;
    list_push_back(&r->sockets, &s->node);
    return fd;
}

static int call_close(ares_socket_t fd, void *resolver)
{
    struct dns_socket *s = socket_find(resolver, fd);

    ASSERT(s != NULL);
    s->closing = true;
    socket_step(s);
    return 0;
}

static int call_connect(ares_socket_t fd, const struct sockaddr *to, ares_socklen_t len,
                        void *resolver)
{
    struct dns_resolver *r = resolver;
    struct io_addr addr = {.len = len};
    int error;

    ASSERT(len <= sizeof(addr.storage));
    memcpy(&addr.storage, to, len);
    error = io_dgram_connect(r->dns.io, fd, &addr);
    errno = -error;
    return error < 0 ? -1 : 0;
}

static ares_ssize_t call_recvfrom(ares_socket_t fd, void *data, size_t len, int flags,
                                  struct sockaddr *from, ares_socklen_t *from_len, void *resolver)
{
    struct dns_resolver *r = resolver;
    struct io_addr addr = {0};
    int64_t got = io_dgram_recv(r->dns.io, fd, data, len, from != NULL ? &addr : NULL);

    (void)flags; /* none are used */
    if (got < 0) {
        errno = (int)-got;
        return -1;
    }
    if (from != NULL) {
        memcpy(from, &addr.storage, addr.len < *from_len ? addr.len : *from_len);
        *from_len = addr.len;
    }
    return (ares_ssize_t)got;
}

static ares_ssize_t call_sendv(ares_socket_t fd, const struct iovec *iov, int count, void *resolver)
{
    struct dns_resolver *r = resolver;
    int64_t sent = io_dgram_send(r->dns.io, fd, iov, count);

    if (sent < 0) {
        errno = (int)-sent;
        return -1;
    }
    return (ares_ssize_t)sent;
}

const struct ares_socket_functions dns_socket_functions = {.asocket = call_socket,
                                                           .aclose = call_close,
                                                           .aconnect = call_connect,
                                                           .arecvfrom = call_recvfrom,
                                                           .asendv = call_sendv};
