#include "spool_world.h"

#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_mem.h"
#include "io_uring_ring.h"

static void on_recovered(void *context, struct spool_message *m)
{
    struct spool_world *w = context;

    ck_assert(m->owner == NULL);
    w->recovered++;
}

static void set_options(struct spool_world *w)
{
    w->options = (struct spool_options){
        .path = w->dir,
        .shard = 0,
        .shards = 1,
        .segment_size = 256 << 10,
        .batch_slots = 8,
        .batch_slot_len = 64 << 10,
        .extent_slots = 4,
        .extent_slot_len = 32 << 10,
        .process_id = 4711,
        .recovered = on_recovered,
        .context = w,
    };
}

static struct io *uring_create(size_t registered_len)
{
    const struct io_uring_options options = {
        .entries = 64, .registered_len = registered_len, .recv_buffers = 8, .cpu = -1};
    struct buf error = {0};
    int code = 0;
    struct io *io = io_uring_create(&options, &error, &code);

    ck_assert_msg(io != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    buf_finish(&error);
    ck_assert_int_eq(io_uring_start(io), 0);
    return io;
}

void spool_world_open_seed(struct spool_world *w, uint64_t seed, const struct sim_options *options)
{
    struct sim_options defaults = sim_options_default();

    *w = (struct spool_world){.kind = SPOOL_WORLD_SIM};
    w->sim = sim_create(seed, options ? options : &defaults);
    w->machine = sim_machine_create(w->sim, "10.0.0.1");
    (void)snprintf(w->dir, sizeof(w->dir), "/spool");
    set_options(w);
}

void spool_world_open(struct spool_world *w, enum spool_world_kind kind)
{
    if (kind == SPOOL_WORLD_SIM) {
        spool_world_open_seed(w, 1, NULL);
        return;
    }
    *w = (struct spool_world){.kind = kind};
    /* Not /tmp, which may be in memory and know no direct I/O. */
    (void)snprintf(w->dir, sizeof(w->dir), "/var/tmp/mailring-spool-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(w->dir));
    set_options(w);
}

bool spool_world_start(struct spool_world *w)
{
    struct buf error = {0};
    size_t len = spool_registered_len(&w->options);

    if (!w->io) {
        w->io = w->kind == SPOOL_WORLD_SIM ? sim_io_create(w->machine, len) : uring_create(len);
        if (w->kind == SPOOL_WORLD_SIM)
            sim_io_set_stepping(w->io, true);
    }
    w->recovered = 0;
    w->s = spool_open(w->io, &w->options, &w->recovery, &error);
    if (!w->s)
        ck_assert_uint_gt(buf_len(&error), 0);
    buf_finish(&error);
    return w->s != NULL;
}

void spool_world_pass(struct spool_world *w)
{
    spool_step(w->s);
    uint64_t next = spool_next_ms(w->s), soon = io_now_ms(w->io) + 100;

    (void)io_wait(w->io, next < soon ? next : soon);
}

void spool_world_settle(struct spool_world *w)
{
    for (unsigned i = 0; i < 100000; i++) {
        spool_step(w->s);
        if (spool_idle(w->s))
            return;
        (void)io_wait(w->io, io_now_ms(w->io) + 100);
    }
    ck_abort_msg("the spool does not come to rest");
}

void spool_world_run_ms(struct spool_world *w, uint64_t ms)
{
    uint64_t end = io_now_ms(w->io) + ms;

    while (io_now_ms(w->io) < end) {
        spool_step(w->s);
        (void)io_wait(w->io, io_now_ms(w->io) + 10 < end ? io_now_ms(w->io) + 10 : end);
    }
}

void spool_world_stop(struct spool_world *w)
{
    spool_stop(w->s);
    spool_world_settle(w);
    spool_close(w->s, false);
    io_destroy(w->io);
    w->s = NULL;
    w->io = NULL;
}

void spool_world_crash(struct spool_world *w)
{
    sim_machine_crash(w->machine);
    spool_close(w->s, true);
    w->s = NULL;
    w->io = NULL;
}

static void remove_tree(const char *path)
{
    DIR *dir = opendir(path);
    struct dirent *entry;

    while (dir != NULL && (entry = readdir(dir)) != NULL) {
        char name[512];

        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        (void)snprintf(name, sizeof(name), "%s/%s", path, entry->d_name);
        if (unlink(name) != 0)
            remove_tree(name);
    }
    if (dir != NULL)
        (void)closedir(dir);
    (void)rmdir(path);
}

void spool_world_close(struct spool_world *w)
{
    if (w->s)
        spool_world_stop(w);
    if (w->io)
        io_destroy(w->io);
    if (w->sim)
        sim_destroy(w->sim);
    else
        remove_tree(w->dir);
    *w = (struct spool_world){0};
}

/* ---- messages ----------------------------------------------------------------------------- */

static void on_ready(struct spool_writer *writer)
{
    container_of(writer, struct test_writer, w)->ready = true;
}

static void on_done(struct spool_writer *writer, enum spool_result result)
{
    struct test_writer *t = container_of(writer, struct test_writer, w);

    ck_assert(!t->is_done);
    t->is_done = true;
    t->result = result;
    t->message = writer->message;
    ck_assert((result == SPOOL_OK) == (writer->message != NULL));
}

void test_writer_init(struct test_writer *t, struct spool_world *w)
{
    *t = (struct test_writer){.world = w};
    t->w.ready = on_ready;
    t->w.done = on_done;
}

enum spool_result test_write(struct test_writer *t, struct slice body)
{
    for (;;) {
        t->ready = false;
        enum spool_result result = spool_write(&t->w, &body);

        if (result != SPOOL_WAIT)
            return result;
        while (!t->ready)
            spool_world_pass(t->world);
    }
}

enum spool_result test_commit(struct test_writer *t, const char *sender, unsigned recipients)
{
    struct slice *to = mem_calloc(recipients, sizeof(*to));
    char(*text)[32] = mem_calloc(recipients, sizeof(*text));

    for (unsigned i = 0; i < recipients; i++) {
        (void)snprintf(text[i], sizeof(text[i]), "r%u@example.org", i);
        to[i] = slice_str(text[i]);
    }
    struct spool_envelope e = {
        .sender = slice_str(sender),
        .recipients = to,
        .recipient_count = recipients,
        .arrived_s = 1234567,
        .flags = SPOOL_HAS_8BIT | SPOOL_REQUIRE_TLS,
        .facts = SLICE_LITERAL("client=192.0.2.1"),
    };
    enum spool_result result = test_commit_envelope(t, &e);
    mem_free(to);
    mem_free(text);
    return result;
}

enum spool_result test_commit_envelope(struct test_writer *t, const struct spool_envelope *e)
{
    t->is_done = false;
    spool_writer_commit(&t->w, e);
    ck_assert(!t->is_done);
    while (!t->is_done)
        spool_world_pass(t->world);
    return t->result;
}

struct spool_message *test_submit(struct spool_world *w, struct slice body,
                                  const struct spool_envelope *e)
{
    struct test_writer t;

    test_writer_init(&t, w);
    ck_assert_int_eq(spool_writer_begin(w->s, &t.w, 0), SPOOL_OK);
    ck_assert_int_eq(test_write(&t, body), SPOOL_OK);
    ck_assert_int_eq(test_commit_envelope(&t, e), SPOOL_OK);
    return t.message;
}

struct spool_message *test_message(struct spool_world *w, struct slice body, unsigned recipients)
{
    struct test_writer t;

    test_writer_init(&t, w);
    if (spool_writer_begin(w->s, &t.w, 0) != SPOOL_OK)
        return NULL;
    if (test_write(&t, body) != SPOOL_OK) {
        spool_writer_abort(&t.w);
        return NULL;
    }
    if (test_commit(&t, "sender@example.net", recipients) != SPOOL_OK)
        return NULL;
    return t.message;
}

void test_outcome(struct spool_world *w, struct spool_message *m, uint32_t recipient,
                  enum spool_recipient_state state, uint32_t due_s)
{
    struct spool_outcome o = {
        .recipient = recipient,
        .state = (uint8_t)state,
        .counts = true,
        .due_s = due_s,
        .text = SLICE_LITERAL("250 2.0.0 fine"),
    };

    spool_outcomes(w->s, m, &o, 1);
}

/* ---- reading ------------------------------------------------------------------------------ */

struct test_reader {
    struct spool_reader r;
    bool ready;
};

static void on_read(struct spool_reader *r)
{
    container_of(r, struct test_reader, r)->ready = true;
}

static void wait_read(struct spool_world *w, struct test_reader *t)
{
    while (!t->ready)
        (void)io_wait(w->io, io_now_ms(w->io) + 100);
    t->ready = false;
}

static int read_envelope(struct spool_world *w, struct test_reader *t, uint32_t count,
                         struct buf *out)
{
    struct slice *to = mem_calloc(count, sizeof(*to));
    struct slice sender, facts;
    enum spool_read result;

    while ((result = spool_reader_envelope(&t->r, &sender, to, &facts)) == SPOOL_READ_WAIT)
        wait_read(w, t);
    if (result == SPOOL_READ_PIECE && out) {
        ck_assert(buf_append_slice(out, sender));
        for (uint32_t i = 0; i < count; i++)
            ck_assert(buf_append_str(out, " ") && buf_append_slice(out, to[i]));
        ck_assert(buf_append_str(out, " ") && buf_append_slice(out, facts));
    }
    mem_free(to);
    return result == SPOOL_READ_PIECE ? 0 : t->r.error;
}

int test_read(struct spool_world *w, struct spool_message *m, struct buf *out_body,
              struct buf *out_envelope)
{
    struct test_reader t = {0};
    struct spool_ref ref = spool_pin(w->s, m);
    enum spool_read result = SPOOL_READ_PIECE;
    struct slice piece;

    spool_reader_begin(&t.r, w->io, &ref, on_read);
    int error = read_envelope(w, &t, m->recipient_count, out_envelope);
    while (!error && result != SPOOL_READ_END) {
        result = spool_reader_body(&t.r, &piece);
        if (result == SPOOL_READ_WAIT)
            wait_read(w, &t);
        else if (result == SPOOL_READ_ERROR)
            error = t.r.error;
        else if (result == SPOOL_READ_PIECE)
            ck_assert(buf_append_slice(out_body, piece));
    }
    spool_reader_finish(&t.r);
    spool_unpin(w->s, m, &ref);
    return error;
}

void test_dsn(struct spool_world *w, struct spool_message *m,
              void (*use)(void *context, struct slice envid, const struct spool_dsn *dsn),
              void *context)
{
    struct test_reader t = {0};
    struct spool_ref ref = spool_pin(w->s, m);
    struct spool_dsn *dsn = mem_calloc(m->recipient_count, sizeof(*dsn));
    struct slice envid;

    spool_reader_begin(&t.r, w->io, &ref, on_read);
    ck_assert_int_eq(read_envelope(w, &t, m->recipient_count, NULL), 0);
    spool_reader_dsn(&t.r, &envid, dsn);
    use(context, envid, dsn);
    spool_reader_finish(&t.r);
    spool_unpin(w->s, m, &ref);
    mem_free(dsn);
}

uint8_t *test_body(uint64_t seed, size_t len)
{
    uint8_t *body = mem_alloc(len + 8);
    struct rand r;

    rand_seed(&r, seed);
    for (size_t i = 0; i < len; i += 8) {
        uint64_t value = rand_u64(&r);

        memcpy(body + i, &value, 8);
    }
    return body;
}
