/*
 * io: the only door to the kernel. One struct io belongs to one thread (a shard); every call below
 * is made on that thread, except io_wake_from_thread().
 *
 * The contract, which io_uring and io_sim both keep and the contract tests check:
 *
 *  - An io_op lives in its owner. From submit to `done`, the op and the bytes and paths that it names
 *    stand still. A zeroed op is idle; io_op_busy() tells.
 *  - Each op completes exactly once; a multishot op (accept) completes many times with op->more set,
 *    then once without.
 *  - `done` never runs inside a submitting call, only from io_wait() (or io_await()). It may submit.
 *  - At most one recv and one send are in flight on a socket.
 *  - Closing a socket: io_shutdown, wait until recv and send have completed, io_close. Closing an fd
 *    that still has an op in flight is a caller's bug and asserts in the simulator.
 *  - Results are 0 or a count, or a negative errno. Short reads and writes are ordinary results
 *    (io_send alone sends everything or fails).
 *  - Nothing here blocks except io_wait(), io_await(), and the calls marked "start-up only".
 *  - All ios of a process are destroyed after the threads that might io_wake() them have ended.
 */
#ifndef IO_H
#define IO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base_buf.h"
#include "base_codec.h"
#include "base_slice.h"

struct io;

enum io_kind {
    IO_NONE,
    IO_ACCEPT,
    IO_CONNECT,
    IO_RECV,
    IO_SEND,
    IO_SHUTDOWN,
    IO_POLL,
    IO_OPEN,
    IO_CLOSE,
    IO_READ,
    IO_WRITE,
    IO_FSYNC,
    IO_RENAME,
    IO_LINK,
    IO_UNLINK,
    IO_MKDIR,
    IO_STAT,
    IO_KIND_COUNT
};

struct io_stat {
    uint64_t size;
    bool is_directory;
    uint32_t mode; /* permissions: 0600 */
};

/* An op is small because every idle session holds two or three: what is not needed at the same time
 * shares its place. */
struct io_op {
    void (*done)(struct io_op *op);
    int32_t res;
    int fd;
    bool more;      /* multishot: completions will follow */
    bool zc_copied; /* IO_SEND with IO_SEND_ZEROCOPY: the kernel copied after all */

    /* The rest belongs to io between submit and done, except `lent`, which is set in done. */
    uint8_t kind;  /* enum io_kind; IO_NONE when idle */
    uint8_t flags; /* enum io_op_flags, then the implementation's own */
    uint16_t lent_id;
    uint32_t op_flags; /* as the caller gave them: open, send, write flags, poll events */
    uint32_t mode;
    uint64_t offset;    /* of file ops; of a send: how much is gone */
    struct io_op *next; /* starved, waiting and ready lists */
    void *impl;
    union {
        /* IO_RECV: bytes lent by io, to be given back with io_lent_return() within the pass in which
         * they came (copy what must stay). Empty when there are none, and after every other op. */
        struct slice lent;
        struct {
            void *data; /* a buffer, the first path, an address, the struct io_stat */
            size_t len;
            const char *path2;
        };
        struct msghdr msg; /* with IO_OP_VECTOR, for sends and writes: msg_iov and msg_iovlen */
    };
};

enum io_op_flags {
    IO_OP_VECTOR = 1,
    IO_OP_CANCELLED = 2, /* io_cancel() was called */
    IO_OP_IMPL = 4,      /* the first bit that is the implementation's */
};

_Static_assert(sizeof(struct io_op) <= 112, "an idle session holds two or three of them");

static inline bool io_op_busy(const struct io_op *op)
{
    return op->kind != IO_NONE;
}

/* A socket address that is large enough for all that we speak: IPv4, IPv6, Unix. */
struct io_addr {
    struct sockaddr_storage storage;
    socklen_t len;
};

/* "127.0.0.1:25", "[::1]:25", "unix:/path". Numbers only: no name lookup. */
bool io_addr_parse(struct slice text, struct io_addr *out);
void io_addr_format(const struct io_addr *addr, struct buf *out);
void io_addr_from_ip(const struct ip_addr *ip, uint16_t port, struct io_addr *out);
/* False for anything but IPv4 and IPv6. */
bool io_addr_to_ip(const struct io_addr *addr, struct ip_addr *out_ip, uint16_t *out_port);

enum io_open_flags {
    IO_OPEN_READ = 1,
    IO_OPEN_WRITE = 2,
    IO_OPEN_CREATE = 4,
    IO_OPEN_EXCLUSIVE = 8, /* with CREATE: EEXIST if it is there */
    IO_OPEN_DIRECT = 16,   /* O_DIRECT: address, length and offset in multiples of IO_ALIGN */
    IO_OPEN_DIRECTORY = 32,
    IO_OPEN_TRUNCATE = 64,
};

enum { IO_ALIGN = 4096 };

