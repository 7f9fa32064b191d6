/* main_users: see the header. */
#include "main_users.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base_log.h"
#include "base_mem.h"
#include "server_users.h"

enum {
    SAVE_MS = 30 * 1000,
    FILE_MAX = 64 * SERVER_USERS_SIZE, /* a full table is a little less */
};

static uint64_t clock_ms(clockid_t clock)
{
    struct timespec now;

    (void)clock_gettime(clock, &now); /* fails for clocks that are none */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static char *path_of(const struct main_users *u, const char *name)
{
    struct buf path;
    char *copy;

    buf_init(&path, 0);
    (void)buf_printf(&path, "%s/%s", u->folder, name);
    (void)buf_append_byte(&path, '\0');
    copy = mem_strdup((const char *)buf_slice(&path).data);
    buf_finish(&path);
    return copy;
}

static void log_trouble(const char *event, const char *path, const char *why)
{
    struct log_record r;

    log_begin(&r, LOG_WARNING, event);
    log_str(&r, "file", path);
    log_str(&r, "reason", why);
    log_end(&r);
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool read_all(int fd, struct buf *out)
{
    for (;;) {
        uint8_t *room = buf_reserve(out, 64 * 1024);
        ssize_t len;

        if (room == NULL) {
            errno = EFBIG;
            return false;
        }
        len = read(fd, room, 64 * 1024);
        if (len < 0 && errno == EINTR)
            continue;
        if (len <= 0)
            return len == 0;
        buf_commit(out, (size_t)len);
    }
}

static void load_file(struct main_users *u, const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    struct server_users *users;
    struct buf file;

    if (fd < 0) {
        if (errno != ENOENT)
            log_trouble("user-counters-unread", path, strerror(errno));
        return;
    }
    buf_init(&file, FILE_MAX);
    if (!read_all(fd, &file)) {
        log_trouble("user-counters-unread", path, strerror(errno));
    } else {
        users = server_shared_users(u->shared, true);
        if (!server_users_load(users, buf_slice(&file), clock_ms(CLOCK_REALTIME)))
            log_trouble("user-counters-unread", path, "damaged: users begin anew");
    }
    buf_finish(&file);
    (void)close(fd); /* only read from */
}

void main_users_load(struct main_users *u, struct server_shared *shared, const char *folder)
{
    char *path;

    *u = (struct main_users){.shared = shared, .folder = folder};
    path = path_of(u, "user-counters");
    load_file(u, path);
    mem_free(path);
    u->next_ms = clock_ms(CLOCK_MONOTONIC) + SAVE_MS;
}

/* ---- writing -------------------------------------------------------------------------------- */

static bool write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t len = write(fd, bytes.data, bytes.len);

        if (len < 0 && errno == EINTR)
            continue;
        if (len < 0)
            return false;
        slice_advance(&bytes, (size_t)len);
    }
    return true;
}

static bool write_users(int fd, struct server_users *users)
{
    struct server_users_save save = {0};
    uint64_t now_ms = clock_ms(CLOCK_REALTIME);
    struct buf piece;
    bool ok = true, more = true;

    buf_init(&piece, 0);
    while (ok && more) {
        more = server_users_save(users, &save, now_ms, &piece);
        ok = write_all(fd, buf_slice(&piece));
        buf_clear(&piece);
    }
    buf_finish(&piece);
    return ok;
}

/* The new name is on disk too. */
static bool sync_folder(const char *folder)
{
    int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool ok = fd >= 0 && fsync(fd) == 0;

    if (fd >= 0)
        (void)close(fd); /* nothing was written to it */
    return ok;
}

/* Whole or not at all: under another name first. */
static bool save_file(const struct main_users *u, struct server_users *users, const char *path,
                      const char *path_new)
{
    int fd = open(path_new, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    bool ok;

    if (fd < 0)
        return false;
    ok = write_users(fd, users) && fsync(fd) == 0;
    if (close(fd) != 0)
        ok = false;
    return ok && rename(path_new, path) == 0 && sync_folder(u->folder);
}

void main_users_save(struct main_users *u)
{
    struct server_users *users = u->shared != NULL ? server_shared_users(u->shared, false) : NULL;
    char *path, *path_new;

    if (users == NULL || !(server_users_changed(users) || u->failed))
        return;
    path = path_of(u, "user-counters");
    path_new = path_of(u, "user-counters.new");
    if (save_file(u, users, path, path_new)) {
        u->failed = false;
    } else {
        if (!u->failed)
            log_trouble("user-counters-unsaved", path, strerror(errno));
        u->failed = true;
    }
    mem_free(path);
    mem_free(path_new);
}

uint64_t main_users_step(struct main_users *u)
{
    uint64_t now_ms = clock_ms(CLOCK_MONOTONIC);

    if (now_ms >= u->next_ms) {
        main_users_save(u);
        u->next_ms = now_ms + SAVE_MS;
    }
    return u->next_ms - now_ms;
}
