/*
 * net_listener: accepts connections on one listening socket and hands each to its owner. When
 * descriptors run out it pauses for a second instead of spinning.
 */
#ifndef NET_LISTENER_H
#define NET_LISTENER_H

#include "base_wheel.h"
#include "io.h"

struct net_listener {
    struct io *io;
    struct wheel *wheel;
    int fd;
    bool stopping;
    void (*accepted)(struct net_listener *l, int fd);
    void (*stopped)(struct net_listener *l);
    void *context;
    struct io_op accept;
    struct io_op close;
    struct wheel_timer pause;
    uint64_t refused; /* accepts that failed for want of descriptors or memory */
};

/* Takes over `fd`, a listening socket. */
void net_listener_start(struct net_listener *l, struct io *io, struct wheel *wheel, int fd,
                        void (*accepted)(struct net_listener *l, int fd));
/* Ends accepting and closes the socket; `stopped` (may be NULL) says when. */
void net_listener_stop(struct net_listener *l, void (*stopped)(struct net_listener *l));
bool net_listener_is_stopped(const struct net_listener *l);

#endif