enum io_write_flags {
    IO_WRITE_SYNC = 1, /* RWF_DSYNC: complete means on stable storage */
};

enum io_send_flags {
    IO_SEND_ZEROCOPY =
        1,            /* only from io_registered(); completes when the bytes may be used again */
    IO_SEND_MORE = 2, /* MSG_MORE: another send follows at once */
};

enum io_socket_flags {
    IO_LISTEN_REUSEPORT = 1,
    IO_LISTEN_V6ONLY = 2,
};

enum io_shutdown_flags { IO_SHUTDOWN_SEND = 1 };

enum io_poll_events { IO_POLL_IN = 1, IO_POLL_OUT = 2 };

struct io_counters {
    uint64_t waits;     /* calls into the kernel */
    uint64_t submitted; /* ops */
    uint64_t completed; /* completions */
    uint64_t overflows; /* completion queue overflows seen */
    uint64_t starved;   /* recvs that had to wait for a buffer to come back */
    uint64_t lent_out;  /* buffers lent now */
    /* Each byte sent counts in one of these: */
    uint64_t bytes_send;            /* by plain send, by copy */
    uint64_t bytes_zerocopy;        /* without a copy, as far as the kernel can tell */
    uint64_t bytes_zerocopy_copied; /* asked for zero copy, copied by the kernel */
};

struct io_vtable {
    void (*destroy)(struct io *io);
    int (*wait)(struct io *io, uint64_t deadline_ms);
    void (*submit)(struct io *io, struct io_op *op);
    void (*cancel)(struct io *io, struct io_op *op);
    void (*flush)(struct io *io);
    void (*lent_return)(struct io *io, uint16_t lent_id);
    void (*wake)(struct io *from, struct io *to);
    void (*wake_from_thread)(struct io *to);
    uint64_t (*now_ns)(struct io *io);
    uint64_t (*unix_ms)(struct io *io);
    void (*entropy)(struct io *io, void *out, size_t len);
    int (*socket)(struct io *io, int family, int type);
    int (*listen)(struct io *io, const struct io_addr *addr, unsigned flags, int backlog);
    int (*addresses)(struct io *io, int fd, struct io_addr *out_local, struct io_addr *out_peer);
    int (*peer_uid)(struct io *io, int fd, uint32_t *out_uid);
    int (*dgram_connect)(struct io *io, int fd, const struct io_addr *addr);
    int64_t (*dgram_send)(struct io *io, int fd, const struct iovec *iov, int count);
    int64_t (*dgram_recv)(struct io *io, int fd, void *data, size_t len, struct io_addr *out_from);
    void (*close_now)(struct io *io, int fd);
    int (*list)(struct io *io, const char *path, bool (*visit)(void *context, const char *name),
                void *context);
    int (*lock)(struct io *io, int fd);
    uint64_t (*disk_free)(struct io *io, const char *path);
};

/* The common head of both implementations. */
struct io {
    const struct io_vtable *vtable;
    uint64_t now_ms; /* monotonic; stands still within a pass */
    void *registered;
    size_t registered_len;
    struct io_counters counters;
    bool stopping;
    bool awaiting; /* within io_await(): the simulator runs the world meanwhile */
};

void io_destroy(struct io *io); /* nothing may be in flight */

/* --- the loop ------------------------------------------------------------------------------ */

/* Hands what was submitted to the kernel, waits until a completion, a wake or `deadline_ms` (on
 * io_now_ms()'s clock; 0: do not wait; UINT64_MAX: as long as it takes), then runs a bounded number
 * of completions. Returns how many ran; 0 also after a wake or a signal. */
int io_wait(struct io *io, uint64_t deadline_ms);
/* Start-up only: runs the loop until this op has completed, and returns its res. Other ops' `done`
 * run too. Used by straight-line code such as recovery, before serving begins. The op's own `done`
 * may be NULL for this. */
int32_t io_await(struct io *io, struct io_op *op);
/* Hands what was submitted to the kernel now, without waiting. */
void io_flush(struct io *io);

static inline uint64_t io_now_ms(const struct io *io)
{
    return io->now_ms;
}

uint64_t io_now_ns(struct io *io);                     /* monotonic, read now: for measuring */
uint64_t io_unix_ms(struct io *io);                    /* wall clock; may jump */
void io_entropy(struct io *io, void *out, size_t len); /* cryptographic, does not fail */

/* From one io's thread to another io: makes its io_wait() return. Cheap, may be lost only if `to` is
 * awake anyway. */
void io_wake(struct io *from, struct io *to);
/* The same from a thread without an io (helpers, signal handling). Async-signal-safe. */
void io_wake_from_thread(struct io *to);

/* Memory registered with the ring, of the size asked for at creation, aligned to IO_ALIGN, zeroed.
 * Reads, writes and zero-copy sends within it use the registered form by themselves. */
struct slice io_registered(const struct io *io);

