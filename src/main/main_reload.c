/* main_reload: see the header. */
#include "main_reload.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base_assert.h"

enum { NEVER_S = 24 * 3600, UNDER_WAY_MS = 10 };

static void print_errors(struct conf_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        (void)fprintf(stderr, "%s\n", errors->items[i].text);
    conf_errors_finish(errors);
}

static uint64_t now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_BOOTTIME, &t); /* Linux has it */
    return (uint64_t)t.tv_sec;
}

static void fill_random(void *out, size_t size)
{
    /* So few bytes come at once, or the kernel is not ready yet and waits. */
    ssize_t n = getrandom(out, size, 0);

    ASSERT(n == (ssize_t)size);
}

static void rotate(struct main_reload *r)
{
    uint8_t name[16], secret[32];

    fill_random(name, sizeof(name));
    fill_random(secret, sizeof(secret));
    r->rotated_s = now_s();
    tls_tickets_rotate(r->tickets, name, secret, r->rotated_s);
    explicit_bzero(secret, sizeof(secret));
}

/* New keys if it is time; answers how many seconds it is until the next. */
static uint64_t rotate_in_time(struct main_reload *r)
{
    uint64_t age_s;

    if (r->tickets == NULL)
        return NEVER_S;
    age_s = now_s() - r->rotated_s;
    if (age_s >= r->lifetime_s) {
        rotate(r);
        age_s = 0;
    }
    return r->lifetime_s - age_s;
}

bool main_reload_start(struct main_reload *r, const struct main_options *o, struct conf *conf,
                       const struct main_user *user)
{
    struct conf_errors errors = {0};
    bool ok;

    *r = (struct main_reload){.options = o, .lifetime_s = conf->tls.ticket_lifetime / 1000};
    if (!tls_library_init()) {
        main_complain("the TLS library does not start");
        conf_free(conf);
        return false;
    }
    if (conf->tls.ticket_lifetime > 0) {
        r->lifetime_s = r->lifetime_s > 0 ? r->lifetime_s : 1;
        r->tickets = tls_tickets_create((uint32_t)r->lifetime_s);
        rotate(r);
    }
    ok = main_settings_load(conf, user, r->tickets, &r->start, &errors);
    print_errors(&errors);
    if (!ok)
        main_reload_finish(r);
    return ok;
}

void main_reload_warn(const struct main_reload *r)
{
    struct conf_errors errors = {0};

    main_tls_warn_reload(r->start.conf, &errors);
    print_errors(&errors);
}

/* ---- while the shards run ------------------------------------------------------------------- */

static void log_errors(const struct conf_errors *errors)
{
    struct log_record r;

    for (size_t i = 0; i < errors->count; i++) {
        log_begin(&r, errors->items[i].warning ? LOG_WARNING : LOG_ERROR, "reload");
        log_str(&r, "problem", errors->items[i].text);
        log_end(&r);
    }
}

static void log_reloaded(const struct main_reload *r)
{
    struct log_record rec;

    log_begin(&rec, LOG_NOTICE, "reloaded");
    log_str(&rec, "file", r->now.conf->file);
    log_u64(&rec, "certificates", r->now.conf->tls.certificate.count);
    log_end(&rec);
}

static void log_failed(const struct main_reload *r)
{
    struct log_record rec;

    log_begin(&rec, LOG_ERROR, "reload-failed");
    log_str(&rec, "file", r->options->conf_path);
    log_str(&rec, "advice", "nothing has changed; see what mailring check says");
    log_end(&rec);
}

static bool load(struct main_reload *r, struct main_settings *out, struct conf_errors *errors)
{
    struct main_user self = {.name = NULL}; /* whoever we are by now */
    const struct conf *before = r->now.conf != NULL ? r->now.conf : r->start.conf;
    struct conf *conf = NULL;

    if (!conf_load_after(r->options->conf_path, before, &conf, errors))
        return false;
    conf_carry(conf, before, errors);
    if (main_tls_has_secrets(conf)) /* there may have been none so far */
        main_user_hide_memory();
    return main_settings_load(conf, &self, r->tickets, out, errors);
}

static void begin(struct main_reload *r)
{
    struct main_settings next = {0};
    struct conf_errors errors = {0};
    bool ok = load(r, &next, &errors);

    log_errors(&errors);
    conf_errors_finish(&errors);
    if (!ok) {
        main_settings_finish(&next);
        log_failed(r);
        return;
    }
    r->old = r->now;
    r->now = next;
    r->under_way = true;
    shard_group_reload(r->group, &r->now.shard);
}

void main_reload_ask(struct main_reload *r)
{
    r->wanted = true;
}

uint64_t main_reload_step(struct main_reload *r)
{
    if (r->under_way && shard_group_reloaded(r->group)) {
        r->under_way = false;
        main_settings_finish(&r->old);
        log_reloaded(r);
    }
    if (r->wanted && !r->under_way) {
        r->wanted = false;
        begin(r);
    }
    /* Shards take what is new between two passes: soon. */
    return r->under_way ? UNDER_WAY_MS : rotate_in_time(r) * 1000;
}

void main_reload_finish(struct main_reload *r)
{
    main_settings_finish(&r->old);
    main_settings_finish(&r->now);
    main_settings_finish(&r->start);
    tls_tickets_unref(r->tickets);
    *r = (struct main_reload){0};
}
