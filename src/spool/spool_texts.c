/*
 * spool_texts: why messages wait, each text once: a dead site's hundred thousand share theirs. While the
 * log is replayed a message's owner is its text; and a part of a checkpoint names each text once.
 */
#include "spool_priv.h"

struct spool_text {
    struct hash_node node;
    uint32_t users;
    uint32_t len;
    uint8_t text[];
};

static struct spool_text *of_node(const struct hash_node *node)
{
    return container_of(node, struct spool_text, node);
}

static bool match(const struct hash_node *node, const void *key)
{
    const struct spool_text *t = of_node(node);

    return slice_equal(slice_of(t->text, t->len), *(const struct slice *)key);
}

static struct spool_text *text_get(struct spool *s, struct slice text)
{
    uint64_t hash = hash_bytes(text);
    struct hash_node *node = hash_table_find(&s->texts, hash, match, &text);

    if (node) {
        of_node(node)->users++;
        return of_node(node);
    }
    struct spool_text *t = mem_zalloc(sizeof(*t) + text.len);
    t->users = 1;
    t->len = (uint32_t)text.len;
    memcpy(t->text, text.data, text.len);
    hash_table_insert(&s->texts, &t->node, hash);
    return t;
}

static void text_put(struct spool *s, struct spool_text *t)
{
    if (!t || --t->users > 0)
        return;
    hash_table_remove(&s->texts, &t->node);
    mem_free(t);
}

void spool_text_set(struct spool *s, struct spool_message *m, struct slice text)
{
    struct spool_text *old = m->owner;

    m->owner = text.len > 0 ? text_get(s, text) : NULL;
    text_put(s, old);
}

void spool_text_hand_over(struct spool *s, struct spool_message *m)
{
    const struct spool_options *o = &s->options;
    struct spool_text *t = m->owner;

    m->owner = NULL;
    if (o->recovered)
        o->recovered(o->context, m);
    if (t && o->reasoned)
        o->reasoned(o->context, m, slice_of(t->text, t->len));
    text_put(s, t);
}

static bool free_text(struct hash_node *node, void *context)
{
    hash_table_remove(context, node);
    mem_free(of_node(node));
    return true;
}

void spool_texts_finish(struct spool *s)
{
    hash_table_each(&s->texts, free_text, &s->texts);
    hash_table_finish(&s->texts);
}

/* ---- of a part ---------------------------------------------------------------------------- */

void spool_part_writer_init(struct spool_part_writer *w)
{
    w->texts.count = 0;
    memset(w->slots, 0, sizeof(w->slots));
}

uint32_t spool_part_writer_text(struct spool_part_writer *w, struct slice text, bool *out_new)
{
    *out_new = false;
    if (text.len == 0)
        return 0;
    for (uint64_t at = hash_bytes(text);; at++) {
        uint16_t *slot = &w->slots[at % ARRAY_LEN(w->slots)];

        if (*slot == 0) {
            if (w->texts.count == SPOOL_PART_TEXTS_MAX)
                return 0; /* a part has no more entries than that */
            *out_new = true;
            return w->texts.count + 1;
        }
        if (slice_equal(w->texts.texts[*slot - 1], text))
            return *slot;
    }
}

void spool_part_writer_add(struct spool_part_writer *w, struct slice text)
{
    uint64_t at = hash_bytes(text);

    ASSERT(w->texts.count < SPOOL_PART_TEXTS_MAX);
    while (w->slots[at % ARRAY_LEN(w->slots)] != 0)
        at++;
    w->texts.texts[w->texts.count++] = text;
    w->slots[at % ARRAY_LEN(w->slots)] = (uint16_t)w->texts.count;
}
