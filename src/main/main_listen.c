/* main_listen: sockets, before privileges drop and shards run. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base_mem.h"
#include "main_priv.h"
#include "main_serve_priv.h"

enum { LISTEN_BACKLOG = 4096, CONTROL_BACKLOG = 64, LISTEN_TRIES = 60 };

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
        return main_give_up(s, EX_UNAVAILABLE);
    }
    return true;
}

bool main_listen(struct serve *s)
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

/* ---- the control socket ----------------------------------------------------------------------- */

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

bool main_listen_control(struct serve *s)
{
    const char *path = s->conf->control;
    struct io_addr addr;
    struct buf text;
    mode_t before;
    int fd;

    if (!make_parent(s, path))
        return main_give_up(s, EX_CANTCREAT);
    buf_init(&text, 0);
    (void)buf_printf(&text, "unix:%s", path);
    if (!io_addr_parse(buf_slice(&text), &addr)) {
        main_complain("control \"%s\": not a path for a socket (too long?)", path);
        buf_finish(&text);
        return main_give_up(s, EX_CONFIG);
    }
    buf_finish(&text);
    /* Whoever may open it may do everything to the queue: the server's user and root. */
    before = umask(0177);
    fd = listen_patiently(s->workers[0].io, &addr, 0, CONTROL_BACKLOG);
    (void)umask(before);
    if (fd < 0) {
        main_complain("control \"%s\": %s", path,
                      fd == -EADDRINUSE ? "another mailring answers there" : strerror(-fd));
        return main_give_up(s, EX_CANTCREAT);
    }
    s->control_fd = fd;
    if (lstat(path, &s->control) != 0)
        s->control.st_ino = 0;
    /* By name, but not through a link: the directory may be the user's already. */
    if (s->user.change && lchown(path, s->user.uid, s->user.gid) != 0) {
        main_complain("control \"%s\": %s", path, strerror(errno));
        return main_give_up(s, EX_CANTCREAT);
    }
    return true;
}

/* The socket's file, unless another server has put its own there meanwhile. In a directory that was not
 * made for the server its user may not remove it; the next start replaces it. */
void main_listen_forget(const struct serve *s)
{
    struct stat now;

    if (s->control.st_ino != 0 && lstat(s->conf->control, &now) == 0
        && now.st_ino == s->control.st_ino && now.st_dev == s->control.st_dev)
        (void)unlink(s->conf->control);
}

/* Frees in the order in which nothing refers to what is gone. */
