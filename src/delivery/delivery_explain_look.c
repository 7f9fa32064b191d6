/* delivery_explain_look: on the shard that owns a site. */
#include "delivery_explain.h"
#include "delivery_site_priv.h"

static void look_at_addresses(const struct delivery_site *s, uint64_t now_ms,
                              struct delivery_explain_site *out)
{
    for (uint32_t i = 0; i < s->addresses.count; i++) {
        const struct delivery_address *a = &s->addresses.items[i];

        if (a->dead_until_ms <= now_ms)
            continue;
        out->dead[out->dead_count].ip = a->ip;
        out->dead[out->dead_count++].ms = a->dead_until_ms - now_ms;
    }
}

void delivery_explain_look(const struct delivery *owner, struct delivery_explain_site *site)
{
    const struct delivery_site *s = delivery_site_find(owner, site->key);
    uint64_t now_ms = io_now_ms(owner->o.io);

    ASSERT(owner->o.shard == site->shard);
    site->state = DELIVERY_EXPLAIN_UNUSED;
    site->dead_count = 0;
    if (s == NULL)
        return;
    site->state = DELIVERY_EXPLAIN_UP;
    if (s->state == DELIVERY_SITE_DOWN && s->down_until_ms > now_ms) {
        site->state = DELIVERY_EXPLAIN_DOWN;
        site->down_ms = s->down_until_ms - now_ms;
    }
    if (s->was_down)
        memcpy(site->reason, s->why.text, sizeof(site->reason));
    site->waiting = s->lane_count;
    site->connections = s->connection_count;
    site->attempts = s->attempts;
    for (const struct list *node = s->idle.next; node != &s->idle; node = node->next)
        site->idle++;
    look_at_addresses(s, now_ms, site);
}