/* --- sockets: made and asked synchronously (none of these waits) ------------------------------ */

/* All return an fd or 0, or a negative errno. Sockets are close-on-exec; stream sockets TCP_NODELAY. */
int io_socket_stream(struct io *io, int family);
int io_socket_dgram(struct io *io, int family);
/* A listening stream socket, SO_REUSEADDR set. A Unix path that is left over from a dead process is
 * replaced, one that answers is EADDRINUSE. */
int io_listen(struct io *io, const struct io_addr *addr, unsigned flags, int backlog);
/* Either pointer may be NULL. */
/* The user id of the process at the other end of a Unix socket (SO_PEERCRED). 0 or a negative errno. */
int io_peer_uid(struct io *io, int fd, uint32_t *out_uid);
int io_addresses(struct io *io, int fd, struct io_addr *out_local, struct io_addr *out_peer);
/* For a DNS library's own sockets, datagram or stream; never wait (EAGAIN, EINPROGRESS). */
int io_dgram_connect(struct io *io, int fd, const struct io_addr *addr);
int64_t io_dgram_send(struct io *io, int fd, const struct iovec *iov, int count);
int64_t io_dgram_recv(struct io *io, int fd, void *data, size_t len, struct io_addr *out_from);
/* Closes without an op: only for fds that never had an op in flight, or at start-up and exit. */
void io_close_now(struct io *io, int fd);

/* --- socket ops --------------------------------------------------------------------------- */

/* Multishot; res: the new socket. Ends (without more) only with an error or when cancelled, and never
 * with a socket. After -EMFILE, -ENFILE and the like the owner submits it again after a pause. */
void io_accept(struct io *io, struct io_op *op, int fd);
/* *to stands still. */
void io_connect(struct io *io, struct io_op *op, int fd, const struct io_addr *to);
/* One receive into a buffer that io lends (op->lent). 0: the peer has closed. While no buffer is free
 * the op waits; the caller never sees ENOBUFS. */
void io_recv(struct io *io, struct io_op *op, int fd);
/* Sends all of it, or fails. */
void io_send(struct io *io, struct io_op *op, int fd, struct slice bytes, unsigned flags);
/* The iovec array (at most IO_IOV_MAX) stands still too; io may alter it to send the rest of what went
 * only in part. Copies: IO_SEND_ZEROCOPY means nothing here. */
enum { IO_IOV_MAX = 64 };
void io_sendv(struct io *io, struct io_op *op, int fd, struct iovec *iov, int count,
              unsigned flags);
void io_shutdown(struct io *io, struct io_op *op, int fd); /* both directions */
/* Only ours: the peer sees our end, and what it still sends can be received. */
void io_shutdown_send(struct io *io, struct io_op *op, int fd);
void io_poll(struct io *io, struct io_op *op, int fd, unsigned events); /* once; res: events */
/* Asks that an op in flight ends soon; it still completes once, with -ECANCELED or its result. */
void io_cancel(struct io *io, struct io_op *op);
void io_lent_return(struct io *io, struct io_op *recv_op);

/* --- file ops ------------------------------------------------------------------------------ */

void io_open(struct io *io, struct io_op *op, const char *path, unsigned open_flags, uint32_t mode);
void io_close(struct io *io, struct io_op *op, int fd);
void io_read(struct io *io, struct io_op *op, int fd, void *data, size_t len, uint64_t offset);
void io_write(struct io *io, struct io_op *op, int fd, const void *data, size_t len,
              uint64_t offset, unsigned write_flags);
void io_writev(struct io *io, struct io_op *op, int fd, struct iovec *iov, int count,
               uint64_t offset, unsigned write_flags);
/* A file's data and size, or a directory's entries. */
void io_fsync(struct io *io, struct io_op *op, int fd);
void io_rename(struct io *io, struct io_op *op, const char *from, const char *to); /* replaces */
void io_link(struct io *io, struct io_op *op, const char *from, const char *to);   /* EEXIST */
void io_unlink(struct io *io, struct io_op *op, const char *path);
void io_mkdir(struct io *io, struct io_op *op, const char *path, uint32_t mode);
void io_stat(struct io *io, struct io_op *op, const char *path, struct io_stat *out);

/* Start-up only (they block): */
/* A directory, and those that it is in where they are missing, on stable storage; fine if it is there. 0 or
 * a negative errno. */
int io_make_directory(struct io *io, const char *path, uint32_t mode);
/* Calls `visit` for each entry but . and .. until it returns false. 0 or a negative errno. */
int io_list(struct io *io, const char *path, bool (*visit)(void *context, const char *name),
            void *context);
/* An exclusive lock that the process holds until the fd is closed; -EAGAIN if another holds it. */
int io_lock(struct io *io, int fd);
/* Bytes that an unprivileged writer may still use on the file system of `path`. */
uint64_t io_disk_free(struct io *io, const char *path);

#endif
