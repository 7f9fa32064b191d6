/* main_control: status and queue ask the running server over its control socket. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base_buf.h"
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

/* The first line says whether it went well; the rest is for standard output as it comes. */
static int print_answer(int fd)
{
    struct buf head;
    char piece[16384];
    bool ok = false, head_over = false;
    ssize_t n;

    buf_init(&head, ANSWER_HEAD_MAX + sizeof(piece));
    while ((n = recv(fd, piece, sizeof(piece), 0)) > 0 || (n < 0 && errno == EINTR)) {
        ptrdiff_t end;
        if (n < 0)
            continue;
        if (head_over) {
            (void)fwrite(piece, 1, (size_t)n, stdout);
            continue;
        }
        (void)buf_append(&head, piece, (size_t)n);
        end = slice_find(buf_slice(&head), '\n');
        if (end < 0)
            continue;
        head_over = true;
        ok = slice_equal(slice_head(buf_slice(&head), (size_t)end), SLICE_LITERAL("ok"));
        if (!ok)
            main_complain("%.*s", (int)end, (const char *)buf_slice(&head).data);
        buf_consume(&head, (size_t)end + 1);
        (void)fwrite(buf_slice(&head).data, 1, buf_len(&head), stdout);
    }
    if (!head_over) {
        main_complain("the server closed the connection without an answer");
    } else if (n < 0) { /* what was printed is not all */
        main_complain("the answer broke off: %s", strerror(errno));
        ok = false;
    }
    buf_finish(&head);
    if (fflush(stdout) != 0) {
        main_complain("standard output: %s", strerror(errno));
        return EX_IOERR;
    }
    return ok ? EX_OK : EX_UNAVAILABLE;
}

static int ask(const struct main_options *o, const struct buf *request)
{
    struct conf *conf = main_load_conf(o);
    int exit_code = EX_UNAVAILABLE;
    int fd;

    if (conf == NULL)
        return EX_CONFIG;
    fd = connect_control(conf->control);
    if (fd >= 0) {
        if (send_request(fd, request))
            exit_code = print_answer(fd);
        (void)close(fd);
    }
    conf_free(conf);
    return exit_code;
}

static int ask_words(const struct main_options *o, const char *verb)
{
    struct buf request;
    int exit_code;

    buf_init(&request, 0);
    (void)buf_append_str(&request, verb);
    for (int i = 0; i < o->word_count; i++)
        (void)buf_printf(&request, " %s", o->words[i]);
    (void)buf_append_str(&request, o->json ? " json\n" : "\n");
    exit_code = ask(o, &request);
    buf_finish(&request);
    return exit_code;
}

int main_status(const struct main_options *o)
{
    return ask_words(o, "status");
}

int main_queue(const struct main_options *o)
{
    return ask_words(o, "queue");
}

int main_tls_report(const struct main_options *o)
{
    return ask_words(o, "tls-report");
}
