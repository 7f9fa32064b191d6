/* auth_failures: what becomes of those who guess. See auth.h. */
#include "auth_priv.h"
#include "base_log.h"
#include "base_mem.h"

static uint64_t now_s(const struct auth *a)
{
    return io_now_ms(a->io) / 1000;
}

static uint64_t window_s(const struct auth_exchange *x)
{
    uint64_t s = (x->setup->conf->auth.ban + 999) / 1000;

    return s > 0 ? s : 1;
}

static unsigned failures_max(const struct auth_exchange *x)
{
    uint64_t max = x->setup->conf->auth.failures;

    return max < AUTH_GUARD_COUNT_MAX ? (unsigned)max : AUTH_GUARD_COUNT_MAX;
}

enum auth_ban_kind auth_banned(struct auth_exchange *x, struct slice user)
{
    struct auth_guard *g = &x->auth->shared->guard;
    const struct ip_addr *ip = &x->peer.ip;
    uint64_t now = now_s(x->auth), window = window_s(x);

    if (auth_guard_look(g, auth_guard_client_key(ip), now, window) >= failures_max(x)
        && !conf_may_relay(x->setup->conf, ip))
        return AUTH_BAN_CLIENT;
    if (user.len > 0
        && auth_guard_look(g, auth_guard_user_key(ip, user), now, window) >= failures_max(x))
        return AUTH_BAN_USER;
    return AUTH_BAN_NONE;
}

static void ban(struct auth_exchange *x, uint64_t key, struct slice user)
{
    struct auth *a = x->auth;
    struct auth_ban_record *record;
    struct log_record r;

    if (a->bans == NULL)
        a->bans = mem_calloc(AUTH_BANS_LISTED, sizeof(*a->bans));
    record = &a->bans[a->ban_next++ % AUTH_BANS_LISTED];
    *record = (struct auth_ban_record){.ip = x->peer.ip,
                                       .key = key,
                                       .until_s = now_s(a) + window_s(x),
                                       .user_len = (uint8_t)user.len};
    if (!ip_is_v4(&record->ip))
        memset(record->ip.bytes + 8, 0, 8);
    if (user.len > 0)
        memcpy(record->user, user.data, user.len);
    a->counters.bans_users += user.len > 0;
    a->counters.bans_addresses += user.len == 0;
    log_begin(&r, LOG_WARNING, "auth-ban");
    log_ip(&r, "client", &record->ip);
    if (user.len > 0)
        log_slice(&r, "user", user);
    log_u64(&r, "seconds", window_s(x));
    log_end(&r);
}

uint64_t auth_failed(struct auth_exchange *x, struct slice user)
{
    struct auth_guard *g = &x->auth->shared->guard;
    const struct ip_addr *ip = &x->peer.ip;
    uint64_t client_key = auth_guard_client_key(ip), user_key = auth_guard_user_key(ip, user);
    uint64_t now = now_s(x->auth), window = window_s(x), delay = x->setup->conf->auth.delay;
    unsigned max = failures_max(x);
    unsigned for_user = user.len == 0 ? 0 : auth_guard_add(g, user_key, now, window), for_client;

    if (for_user == max)
        ban(x, user_key, user);
    /* One name tried again and again counts once: that is a forgotten password, of one of those behind
     * this address. */
    if (for_user <= 1) {
        for_client = auth_guard_add(g, client_key, now, window);
        if (for_client == max && !conf_may_relay(x->setup->conf, ip))
            ban(x, client_key, SLICE_NULL);
    } else {
        for_client = auth_guard_look(g, client_key, now, window);
    }
    for (unsigned n = for_user > for_client ? for_user : for_client;
         n > 1 && delay < AUTH_DELAY_MAX_MS; n--)
        delay *= 2;
    return delay < AUTH_DELAY_MAX_MS ? delay : AUTH_DELAY_MAX_MS;
}

void auth_succeeded(struct auth_exchange *x, struct slice user)
{
    struct auth_guard *g = &x->auth->shared->guard;
    uint64_t key = auth_guard_user_key(&x->peer.ip, user);

    if (auth_guard_look(g, key, now_s(x->auth), window_s(x)) == 0)
        return;
    auth_guard_forgive(g, key, AUTH_GUARD_COUNT_MAX);
    auth_guard_forgive(g, auth_guard_client_key(&x->peer.ip), 1);
}

void auth_bans(const struct auth *a, bool (*visit)(void *context, const struct auth_ban *ban),
               void *context)
{
    uint64_t now = now_s(a);

    if (a->bans == NULL)
        return;
    for (unsigned i = 1; i <= AUTH_BANS_LISTED; i++) {
        const struct auth_ban_record *r = &a->bans[(a->ban_next - i) % AUTH_BANS_LISTED];
        struct auth_ban shown = {r->ip, slice_of(r->user, r->user_len), 0};

        if (r->until_s <= now)
            continue;
        shown.seconds_left = r->until_s - now;
        if (!visit(context, &shown))
            return;
    }
}
