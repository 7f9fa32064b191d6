/*
 * main_serve: from a configuration to running shards, in an order in which nothing is touched before it is
 * known that it can be served:
 *
 *   configuration -> user -> rings (the kernel) -> ports -> directories -> privileges -> threads: spool
 *   recovery -> all open -> listening
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

#include "admin.h"
#include "base_mem.h"
#include "dns_resolver.h"
#include "http.h"
#include "io_uring_ring.h"
#include "main_log.h"
#include "main_priv.h"
#include "main_privileges.h"
#include "main_reload.h"
#include "main_users.h"
#include "shard.h"

enum { LISTEN_BACKLOG = 4096, CONTROL_BACKLOG = 64, LISTEN_TRIES = 60, SHARDS_MAX = 256 };

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
    struct worker *workers;
    unsigned count;
    size_t address_count; /* of all listeners */
    size_t *listener_of;  /* address -> index of its listener */
    int control_fd;
    struct stat control;     /* the control socket's file; no inode: none of ours */
    sem_t opened;            /* a worker has opened its shard, or failed */
    sem_t go;                /* posted for each worker when all have */
    pthread_barrier_t ended; /* all workers have left their loops, and nobody wakes them any more */
    unsigned running;        /* workers with a thread */
    _Atomic bool failed;     /* some could not open: the others close again */
    int exit_code;
};

static bool give_up(struct serve *s, int exit_code)
{
    s->exit_code = exit_code;
    return false;
}

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
            ok = give_up(s, exit_code);
    }
    buf_finish(&error);
    return ok;
}

static void complain_listen(const struct conf_listener *l, const struct io_addr *addr, int error)
{
    struct buf text;

    buf_init(&text, 0);
    io_addr_format(addr, &text);
    main_complain("listener \"%.*s\": cannot listen on %.*s: %s", SLICE_ARG(l->name),
                  SLICE_ARG(buf_slice(&text)), strerror(error));
    buf_finish(&text);
}

/* A server that has just been killed keeps its sockets for a moment, until the kernel has taken its rings
 * apart: who restarts at once waits that long. */
static int listen_patiently(struct io *io, const struct io_addr *addr, unsigned flags, int backlog)
{
    const struct timespec pause = {.tv_nsec = 50 * 1000 * 1000};
    int fd = io_listen(io, addr, flags, backlog);

    for (int i = 0; fd == -EADDRINUSE && i < LISTEN_TRIES; i++) {
        (void)nanosleep(&pause, NULL); /* cut short: tried a little sooner */
        fd = io_listen(io, addr, flags, backlog);
    }
    return fd;
}

/* The sockets of all shards at one address share its port (SO_REUSEPORT), and so would another
 * process's: a first socket without it finds out whether the port is taken. */
static bool bind_address(struct serve *s, const struct conf_listener *l, size_t at,
                         const struct conf_address *address)
{
    struct io *io = s->workers[0].io;
    unsigned family_flag = ip_is_v4(&address->ip) ? 0 : IO_LISTEN_V6ONLY;
    struct io_addr addr;
    int fd;

    io_addr_from_ip(&address->ip, address->port, &addr);
    fd = listen_patiently(io, &addr, family_flag, LISTEN_BACKLOG);
    if (fd >= 0)
        io_close_now(io, fd);
    for (unsigned i = 0; fd >= 0 && i < s->count; i++) {
        fd = io_listen(io, &addr, family_flag | IO_LISTEN_REUSEPORT, LISTEN_BACKLOG);
        s->workers[i].fds[at] = fd;
    }
    if (fd < 0) {
        complain_listen(l, &addr, -fd);
        return give_up(s, EX_UNAVAILABLE);
    }
    return true;
}

static bool bind_listeners(struct serve *s)
{
    size_t at = 0;

    for (size_t l = 0; l < s->conf->listener_count; l++)
        s->address_count += s->conf->listeners[l].address.count;
    s->listener_of = mem_calloc(s->address_count, sizeof(*s->listener_of));
    for (unsigned i = 0; i < s->count; i++) {
        s->workers[i].fds = mem_calloc(s->address_count, sizeof(int));
        for (size_t a = 0; a < s->address_count; a++)
            s->workers[i].fds[a] = -1;
    }
    for (size_t l = 0; l < s->conf->listener_count; l++) {
        const struct conf_listener *listener = &s->conf->listeners[l];
        for (size_t a = 0; a < listener->address.count; a++, at++) {
            s->listener_of[at] = l;
            if (!bind_address(s, listener, at, &listener->address.items[a]))
                return false;
        }
    }
    return true;
}

