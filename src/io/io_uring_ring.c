/*
 * Creation, start and end of a ring. docs/io.md says why these flags and sizes.
 *
 * liburing 2.3 is enough, with three things done by hand: the memory of the buffer ring, enabling the
 * ring (declared there, but not exported), and a newer flag of zero-copy sends.
 */
#include "io_uring_ring.h"

#include <errno.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base_assert.h"
#include "base_mem.h"
#include "io_host.h"
#include "io_uring_priv.h"

enum {
    ENTRIES_DEFAULT = 1024,
    CQ_ENTRIES_MIN = 8192,
    CQ_ENTRIES_MAX = 65536, /* the kernel's limit */
    LEND_COUNT_DEFAULT = 1024,
    LEND_COUNT_MAX = 32768, /* the kernel's limit */
    LEND_LEN_DEFAULT = 8192,
    WORKERS_BOUNDED = 2, /* io-wq threads for files: opens, renames, fsyncs */
    WORKERS_UNBOUNDED = 8,
};

static const size_t huge_page = (size_t)2 << 20;
static const size_t fixed_part = (size_t)1 << 30; /* the kernel's limit of one registered buffer */

static const unsigned ring_flags = IORING_SETUP_R_DISABLED | IORING_SETUP_SINGLE_ISSUER
                                   | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_SUBMIT_ALL
                                   | IORING_SETUP_CQSIZE;

/* --- registered memory ------------------------------------------------------------------------ */

