/*
 * io_sim_net_priv: simulated stream sockets. A link is two sockets that point at each other; what one
 * sends lies in the other's `rx` until it is read, at most options.link_buffer_len bytes.
 */
#ifndef IO_SIM_NET_PRIV_H
#define IO_SIM_NET_PRIV_H

#include "io_sim_priv.h"

enum sim_sock_state { SIM_SOCK_NEW, SIM_SOCK_CONNECTING, SIM_SOCK_CONNECTED, SIM_SOCK_LISTENING };

struct sim_sock {
    struct sim_machine *machine;
    enum sim_sock_state state;
    int family;
    struct io_addr local;
    struct io_addr remote;

    /* listening */
    struct list listener_node; /* machine->listeners */
    struct list backlog;       /* sim_sock.backlog_node, not yet accepted */
    struct list backlog_node;
    size_t backlog_count;
    size_t backlog_max;
    unsigned listen_flags;

    /* connected */
    struct sim_sock *peer; /* NULL: it has closed, or the link is broken */
    struct buf rx;
    bool eof;    /* the peer will send no more: what is in rx is the rest */
    bool shut;   /* our own shutdown */
    bool ended;  /* ... of our sending only */
    bool broken; /* reset: after `error` was told once, recv sees an end and send EPIPE */
    int error;   /* for the next recv or send, as SO_ERROR */

    /* In flight; an op stays here until its `done` runs. */
    struct sim_op *accept_op;
    struct sim_op *connect_op;
    struct sim_op *recv_op;
    struct sim_op *send_op;
    struct list polls; /* sim_op.wait_node */
};

struct sim_sock *sim_sock_new(struct sim_machine *machine, int family);
int sim_sock_handle(struct sim_io *io, struct sim_sock *s); /* an fd for it */
/* Something has changed for this socket: whatever can go on, will. */
void sim_sock_poke(struct sim_sock *s);
void sim_sock_cancelled(struct sim_op *sop);
/* The end that is not `s`: it sees a reset, and may lose what it has not read. */
void sim_sock_break(struct sim_sock *s, int error);

void sim_accept_submit(struct sim_op *sop);
void sim_accept_fire(struct sim *sim, struct sim_event *event);
void sim_connect_submit(struct sim_op *sop);
void sim_listener_close(struct sim_sock *s);

#endif
