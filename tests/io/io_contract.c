#include "io_contract.h"

#include <errno.h>
#include <stdio.h>

#include "base_assert.h"

extern const struct io_world_type io_world_sim;
extern const struct io_world_type io_world_uring;

const struct io_world_type *const io_world_types[] = {
    &io_world_uring,
    &io_world_sim,
};
const int io_world_type_count = (int)ARRAY_LEN(io_world_types);

static struct io_world the_world;
struct io_world *const world = &the_world;

/* --- the world -------------------------------------------------------------------------------- */

void io_world_open(struct io_world *w, const struct io_world_type *type)
{
    *w = (struct io_world){.type = type};
    type->open(w);
    w->io = w->ios[0];
    ck_assert_ptr_nonnull(w->ios[0]);
    ck_assert_ptr_nonnull(w->ios[1]);
}

void io_world_close(struct io_world *w)
{
    for (int i = 0; i < IO_WORLD_IOS; i++) {
        const struct io_counters *counters = &w->ios[i]->counters;

        ck_assert_uint_eq(counters->lent_out, 0);
        ck_assert_uint_ge(counters->completed, counters->submitted); /* multishots complete more */
    }
    w->type->close(w);
}

TCase *contract_case(Suite *suite, const char *name)
{
    TCase *tcase = tcase_create(name);

    tcase_set_timeout(tcase, 60);
    suite_add_tcase(suite, tcase);
    return tcase;
}

void world_settle(void)
{
    uint64_t until = io_now_ms(world->io) + 20;

    for (int i = 0; i < 1000 && io_now_ms(world->io) < until; i++)
        world->type->pump(world, until);
}

const char *world_path(const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", world->dir, name);
    return path;
}

/* --- probes ----------------------------------------------------------------------------------- */

static bool submitting;

void submit_begin(void)
{
    submitting = true;
}

void submit_end(void)
{
    submitting = false;
}

static void probe_done(struct io_op *op)
{
    struct probe *p = container_of(op, struct probe, op);

    ck_assert_msg(!submitting, "done ran inside a submit");
    ck_assert(op->more || !io_op_busy(op)); /* so that `then` may submit it again */
    if (p->completions < ARRAY_LEN(p->res))
        p->res[p->completions] = op->res;
    p->completions++;
    if (op->more)
        p->with_more++;
    if (p->then != NULL)
        p->then(p);
}

void probe_init(struct probe *p)
{
    *p = (struct probe){.op.done = probe_done};
    ck_assert(!io_op_busy(&p->op));
}

static void pump_until(uint64_t until_ms, const struct probe *p)
{
    ck_assert_msg(io_now_ms(world->io) < until_ms, "%s: an op (kind %u) hangs after %u completions",
                  world->type->name, p->op.kind, p->completions);
    world->type->pump(world, until_ms);
}

int32_t probe_wait(struct probe *p)
{
    uint64_t until = io_now_ms(world->io) + 20000;

    while (io_op_busy(&p->op))
        pump_until(until, p);
    return p->op.res;
}

void probe_wait_completions(struct probe *p, unsigned count)
{
    uint64_t until = io_now_ms(world->io) + 20000;

    while (p->completions < count)
        pump_until(until, p);
}

/* --- streams ---------------------------------------------------------------------------------- */

int world_listen(struct io_addr *out_addr)
{
    struct io_addr any;
    int fd;

    ck_assert(io_addr_parse(slice_str("127.0.0.1:0"), &any));
    fd = io_listen(world->io, &any, 0, 64);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(io_addresses(world->io, fd, out_addr, NULL), 0);
    return fd;
}

void world_close_fd(int fd)
{
    struct probe p;

    probe_init(&p);
    SUBMIT(io_close(world->io, &p.op, fd));
    ck_assert_int_eq(probe_wait(&p), 0);
}

void world_stream_pair(struct stream_pair *out)
{
    struct probe accept, connect;
    struct io_addr addr;
    int listener = world_listen(&addr);

    probe_init(&accept);
    probe_init(&connect);
    out->client = io_socket_stream(world->io, AF_INET);
    ck_assert_int_ge(out->client, 0);
    SUBMIT(io_accept(world->io, &accept.op, listener));
    SUBMIT(io_connect(world->io, &connect.op, out->client, &addr));
    ck_assert_int_eq(probe_wait(&connect), 0);
    probe_wait_completions(&accept, 1);
    out->server = accept.res[0];
    ck_assert_int_ge(out->server, 0);
    SUBMIT(io_cancel(world->io, &accept.op));
    ck_assert_int_eq(probe_wait(&accept), -ECANCELED);
    world_close_fd(listener);
}

void world_stream_close(struct stream_pair *pair)
{
    world_close_fd(pair->client);
    world_close_fd(pair->server);
}

int32_t run_send(int fd, struct slice bytes, unsigned flags)
{
    struct probe p;

    probe_init(&p);
    SUBMIT(io_send(world->io, &p.op, fd, bytes, flags));
    return probe_wait(&p);
}

int32_t run_recv(int fd)
{
    struct probe p;

    probe_init(&p);
    SUBMIT(io_recv(world->io, &p.op, fd));
    if (probe_wait(&p) > 0)
        io_lent_return(world->io, &p.op);
    return p.op.res;
}

void run_recv_exactly(int fd, void *out, size_t len)
{
    uint8_t *at = out;
    struct probe p;

    while (len > 0) {
        probe_init(&p);
        SUBMIT(io_recv(world->io, &p.op, fd));
        ck_assert_int_gt(probe_wait(&p), 0);
        ck_assert_uint_eq(p.op.lent.len, (size_t)p.op.res);
        ck_assert_uint_le(p.op.lent.len, len); /* tests ask for all that was sent */
        memcpy(at, p.op.lent.data, p.op.lent.len);
        at += p.op.lent.len;
        len -= p.op.lent.len;
        io_lent_return(world->io, &p.op);
    }
}

/* --- files ------------------------------------------------------------------------------------ */

int32_t run_open(const char *path, unsigned flags)
{
    struct probe p;

    probe_init(&p);
    SUBMIT(io_open(world->io, &p.op, path, flags, 0600));
    return probe_wait(&p);
}

int32_t run_read(int fd, void *out, size_t len, uint64_t offset)
{
    struct probe p;

    probe_init(&p);
    SUBMIT(io_read(world->io, &p.op, fd, out, len, offset));
    return probe_wait(&p);
}

int32_t run_write(int fd, const void *data, size_t len, uint64_t offset, unsigned flags)
{
    struct probe p;

    probe_init(&p);
    SUBMIT(io_write(world->io, &p.op, fd, data, len, offset, flags));
    return probe_wait(&p);
}

int32_t run_stat(const char *path, struct io_stat *out)
{
    struct probe p;

    probe_init(&p);
    SUBMIT(io_stat(world->io, &p.op, path, out));
    return probe_wait(&p);
}

int32_t run_unlink(const char *path)
{
    struct probe p;

    probe_init(&p);
    SUBMIT(io_unlink(world->io, &p.op, path));
    return probe_wait(&p);
}

void run_make_file(const char *path, const char *text)
{
    int fd = run_open(path, IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(run_write(fd, text, strlen(text), 0, 0), (int)strlen(text));
    world_close_fd(fd);
}

bool run_file_is(const char *path, const char *text)
{
    char content[256];
    int fd = run_open(path, IO_OPEN_READ);
    int32_t len;

    if (fd < 0)
        return false;
    len = run_read(fd, content, sizeof(content), 0);
    world_close_fd(fd);
    return len >= 0 && slice_equal(slice_of(content, (size_t)len), slice_str(text));
}
