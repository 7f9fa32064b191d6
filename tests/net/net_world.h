/*
 * net_world: two ends on two simulated machines, each an owner of a connection with a script: what it sends
 * and how, what it reads and how much at a time, when it closes, and whether it speaks TLS.
 */
#ifndef NET_WORLD_H
#define NET_WORLD_H

#include <check.h>

#include "base_wheel.h"
#include "io_sim.h"
#include "net_conn.h"
#include "net_listener.h"

enum net_mode { MODE_CLEAR, MODE_IMPLICIT, MODE_STARTTLS };

struct end {
    struct net_conn conn;
    struct slice to_send;
    struct buf got;
    size_t consume_max; /* a call; leaves the rest */
    bool reads;
    bool close_after_send;
    size_t close_after_got; /* 0: only at the peer's end */
    bool linger;
    bool as_body; /* in pieces that stand still */
    struct iovec pieces[64];
    int closed;
    int readies;
    /* TLS. */
    bool is_client;
    bool asked, started;
    bool stays_in_clear; /* asks, and then says what it has to say all the same */
    bool close_when_started, abort_when_started;
    enum net_mode mode;
    struct tls_context *context;
    enum tls_check check;
    struct work_door *door;
    struct slice behind; /* sent together with STARTTLS, or with the answer to it */
    int error;           /* what it was told */
    char tls_error[128];
    bool was_active, was_truncated, saw_eof;
};

struct net_world {
    struct sim *sim; /* NULL: on a ring */
    struct io *client_io, *server_io;
    struct wheel wheel;
    struct net_listener listener;
    struct end client, server;
    struct io_addr addr;
    struct work_pool *helpers;
    struct work_door *door; /* on the server's side */
    bool helpers_sleep;
};

extern struct net_world w;

void net_world_open(uint64_t seed, const struct sim_options *options);
/* Both ends on one ring of the kernel's, over loopback, with a helper thread. */
void net_world_open_uring(void);
/* Both ends speak TLS: tls_null. */
void net_world_use_tls(enum net_mode mode, bool helpers);
/* wolfSSL's, with a certificate of ours that the client checks. */
void net_world_use_real_tls(enum net_mode mode, bool helpers, enum tls_version version_min);
/* Its key is one that helpers are for. */
void net_world_use_heavy_tls(enum net_mode mode);
void net_world_connect(void);
/* Until nothing happens by itself; on a ring, until both ends have closed. */
void net_world_run(void);
void net_world_close(void);
void net_end_step(struct end *e);

uint8_t *net_random_bytes(uint64_t seed, size_t len);

#endif
