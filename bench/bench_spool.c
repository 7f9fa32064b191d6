/*
 * bench_spool: what it costs to put mail on stable storage, on the real ring and a real disk.
 *
 *   bench_spool [--tiny] [--dir PATH] [--seconds N] [--queued K] [--body BYTES]
 *
 *   append     user CPU of begin, write and commit of a 4 KiB message, checksum included
 *   commit     N writers of 4 KiB messages, each message delivered at once: messages a second, CPU of
 *              the whole process a message, median and 99th percentile from commit to stable
 *   large      4 writers of 1 MiB messages: MB a second, CPU a MB
 *   restart    K messages queued, then opened again with a queue: time until all are accepted, memory a
 *              message, its entry in the queue included (what the process grew by, and all of it)
 *   walk       over all of them, 500 a call: time a message, the longest call
 *   list       the envelopes of all of them, as a listing reads them
 *
 * Ends with a checksum of what was counted. With --tiny each runs for a moment, among the tests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base_assert.h"
#include "base_mem.h"
#include "io_uring_ring.h"
#include "queue.h"
#include "spool.h"

enum { WRITERS_MAX = 512, BODY = 4096, LARGE = 1 << 20, SAMPLES_MAX = 1 << 20 };

struct writer {
    struct spool_writer w;
    struct slice rest; /* of the body, while it waits for room */
    uint64_t begun_ns;
};

static struct io *io;
static struct spool *spool;
static struct spool_options options;
static struct writer writers[WRITERS_MAX];
static uint8_t *body;
static size_t body_len, queued_body = 200;
static bool running, deliver;
static uint64_t committed, append_ns, appends;
static unsigned busy;
static uint32_t *samples; /* µs */
static size_t sample_count;

