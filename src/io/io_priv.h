/* io_priv: what all implementations of struct io share. */
#ifndef IO_PRIV_H
#define IO_PRIV_H

#include "io.h"

/* Ops in the order in which they came, linked by op->next. An op is on one list at most. */
struct io_op_list {
    struct io_op *first;
    struct io_op *last;
    size_t count;
};

void io_op_list_push(struct io_op_list *list, struct io_op *op);
struct io_op *io_op_list_pop(struct io_op_list *list);             /* NULL from an empty list */
bool io_op_list_remove(struct io_op_list *list, struct io_op *op); /* whether it was there */

/* The op's one completion: idle again, so that `done` may submit it anew. op->lent must be set before
 * for a recv; it is cleared for all others. */
void io_op_complete(struct io *io, struct io_op *op, int32_t res);
/* One of many completions of a multishot op. */
void io_op_complete_more(struct io *io, struct io_op *op, int32_t res);

#endif
