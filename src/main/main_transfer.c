/* main_transfer: queue export and queue import: standard output and standard input at the server's socket. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base_codec.h"
#include "main_control_priv.h"

enum { PIECE = 64 * 1024, LINE_MAX = 4096, TAIL_MAX = 64 };

/* ---- export --------------------------------------------------------------------------------- */

/* The last line: "end MESSAGES LEFT-OUT". */
static bool read_end(struct slice tail, uint64_t *out_messages, uint64_t *out_left)
{
    struct slice words;
    ptrdiff_t blank;

    for (size_t i = 0; i + 1 < tail.len;
         i++) { /* the line end before it; the last byte is its own */
        if (tail.data[tail.len - 2 - i] == '\n') {
            slice_advance(&tail, tail.len - 1 - i);
            break;
        }
    }
    if (!slice_equal(slice_head(tail, 4), SLICE_LITERAL("end ")))
        return false;
    words = slice_of(tail.data + 4, tail.len - 5);
    blank = slice_find(words, ' ');
    return blank > 0 && slice_to_u64(slice_head(words, (size_t)blank), out_messages)
           && slice_to_u64(slice_of(words.data + blank + 1, words.len - (size_t)blank - 1),
                           out_left);
}

int main_export(const struct main_options *o, const struct buf *request, bool copy)
{
    struct main_answer answer = {0};
    uint64_t messages = 0, left = 0;
    int exit_code;
    int fd;

    if (isatty(STDOUT_FILENO)) {
        main_complain("an export is no text for a terminal: mailring queue export ... > FILE");
        return EX_USAGE;
    }
    fd = main_control_open(o, request);
    if (fd < 0)
        return -fd;
    exit_code = main_answer_print(fd, &answer);
    (void)close(fd);
    if (exit_code != EX_OK)
        return exit_code;
    if (!read_end(slice_of(answer.tail, answer.tail_len), &messages, &left)) {
        main_complain("the export broke off");
        return EX_UNAVAILABLE;
    }
    (void)fprintf(stderr, "%llu message%s exported%s\n", (unsigned long long)messages,
                  messages == 1 ? "" : "s", copy || messages == 0 ? "" : ", on hold here now");
    if (left > 0)
        (void)fprintf(stderr,
                      "%llu %s being delivered at this moment and %s left out: export again to get "
                      "what remains of them\n",
                      (unsigned long long)left, left == 1 ? "was" : "were",
                      left == 1 ? "was" : "were");
    return EX_OK;
}

/* ---- import --------------------------------------------------------------------------------- */

struct transfer {
    int fd;
    bool input_over, sending_over, answer_over;
    char *piece;
    size_t piece_len, piece_sent;
    struct buf line; /* of the answer */
    bool head_over;
    uint64_t progress; /* all records up to here are settled */
    int exit_code;     /* -1: not told yet */
    bool to_errors;    /* what follows goes to standard error */
    bool whole;
};

static void take_line(struct transfer *t, struct slice line)
{
    uint64_t number;

    if (!t->head_over) {
        t->head_over = true;
        if (!slice_equal(line, SLICE_LITERAL("ok"))) {
            main_complain("%.*s", SLICE_ARG(line));
            t->exit_code = EX_UNAVAILABLE;
        }
    } else if (t->exit_code >= 0) {
        (void)fprintf(t->to_errors ? stderr : stdout, "%.*s\n", SLICE_ARG(line));
    } else if (slice_equal(slice_head(line, 9), SLICE_LITERAL("progress "))) {
        slice_advance(&line, 9);
        if (slice_to_u64(line, &number))
            t->progress = number;
    } else if (slice_equal(slice_head(line, 5), SLICE_LITERAL("exit "))) {
        slice_advance(&line, 5);
        t->exit_code = slice_to_u64(line, &number) && number < 128 ? (int)number : EX_PROTOCOL;
        t->to_errors = t->to_errors && t->exit_code != EX_OK;
    }
}

static void receive(struct transfer *t)
{
    char piece[LINE_MAX];
    ssize_t n = recv(t->fd, piece, sizeof(piece), 0);
    ptrdiff_t end;

    if (n < 0 && errno == EINTR)
        return;
    if (n <= 0) {
        t->answer_over = true;
        return;
    }
    if (piece[n - 1] == '\0') {
        t->whole = true;
        n--;
    }
    (void)buf_append(&t->line, piece, (size_t)n);
    while ((end = slice_find(buf_slice(&t->line), '\n')) >= 0) {
        take_line(t, slice_head(buf_slice(&t->line), (size_t)end));
        buf_consume(&t->line, (size_t)end + 1);
    }
}

static void read_input(struct transfer *t)
{
    ssize_t n = read(STDIN_FILENO, t->piece, PIECE);

    if (n < 0 && errno == EINTR)
        return;
    if (n < 0)
        main_complain("standard input: %s", strerror(errno));
    t->input_over = n <= 0;
    t->piece_len = n > 0 ? (size_t)n : 0;
    t->piece_sent = 0;
}

static void send_piece(struct transfer *t)
{
    ssize_t n = send(t->fd, t->piece + t->piece_sent, t->piece_len - t->piece_sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);

    if (n > 0)
        t->piece_sent += (size_t)n;
    else if (n < 0 && errno != EINTR && errno != EAGAIN)
        t->input_over = t->sending_over = true; /* the answer says why */
}

/* Both ways at once: the server tells how far it is while it reads. */
static void pump(struct transfer *t)
{
    while (!t->answer_over) {
        bool waiting = t->piece_sent < t->piece_len && !t->sending_over;
        struct pollfd fds[] = {
            {.fd = t->fd, .events = (short)(POLLIN | (waiting ? POLLOUT : 0))},
            {.fd = waiting || t->input_over ? -1 : STDIN_FILENO, .events = POLLIN},
        };

        if (!waiting && t->input_over && !t->sending_over) {
            t->sending_over = true;
            (void)shutdown(t->fd, SHUT_WR);
        }
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return;
        if (fds[0].revents & (POLLIN | POLLHUP | POLLERR))
            receive(t);
        if (waiting && (fds[0].revents & POLLOUT))
            send_piece(t);
        if (fds[1].revents != 0)
            read_input(t);
    }
}

int main_import(const struct main_options *o, const struct buf *request)
{
    struct transfer t = {.exit_code = -1, .to_errors = !o->json};

    if (isatty(STDIN_FILENO)) {
        main_complain("an export is expected at standard input: mailring queue import < FILE");
        return EX_USAGE;
    }
    t.fd = main_control_open(o, request);
    if (t.fd < 0)
        return -t.fd;
    t.piece = malloc(PIECE);
    if (t.piece != NULL)
        pump(&t);
    (void)close(t.fd);
    free(t.piece);
    buf_finish(&t.line);
    if (t.exit_code < 0 || !t.whole) {
        main_complain("the server went away: records up to %llu are taken for certain (go on with "
                      "--skip=%llu), a few after them perhaps; its log says which (event imported, "
                      "record=)",
                      (unsigned long long)t.progress, (unsigned long long)t.progress);
        return EX_UNAVAILABLE;
    }
    if (fflush(stdout) != 0)
        return EX_IOERR;
    return t.exit_code;
}
