/* verify_client: who names recipients that do not exist. Only they are remembered, and few of them. */
#include "base_mem.h"
#include "verify_priv.h"

/* One has many addresses of IPv6: its network counts. */
static struct ip_addr prefix_of(const struct ip_addr *ip)
{
    struct ip_addr prefix = *ip;

    if (!ip_is_v4(ip))
        memset(prefix.bytes + 8, 0, 8);
    return prefix;
}

static bool has_ip(const struct hash_node *node, const void *key)
{
    const struct verify_client *c = container_of(node, struct verify_client, node);

    return memcmp(&c->ip, key, sizeof(c->ip)) == 0;
}

static struct verify_client *find(const struct verify *v, const struct ip_addr *prefix)
{
    struct hash_node *node =
        hash_table_find(&v->clients, hash_bytes(slice_of(prefix, sizeof(*prefix))), has_ip, prefix);

    return node != NULL ? container_of(node, struct verify_client, node) : NULL;
}

static void forget(struct verify *v, struct verify_client *c)
{
    hash_table_remove(&v->clients, &c->node);
    list_remove(&c->used);
    mem_free(c);
}

bool verify_client_may_ask(struct verify *v, const struct ip_addr *ip)
{
    struct ip_addr prefix = prefix_of(ip);
    const struct verify_client *c = find(v, &prefix);

    return c == NULL
           || verify_bucket_ready_ms(&c->unknown, VERIFY_CLIENT_BURST, VERIFY_CLIENT_EACH_MS)
                  <= verify_now_ms(v);
}

void verify_client_was_wrong(struct verify *v, const struct ip_addr *ip)
{
    struct ip_addr prefix = prefix_of(ip);
    struct verify_client *c = find(v, &prefix);

    if (c == NULL) {
        if (v->clients.count >= VERIFY_CLIENTS_MAX)
            forget(v, container_of(v->used_clients.next, struct verify_client, used));
        c = mem_zalloc(sizeof(*c));
        c->ip = prefix;
        hash_table_insert(&v->clients, &c->node, hash_bytes(slice_of(&prefix, sizeof(prefix))));
    } else {
        list_remove(&c->used);
    }
    list_push_back(&v->used_clients, &c->used);
    verify_bucket_take(&c->unknown, VERIFY_CLIENT_EACH_MS, verify_now_ms(v));
}

void verify_clients_free(struct verify *v)
{
    LIST_EACH_SAFE(&v->used_clients, node)
    forget(v, container_of(node, struct verify_client, used));
}
