/*
 * main_serve: from a configuration to running shards, in an order in which nothing is touched before it is
 * known that it can be served:
 *
 *   configuration -> user -> rings (the kernel) -> ports -> directories -> privileges -> threads: spool
 *   recovery -> all open -> listening
 *
 * main_listen.c has the sockets, main_worker.c a shard's thread.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base_mem.h"
#include "http.h"
#include "io_uring_ring.h"
#include "main_log.h"
#include "main_priv.h"
#include "main_privileges.h"
#include "main_serve_priv.h"

enum { SHARDS_MAX = 256 };

/* Helpers. What computes takes a core from the shards while it does: few, and a queue that is over within
 * seconds. Who waits for others needs threads, and costs next to nothing. */
enum {
    COMPUTE_THREADS_MAX = 2,
    COMPUTE_LIMIT = 256,
    PATIENT_THREADS = 8,
    PATIENT_LIMIT = 1024,
    FETCH_THREADS = 8,
    FETCH_LIMIT = 4096
};

/* ---- before anything is touched ------------------------------------------------------------ */

static void raise_limits(void)
{
    struct rlimit files;
    struct rlimit locked = {RLIM_INFINITY, RLIM_INFINITY};

    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files); /* the soft limit will do then */
    }
    (void)setrlimit(RLIMIT_MEMLOCK,
                    &locked); /* without the right to: the ring says what it needs */
}

/* The CPUs that this process may use, as many as there are to be shards. */
static unsigned choose_cpus(uint64_t wanted, int *cpus)
{
    cpu_set_t allowed;
    unsigned count = 0, have = 0;
    int list[CPU_SETSIZE];

    CPU_ZERO(&allowed);
    if (sched_getaffinity(0, sizeof(allowed), &allowed) != 0)
        CPU_SET(0, &allowed);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (CPU_ISSET(cpu, &allowed))
            list[have++] = cpu;
    }
    count = wanted > 0 ? (unsigned)wanted : have;
    if (count > SHARDS_MAX)
        count = SHARDS_MAX;
    for (unsigned i = 0; i < count; i++)
        cpus[i] =
            count <= have ? list[i] : -1; /* more shards than CPUs: let the kernel place them */
    return count;
}

static bool create_rings(struct serve *s)
{
    struct buf error;
    bool ok = true;

    buf_init(&error, 0);
    for (unsigned i = 0; ok && i < s->count; i++) {
        struct io_uring_options options = {
            .connections_max = (unsigned)(s->conf->limits.connections / s->count + 1),
            .registered_len = shard_registered_len(s->conf),
            .cpu = s->workers[i].cpu,
        };
        int exit_code = EX_OSERR;
        s->workers[i].io = io_uring_create(&options, &error, &exit_code);
        if (buf_len(&error) > 0) /* a warning, if there is a ring */
            main_complain("%.*s", SLICE_ARG(buf_slice(&error)));
        buf_clear(&error);
        if (s->workers[i].io == NULL)
            ok = main_give_up(s, exit_code);
    }
    buf_finish(&error);
    return ok;
}

/* ---- directories, privileges ----------------------------------------------------------------- */

static bool prepare_disk(struct serve *s)
{
    if (!main_user_make_directory(&s->user, s->conf->spool, 0700))
        return main_give_up(s, EX_CANTCREAT);
    if (!s->user.change && !main_user_may_write(s->conf->spool, "spool"))
        return main_give_up(s, EX_CANTCREAT);
    if (!main_user_make_directory(&s->user, s->conf->state, 0700))
        return main_give_up(s, EX_CANTCREAT);
    if (!main_listen_control(s) || !main_listen_submit(s))
        return false;
    main_drop_prepare(&s->drop, s->conf, &s->user);
    if (!main_user_become(&s->user))
        return main_give_up(s, EX_NOPERM);
    if (main_tls_has_secrets(s->conf))
        main_user_hide_memory();
    if (s->user.change)
        main_reload_warn(&s->reload);
    if (!main_user_may_write(s->conf->spool, "spool")
        || !main_user_may_write(s->conf->state, "state"))
        return main_give_up(s, EX_CANTCREAT);
    return true;
}

/* ---- the main thread ------------------------------------------------------------------------ */

