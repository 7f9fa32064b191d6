/* main_serve_priv: what the parts of a serving process share: the main thread's and the shards' threads. */
#ifndef MAIN_SERVE_PRIV_H
#define MAIN_SERVE_PRIV_H

#include <pthread.h>
#include <semaphore.h>
#include <sys/stat.h>

#include "admin.h"
#include "main_drop.h"
#include "main_privileges.h"
#include "main_reload.h"
#include "main_users.h"
#include "shard.h"

/* One shard's share of the process, made on the main thread and run on its own. */
struct worker {
    struct serve *serve;
    unsigned number;
    int cpu;
    struct io *io;
    int *fds; /* listening sockets, address by address */
    pthread_t thread;
    struct shard *shard;
    struct admin *admin; /* on the first shard */
    struct spool_recovery recovery;
    struct buf error;
    bool ok;
};

struct serve {
    struct main_reload reload;
    struct auth_shared *auth_shared;
    const struct conf *conf; /* of the start */
    struct main_user user;
    struct server_shared shared;
    struct main_users users;
    struct shard_group group;
    struct ip_addr *own; /* the group's */
    struct worker *workers;
    unsigned count;
    size_t address_count; /* of all listeners */
    size_t *listener_of;  /* address -> index of its listener */
    int control_fd;
    struct stat control; /* the control socket's file; no inode: none of ours */
    int submit_fd;
    struct stat submit; /* the same of the submit socket */
    struct main_drop drop;
    sem_t opened;            /* a worker has opened its shard, or failed */
    sem_t go;                /* posted for each worker when all have */
    pthread_barrier_t ended; /* all workers have left their loops, and nobody wakes them any more */
    unsigned running;        /* workers with a thread */
    _Atomic bool failed;     /* some could not open: the others close again */
    int exit_code;
};

/* False, and what the process ends with. */
static inline bool main_give_up(struct serve *s, int exit_code)
{
    s->exit_code = exit_code;
    return false;
}

/* ---- main_listen.c -------------------------------------------------------------------------------- */

/* Binds the addresses of all listeners, a socket for each shard. False: said, and given up. */
bool main_listen(struct serve *s);
/* The control socket, which is the server's user's. */
bool main_listen_control(struct serve *s);
/* The submit socket, which is everybody's. */
bool main_listen_submit(struct serve *s);
void main_listen_forget(const struct serve *s); /* removes their files */

/* ---- main_addresses.c ----------------------------------------------------------------------------- */

/* Answers how many; *out is the caller's to free. */
size_t main_own_addresses(struct ip_addr **out);

/* ---- main_worker.c -------------------------------------------------------------------------------- */

void *main_worker_run(void *worker); /* the thread of a struct worker */

#endif
