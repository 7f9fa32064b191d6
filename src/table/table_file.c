/* table_file: files as they are read, and whether they are still the same. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base_assert.h"
#include "table_priv.h"

enum { TRIES = 3 };

/* The clocks of some file systems stand still for as long. */
#define RECENT_NS ((uint64_t)1000000000)

static uint64_t nanoseconds(const struct timespec *t)
{
    return (uint64_t)t->tv_sec * 1000000000 + (uint64_t)t->tv_nsec;
}

void table_stamp_from(const struct stat *status, struct table_stamp *out)
{
    *out = (struct table_stamp){.device = (uint64_t)status->st_dev,
                                .inode = (uint64_t)status->st_ino,
                                .size = (uint64_t)status->st_size,
                                .modified_ns = nanoseconds(&status->st_mtim),
                                .changed_ns = nanoseconds(&status->st_ctim)};
}

bool table_stamp_same(const struct table_stamp *a, const struct table_stamp *b)
{
    return a->device == b->device && a->inode == b->inode && a->size == b->size
           && a->modified_ns == b->modified_ns && a->changed_ns == b->changed_ns;
}

static bool is_recent(const struct table_stamp *stamp)
{
    struct timespec now;
    int result = clock_gettime(CLOCK_REALTIME, &now);

    ASSERT(result == 0); /* this clock is always there */
    return stamp->modified_ns + RECENT_NS > nanoseconds(&now);
}

/* False with errno, 0 there for a file that did not stand still. */
static bool read_once(int fd, table_copy *copy, void *context, struct table_stamp *out)
{
    struct stat before, after;
    struct table_stamp stamp;

    if (fstat(fd, &before) != 0)
        return false;
    if (!S_ISREG(before.st_mode)) {
        errno = S_ISDIR(before.st_mode) ? EISDIR : ENODEV;
        return false;
    }
    if (!copy(context, fd, &before) || fstat(fd, &after) != 0)
        return false;
    table_stamp_from(&before, out);
    table_stamp_from(&after, &stamp);
    out->recent = is_recent(out);
    errno = 0;
    return table_stamp_same(out, &stamp);
}

bool table_read_file(const char *path, table_copy *copy, void *context, struct table_stamp *out,
                     char *why, size_t why_size)
{
    struct table_stamp stamp;
    bool ok = false;
    int fd = -1;

    for (int i = 0; i < TRIES && !ok; i++) {
        /* O_NONBLOCK: opening a pipe must not wait for somebody at its other end. */
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
        ok = fd >= 0 && read_once(fd, copy, context, &stamp);
        int error = errno;
        if (fd >= 0)
            (void)close(fd); /* only read from */
        errno = error;
        if (error != 0)
            break;
    }
    if (ok)
        *out = stamp;
    else
        (void)snprintf(why, why_size, "%s",
                       errno == 0        ? "it is altered while it is read"
                       : errno == ENODEV ? "Not a regular file"
                                         : strerrordesc_np(errno));
    return ok;
}
