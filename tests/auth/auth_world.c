/* auth_world: see the header. */
#include "auth_world.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_assert.h"

struct auth_world world;
static char folder[256];
static struct buf report;

const char *auth_path(const char *name)
{
    static char paths[4][512];
    static unsigned next;
    char *path = paths[next++ % 4];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

void auth_folder_setup(void)
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(folder, sizeof(folder), "%s/mailring-auth-XXXXXX", base != NULL ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void close_world(void)
{
    if (world.auth != NULL) {
        auth_stop(world.auth);
        while (!auth_idle(world.auth))
            auth_world_run_ms(100);
        auth_destroy(world.auth, false);
        work_door_destroy(world.door, false);
        work_pool_destroy(world.pool);
        io_destroy(world.io);
        sim_destroy(world.sim);
        auth_shared_destroy(world.shared);
    }
    auth_setup_unref(world.setup);
    conf_free(world.conf);
    world = (struct auth_world){0};
}

void auth_world_teardown(void)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    close_world();
    buf_finish(&report);
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." stay */
    (void)closedir(dir);
    ck_assert_int_eq(rmdir(folder), 0);
}

void auth_put_file(const char *name, const char *text, unsigned mode)
{
    FILE *file = fopen(auth_path(name), "w");

    ck_assert_ptr_nonnull(file);
    for (const char *c = text; *c != '\0'; c++) {
        if (c[0] == '$' && c[1] == '/' && c[2] == '/') {
            fputs(folder, file);
            c++;
        } else {
            fputc(*c, file);
        }
    }
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(auth_path(name), mode), 0);
}

static void add_report(struct conf_errors *errors)
{
    size_t prefix = strlen(folder) + 1;

    for (size_t i = 0; i < errors->count; i++) {
        const char *line = errors->items[i].text;

        if (strstr(line, "plaintext: anybody") != NULL)
            continue;
        for (const char *found; (found = strstr(line, folder)) != NULL; line = found + prefix)
            (void)buf_append(&report, line, (size_t)(found - line));
        (void)buf_printf(&report, "%s\n", line);
    }
}

const char *auth_world_load(const char *lines)
{
    struct conf_errors errors = {0};
    struct buf text;

    close_world();
    buf_clear(&report);
    buf_init(&text, 0);
    (void)buf_printf(&text,
                     "hostname = mx.example relay_from = \"10.9.0.0/16\"\n"
                     "domain a.example { to = discard }\n"
                     "listener s { address = \"127.0.0.1:587\" role = submission tls = none }\n"
                     "auth { plaintext = yes\n%s }\n",
                     lines);
    (void)buf_append_byte(&text, '\0');
    auth_put_file("mailring.conf", (const char *)buf_slice(&text).data, 0600);
    buf_finish(&text);
    if (conf_load(auth_path("mailring.conf"), &world.conf, &errors))
        world.setup = auth_setup_create(world.conf, &errors);
    add_report(&errors);
    conf_errors_finish(&errors);
    (void)buf_append_byte(&report, '\0');
    return (const char *)buf_slice(&report).data;
}

void auth_world_open(const char *lines)
{
    struct sim_options options = sim_options_default();

    ck_assert_str_eq(auth_world_load(lines), "");
    world.sim = sim_create(1, &options);
    world.machine = sim_machine_create(world.sim, "10.0.0.1");
    world.io = sim_io_create(world.machine, 0);
    sim_io_set_stepping(world.io, true);
    wheel_init(&world.wheel, io_now_ms(world.io));
    world.pool = work_pool_create("test", 0, 16);
    world.door = work_door_create(world.pool, world.io);
    world.shared = auth_shared_create();
    world.auth = auth_create(&(struct auth_options){.setup = world.setup,
                                                    .shared = world.shared,
                                                    .io = world.io,
                                                    .wheel = &world.wheel,
                                                    .compute = world.door,
                                                    .network = world.door});
    world.peer = (struct auth_peer){.listener = &world.conf->listeners[0], .session = 7};
    auth_world_from("192.0.2.1");
}

void auth_world_from(const char *ip)
{
    ck_assert(ip_parse(slice_str(ip), &world.peer.ip));
}

void auth_world_settle(void)
{
    do {
        wheel_advance(&world.wheel, io_now_ms(world.io));
        work_door_step(world.door);
        (void)io_wait(world.io, 0);
    } while (work_door_has_work(world.door));
}

void auth_world_run_ms(uint64_t ms)
{
    uint64_t end = io_now_ms(world.io) + ms;

    auth_world_settle();
    while (io_now_ms(world.io) < end) {
        uint64_t next = wheel_next_ms(&world.wheel);

        (void)io_wait(world.io, next < end ? next : end);
        auth_world_settle();
    }
}

static void on_ready(void *context)
{
    struct auth_world *w = context;

    w->ready++;
}

static void encode(struct slice plain, struct buf *out)
{
    buf_init(out, 0);
    (void)base64_encode(plain, out);
}

struct auth_exchange *auth_world_begin(const char *mechanism, struct slice initial)
{
    struct auth_request request = {.peer = &world.peer,
                                   .mechanism = slice_str(mechanism),
                                   .has_response = initial.data != NULL,
                                   .ready = on_ready,
                                   .context = &world};
    struct auth_exchange *x;
    struct buf text;

    encode(initial, &text);
    request.response = buf_len(&text) > 0 ? buf_slice(&text) : SLICE_LITERAL("=");
    x = auth_begin(world.auth, &request);
    buf_finish(&text);
    return x;
}

void auth_world_respond(struct auth_exchange *x, struct slice response)
{
    struct buf text;

    encode(response, &text);
    auth_respond(x, buf_slice(&text));
    buf_finish(&text);
}

enum auth_outcome auth_world_wait(struct auth_exchange *x)
{
    auth_world_settle();
    while (auth_outcome(x) == AUTH_WORKING)
        auth_world_run_ms(10);
    return auth_outcome(x);
}

enum auth_outcome auth_world_plain(const char *user, const char *password, uint64_t *out_ms)
{
    uint64_t start = io_now_ms(world.io);
    struct auth_exchange *x;
    enum auth_outcome outcome;
    struct buf message;

    buf_init(&message, 0);
    (void)buf_printf(&message, "%c%s%c%s", 0, user, 0, password);
    x = auth_world_begin("PLAIN", buf_slice(&message));
    buf_finish(&message);
    outcome = auth_world_wait(x);
    if (out_ms != NULL)
        *out_ms = io_now_ms(world.io) - start;
    auth_end(x);
    return outcome;
}