static bool start_helpers(struct serve *s)
{
    cpu_set_t allowed;
    bool several = sched_getaffinity(0, sizeof(allowed), &allowed) == 0 && CPU_COUNT(&allowed) > 1;

    s->group.compute =
        work_pool_create("compute", several ? COMPUTE_THREADS_MAX : 1, COMPUTE_LIMIT);
    s->group.patient = work_pool_create("patient", PATIENT_THREADS, PATIENT_LIMIT);
    s->group.fetch = work_pool_create("fetch", FETCH_THREADS, FETCH_LIMIT);
    if (s->group.compute == NULL || s->group.patient == NULL || s->group.fetch == NULL) {
        main_complain("cannot start a thread");
        return main_give_up(s, EX_OSERR);
    }
    return true;
}

static bool start_workers(struct serve *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct worker *w = &s->workers[i];
        int error = pthread_create(&w->thread, NULL, main_worker_run, w);
        if (error != 0) {
            main_complain("cannot start a thread: %s", strerror(error));
            atomic_store(&s->failed, true);
            s->exit_code = EX_OSERR;
            break;
        }
        s->running++;
    }
    /* Nobody is there before `go`. */
    (void)pthread_barrier_init(&s->ended, NULL, s->running + 1);
    for (unsigned i = 0; i < s->running; i++) {
        while (sem_wait(&s->opened) != 0 && errno == EINTR)
            continue;
    }
    for (unsigned i = 0; i < s->running; i++) {
        if (!s->workers[i].ok) {
            main_complain("%.*s", SLICE_ARG(buf_slice(&s->workers[i].error)));
            s->exit_code = EX_CANTCREAT;
            break; /* the others fail for the same reason, mostly */
        }
    }
    return !atomic_load(&s->failed);
}

static void log_ready(const struct serve *s)
{
    struct log_record r;
    struct spool_recovery sum = {0};

    for (unsigned i = 0; i < s->count; i++) {
        const struct spool_recovery *one = &s->workers[i].recovery;
        sum.messages += one->messages;
        sum.torn_bytes += one->torn_bytes;
        sum.bad_records += one->bad_records;
        if (one->duration_ms > sum.duration_ms)
            sum.duration_ms = one->duration_ms;
    }
    log_begin(&r, LOG_NOTICE, "ready");
    log_str(&r, "version", MAILRING_VERSION);
    log_u64(&r, "pid", (uint64_t)getpid());
    log_u64(&r, "shards", s->count);
    log_u64(&r, "recovered", sum.messages);
    log_u64(&r, "torn_bytes", sum.torn_bytes);
    log_u64(&r, "bad_records", sum.bad_records);
    log_u64(&r, "recovery_ms", sum.duration_ms);
    log_end(&r);
}

static void wait_for_stop(struct serve *s, const sigset_t *signals)
{
    struct log_record r;

    for (;;) {
        uint64_t users_ms = main_users_step(&s->users), reload_ms = main_reload_step(&s->reload);
        uint64_t ms = users_ms < reload_ms ? users_ms : reload_ms;
        struct timespec timeout = {.tv_sec = (time_t)(ms / 1000),
                                   .tv_nsec = (long)(ms % 1000) * 1000 * 1000};
        int number = sigtimedwait(signals, NULL, &timeout);
        if (number == SIGTERM || number == SIGINT)
            break;
        if (number == SIGHUP)
            main_reload_ask(&s->reload);
    }
    shard_group_stop(&s->group); /* first: whoever reads the log may be stuck */
    log_begin(&r, LOG_NOTICE, "stopping");
    log_end(&r);
}

static void join_workers(struct serve *s)
{
    if (s->running == 0)
        return;
    /* A shard may be gone as soon as it is asked to stop: not before all of them have been. */
    (void)pthread_barrier_wait(&s->ended);
    while (s->running > 0)
        (void)pthread_join(s->workers[--s->running].thread, NULL);
    (void)pthread_barrier_destroy(&s->ended);
}

