/* admin_world: see the header. */
#include "admin_world.h"

#include "base_mem.h"

struct shard_world world;

static void guest_stop(struct shard_world *w)
{
    admin_stop(w->guest);
}

static bool guest_idle(struct shard_world *w)
{
    return admin_idle(w->guest);
}

static const struct io_addr *control(void)
{
    static struct io_addr addr;

    ck_assert(io_addr_parse(SLICE_LITERAL("unix:/control"), &addr));
    return &addr;
}

void admin_world_open(unsigned shards, unsigned messages)
{
    int fd;

    shard_world_init(&world, 1);
    world.guest_stop = guest_stop;
    world.guest_idle = guest_idle;
    shard_world_start(&world, shards);
    fd = io_listen(world.shards[0].io, control(), 0, 128);
    ck_assert_int_ge(fd, 0);
    world.guest = admin_create(world.shards[0].shard, fd, "1.2.3");
    if (messages > 0)
        shard_world_queue(&world, messages);
    shard_world_run_ms(&world, 60 * 1000); /* each has been tried once, and waits */
    ck_assert_uint_eq(shard_world_queued(&world), messages);
}

void admin_world_close(void)
{
    shard_world_stop(&world, 1000);
    admin_destroy(world.guest);
    shard_world_finish(&world);
}

/* ---- clients -------------------------------------------------------------------------------- */

static void client_ready(struct net_conn *conn)
{
    struct client *c = container_of(conn, struct client, conn);
    struct slice in = net_conn_input(conn);

    (void)buf_append_slice(&c->got, in);
    net_conn_consume(conn, in.len);
    if (conn->error != 0)
        net_conn_abort(conn);
    else if (conn->eof)
        net_conn_close(conn, false);
    else if (!c->deaf)
        net_conn_want_input(conn);
    if (conn->error == 0)
        net_conn_flush(conn);
}

static void client_closed(struct net_conn *conn)
{
    container_of(conn, struct client, conn)->closed = true;
}

void client_open(struct client *c)
{
    bool deaf = c->deaf;

    *c = (struct client){.deaf = deaf};
    ck_assert(net_conn_connect(&c->conn, world.client, control(), client_ready, client_closed));
    c->conn.out.limit = c->conn.sending.limit = 1 << 20;
}

void client_send(struct client *c, const char *bytes, size_t len)
{
    ck_assert(buf_append(net_conn_out(&c->conn), bytes, len));
    if (c->conn.state == NET_CONN_OPEN)
        net_conn_flush(&c->conn);
}

void client_listen(struct client *c)
{
    c->deaf = false;
    if (!c->closed)
        net_conn_want_input(&c->conn);
}

void client_wait(struct client *c, uint64_t most_ms)
{
    uint64_t end_ms = sim_now_ms(world.sim) + most_ms;

    while (!c->closed && sim_now_ms(world.sim) < end_ms)
        shard_world_run_ms(&world, 1);
    ck_assert_msg(c->closed, "not closed; so far: %.*s", SLICE_ARG(buf_slice(&c->got)));
}

void client_abort(struct client *c)
{
    net_conn_abort(&c->conn);
    client_wait(c, 1000);
    client_finish(c);
}

void client_finish(struct client *c)
{
    ck_assert(c->closed);
    buf_finish(&c->got);
}

const char *ask(const char *line)
{
    static struct buf answer;
    struct client c = {0};

    client_open(&c);
    client_send(&c, line, strlen(line));
    client_send(&c, "\n", 1);
    client_wait(&c, 5000);
    buf_clear(&answer);
    (void)buf_append_slice(&answer, buf_slice(&c.got));
    (void)buf_append_byte(&answer, '\0');
    client_finish(&c);
    return (const char *)buf_slice(&answer).data;
}

unsigned count_of(const char *text, const char *part)
{
    unsigned count = 0;

    for (; (text = strstr(text, part)) != NULL; text += strlen(part))
        count++;
    return count;
}