/* ---- directories, the control socket, privileges ------------------------------------------- */

static bool make_parent(struct serve *s, const char *path)
{
    char *copy = mem_strdup(path);
    char *slash = strrchr(copy, '/');
    bool ok = true;

    if (slash != NULL && slash != copy) {
        *slash = '\0';
        ok = main_user_make_directory(&s->user, copy, 0755);
    }
    mem_free(copy);
    return ok;
}

static bool open_control(struct serve *s)
{
    const char *path = s->conf->control;
    struct io_addr addr;
    struct buf text;
    mode_t before;
    int fd;

    if (!make_parent(s, path))
        return give_up(s, EX_CANTCREAT);
    buf_init(&text, 0);
    (void)buf_printf(&text, "unix:%s", path);
    if (!io_addr_parse(buf_slice(&text), &addr)) {
        main_complain("control \"%s\": not a path for a socket (too long?)", path);
        buf_finish(&text);
        return give_up(s, EX_CONFIG);
    }
    buf_finish(&text);
    /* Whoever may open it may do everything to the queue: the server's user and root. */
    before = umask(0177);
    fd = listen_patiently(s->workers[0].io, &addr, 0, CONTROL_BACKLOG);
    (void)umask(before);
    if (fd < 0) {
        main_complain("control \"%s\": %s", path,
                      fd == -EADDRINUSE ? "another mailring answers there" : strerror(-fd));
        return give_up(s, EX_CANTCREAT);
    }
    s->control_fd = fd;
    if (lstat(path, &s->control) != 0)
        s->control.st_ino = 0;
    /* By name, but not through a link: the directory may be the user's already. */
    if (s->user.change && lchown(path, s->user.uid, s->user.gid) != 0) {
        main_complain("control \"%s\": %s", path, strerror(errno));
        return give_up(s, EX_CANTCREAT);
    }
    return true;
}

static bool prepare_disk(struct serve *s)
{
    if (!main_user_make_directory(&s->user, s->conf->spool, 0700))
        return give_up(s, EX_CANTCREAT);
    if (!s->user.change && !main_user_may_write(s->conf->spool, "spool"))
        return give_up(s, EX_CANTCREAT);
    if (!main_user_make_directory(&s->user, s->conf->state, 0700))
        return give_up(s, EX_CANTCREAT);
    if (!open_control(s))
        return false;
    if (!main_user_become(&s->user))
        return give_up(s, EX_NOPERM);
    if (main_tls_has_secrets(s->conf))
        main_user_hide_memory();
    if (s->user.change)
        main_reload_warn(&s->reload);
    if (!main_user_may_write(s->conf->spool, "spool")
        || !main_user_may_write(s->conf->state, "state"))
        return give_up(s, EX_CANTCREAT);
    return true;
}

/* ---- a shard's thread ----------------------------------------------------------------------- */

static struct dns *create_dns(void *context, struct io *io, struct wheel *wheel,
                              struct buf *out_error)
{
    const struct worker *w = context;
    const struct conf_dns *conf = &w->serve->conf->dns;
    struct io_addr *servers = mem_calloc(conf->servers.count, sizeof(*servers));
    struct dns_resolver_options options = {.servers = servers,
                                           .server_count = conf->servers.count,
                                           .timeout_ms = conf->timeout,
                                           .dnssec =
                                               conf->dnssec == CONF_DNSSEC_YES  ? DNS_DNSSEC_YES
                                               : conf->dnssec == CONF_DNSSEC_NO ? DNS_DNSSEC_NO
                                                                                : DNS_DNSSEC_AUTO};
    struct dns *dns;

    for (size_t i = 0; i < conf->servers.count; i++)
        io_addr_from_ip(&conf->servers.items[i].ip, conf->servers.items[i].port, &servers[i]);
    dns = dns_resolver_create(io, wheel, &options, out_error);
    mem_free(servers);
    return dns;
}

static void stop_admin(void *context)
{
    struct worker *w = context;

    if (w->admin != NULL)
        admin_stop(w->admin);
}

