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

/* ---- the sockets of this machine ----------------------------------------------------------------------- */

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

/* Makes the socket `path` names, for whom the mode lets in, and the server's user's. -1: said and given up. */
static int listen_at_path(struct serve *s, const char *setting, const char *path, mode_t mode,
                          struct stat *out_file)
{
    struct io_addr addr;
    struct buf text;
    mode_t before;
    bool good;
    int fd;

    if (!make_parent(s, path)) {
        (void)main_give_up(s, EX_CANTCREAT);
        return -1;
    }
    buf_init(&text, 0);
    (void)buf_printf(&text, "unix:%s", path);
    good = io_addr_parse(buf_slice(&text), &addr);
    buf_finish(&text);
    if (!good) {
        main_complain("%s \"%s\": not a path for a socket (too long?)", setting, path);
        (void)main_give_up(s, EX_CONFIG);
        return -1;
    }
    before = umask(0777 & ~mode);
    fd = listen_patiently(s->workers[0].io, &addr, 0, CONTROL_BACKLOG);
    (void)umask(before);
    if (fd < 0) {
        main_complain("%s \"%s\": %s", setting, path,
                      fd == -EADDRINUSE ? "another mailring answers there" : strerror(-fd));
        (void)main_give_up(s, EX_CANTCREAT);
        return -1;
    }
    if (lstat(path, out_file) != 0)
        out_file->st_ino = 0;
    /* By name, but not through a link: the directory may be the user's already. */
    if (s->user.change && lchown(path, s->user.uid, s->user.gid) != 0) {
        main_complain("%s \"%s\": %s", setting, path, strerror(errno));
        io_close_now(s->workers[0].io, fd);
        (void)main_give_up(s, EX_CANTCREAT);
        return -1;
    }
    return fd;
}

bool main_listen_control(struct serve *s)
{
    /* Whoever may open it may do everything to the queue: the server's user and root. */
    s->control_fd = listen_at_path(s, "control", s->conf->control, 0600, &s->control);
    return s->control_fd >= 0;
}

bool main_listen_submit(struct serve *s)
{
    s->submit_fd = listen_at_path(s, "submit", s->conf->submit, 0666, &s->submit);
    return s->submit_fd >= 0;
}

/* The socket's file, unless another server has put its own there meanwhile. In a directory that was not
 * made for the server its user may not remove it; the next start replaces it. */
static void forget(const char *path, const struct stat *made)
{
    struct stat now;

    if (made->st_ino != 0 && lstat(path, &now) == 0 && now.st_ino == made->st_ino
        && now.st_dev == made->st_dev)
        (void)unlink(path);
}

void main_listen_forget(const struct serve *s)
{
    forget(s->conf->control, &s->control);
    forget(s->conf->submit, &s->submit);
}
