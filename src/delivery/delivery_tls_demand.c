/* delivery_tls_demand: see delivery_tls_priv.h. */
#include "delivery_remote_priv.h"

enum { HASH_DIGITS = 16 };

void delivery_demand_word(const struct delivery_demand *demand, struct buf *out)
{
    size_t before = buf_len(out);

    if (demand->secure)
        (void)buf_append_byte(out, 's');
    if (demand->require)
        (void)buf_append_byte(out, 'r');
    if (demand->ignore)
        (void)buf_append_byte(out, 'n');
    if (demand->policy != 0)
        (void)buf_printf(out, "p%016llx", (unsigned long long)demand->policy);
    if (buf_len(out) == before)
        (void)buf_append_byte(out, '-');
}

static uint64_t parse_hash(struct slice digits)
{
    uint64_t value = 0;

    ASSERT(digits.len == HASH_DIGITS);
    for (size_t i = 0; i < digits.len; i++) {
        uint8_t c = digits.data[i];
        value = value << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
    }
    return value;
}

struct delivery_demand delivery_demand_parse(struct slice word)
{
    struct delivery_demand demand = {.secure = false};

    for (size_t i = 0; i < word.len; i++) {
        switch (word.data[i]) {
        case '-': break;
        case 's': demand.secure = true; break;
        case 'r': demand.require = true; break;
        case 'n': demand.ignore = true; break;
        case 'p':
            demand.policy = parse_hash(slice_of(word.data + i + 1, word.len - i - 1));
            return demand;
        default: UNREACHABLE();
        }
    }
    return demand;
}

/* Over a socket, or from this machine to itself: nobody is on the way. */
static bool stays_here(const struct conf_destination *to)
{
    static const uint8_t local[16] = {[15] = 1};
    const uint8_t *ip = to->ip.bytes;

    if (to->kind != CONF_TO_LMTP || to->host.len == 0)
        return to->kind == CONF_TO_LMTP;
    if (!to->host_is_ip)
        return slice_equal(to->host, SLICE_LITERAL("localhost"));
    return ip_is_v4(&to->ip) ? ip[12] == 127 : memcmp(ip, local, sizeof(local)) == 0;
}

/* REQUIRETLS holds against TLS-Required: No (RFC 8689 3). A notification with REQUIRETLS goes to hosts
 * that do not know it too, or nobody would ever see it (RFC 8689 5). */
struct delivery_demand delivery_demand_of(const struct delivery_task *t)
{
    struct delivery_demand demand = {
        .require = (t->flags & SPOOL_REQUIRE_TLS) != 0 && t->sender.len > 0,
        .ignore = (t->flags & (SPOOL_TLS_OPTIONAL | SPOOL_REQUIRE_TLS)) == SPOOL_TLS_OPTIONAL,
    };

    if (stays_here(&t->to[t->to_next]))
        return (struct delivery_demand){.require = false};
    return demand;
}

uint64_t delivery_demand_hash(const struct sts_policy *policy)
{
    struct buf text = {0};
    uint64_t hash;

    sts_policy_text(policy, &text);
    hash = hash_bytes(buf_slice(&text));
    buf_finish(&text);
    return hash != 0 ? hash : 1;
}

/* What a sender may waive is what recipients' domains ask for, not what our own configuration says. */
enum conf_route_tls delivery_demand_mode(const struct delivery_demand *demand,
                                         const struct conf_route *route)
{
    if (demand->ignore && route->tls == CONF_ROUTE_TLS_AUTO)
        return CONF_ROUTE_TLS_OPPORTUNISTIC;
    if (demand->require && route->tls < CONF_ROUTE_TLS_VERIFY)
        return CONF_ROUTE_TLS_AUTO;
    return route->tls;
}
