/* Shards side by side, each with a ring of its own: one setup, one table of failures, one pool of helpers; and a
 * reload in the midst of it. */
#include <pthread.h>

#include "auth_world.h"
#include "base_assert.h"
#include "io_uring_ring.h"

Suite *auth_threads_suite(void);

#define SHA512                                                                   \
    "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok" \
    "96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/" /* secret */

enum { SHARDS = 3, LOGINS = 60, AT_ONCE = 5 };

struct side {
    unsigned number;
    struct work_pool *pool;
    struct io *io;
    struct wheel wheel;
    struct work_door *door;
    struct auth *auth;
    struct auth_peer peer;
    struct auth_exchange *open[AT_ONCE];
    unsigned begun, ok, rejected, banned, other;
    bool failed;
};

static struct side sides[SHARDS];

static void nothing(void *context)
{
    (void)context;
}

static void begin(struct side *s, unsigned slot)
{
    struct auth_request request = {.peer = &s->peer,
                                   .mechanism = SLICE_LITERAL("PLAIN"),
                                   .has_response = true,
                                   .ready = nothing};
    bool good = s->begun % 4 != 3;

    /* Every fourth is a guess at one and the same user, from one and the same address. */
    (void)ip_parse(good ? SLICE_LITERAL("192.0.2.1") : SLICE_LITERAL("192.0.2.2"), &s->peer.ip);
    request.response = good ? SLICE_LITERAL("AGFubgBzZWNyZXQ=") : SLICE_LITERAL("AGJvYgB3cm9uZw==");
    s->open[slot] = auth_begin(s->auth, &request);
    s->begun++;
}

static void look(struct side *s, unsigned slot)
{
    enum auth_outcome outcome;

    if (s->open[slot] == NULL || (outcome = auth_outcome(s->open[slot])) == AUTH_WORKING)
        return;
    s->ok += outcome == AUTH_OK;
    s->rejected += outcome == AUTH_REJECTED;
    s->banned += outcome == AUTH_BANNED_USER;
    s->other += outcome != AUTH_OK && outcome != AUTH_REJECTED && outcome != AUTH_BANNED_USER;
    auth_end(s->open[slot]);
    s->open[slot] = NULL;
}

static void reload(struct side *s)
{
    struct conf_errors errors = {0};
    struct auth_setup *setup = auth_setup_create(world.conf, &errors);

    if (setup == NULL)
        s->failed = true;
    else
        auth_reload(s->auth, setup);
    auth_setup_unref(setup);
    conf_errors_finish(&errors);
}

static void pass(struct side *s)
{
    (void)io_wait(s->io, io_now_ms(s->io) + 5);
    wheel_advance(&s->wheel, io_now_ms(s->io));
    work_door_step(s->door);
    for (unsigned i = 0; i < AT_ONCE; i++) {
        look(s, i);
        if (s->open[i] == NULL && s->begun < LOGINS) {
            begin(s, i);
            if (s->begun == LOGINS / 2)
                reload(s);
        }
    }
}

static void *run(void *argument)
{
    struct side *s = argument;

    if (io_uring_start(s->io) != 0) {
        s->failed = true;
        return NULL;
    }
    wheel_init(&s->wheel, io_now_ms(s->io));
    s->door = work_door_create(s->pool, s->io);
    s->auth = auth_create(&(struct auth_options){.setup = world.setup,
                                                 .shared = world.shared,
                                                 .io = s->io,
                                                 .wheel = &s->wheel,
                                                 .compute = s->door});
    s->peer = (struct auth_peer){.listener = &world.conf->listeners[0], .session = s->number};
    do
        pass(s);
    while (s->begun < LOGINS || !auth_idle(s->auth));
    auth_stop(s->auth);
    auth_destroy(s->auth, false);
    work_door_destroy(s->door, false);
    return NULL;
}

START_TEST(test_shards)
{
    struct work_pool *pool = work_pool_create("test", 2, 64);
    pthread_t threads[SHARDS];
    struct buf error = {0};
    unsigned ok = 0, rejected = 0, banned = 0;
    int exit_code = 0;

    auth_put_file("users", "ann:" SHA512 "\nbob:" SHA512 "\n", 0600);
    ck_assert_str_eq(auth_world_load("users = $//users\nfailures = 3\nban = 10m\ndelay = 10ms\n"),
                     "");
    world.shared = auth_shared_create();
    for (unsigned i = 0; i < SHARDS; i++) {
        struct io_uring_options options = {.cpu = -1, .connections_max = 16, .recv_buffers = 16};

        sides[i] = (struct side){.number = i, .pool = pool};
        sides[i].io = io_uring_create(&options, &error, &exit_code);
        ck_assert_msg(sides[i].io != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    }
    for (unsigned i = 0; i < SHARDS; i++)
        ck_assert_int_eq(pthread_create(&threads[i], NULL, run, &sides[i]), 0);
    for (unsigned i = 0; i < SHARDS; i++) {
        ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
        ck_assert(!sides[i].failed);
        ck_assert_uint_eq(sides[i].other, 0);
        ok += sides[i].ok;
        rejected += sides[i].rejected;
        banned += sides[i].banned;
    }
    ck_assert_uint_eq(ok, SHARDS * LOGINS / 4 * 3);
    ck_assert_uint_eq(rejected + banned, SHARDS * LOGINS / 4);
    /* Three, whichever shards they came to; a few more if they were decided at the same moment. */
    ck_assert_uint_ge(rejected, 3);
    ck_assert_uint_le(rejected, 3 + SHARDS);
    work_pool_destroy(pool);
    for (unsigned i = 0; i < SHARDS; i++)
        io_destroy(sides[i].io);
    auth_shared_destroy(world.shared);
    world.shared = NULL;
    buf_finish(&error);
}
END_TEST

Suite *auth_threads_suite(void)
{
    Suite *suite = suite_create("auth_threads");
    TCase *tc = tcase_create("threads");

    tcase_add_checked_fixture(tc, auth_folder_setup, auth_world_teardown);
    tcase_add_test(tc, test_shards);
    tcase_set_timeout(tc, 30);
    suite_add_tcase(suite, tc);
    return suite;
}