/* Zeroed memory that begins at a huge page if it is as long as one, so that the kernel can use some. */
static void *map_memory(size_t len)
{
    size_t slack = len >= huge_page ? huge_page : 0;
    uint8_t *raw =
        mmap(NULL, len + slack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    size_t head;

    if (raw == MAP_FAILED)
        return NULL;
    /* A helper program is forked before it is executed: spare it a copy of what is pinned. */
    (void)madvise(raw, len + slack, MADV_DONTFORK);
    if (slack == 0)
        return raw;
    head = (huge_page - (uintptr_t)raw % huge_page) % huge_page;
    if (head > 0)
        (void)munmap(raw, head); /* a failure leaves address space unused, no more */
    if (slack > head)
        (void)munmap(raw + head + len, slack - head);
    (void)madvise(raw + head, len, MADV_HUGEPAGE); /* only a hint */
    return raw + head;
}

static size_t round_up(size_t value, size_t to)
{
    return (value + to - 1) / to * to;
}

int uring_fixed_index(const struct uring *u, const void *data, size_t len)
{
    size_t start = (uintptr_t)data - (uintptr_t)u->io.registered;

    if (!u->registered_fixed || len == 0 || start >= u->mapped_len || len > u->mapped_len - start)
        return -1;
    if (start / fixed_part != (start + len - 1) / fixed_part)
        return -1; /* across two registered buffers: the plain form does */
    return (int)(start / fixed_part);
}

/* Pinning may exceed a limit that the operator can lift. We serve all the same, without the fixed
 * forms and zero copy, and say so. */
static int register_memory(struct uring *u, size_t len, struct buf *out_error)
{
    unsigned count = (unsigned)((len + fixed_part - 1) / fixed_part);
    struct iovec *parts;
    int ignored, res;

    if (len == 0)
        return 0;
    u->mapped_len = round_up(len, IO_ALIGN);
    u->io.registered = map_memory(u->mapped_len);
    if (u->io.registered == NULL)
        return -ENOMEM;
    u->io.registered_len = len;

    parts = mem_calloc(count, sizeof(*parts));
    for (unsigned i = 0; i < count; i++) {
        size_t start = i * fixed_part;

        parts[i].iov_base = (uint8_t *)u->io.registered + start;
        parts[i].iov_len = u->mapped_len - start < fixed_part ? u->mapped_len - start : fixed_part;
    }
    res = io_uring_register_buffers(&u->ring, parts, count);
    mem_free(parts);
    u->registered_fixed = res == 0;
    if (res == -ENOMEM) {
        (void)buf_append_str(out_error, "slower without registered memory: ");
        uring_explain(res, u->mapped_len, out_error, &ignored);
        return 0;
    }
    return res;
}

/* --- lent buffers ----------------------------------------------------------------------------- */

static int create_lent_buffers(struct uring *u, const struct io_uring_options *options)
{
    struct io_uring_buf_reg reg = {.bgid = URING_LEND_GROUP};
    size_t ring_len;

    u->lend_count = options->recv_buffers != 0 ? options->recv_buffers : LEND_COUNT_DEFAULT;
    u->lend_len = options->recv_buffer_len != 0 ? options->recv_buffer_len : LEND_LEN_DEFAULT;
    ASSERT(u->lend_count <= LEND_COUNT_MAX && (u->lend_count & (u->lend_count - 1)) == 0);

    ring_len = round_up(u->lend_count * sizeof(struct io_uring_buf), IO_ALIGN);
    u->lend_ring = map_memory(ring_len);
    u->lend_memory = map_memory(round_up((size_t)u->lend_count * u->lend_len, IO_ALIGN));
    if (u->lend_ring == NULL || u->lend_memory == NULL)
        return -ENOMEM;
    reg.ring_addr = (uintptr_t)u->lend_ring;
    reg.ring_entries = u->lend_count;
    io_uring_buf_ring_init(u->lend_ring);
    for (unsigned i = 0; i < u->lend_count; i++)
        uring_lend(u, (uint16_t)i);
    return io_uring_register_buf_ring(&u->ring, &reg, 0);
}

/* --- creation --------------------------------------------------------------------------------- */

static const struct io_vtable uring_vtable;

static unsigned cq_entries(const struct io_uring_options *options, unsigned entries)
{
    uint64_t want = (uint64_t)options->connections_max * 2; /* a recv and a send each */

    if (options->connections_max == 0 && options->entries == 0)
        want = CQ_ENTRIES_MIN;
    if (options->connections_max != 0 && want < CQ_ENTRIES_MIN)
        want = CQ_ENTRIES_MIN;
    if (want < 2 * (uint64_t)entries)
        want = 2 * (uint64_t)entries;
    return want > CQ_ENTRIES_MAX ? CQ_ENTRIES_MAX : (unsigned)want; /* the kernel rounds up */
}

static uint64_t ring_bytes(unsigned sq, unsigned cq)
{
    return (uint64_t)sq * (sizeof(struct io_uring_sqe) + sizeof(uint32_t))
           + (uint64_t)cq * sizeof(struct io_uring_cqe);
}

static int create_ring(struct uring *u, const struct io_uring_options *options, uint64_t *out_need)
{
    unsigned entries = options->entries != 0 ? options->entries : ENTRIES_DEFAULT;
    struct io_uring_params params = {.flags = ring_flags};
    int res;

    params.cq_entries = cq_entries(options, entries);
    *out_need = ring_bytes(entries, params.cq_entries);
    res = io_uring_queue_init_params(entries, &u->ring, &params);
    if (res != 0)
        u->ring.ring_fd = -1;
    else
        (void)io_uring_ring_dontfork(&u->ring); /* a child could not use it, only disturb it */
    return res;
}

struct io *io_uring_create(const struct io_uring_options *options, struct buf *out_error,
                           int *out_exit)
{
    struct uring *u = mem_zalloc(sizeof(*u));
    uint64_t need = 0;
    int res;

    u->io.vtable = &uring_vtable;
    u->cpu = options->cpu;
    u->ring.ring_fd = -1;
    u->event_fd = eventfd(0, EFD_CLOEXEC); /* blocking, so that the ring's read of it waits */
    res = u->event_fd < 0 ? -errno : 0;
    if (res == 0)
        res = create_ring(u, options, &need);
    if (res == 0)
        res = create_lent_buffers(u, options);
    if (res == 0)
        res = register_memory(u, options->registered_len, out_error);
    if (res != 0) {
        uring_explain(res, need, out_error, out_exit);
        io_destroy(&u->io);
        return NULL;
    }
    u->io.now_ms = io_host_now_ns(&u->io) / 1000000;
    return &u->io;
}

static void unmap(void *memory, size_t len)
{
    if (memory != NULL)
        (void)munmap(memory, len); /* our own mapping */
}

static void uring_destroy(struct io *io)
{
    struct uring *u = uring_of(io);

    ASSERT(u->in_flight == 0 && u->ready.count == 0 && u->late.count == 0);
    ASSERT(u->waiting.count == 0 && u->starved.count == 0);
    if (u->ring.ring_fd >= 0) {
        /* The registered number belongs to the thread that ran the ring, and ended with it; on another
         * thread the same number would be some other ring. */
        if (!u->started || !pthread_equal(u->owner, pthread_self())) {
            u->ring.int_flags = u->int_flags_plain;
            u->ring.enter_ring_fd = u->ring.ring_fd;
        }
        io_uring_queue_exit(&u->ring);
    }
    if (u->event_fd >= 0)
        (void)close(u->event_fd);
    unmap(u->lend_ring, round_up(u->lend_count * sizeof(struct io_uring_buf), IO_ALIGN));
    unmap(u->lend_memory, round_up((size_t)u->lend_count * u->lend_len, IO_ALIGN));
    unmap(io->registered, u->mapped_len);
    mem_free(u);
}

/* --- start ------------------------------------------------------------------------------------ */

/* Worker threads stay few and on the shard's core. What fails here costs speed only. */
static void limit_workers(struct uring *u)
{
    unsigned limits[2] = {WORKERS_BOUNDED, WORKERS_UNBOUNDED};
    cpu_set_t cpus;

    (void)io_uring_register_iowq_max_workers(&u->ring, limits);
    if (u->cpu < 0 || u->cpu >= CPU_SETSIZE)
        return;
    CPU_ZERO(&cpus);
    CPU_SET(u->cpu, &cpus);
    (void)io_uring_register_iowq_aff(&u->ring, sizeof(cpus), &cpus);
}

/* Whether zero-copy sends can report that they copied (6.2): a send to no socket fails in its flags
 * (EINVAL) where they are not known, and else because there is no socket. */
static int probe_zerocopy_report(struct uring *u)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&u->ring);
    struct io_uring_cqe *cqe;
    int res;

    ASSERT(sqe != NULL);
    io_uring_prep_send_zc(sqe, -1, NULL, 0, 0, URING_SEND_ZC_REPORT_USAGE);
    io_uring_sqe_set_data64(sqe, URING_TAG_IGNORE);
    res = io_uring_submit_and_wait(&u->ring, 1);
    if (res >= 0)
        res = io_uring_wait_cqe(&u->ring, &cqe);
    if (res < 0)
        return res;
    u->has_zc_report = cqe->res == -EBADF;
    io_uring_cqe_seen(&u->ring, cqe);
    return 0;
}

