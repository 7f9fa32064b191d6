/* main_control: commands that ask the running server over its control socket. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "admin_request.h"
#include "base_buf.h"
#include "main_control_priv.h"
#include "main_priv.h"

enum { ANSWER_HEAD_MAX = 4096 };

static int connect_control(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        main_complain("control \"%s\": the path is too long for a socket", path);
        return -1;
    }
    strcpy(addr.sun_path, path);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    if (errno == ENOENT || errno == ECONNREFUSED)
        main_complain("no server answers at %s: is mailring running with this configuration?",
                      path);
    else
        main_complain("%s: %s", path, strerror(errno));
    if (fd >= 0)
        (void)close(fd);
    return -1;
}

static bool send_request(int fd, const struct buf *request)
{
    struct slice left = buf_slice(request);

    while (left.len > 0) {
        ssize_t n = send(fd, left.data, left.len, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            main_complain("cannot ask the server: %s", strerror(errno));
            return false;
        }
        slice_advance(&left, (size_t)n);
    }
    return true;
}

/* ---- the answer ----------------------------------------------------------------------------- */

static void take_head(struct main_answer *a)
{
    ptrdiff_t end = slice_find(buf_slice(&a->head), '\n');

    if (end < 0)
        return;
    a->head_over = true;
    a->ok = slice_equal(slice_head(buf_slice(&a->head), (size_t)end), SLICE_LITERAL("ok"));
    if (!a->ok) {
        size_t word = slice_starts_nocase(buf_slice(&a->head), SLICE_LITERAL("error ")) ? 6 : 0;
        main_complain("%.*s", (int)((size_t)end - word),
                      (const char *)buf_slice(&a->head).data + word);
    }
    buf_consume(&a->head, (size_t)end + 1);
}

static void keep_tail(struct main_answer *a, struct slice piece)
{
    size_t keep;

    if (piece.len > MAIN_TAIL_MAX)
        slice_advance(&piece, piece.len - MAIN_TAIL_MAX);
    keep = a->tail_len + piece.len > MAIN_TAIL_MAX ? MAIN_TAIL_MAX - piece.len : a->tail_len;
    memmove(a->tail, a->tail + a->tail_len - keep, keep);
    memcpy(a->tail + keep, piece.data, piece.len);
    a->tail_len = keep + piece.len;
}

/* A NUL at the end of what has come is the answer's end, if nothing comes behind it. */
static void print_piece(struct main_answer *a, struct slice piece)
{
    if (piece.len == 0)
        return;
    if (a->whole) {
        (void)putchar('\0');
        keep_tail(a, slice_of("", 1));
    }
    a->whole = piece.data[piece.len - 1] == '\0';
    piece.len -= a->whole;
    (void)fwrite(piece.data, 1, piece.len, stdout); /* looked at at the end */
    keep_tail(a, piece);
}

static void take_piece(struct main_answer *a, struct slice piece)
{
    if (a->head_over) {
        print_piece(a, piece);
        return;
    }
    (void)buf_append_slice(&a->head, piece);
    take_head(a);
    if (a->head_over)
        print_piece(a, buf_slice(&a->head));
}

static int end_answer(struct main_answer *a, int error)
{
    int exit_code = a->ok ? EX_OK : EX_UNAVAILABLE;

    if (!a->head_over) {
        main_complain("the server closed the connection without an answer");
    } else if (!a->whole) { /* what was printed is not all */
        main_complain("the answer broke off%s%s", error != 0 ? ": " : "",
                      error != 0 ? strerror(error) : "");
        exit_code = EX_UNAVAILABLE;
    }
    buf_finish(&a->head);
    if (fflush(stdout) != 0 || ferror(stdout)) {
        main_complain("standard output: %s", strerror(errno));
        return EX_IOERR;
    }
    return exit_code;
}

/* The first line says whether it went well; the rest is for standard output as it comes. */
int main_answer_print(int fd, struct main_answer *answer)
{
    char piece[16384];
    ssize_t n;

    buf_init(&answer->head, ANSWER_HEAD_MAX + sizeof(piece));
    while ((n = recv(fd, piece, sizeof(piece), 0)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0)
            take_piece(answer, slice_of(piece, (size_t)n));
        if (ferror(stdout)) /* a full disk, or a reader that has gone: the server is let go */
            break;
    }
    return end_answer(answer, n < 0 ? errno : 0);
}

