/*
 * delivery_tls_memory: what is known of hosts from one session to the next, by host and port: that TLS
 * does not work with it, and what a session with it can be resumed by. Bounded: what was used longest ago
 * is forgotten. A site comes and goes with its mail; this stays.
 */
#include <stdio.h>

#include "base_mem.h"
#include "delivery_remote_priv.h"

struct known {
    struct hash_node by_key;
    struct list by_use;
    uint64_t noted_until_ms[DELIVERY_TLS_NOTES];
    enum report_result noted_result[DELIVERY_TLS_NOTES];
    uint64_t full_ms;     /* when the certificate was last seen */
    uint64_t fingerprint; /* of the plan that the session was made under */
    struct tls_resumption *resumption;
    uint16_t port;
    uint16_t host_len;
    char host[];
};

struct key {
    struct slice host;
    uint16_t port;
};

static bool has_key(const struct hash_node *node, const void *key)
{
    const struct known *k = container_of((void *)(uintptr_t)node, struct known, by_key);
    const struct key *want = key;

    return k->port == want->port && slice_equal_nocase(slice_of(k->host, k->host_len), want->host);
}

static struct known *find(struct delivery_tls_memory *m, struct slice host, uint16_t port)
{
    struct key key = {host, port};
    struct hash_node *node =
        hash_table_find(&m->table, hash_bytes_nocase(host) + port, has_key, &key);
    struct known *k;

    if (node == NULL)
        return NULL;
    k = container_of(node, struct known, by_key);
    list_remove(&k->by_use);
    list_push_back(&m->by_use, &k->by_use);
    return k;
}

static void forget(struct delivery_tls_memory *m, struct known *k)
{
    hash_table_remove(&m->table, &k->by_key);
    list_remove(&k->by_use);
    tls_resumption_unref(k->resumption);
    mem_free(k);
    m->count--;
}

static struct known *get(struct delivery_tls_memory *m, struct slice host, uint16_t port)
{
    struct known *k = find(m, host, port);

    if (k != NULL)
        return k;
    if (m->count == DELIVERY_TLS_KNOWN_MAX)
        forget(m, container_of(m->by_use.next, struct known, by_use));
    k = mem_zalloc(sizeof(*k) + host.len);
    k->port = port;
    k->host_len = (uint16_t)host.len;
    memcpy(k->host, host.data, host.len);
    list_init(&k->by_use);
    list_push_back(&m->by_use, &k->by_use);
    hash_table_insert(&m->table, &k->by_key, hash_bytes_nocase(host) + port);
    m->count++;
    return k;
}

void delivery_tls_memory_init(struct delivery_tls_memory *m)
{
    *m = (struct delivery_tls_memory){.count = 0};
    hash_table_init(&m->table);
    list_init(&m->by_use);
}

void delivery_tls_memory_finish(struct delivery_tls_memory *m)
{
    while (m->count > 0)
        forget(m, container_of(m->by_use.next, struct known, by_use));
    hash_table_finish(&m->table);
}

bool delivery_tls_noted(struct delivery_tls_memory *m, enum delivery_tls_note note,
                        struct slice host, uint16_t port, uint64_t now_ms,
                        enum report_result *out_result)
{
    const struct known *k = find(m, host, port);

    if (k == NULL || k->noted_until_ms[note] <= now_ms)
        return false;
    if (out_result != NULL)
        *out_result = k->noted_result[note];
    return true;
}

void delivery_tls_note(struct delivery_tls_memory *m, enum delivery_tls_note note,
                       struct slice host, uint16_t port, uint64_t now_ms, enum report_result result)
{
    struct known *k = get(m, host, port);

    k->noted_until_ms[note] = now_ms + DELIVERY_TLS_NOTE_MS;
    k->noted_result[note] = result;
}

struct tls_resumption *delivery_tls_recall(struct delivery_tls_memory *m,
                                           const struct delivery_plan *plan, uint16_t port,
                                           uint64_t now_ms, uint64_t *out_full_ms)
{
    const struct known *k = find(m, plan->host, port);

    if (k == NULL || k->fingerprint != plan->fingerprint
        || k->full_ms + DELIVERY_TLS_RESUME_MS <= now_ms)
        return NULL;
    *out_full_ms = k->full_ms;
    return k->resumption;
}

void delivery_tls_remember(struct delivery_tls_memory *m, const struct delivery_plan *plan,
                           uint16_t port, struct tls_resumption *r, uint64_t full_ms)
{
    struct known *k = get(m, plan->host, port);

    tls_resumption_unref(k->resumption);
    k->resumption = r;
    k->fingerprint = plan->fingerprint;
    k->full_ms = full_ms;
}