int io_uring_start(struct io *io)
{
    struct uring *u = uring_of(io);
    int res;

    ASSERT(!u->started);
    res = io_uring_register((unsigned)u->ring.ring_fd, IORING_REGISTER_ENABLE_RINGS, NULL, 0);
    if (res < 0)
        return res;
    u->started = true;
    u->owner = pthread_self();
    u->int_flags_plain = u->ring.int_flags;
    (void)io_uring_register_ring_fd(&u->ring); /* saves a look-up a call; not needed */
    limit_workers(u);
    return probe_zerocopy_report(u);
}

static const struct io_vtable uring_vtable = {
    .destroy = uring_destroy,
    .wait = uring_wait,
    .submit = uring_submit,
    .cancel = uring_cancel,
    .flush = uring_flush,
    .lent_return = uring_lent_return,
    .wake = uring_wake,
    .wake_from_thread = uring_wake_from_thread,
    .now_ns = io_host_now_ns,
    .unix_ms = io_host_unix_ms,
    .entropy = io_host_entropy,
    .socket = io_host_socket,
    .listen = io_host_listen,
    .addresses = io_host_addresses,
    .peer_uid = io_host_peer_uid,
    .dgram_connect = io_host_dgram_connect,
    .dgram_send = io_host_dgram_send,
    .dgram_recv = io_host_dgram_recv,
    .close_now = io_host_close_now,
    .list = io_host_list,
    .lock = io_host_lock,
    .disk_free = io_host_disk_free,
};

/* --- description ------------------------------------------------------------------------------ */

void io_uring_describe(struct buf *out)
{
    const struct io_uring_options options = {.entries = 8, .recv_buffers = 8, .cpu = -1};
    struct buf error = {0};
    struct utsname name;
    struct io *io;
    int code;

    (void)buf_append_str(out, uname(&name) == 0 ? name.release : "unknown");
    io = io_uring_create(&options, &error, &code);
    if (io == NULL || io_uring_start(io) != 0) {
        (void)buf_append_str(out, " (no io_uring: ");
        (void)buf_append_slice(out, buf_slice(&error));
        (void)buf_append_str(out, ")");
    } else {
        (void)buf_append_str(
            out, " (multishot accept, lent buffers, deferred task work, zero-copy send");
        if (uring_of(io)->has_zc_report)
            (void)buf_append_str(out, " with report");
        (void)buf_append_str(out, ")");
    }
    io_destroy(io);
    buf_finish(&error);
}
