#include "io_contract.h"

#include <check.h>
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

void world_settle(struct io_world *w)
{
    uint64_t until = io_now_ms(w->io) + 20;

    for (int i = 0; i < 1000 && io_now_ms(w->io) < until; i++)
        w->type->pump(w, until);
}

const char *world_path(struct io_world *w, const char *name)
{
    static char paths[8][128];
    static unsigned next;
    char *path = paths[next++ % ARRAY_LEN(paths)];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", w->dir, name);
    return path;
}

/* --- probes ----------------------------------------------------------------------------------- */

static void probe_done(struct io_op *op)
{
    struct probe *p = container_of(op, struct probe, op);

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

int32_t probe_wait(struct io_world *w, struct probe *p)
{
    uint64_t until = io_now_ms(w->io) + 20000;

    while (io_op_busy(&p->op)) {
        ck_assert_msg(io_now_ms(w->io) < until, "%s: an op (kind %u) did not complete",
                      w->type->name, p->op.kind);
        w->type->pump(w, until);
    }
    return p->op.res;
}

void probe_wait_completions(struct io_world *w, struct probe *p, unsigned count)
{
    uint64_t until = io_now_ms(w->io) + 20000;

    while (p->completions < count) {
        ck_assert_msg(io_now_ms(w->io) < until, "%s: %u completions instead of %u", w->type->name,
                      p->completions, count);
        w->type->pump(w, until);
    }
}

/* --- streams ---------------------------------------------------------------------------------- */

int world_listen(struct io_world *w, struct io_addr *out_addr)
{
    struct io_addr any;
    int fd;

    ck_assert(io_addr_parse(slice_str("127.0.0.1:0"), &any));
    fd = io_listen(w->io, &any, 0, 64);
    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(io_addresses(w->io, fd, out_addr, NULL), 0);
    return fd;
}

void world_close_fd(struct io_world *w, int fd)
{
    struct probe p;

    probe_init(&p);
    io_close(w->io, &p.op, fd);
    ck_assert_int_eq(probe_wait(w, &p), 0);
}

void world_stream_pair(struct io_world *w, struct stream_pair *out)
{
    struct probe accept, connect;
    struct io_addr addr;
    int listener = world_listen(w, &addr);

    probe_init(&accept);
    probe_init(&connect);
    out->client = io_socket_stream(w->io, AF_INET);
    ck_assert_int_ge(out->client, 0);
    io_accept(w->io, &accept.op, listener);
    io_connect(w->io, &connect.op, out->client, &addr);
    ck_assert_int_eq(probe_wait(w, &connect), 0);
    probe_wait_completions(w, &accept, 1);
    out->server = accept.res[0];
    ck_assert_int_ge(out->server, 0);
    io_cancel(w->io, &accept.op);
    ck_assert_int_eq(probe_wait(w, &accept), -ECANCELED);
    world_close_fd(w, listener);
}
