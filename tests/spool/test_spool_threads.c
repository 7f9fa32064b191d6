/* A message is read on another thread, with that thread's io, while its owner goes on. For TSan. */
#include <check.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base_mem.h"
#include "io_uring_ring.h"
#include "spool_world.h"

enum { MESSAGES = 40, BODY = 40000 };

struct job {
    pthread_t thread;
    struct spool_ref refs[MESSAGES];
    atomic_bool done;
    unsigned good;
};

static void ready(struct spool_reader *r)
{
    (void)r; /* polled */
}

static struct io *create(void)
{
    const struct io_uring_options options = {.entries = 64, .recv_buffers = 8, .cpu = -1};
    struct buf error = {0};
    int code = 0;
    struct io *io = io_uring_create(&options, &error, &code);

    buf_finish(&error);
    if (!io || io_uring_start(io) != 0)
        return NULL;
    return io;
}

static bool read_one(struct io *io, const struct spool_ref *ref, uint64_t seed)
{
    struct spool_reader r;
    struct slice sender, to[3], piece;
    enum spool_read result;
    struct buf body = {0};
    uint8_t *expected = test_body(seed, BODY * (seed % 3));

    spool_reader_begin(&r, io, ref, ready);
    while ((result = spool_reader_envelope(&r, &sender, to, NULL)) == SPOOL_READ_WAIT)
        (void)io_wait(io, UINT64_MAX);
    while (result == SPOOL_READ_PIECE || result == SPOOL_READ_WAIT) {
        result = spool_reader_body(&r, &piece);
        if (result == SPOOL_READ_WAIT)
            (void)io_wait(io, UINT64_MAX);
        else if (result == SPOOL_READ_PIECE)
            (void)buf_append_slice(&body, piece);
    }
    bool good = result == SPOOL_READ_END
                && slice_equal(buf_slice(&body), slice_of(expected, BODY * (seed % 3)));
    spool_reader_finish(&r);
    buf_finish(&body);
    mem_free(expected);
    return good;
}

static void *run(void *context)
{
    struct job *job = context;
    struct io *io = create();

    for (uint64_t i = 0; io && i < MESSAGES; i++)
        job->good += read_one(io, &job->refs[i], i);
    if (io)
        io_destroy(io);
    atomic_store(&job->done, true);
    return NULL;
}

START_TEST(elsewhere)
{
    struct spool_world w;
    struct spool_message *m[MESSAGES];
    struct job job = {0};

    spool_world_open(&w, SPOOL_WORLD_URING);
    w.options.segment_size = 1 << 20;
    ck_assert(spool_world_start(&w));
    for (uint64_t i = 0; i < MESSAGES; i++) {
        uint8_t *body = test_body(i, BODY * (i % 3));

        m[i] = test_message(&w, slice_of(body, BODY * (i % 3)), 3);
        ck_assert_ptr_nonnull(m[i]);
        job.refs[i] = spool_pin(w.s, m[i]);
        mem_free(body);
    }
    ck_assert_int_eq(pthread_create(&job.thread, NULL, run, &job), 0);
    for (unsigned i = 0; i < MESSAGES || !atomic_load(&job.done); i++) {
        if (i < 2 * MESSAGES)
            test_outcome(&w, m[i % MESSAGES], i / MESSAGES, SPOOL_RECIPIENT_DELIVERED, 0);
        struct spool_message *other = test_message(&w, SLICE_LITERAL("meanwhile"), 1);
        test_outcome(&w, other, 0, SPOOL_RECIPIENT_DELIVERED, 0);
    }
    ck_assert_int_eq(pthread_join(job.thread, NULL), 0);
    ck_assert_uint_eq(job.good, MESSAGES);
    for (unsigned i = 0; i < MESSAGES; i++)
        spool_unpin(w.s, m[i], &job.refs[i]);
    spool_world_close(&w);
}
END_TEST

Suite *spool_threads_suite(void)
{
    Suite *suite = suite_create("spool_threads");
    TCase *tc = tcase_create("threads");

    tcase_set_timeout(tc, 60);
    tcase_add_test(tc, elsewhere);
    suite_add_tcase(suite, tc);
    return suite;
}
