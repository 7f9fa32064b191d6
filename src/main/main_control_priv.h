/* main_control: asking the server, for commands that do more than print the answer. */
#ifndef MAIN_CONTROL_PRIV_H
#define MAIN_CONTROL_PRIV_H

#include "base_buf.h"
#include "main_priv.h"

enum { MAIN_REQUEST_MAX = 256 * 1024 - 64 };

/* "marked VERB WORD..." and the end of the line. */
void main_control_request(const struct main_options *o, const char *verb, struct buf *request);
/* Connects and sends the request. The socket; or, after a complaint, an exit code, negative. */
int main_control_open(const struct main_options *o, const struct buf *request);

/* An answer on its way to standard output. */
enum { MAIN_TAIL_MAX = 64 };
struct main_answer {
    struct buf head; /* the first line, until it is whole */
    bool head_over, ok;
    bool whole;               /* its end was there: a NUL, behind which nothing comes */
    char tail[MAIN_TAIL_MAX]; /* the last bytes that were printed */
    size_t tail_len;
};
/* To its end. The exit code. */
int main_answer_print(int fd, struct main_answer *answer);

/* ---- main_transfer.c ------------------------------------------------------------------------ */

int main_export(const struct main_options *o, const struct buf *request, bool copy);
int main_import(const struct main_options *o, const struct buf *request);

#endif