static void finish(struct serve *s)
{
    for (unsigned i = 0; i < s->running; i++)
        (void)sem_post(&s->go);
    join_workers(s);
    main_listen_forget(s);
    for (unsigned i = 0; s->workers != NULL && i < s->count; i++) {
        struct worker *w = &s->workers[i];
        for (size_t a = 0; w->fds != NULL && a < s->address_count; a++) {
            if (w->fds[a] >= 0)
                io_close_now(s->workers[0].io, w->fds[a]);
        }
        mem_free(w->fds);
        buf_finish(&w->error);
    }
    if (s->control_fd >= 0)
        io_close_now(s->workers[0].io, s->control_fd);
    if (s->submit_fd >= 0)
        io_close_now(s->workers[0].io, s->submit_fd);
    /* Before the rings, whose bells they ring. */
    work_pool_destroy(s->group.compute);
    work_pool_destroy(s->group.patient);
    work_pool_destroy(s->group.fetch);
    for (unsigned i = 0; s->workers != NULL && i < s->count; i++)
        io_destroy(s->workers[i].io);
    mem_free(s->workers);
    mem_free(s->group.shards);
    mem_free(s->own);
    mem_free(s->listener_of);
}

static void run(struct serve *s, const sigset_t *signals)
{
    struct log_record r;

    main_log_start_thread();
    main_users_load(&s->users, &s->shared, s->conf->state);
    if (start_helpers(s) && start_workers(s)) {
        log_ready(s);
        for (unsigned i = 0; i < s->count; i++)
            (void)sem_post(&s->go);
        main_drop_start(&s->drop);
        wait_for_stop(s, signals);
        main_drop_stop(&s->drop);
        join_workers(s);
        main_users_save(&s->users);
        log_begin(&r, LOG_NOTICE, "stopped");
        log_end(&r);
    }
}

/* Tests serve policies and take reports at a port that they have a right to. */
static uint16_t https_port(void)
{
    const char *text = getenv("MAILRING_HTTPS_PORT");
    uint64_t port;

    return text != NULL && slice_to_u64(slice_str(text), &port) && port <= UINT16_MAX
               ? (uint16_t)port
               : 0;
}

/* The main thread waits for signals only. */
static void ask_reload(void)
{
    (void)kill(getpid(), SIGHUP);
}

static void set_up(struct serve *s)
{
    int cpus[SHARDS_MAX];

    s->control_fd = s->submit_fd = -1;
    s->count = choose_cpus(s->conf->shards, cpus);
    s->workers = mem_calloc(s->count, sizeof(*s->workers));
    for (unsigned i = 0; i < s->count; i++) {
        s->workers[i].serve = s;
        s->workers[i].number = i;
        s->workers[i].cpu = cpus[i];
        buf_init(&s->workers[i].error, 0);
    }
    server_shared_init(&s->shared, s->conf);
    s->auth_shared = auth_shared_create();
    s->reload.group = &s->group;
    s->group = (struct shard_group){.settings = s->reload.start.shard,
                                    .auth_shared = s->auth_shared,
                                    .shared = &s->shared,
                                    .count = s->count,
                                    .process_id = (uint32_t)getpid(),
                                    .https_port = https_port(),
                                    .pass_over = main_log_flush,
                                    .ask_reload = ask_reload};
    s->group.shards = mem_calloc(s->count, sizeof(*s->group.shards));
    s->group.own_count = main_own_addresses(&s->own);
    s->group.own = s->own;
    (void)sem_init(&s->opened, 0, 0); /* fails only for wrong arguments */
    (void)sem_init(&s->go, 0, 0);
}

int main_serve(const struct main_options *o)
{
    struct serve s = {.exit_code = EX_OK};
    struct conf *conf;
    sigset_t signals;
    uint64_t key[2];

    conf = main_load_conf(o);
    if (conf == NULL)
        return EX_CONFIG;
    if (!main_user_find(conf->user, &s.user)) {
        conf_free(conf);
        return EX_NOUSER;
    }
    if (!main_reload_start(&s.reload, o, conf, &s.user))
        return EX_CONFIG;
    s.conf = conf;
    main_log_setup(o->log_level, o->log_format);
    (void)signal(SIGPIPE, SIG_IGN);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGHUP);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL); /* threads inherit it */
    umask(077);
    raise_limits();
    http_setup();
    set_up(&s);
    if (create_rings(&s)) {
        io_entropy(s.workers[0].io, key, sizeof(key));
        hash_set_key(key[0], key[1]);
        if (main_listen(&s) && prepare_disk(&s))
            run(&s, &signals);
    }
    finish(&s);
    main_log_stop_thread();
    server_shared_finish(&s.shared);
    auth_shared_destroy(s.auth_shared);
    main_reload_finish(&s.reload);
    return s.exit_code;
}
