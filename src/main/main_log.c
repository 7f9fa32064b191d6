/* main_log: see the header. */
#include "main_log.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <time.h>
#include <unistd.h>

#include "base_buf.h"
#include "base_mem.h"
#include "base_spsc.h"

enum { LANE_CHUNKS = 4096, CHUNK_MAX = 64 * 1024, NAP_MS = 10, NAPS_BEFORE_SLEEP = 100 };

/* What one thread has for the writer. */
struct lane {
    struct spsc chunks; /* struct buf *, owned by the receiver */
    struct buf *fill;
    uint64_t lost;
};

static struct {
    pthread_t thread;
    bool running;
    sem_t wake;
    _Atomic bool asleep;
    _Atomic bool stop;
    _Atomic unsigned lane_count;
    struct lane *lanes[MAIN_LOG_THREADS];
} writer;

static _Thread_local struct lane *own;

static void write_all(const uint8_t *data, size_t len)
{
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return; /* nobody listens: there is no better place to say so */
        data += n;
        len -= (size_t)n;
    }
}

static void sink(void *context, enum log_level level, struct slice line)
{
    (void)context;
    (void)level;
    if (own == NULL) {
        write_all(line.data, line.len);
        return;
    }
    if (own->fill == NULL) {
        own->fill = mem_alloc(sizeof(*own->fill));
        buf_init(own->fill, 0);
    }
    (void)buf_append_slice(own->fill, line);
    if (buf_len(own->fill) >= CHUNK_MAX)
        main_log_flush();
}

static uint64_t wall_clock_ms(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

void main_log_setup(enum log_level level, enum log_format format)
{
    log_set_clock(wall_clock_ms);
    log_setup(level, format, sink, NULL);
}

static void count_lost(struct lane *lane)
{
    for (size_t i = 0; i < buf_len(lane->fill); i++)
        lane->lost += buf_slice(lane->fill).data[i] == '\n';
    buf_clear(lane->fill);
}

static void report_lost(struct lane *lane)
{
    struct log_record r;
    uint64_t lost = lane->lost;

    lane->lost = 0;
    log_begin(&r, LOG_WARNING, "log-lines-lost");
    log_u64(&r, "lines", lost);
    log_end(&r);
}

void main_log_flush(void)
{
    if (own == NULL || own->fill == NULL || buf_len(own->fill) == 0)
        return;
    if (!spsc_push(&own->chunks, own->fill)) {
        count_lost(own);
        return;
    }
    own->fill = NULL;
    spsc_publish(&own->chunks);
    atomic_thread_fence(memory_order_seq_cst);
    if (atomic_exchange_explicit(&writer.asleep, false, memory_order_relaxed))
        (void)sem_post(&writer.wake); /* cannot overflow: one post a sleep */
    if (own->lost > 0)
        report_lost(own);
}

static bool write_chunks(void)
{
    bool any = false;
    unsigned count = atomic_load(&writer.lane_count);

    for (unsigned i = 0; i < count; i++) {
        struct buf *chunk;
        while ((chunk = spsc_pop(&writer.lanes[i]->chunks)) != NULL) {
            write_all(buf_slice(chunk).data, buf_len(chunk));
            buf_finish(chunk);
            mem_free(chunk);
            any = true;
        }
    }
    return any;
}

/* While lines come the writer looks for them a hundred times a second, and nobody has to wake it: a
 * wake-up costs more than the line. After a second of silence it sleeps until it is woken. */
static void nap(void)
{
    const struct timespec time = {.tv_nsec = NAP_MS * 1000 * 1000};

    (void)nanosleep(&time, NULL); /* cut short: a little sooner */
}

static void sleep_until_woken(void)
{
    atomic_store(&writer.asleep, true);
    atomic_thread_fence(memory_order_seq_cst);
    if (write_chunks() || atomic_load(&writer.stop)) {
        if (!atomic_exchange(&writer.asleep, false))
            (void)sem_wait(&writer.wake); /* somebody has posted already */
        return;
    }
    while (sem_wait(&writer.wake) != 0 && errno == EINTR)
        continue;
}

static void *writer_main(void *unused)
{
    unsigned silent = 0;

    (void)unused;
    for (;;) {
        bool stop = atomic_load(&writer.stop);

        silent = write_chunks() ? 0 : silent + 1;
        if (silent > 0 && stop)
            return NULL;
        if (silent < NAPS_BEFORE_SLEEP)
            nap();
        else
            sleep_until_woken();
    }
}

void main_log_start_thread(void)
{
    if (sem_init(&writer.wake, 0, 0) == 0
        && pthread_create(&writer.thread, NULL, writer_main, NULL) == 0)
        writer.running = true;
}

void main_log_stop_thread(void)
{
    if (!writer.running)
        return;
    atomic_store(&writer.stop, true);
    if (atomic_exchange(&writer.asleep, false))
        (void)sem_post(&writer.wake);
    (void)pthread_join(writer.thread, NULL);
    writer.running = false;
    for (unsigned i = 0; i < atomic_load(&writer.lane_count); i++) {
        spsc_finish(&writer.lanes[i]->chunks);
        mem_free(writer.lanes[i]);
    }
    atomic_store(&writer.lane_count, 0);
}

void main_log_buffer_this_thread(void)
{
    static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* once a thread */
    struct lane *lane;
    unsigned at;

    if (!writer.running || own != NULL)
        return;
    lane = mem_alloc_aligned(64, (sizeof(*lane) + 63) / 64 * 64);
    memset(lane, 0, sizeof(*lane));
    spsc_init(&lane->chunks, LANE_CHUNKS);
    (void)pthread_mutex_lock(&lock);
    at = atomic_load(&writer.lane_count);
    if (at < MAIN_LOG_THREADS) {
        writer.lanes[at] = lane;
        atomic_store(&writer.lane_count, at + 1);
        own = lane;
    }
    (void)pthread_mutex_unlock(&lock);
}