static uint64_t cpu_us(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (uint64_t)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000
           + (uint64_t)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

static uint64_t resident(void)
{
    unsigned long size = 0, pages = 0;
    FILE *f = fopen("/proc/self/statm", "r");

    if (f && fscanf(f, "%lu %lu", &size, &pages) != 2)
        pages = 0;
    if (f)
        (void)fclose(f);
    return (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

/* ---- writers ------------------------------------------------------------------------------ */

static void go_on(struct writer *k)
{
    static const struct slice to = SLICE_INIT("recipient@example.org");
    const struct spool_envelope e = {
        .sender = SLICE_LITERAL("sender@example.net"),
        .recipients = &to,
        .recipient_count = 1,
        .facts = SLICE_LITERAL("client=192.0.2.1 helo=mail.example.net"),
    };

    if (spool_write(&k->w, &k->rest) == SPOOL_OK)
        spool_writer_commit(&k->w, &e);
}

static void begin(struct writer *k)
{
    k->begun_ns = io_now_ns(io);
    if (spool_writer_begin(spool, &k->w, body_len) != SPOOL_OK) {
        (void)fprintf(stderr, "the spool takes no mail: is the disk full?\n");
        exit(1);
    }
    busy++;
    k->rest = slice_of(body, body_len);
    go_on(k);
    append_ns += io_now_ns(io) - k->begun_ns;
    appends++;
}

static void ready(struct spool_writer *w)
{
    go_on(container_of(w, struct writer, w));
}

static void done(struct spool_writer *w, enum spool_result result)
{
    struct writer *k = container_of(w, struct writer, w);
    const struct spool_outcome o = {
        .state = SPOOL_RECIPIENT_DELIVERED, .counts = true, .text = SLICE_LITERAL("250 2.0.0 ok")};

    ASSERT(result == SPOOL_OK);
    if (sample_count < SAMPLES_MAX)
        samples[sample_count++] = (uint32_t)((io_now_ns(io) - k->begun_ns) / 1000);
    committed++;
    busy--;
    if (deliver)
        spool_outcomes(spool, w->message, &o, 1);
    if (running)
        begin(k);
}

static void pass(void)
{
    spool_step(spool);
    (void)io_wait(io, spool_next_ms(spool));
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return x < y ? -1 : x > y;
}

/* Runs N writers for that long; answers the seconds. */
static double run(unsigned n, uint64_t ms, uint64_t *out_cpu_us)
{
    committed = append_ns = appends = 0;
    sample_count = 0;
    running = true;
    uint64_t from_ns = io_now_ns(io), from_us = cpu_us();
    for (unsigned i = 0; i < n; i++) {
        writers[i].w.ready = ready;
        writers[i].w.done = done;
        begin(&writers[i]);
    }
    while (io_now_ns(io) - from_ns < ms * 1000000)
        pass();
    running = false;
    while (busy > 0)
        pass();
    *out_cpu_us = cpu_us() - from_us;
    qsort(samples, sample_count, sizeof(*samples), compare);
    return (double)(io_now_ns(io) - from_ns) / 1e9;
}

static void settle(void)
{
    for (int i = 0; i < 100000; i++) {
        spool_step(spool);
        if (spool_idle(spool))
            return;
        (void)io_wait(io, io_now_ms(io) + 10);
    }
}

static void bench_commit(unsigned n, uint64_t ms)
{
    uint64_t us;
    struct spool_counters before, after;

    settle();
    spool_counters(spool, &before);
    double seconds = run(n, ms, &us);
    spool_counters(spool, &after);
    uint64_t commits = after.commits - before.commits;
    (void)printf("commit  N=%-4u %9.0f msg/s %7.2f us CPU/msg  p50 %5u p99 %6u us  %6.1f a commit  "
                 "append %4.0f ns\n",
                 n, (double)committed / seconds, (double)us / (double)committed,
                 samples[sample_count / 2], samples[sample_count * 99 / 100],
                 (double)committed / (double)(commits ? commits : 1),
                 (double)append_ns / (double)appends);
}

static void bench_large(uint64_t ms)
{
    uint64_t us;

    settle();
    body_len = LARGE;
    double seconds = run(4, ms, &us);
    (void)printf("large   1 MiB  %9.0f MB/s %10.0f us CPU/MB  p50 %5u us\n",
                 (double)committed / seconds, (double)us / (double)committed,
                 samples[sample_count / 2]);
    body_len = BODY;
}

/* ---- opening ------------------------------------------------------------------------------ */

static void open_spool(struct spool_recovery *out)
{
    struct buf error = {0};

    spool = spool_open(io, &options, out, &error);
    if (!spool) {
        (void)fprintf(stderr, "%.*s\n", SLICE_ARG(buf_slice(&error)));
        exit(1);
    }
    buf_finish(&error);
}

static void close_spool(void)
{
    spool_stop(spool);
    settle();
    spool_close(spool, false);
}

static struct queue queue;
static struct wheel wheel;

static void accepted(void *context, struct spool_message *m)
{
    (void)context;
    (void)queue_accept(&queue, m);
}

static void dispatch(void *context, struct queue_entry *entry)
{
    (void)context;
    (void)entry; /* nobody steps the queue */
}

static struct spool_bulk *bulk;
static bool bulk_ready;

static void on_bulk(void *context)
{
    (void)context;
    bulk_ready = true;
}

static uint64_t walked;

static bool count_one(struct spool_message *m, void *context)
{
    (void)context;
    walked += m->id != 0;
    return true;
}

static bool add_one(struct spool_message *m, void *context)
{
    (void)context;
    return spool_bulk_add(bulk, m);
}

static void bench_walk(void)
{
    uint64_t after = 0, from_ns = io_now_ns(io), longest_ns = 0;
    bool more = true;

    walked = 0;
    while (more) {
        uint64_t call_ns = io_now_ns(io);

        more = spool_walk(spool, &after, 500, count_one, NULL);
        call_ns = io_now_ns(io) - call_ns;
        longest_ns = call_ns > longest_ns ? call_ns : longest_ns;
    }
    (void)printf("walk    %llu: %.0f ns a message, %.1f us the longest call of 500\n",
                 (unsigned long long)walked,
                 (double)(io_now_ns(io) - from_ns) / (double)(walked ? walked : 1),
                 (double)longest_ns / 1e3);
}

static void bench_list(void)
{
    uint64_t after = 0, from_ns = io_now_ns(io), from_us = cpu_us(), rows = 0, bytes = 0;
    struct spool_bulk_row row;
    bool more = true;

    bulk = spool_bulk_create(spool, on_bulk, NULL);
    while (more) {
        enum spool_read result;

        more = spool_walk(spool, &after, SPOOL_BULK_MAX, add_one, NULL);
        while ((result = spool_bulk_next(bulk, &row)) != SPOOL_READ_END) {
            if (result == SPOOL_READ_PIECE) {
                ASSERT(row.error == 0);
                rows++;
                bytes += row.sender.len + row.facts.len;
                continue;
            }
            for (bulk_ready = false; !bulk_ready;)
                (void)io_wait(io, io_now_ms(io) + 100);
        }
    }
    double seconds = (double)(io_now_ns(io) - from_ns) / 1e9;
    (void)printf("list    %llu rows: %.0f ms, %.2f us CPU a row, %llu bytes of text\n",
                 (unsigned long long)rows, seconds * 1e3,
                 (double)(cpu_us() - from_us) / (double)(rows ? rows : 1),
                 (unsigned long long)bytes);
    spool_bulk_destroy(bulk, false);
}

/* In a process of its own, so that memory is counted from nothing. */
static void reopen(void)
{
    static uint64_t intervals[] = {300000};
    static struct conf conf;
    struct spool_recovery recovery;

    conf.retry.intervals = (struct conf_durations){intervals, ARRAY_LEN(intervals)};
    conf.retry.expire = UINT64_C(432000000);
    wheel_init(&wheel, io_now_ms(io));
    queue_init(&queue,
               &(struct queue_options){
                   .conf = &conf, .io = io, .wheel = &wheel, .seed = 1, .dispatch = dispatch});
    uint64_t before = resident(), from_us = cpu_us(), from_ns = io_now_ns(io);
    options.recovered = accepted;
    open_spool(&recovery);
    queue_set_spool(&queue, spool);
    double messages = recovery.messages > 0 ? (double)recovery.messages : 1;
    (void)printf("restart %llu queued: %llu ms to read, %llu ms in all, %.2f us CPU a message\n",
                 (unsigned long long)recovery.messages, (unsigned long long)recovery.duration_ms,
                 (unsigned long long)((io_now_ns(io) - from_ns) / 1000000),
                 (double)(cpu_us() - from_us) / messages);
    (void)printf(
        "memory  %.0f bytes resident a message with its entry; %.0f of the whole process\n",
        (double)(resident() - before) / messages, (double)resident() / messages);
    bench_walk();
    bench_list();
    (void)fflush(stdout);
    spool_stop(spool);
    settle();
    queue_finish(&queue);
    spool_close(spool, false);
}

static void bench_restart(const char *self, const char *dir, uint64_t queued)
{
    char command[512];
    uint64_t us;

    settle();
    body_len = queued_body;
    deliver = false;
    for (uint64_t total = 0; total < queued; total += committed)
        (void)run(queued < 256 ? 16 : 256, 50, &us);
    close_spool();
    (void)fflush(stdout);
    (void)snprintf(command, sizeof(command), "'%s' --reopen '%s'", self, dir);
    if (system(command) != 0)
        (void)fprintf(stderr, "%s failed\n", command);
}

static void remove_all(const char *dir)
{
    char command[256];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", dir);
    if (system(command) != 0)
        (void)fprintf(stderr, "%s stays\n", dir);
}

int main(int argc, char **argv)
{
    static char dir[128] = "/var/tmp/mailring-bench-spool-XXXXXX";
    const char *parent = NULL;
    bool again = false;
    uint64_t ms = 2000, queued = 200000;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--tiny") == 0) {
            ms = 20;
            queued = 100;
        } else if (strcmp(argv[i], "--dir") == 0 && i + 1 < argc) {
            parent = argv[++i];
        } else if (strcmp(argv[i], "--reopen") == 0 && i + 1 < argc) {
            (void)snprintf(dir, sizeof(dir), "%s", argv[++i]);
            again = true;
        } else if (strcmp(argv[i], "--seconds") == 0 && i + 1 < argc) {
            ms = strtoull(argv[++i], NULL, 10) * 1000;
        } else if (strcmp(argv[i], "--queued") == 0 && i + 1 < argc) {
            queued = strtoull(argv[++i], NULL, 10);
        } else if (strcmp(argv[i], "--body") == 0 && i + 1 < argc) {
            queued_body = strtoull(argv[++i], NULL, 10);
            queued_body = queued_body > LARGE ? LARGE : queued_body;
        }
    }
    if (parent)
        (void)snprintf(dir, sizeof(dir), "%s/bench-spool-XXXXXX", parent);
    if (!again && !mkdtemp(dir))
        return 1;
    options = (struct spool_options){.path = dir, .shards = 1, .segment_size = 64 << 20};
    const struct io_uring_options ring = {.entries = 256,
                                          .recv_buffers = 8,
                                          .cpu = -1,
                                          .registered_len = spool_registered_len(&options)};
    struct buf error = {0};
    int code = 0;
    io = io_uring_create(&ring, &error, &code);
    if (!io || io_uring_start(io) != 0) {
        (void)fprintf(stderr, "%.*s\n", SLICE_ARG(buf_slice(&error)));
        remove_all(dir);
        return code;
    }
    if (again) {
        reopen();
        io_destroy(io);
        return 0;
    }
    samples = mem_calloc(SAMPLES_MAX, sizeof(*samples));
    body = mem_alloc(LARGE);
    for (size_t i = 0; i < LARGE; i++)
        body[i] = (uint8_t)("Lorem ipsum dolor sit amet\r\n"[i % 28]);
    body_len = BODY;
    deliver = true;
    open_spool(NULL);
    static const unsigned counts[] = {1, 16, 64, 512};
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        bench_commit(counts[i], ms);
    bench_large(ms);
    bench_restart(argv[0], dir, queued);
    io_destroy(io);
    remove_all(dir);
    (void)printf("checksum %llu\n", (unsigned long long)committed);
    mem_free(samples);
    mem_free(body);
    return 0;
}
