#include "io_host.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "base_assert.h"

/* --- clocks and chance ------------------------------------------------------------------------ */

uint64_t io_host_now_ns(struct io *io)
{
    struct timespec ts;

    (void)io;
    ASSERT(clock_gettime(CLOCK_MONOTONIC, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000000000 + (uint64_t)ts.tv_nsec;
}

uint64_t io_host_unix_ms(struct io *io)
{
    struct timespec ts;

    (void)io;
    ASSERT(clock_gettime(CLOCK_REALTIME, &ts) == 0);
    return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

void io_host_entropy(struct io *io, void *out, size_t len)
{
    uint8_t *at = out;

    (void)io;
    while (len > 0) {
        ssize_t got = getrandom(at, len, 0);

        /* Long requests end early at a signal; anything else would be a kernel without randomness. */
        ASSERT(got > 0 || errno == EINTR);
        if (got > 0) {
            at += got;
            len -= (size_t)got;
        }
    }
}

/* --- sockets ---------------------------------------------------------------------------------- */

/* Replies are small and leave whole: waiting to fill a segment (Nagle) would only add round trips.
 * Sockets that a listener accepts inherit this from it, which saves a system call a connection. */
static void set_nodelay(int fd, int family)
{
    int on = 1;

    if (family == AF_INET || family == AF_INET6)
        (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)); /* speed, not truth */
}

int io_host_socket(struct io *io, int family, int type)
{
    /* Ops poll by themselves, so stream sockets stay blocking: the ring would otherwise report EAGAIN.
     * Datagram sockets are used by plain calls, which must not wait. */
    int fd = socket(family, type | SOCK_CLOEXEC | (type == SOCK_DGRAM ? SOCK_NONBLOCK : 0), 0);

    (void)io;
    if (fd < 0)
        return -errno;
    if (type == SOCK_STREAM)
        set_nodelay(fd, family);
    return fd;
}

static int set_listen_options(int fd, int family, unsigned flags)
{
    int on = 1;
    int v6only = (flags & IO_LISTEN_V6ONLY) != 0;

    if (family == AF_UNIX)
        return 0;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) != 0)
        return -errno;
    if ((flags & IO_LISTEN_REUSEPORT) != 0
        && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) != 0)
        return -errno;
    if (family == AF_INET6
        && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &v6only, sizeof(v6only)) != 0)
        return -errno;
    set_nodelay(fd, family);
    return 0;
}

/* Whether nobody listens at this socket any more. Any other kind of file refuses a connect too, but is
 * not ours to remove. Not blocking: a full backlog (EAGAIN) is an answer. */
static bool unix_path_is_stale(const struct io_addr *addr)
{
    const struct sockaddr_un *sun = (const struct sockaddr_un *)&addr->storage;
    struct stat st;
    int probe = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    bool refused;

    if (probe < 0)
        return false;
    refused = lstat(sun->sun_path, &st) == 0 && S_ISSOCK(st.st_mode)
              && connect(probe, (const struct sockaddr *)&addr->storage, addr->len) != 0
              && errno == ECONNREFUSED;
    (void)close(probe);
    return refused;
}

static int bind_address(int fd, const struct io_addr *addr)
{
    const struct sockaddr *sa = (const struct sockaddr *)&addr->storage;

    if (bind(fd, sa, addr->len) == 0)
        return 0;
    if (errno != EADDRINUSE || addr->storage.ss_family != AF_UNIX)
        return -errno;
    if (!unix_path_is_stale(addr))
        return -EADDRINUSE;
    if (unlink(((const struct sockaddr_un *)sa)->sun_path) != 0 || bind(fd, sa, addr->len) != 0)
        return -errno;
    return 0;
}

int io_host_listen(struct io *io, const struct io_addr *addr, unsigned flags, int backlog)
{
    int family = addr->storage.ss_family;
    int fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int error;

    (void)io;
    if (fd < 0)
        return -errno;
    error = set_listen_options(fd, family, flags);
    if (error == 0)
        error = bind_address(fd, addr);
    if (error == 0 && listen(fd, backlog) != 0)
        error = -errno;
    if (error != 0) {
        (void)close(fd);
        return error;
    }
    return fd;
}

int io_host_peer_uid(struct io *io, int fd, uint32_t *out_uid)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    (void)io;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) != 0)
        return -errno;
    if (peer.uid == (uid_t)-1) /* not a Unix socket */
        return -ENOTCONN;
    *out_uid = (uint32_t)peer.uid;
    return 0;
}

int io_host_addresses(struct io *io, int fd, struct io_addr *out_local, struct io_addr *out_peer)
{
    struct io_addr local = {.len = sizeof(local.storage)};
    struct io_addr peer = {.len = sizeof(peer.storage)};

    (void)io;
    if (out_local != NULL && getsockname(fd, (struct sockaddr *)&local.storage, &local.len) != 0)
        return -errno;
    if (out_peer != NULL && getpeername(fd, (struct sockaddr *)&peer.storage, &peer.len) != 0)
        return -errno;
    if (out_local != NULL)
        *out_local = local;
    if (out_peer != NULL)
        *out_peer = peer;
    return 0;
}

int io_host_dgram_connect(struct io *io, int fd, const struct io_addr *addr)
{
    int flags = fcntl(fd, F_GETFL);

    (void)io;
    /* A stream socket was made for ops and would wait here. */
    if (flags < 0 || ((flags & O_NONBLOCK) == 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) != 0))
        return -errno;
    if (connect(fd, (const struct sockaddr *)&addr->storage, addr->len) != 0)
        return -errno;
    return 0;
}

int64_t io_host_dgram_send(struct io *io, int fd, const struct iovec *iov, int count)
{
    struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)count};
    ssize_t sent = sendmsg(fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);

    (void)io;
    return sent < 0 ? -errno : sent;
}

int64_t io_host_dgram_recv(struct io *io, int fd, void *data, size_t len, struct io_addr *out_from)
{
    struct io_addr from = {.len = sizeof(from.storage)};
    ssize_t got =
        recvfrom(fd, data, len, MSG_DONTWAIT, (struct sockaddr *)&from.storage, &from.len);

    (void)io;
    if (got < 0)
        return -errno;
    if (out_from != NULL)
        *out_from = from;
    return got;
}

void io_host_close_now(struct io *io, int fd)
{
    (void)io;
    (void)close(fd); /* whatever it says, the fd is gone */
}

/* --- start-up only ---------------------------------------------------------------------------- */

int io_host_list(struct io *io, const char *path, bool (*visit)(void *context, const char *name),
                 void *context)
{
    DIR *dir = opendir(path);
    struct dirent *entry;
    int error;

    (void)io;
    if (dir == NULL)
        return -errno;
    for (errno = 0; (entry = readdir(dir)) != NULL; errno = 0) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        if (!visit(context, entry->d_name)) {
            errno = 0;
            break;
        }
    }
    error = -errno;
    (void)closedir(dir); /* only read from */
    return error;
}

/* flock and not fcntl's record lock: it belongs to the open file, so that a second open of our own
 * conflicts too, and closing some other descriptor of the file does not drop it. */
int io_host_lock(struct io *io, int fd)
{
    (void)io;
    return flock(fd, LOCK_EX | LOCK_NB) == 0 ? 0 : -errno;
}

uint64_t io_host_disk_free(struct io *io, const char *path)
{
    struct statvfs fs;

    (void)io;
    if (statvfs(path, &fs) != 0)
        return 0; /* nothing that we know we may use */
    return (uint64_t)fs.f_bavail * fs.f_frsize;
}
