/* server_clients: see the header. */
#include "server_clients_priv.h"

#include <stdatomic.h>

#include "base_hash.h"
#include "base_mem.h"

/* A slot is 40 bits of the address's hash above a count of 24 bits; count 0 is free for anybody. */
enum { COUNT_BITS = 24, PROBES = 32 };
static const uint32_t NO_SLOT = UINT32_MAX;
static const uint64_t COUNT_MASK = ((uint64_t)1 << COUNT_BITS) - 1;

struct server_clients {
    uint32_t mask;
    _Atomic uint64_t slots[];
};

struct server_clients *server_clients_create(uint64_t connections_max)
{
    uint32_t size = 1024;
    struct server_clients *c;

    while (size < 2 * connections_max && size < (1u << 24))
        size *= 2;
    c = mem_zalloc(sizeof(*c) + (size_t)size * sizeof(c->slots[0]));
    c->mask = size - 1;
    return c;
}

void server_clients_destroy(struct server_clients *c)
{
    mem_free(c);
}

/* One more in this slot if it is this client's, or free. False: another's, or it has `max`. */
static bool enter_slot(_Atomic uint64_t *slot, uint64_t tag, uint64_t max, bool may_take,
                       bool *out_full)
{
    uint64_t old = atomic_load_explicit(slot, memory_order_relaxed);

    for (;;) {
        uint64_t count = old & COUNT_MASK;
        bool mine = count > 0 && (old & ~COUNT_MASK) == tag;
        if (mine && count >= max) {
            *out_full = true;
            return false;
        }
        if (!mine && (count > 0 || !may_take))
            return false;
        if (atomic_compare_exchange_weak_explicit(slot, &old, tag | (count + 1),
                                                  memory_order_relaxed, memory_order_relaxed))
            return true;
    }
}

bool server_clients_enter(struct server_clients *c, const struct ip_addr *ip, uint64_t max,
                          uint32_t *out_slot)
{
    uint64_t hash = hash_bytes(slice_of(ip->bytes, ip_is_v4(ip) ? 16 : 8));
    uint64_t tag = hash & ~COUNT_MASK;
    bool full = false;

    *out_slot = NO_SLOT;
    /* First where it is counted already, then wherever there is room. */
    for (int may_take = 0; may_take < 2; may_take++) {
        for (uint32_t i = 0; i < PROBES; i++) {
            uint32_t at = ((uint32_t)hash + i) & c->mask;
            if (enter_slot(&c->slots[at], tag, max, may_take != 0, &full)) {
                *out_slot = at;
                return true;
            }
            if (full)
                return false;
        }
    }
    return true;
}

void server_clients_leave(struct server_clients *c, uint32_t slot)
{
    if (slot != NO_SLOT)
        (void)atomic_fetch_sub_explicit(&c->slots[slot], 1, memory_order_relaxed);
}