int main_control_open(const struct main_options *o, const struct buf *request)
{
    struct conf *conf = main_load_conf(o);
    int fd;

    if (conf == NULL)
        return -EX_CONFIG;
    fd = connect_control(conf->control);
    conf_free(conf);
    if (fd >= 0 && send_request(fd, request))
        return fd;
    if (fd >= 0)
        (void)close(fd);
    return -EX_UNAVAILABLE;
}

static int ask(const struct main_options *o, const struct buf *request)
{
    int fd = main_control_open(o, request);
    struct main_answer answer = {0};
    int exit_code;

    if (fd < 0)
        return -fd;
    exit_code = main_answer_print(fd, &answer);
    (void)close(fd);
    return exit_code;
}

void main_control_request(const struct main_options *o, const char *verb, struct buf *request)
{
    (void)buf_printf(request, "marked %s", verb);
    for (int i = 0; i < o->word_count; i++)
        (void)admin_word_append(request, slice_str(o->words[i]));
    (void)buf_append_str(request, o->json ? " json\n" : "\n");
}

static int ask_words(const struct main_options *o, const char *verb)
{
    struct buf request;
    int exit_code;

    buf_init(&request, 0);
    main_control_request(o, verb, &request);
    exit_code = ask(o, &request);
    buf_finish(&request);
    return exit_code;
}

int main_status(const struct main_options *o)
{
    return ask_words(o, "status");
}

int main_tls_report(const struct main_options *o)
{
    return ask_words(o, "tls-report");
}

int main_new_aliases(const struct main_options *o)
{
    return ask_words(o, "reload");
}

/* ---- queue ---------------------------------------------------------------------------------- */

static int print_usage(void)
{
    struct buf text;

    buf_init(&text, 0);
    admin_request_usage(&text);
    (void)fwrite(buf_slice(&text).data, 1, buf_len(&text), stdout);
    buf_finish(&text);
    return EX_OK;
}

/* What is no request is not worth a connection. */
static bool parse_words(const struct main_options *o, struct admin_request *request)
{
    struct slice *words = calloc((size_t)o->word_count + 1, sizeof(*words));
    struct buf error;
    bool ok = words != NULL;

    buf_init(&error, 0);
    for (int i = 0; ok && i < o->word_count; i++)
        words[i] = slice_str(o->words[i]);
    if (ok)
        ok = admin_request_parse(request, words, (size_t)o->word_count, &error);
    if (!ok)
        main_complain("%.*s\nSee mailring queue help.", SLICE_ARG(buf_slice(&error)));
    buf_finish(&error);
    free(words);
    return ok;
}

static int run_request(const struct main_options *o, const struct admin_request *request)
{
    struct buf line;
    int exit_code;

    buf_init(&line, 0);
    main_control_request(o, "queue", &line);
    if (buf_len(&line) > MAIN_REQUEST_MAX) {
        main_complain("that is more than one request can hold: use filters, or fewer ids");
        exit_code = EX_USAGE;
    } else if (request->verb == ADMIN_EXPORT) {
        exit_code = main_export(o, &line, request->copy);
    } else if (request->verb == ADMIN_IMPORT) {
        exit_code = main_import(o, &line);
    } else {
        exit_code = ask(o, &line);
    }
    buf_finish(&line);
    return exit_code;
}

int main_queue(const struct main_options *o)
{
    static char *list[] = {"list"};
    struct main_options with_verb = *o;
    struct admin_request request = {0};
    int exit_code = EX_USAGE;

    if (o->word_count > 0
        && (strcmp(o->words[0], "help") == 0 || strcmp(o->words[0], "--help") == 0))
        return print_usage();
    if (o->word_count == 0) {
        with_verb.words = list;
        with_verb.word_count = 1;
    }
    if (parse_words(&with_verb, &request))
        exit_code = run_request(&with_verb, &request);
    admin_request_finish(&request);
    return exit_code;
}

/* ---- explain -------------------------------------------------------------------------------- */

int main_explain(const struct main_options *o)
{
    int things = 0;

    for (int i = 0; i < o->word_count; i++) {
        if (o->words[i][0] != '-')
            things++;
        else if (strncmp(o->words[i], "--sender=", 9) != 0)
            things = -o->word_count;
    }
    if (things != 1) {
        main_complain("usage: mailring explain ADDRESS [--sender=ADDRESS] [--json]\n"
                      "       mailring explain ID [--json]");
        return EX_USAGE;
    }
    return ask_words(o, "explain");
}
