/* queue_reason: see the header. */
#include "queue_reason_priv.h"

#include "base_assert.h"
#include "base_mem.h"

static bool same_text(const struct hash_node *node, const void *key)
{
    const struct queue_reason *r = container_of(node, struct queue_reason, node);

    return slice_equal(slice_of(r->text, r->len), *(const struct slice *)key);
}

struct queue_reason *queue_reason_get(struct hash_table *reasons, struct slice text)
{
    uint64_t hash = hash_bytes(text);
    struct hash_node *node;
    struct queue_reason *r;

    if (text.len == 0)
        return NULL;
    node = hash_table_find(reasons, hash, same_text, &text);
    if (node != NULL) {
        r = container_of(node, struct queue_reason, node);
        r->users++;
        return r;
    }
    if (reasons->count >= QUEUE_REASONS_MAX)
        return NULL;
    r = mem_zalloc(sizeof(*r) + text.len);
    r->users = 1;
    r->len = (uint32_t)text.len;
    memcpy(r->text, text.data, text.len);
    hash_table_insert(reasons, &r->node, hash);
    return r;
}

void queue_reason_put(struct hash_table *reasons, struct queue_reason *reason)
{
    if (reason == NULL || --reason->users > 0)
        return;
    hash_table_remove(reasons, &reason->node);
    mem_free(reason);
}
