/*
 * base_list: an intrusive, doubly linked, circular list. The node lives in its owner; recover the
 * owner with container_of(). A node that is on no list points at itself, so that removing it twice
 * is harmless.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

#include "base_assert.h"

struct list {
    struct list *next;
    struct list *prev;
};

static inline void list_init(struct list *l)
{
    l->next = l->prev = l;
}

static inline bool list_empty(const struct list *l)
{
    return l->next == l;
}

/* Whether this node is on some list. */
static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_insert_after(struct list *where, struct list *node)
{
    node->prev = where;
    node->next = where->next;
    where->next->prev = node;
    where->next = node;
}

static inline void list_push_front(struct list *l, struct list *node)
{
    list_insert_after(l, node);
}

static inline void list_push_back(struct list *l, struct list *node)
{
    list_insert_after(l->prev, node);
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

/* The first node, taken off; NULL from an empty list. */
static inline struct list *list_pop_front(struct list *l)
{
    struct list *node = l->next;

    if (node == l)
        return NULL;
    list_remove(node);
    return node;
}

/* Moves all of `from` to the end of `to`. */
static inline void list_splice_back(struct list *to, struct list *from)
{
    if (list_empty(from))
        return;
    from->next->prev = to->prev;
    to->prev->next = from->next;
    from->prev->next = to;
    to->prev = from->prev;
    list_init(from);
}

#define LIST_EACH(l, node) for (struct list *node = (l)->next; node != (l); node = node->next)
/* The body may remove and free `node`. */
#define LIST_EACH_SAFE(l, node)                                                 \
    for (struct list *node = (l)->next, *node##_next = node->next; node != (l); \
         node = node##_next, node##_next = node->next)

#endif
