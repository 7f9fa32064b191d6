/* net_listener: see the header. */
#include "net_listener.h"

#include <errno.h>

enum { PAUSE_MS = 1000 };

static void listener_arm(struct net_listener *l);

static void listener_closed(struct io_op *op)
{
    struct net_listener *l = container_of(op, struct net_listener, close);

    l->fd = -1;
    if (l->stopped != NULL)
        l->stopped(l);
}

static void listener_close(struct net_listener *l)
{
    l->close.done = listener_closed;
    io_close(l->io, &l->close, l->fd);
}

static void listener_pause_over(struct wheel_timer *timer)
{
    listener_arm(container_of(timer, struct net_listener, pause));
}

static void listener_accepted(struct io_op *op)
{
    struct net_listener *l = container_of(op, struct net_listener, accept);
    bool more = op->more;

    if (op->res >= 0)
        l->accepted(l, op->res);
    else if (op->res != -ECANCELED)
        l->refused++;

    if (more)
        return;
    if (l->stopping)
        listener_close(l);
    else if (op->res >= 0 || op->res == -ECONNABORTED)
        listener_arm(l);
    else /* out of descriptors or memory: they come back when sessions end */
        wheel_set(l->wheel, &l->pause, io_now_ms(l->io) + PAUSE_MS);
}

static void listener_arm(struct net_listener *l)
{
    l->accept.done = listener_accepted;
    io_accept(l->io, &l->accept, l->fd);
}

void net_listener_start(struct net_listener *l, struct io *io, struct wheel *wheel, int fd,
                        void (*accepted)(struct net_listener *l, int fd))
{
    void *context = l->context;

    *l = (struct net_listener){
        .io = io, .wheel = wheel, .fd = fd, .accepted = accepted, .context = context};
    wheel_timer_init(&l->pause, listener_pause_over);
    listener_arm(l);
}

void net_listener_stop(struct net_listener *l, void (*stopped)(struct net_listener *l))
{
    if (l->stopping || l->fd < 0)
        return;
    l->stopping = true;
    l->stopped = stopped;
    wheel_cancel(l->wheel, &l->pause);
    if (io_op_busy(&l->accept))
        io_cancel(l->io, &l->accept);
    else
        listener_close(l);
}

bool net_listener_is_stopped(const struct net_listener *l)
{
    return l->stopping && l->fd < 0;
}