static bool admin_is_idle(void *context)
{
    const struct worker *w = context;

    return w->admin == NULL || admin_idle(w->admin);
}

static bool worker_open(struct worker *w)
{
    struct serve *s = w->serve;
    int error = io_uring_start(w->io);
    cpu_set_t cpus;

    if (error < 0) {
        (void)buf_printf(&w->error, "cannot start the ring of shard %u: %s", w->number,
                         strerror(-error));
        return false;
    }
    if (w->cpu >= 0) {
        CPU_ZERO(&cpus);
        CPU_SET(w->cpu, &cpus);
        (void)sched_setaffinity(0, sizeof(cpus), &cpus); /* a hint: it works elsewhere too */
    }
    w->shard = shard_create(&(struct shard_options){.group = &s->group,
                                                    .number = w->number,
                                                    .io = w->io,
                                                    .dns_create = create_dns,
                                                    .dns_stop = dns_resolver_stop,
                                                    .dns_idle = dns_resolver_idle,
                                                    .guest_stop = stop_admin,
                                                    .guest_idle = admin_is_idle,
                                                    .context = w});
    return shard_open(w->shard, &w->recovery, &w->error);
}

static void worker_serve(struct worker *w)
{
    struct serve *s = w->serve;

    for (size_t a = 0; a < s->address_count; a++) {
        shard_listen(w->shard, w->fds[a], s->listener_of[a]);
        w->fds[a] = -1;
    }
    if (w->number == 0) {
        w->admin = admin_create(w->shard, s->control_fd, MAILRING_VERSION);
        s->control_fd = -1;
    }
    shard_start(w->shard);
    shard_run(w->shard);
}

static void *worker_main(void *argument)
{
    struct worker *w = argument;
    struct serve *s = w->serve;

    main_log_buffer_this_thread();
    w->ok = worker_open(w);
    if (!w->ok)
        atomic_store(&s->failed, true);
    main_log_flush();
    (void)sem_post(&s->opened);
    while (sem_wait(&s->go) != 0 && errno == EINTR)
        continue;
    if (!atomic_load(&s->failed))
        worker_serve(w);
    else if (w->shard != NULL)
        shard_rest(w->shard);
    /* All are done with each other's mailboxes before any is freed; and each by its own thread, which
     * alone may use its ring. */
    (void)pthread_barrier_wait(&s->ended);
    admin_destroy(w->admin);
    shard_destroy(w->shard, false);
    main_log_flush();
    return NULL;
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
        return give_up(s, EX_OSERR);
    }
    return true;
}

static bool start_workers(struct serve *s)
{
    for (unsigned i = 0; i < s->count; i++) {
        struct worker *w = &s->workers[i];
        int error = pthread_create(&w->thread, NULL, worker_main, w);
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

/* The socket's file, unless another server has put its own there meanwhile. In a directory that was not
 * made for the server its user may not remove it; the next start replaces it. */
static void remove_control(const struct serve *s)
{
    struct stat now;

    if (s->control.st_ino != 0 && lstat(s->conf->control, &now) == 0
        && now.st_ino == s->control.st_ino && now.st_dev == s->control.st_dev)
        (void)unlink(s->conf->control);
}

/* Frees in the order in which nothing refers to what is gone. */
static void finish(struct serve *s)
{
    for (unsigned i = 0; i < s->running; i++)
        (void)sem_post(&s->go);
    join_workers(s);
    remove_control(s);
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
    /* Before the rings, whose bells they ring. */
    work_pool_destroy(s->group.compute);
    work_pool_destroy(s->group.patient);
    work_pool_destroy(s->group.fetch);
    for (unsigned i = 0; s->workers != NULL && i < s->count; i++)
        io_destroy(s->workers[i].io);
    mem_free(s->workers);
    mem_free(s->group.shards);
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
        wait_for_stop(s, signals);
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

static void set_up(struct serve *s)
{
    int cpus[SHARDS_MAX];

    s->control_fd = -1;
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
                                    .pass_over = main_log_flush};
    s->group.shards = mem_calloc(s->count, sizeof(*s->group.shards));
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
        if (bind_listeners(&s) && prepare_disk(&s))
            run(&s, &signals);
    }
    finish(&s);
    main_log_stop_thread();
    server_shared_finish(&s.shared);
    auth_shared_destroy(s.auth_shared);
    main_reload_finish(&s.reload);
    return s.exit_code;
}
