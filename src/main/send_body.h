/*
 * send_body: the body of a message that is on its way to the server, kept until it is known where it
 * stays: in memory while it is small, in a file without a name beyond.
 */
#ifndef SEND_BODY_H
#define SEND_BODY_H

#include <stdio.h>

#include "base_buf.h"

enum { SEND_BODY_MEMORY = 4 * 1024 * 1024 };

struct send_body {
    struct buf memory;
    FILE *file; /* NULL: all of it is in memory */
    uint64_t size;
    bool has_8bit;
    bool given; /* the one piece that memory is */
    int error;  /* errno of the first failure; 0: none */
    uint8_t piece[65536];
};

void send_body_init(struct send_body *b);
void send_body_finish(struct send_body *b);
/* What `bytes` holds goes to the body, and out of `bytes`. False: see b->error. */
bool send_body_take(struct send_body *b, struct buf *bytes);
/* Back to the beginning; then pieces until there is an empty one. False: see b->error. */
bool send_body_rewind(struct send_body *b);
bool send_body_next(struct send_body *b, struct slice *out_piece);

#endif
