/*
 * send_smtp: see the header. The engine says what is next; everything here waits. A recipient without an
 * answer at the end was not taken: the message is the caller's still.
 */
#include "send_smtp.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base_mem.h"
#include "smtp_dot.h"

enum { ANSWER_MS = 10 * 60 * 1000 }; /* RFC 5321 4.5.3.2.6, the longest of them */

struct dialog {
    int fd;
    struct send_mail *mail;
    struct smtp_client client;
    struct smtp_client_options options;
    struct smtp_transaction transaction;
    struct smtp_client_rcpt *rcpts;
    struct buf in, out;
    bool begun;
    bool over; /* every recipient has its answer */
    bool broken;
    uint8_t text[512];
};

int send_smtp_connect(const char *path)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    int fd, error;

    if (strlen(path) >= sizeof(addr.sun_path)) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(addr.sun_path, path, strlen(path) + 1);
    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -1;
    if (connect(fd, (struct sockaddr *)&addr, sizeof(addr)) == 0)
        return fd;
    error = errno;
    (void)close(fd);
    errno = error;
    return -1;
}

uint64_t send_mail_size(const struct send_mail *mail)
{
    return mail->header.len + send_mail_separator(mail).len + mail->body->size;
}

struct slice send_mail_separator(const struct send_mail *mail)
{
    return mail->whole ? SLICE_NULL : SLICE_LITERAL("\r\n");
}

static bool wait_for(int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    int n;

    do
        n = poll(&p, 1, ANSWER_MS);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

static bool put(struct dialog *d, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = send(d->fd, bytes.data, bytes.len, MSG_NOSIGNAL | MSG_DONTWAIT);

        if (n > 0)
            slice_advance(&bytes, (size_t)n);
        else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            if (!wait_for(d->fd, POLLOUT))
                return false;
        } else if (errno != EINTR) {
            return false;
        }
    }
    return true;
}

static void show(const struct dialog *d, const char *who, struct slice lines)
{
    if (d->mail->verbose)
        (void)fprintf(stderr, "%s %.*s", who, SLICE_ARG(lines));
}

static bool flush(struct dialog *d)
{
    bool good = put(d, buf_slice(&d->out));

    show(d, ">>>", buf_slice(&d->out));
    buf_clear(&d->out);
    return good;
}

static bool get(struct dialog *d)
{
    uint8_t piece[4096];
    ssize_t n;

    if (!wait_for(d->fd, POLLIN))
        return false;
    do
        n = recv(d->fd, piece, sizeof(piece), 0);
    while (n < 0 && errno == EINTR);
    if (n <= 0)
        return false;
    show(d, "<<<", slice_of(piece, (size_t)n));
    return buf_append(&d->in, piece, (size_t)n);
}

static bool put_stuffed(struct dialog *d, struct smtp_dot_encoder *e, struct slice bytes)
{
    while (bytes.len > 0) {
        if (!put(d, smtp_dot_encode(e, &bytes)))
            return false;
    }
    return true;
}

/* False: the connection is gone, or d->broken. A server that has lost interest may have closed it: its last
 * words are still to be read. */
static bool put_body(struct dialog *d)
{
    struct send_mail *mail = d->mail;
    struct smtp_dot_encoder e;
    struct slice piece = SLICE_NULL;

    smtp_dot_encoder_init(&e);
    if (!put_stuffed(d, &e, mail->header) || !put_stuffed(d, &e, send_mail_separator(mail)))
        return false;
    d->broken = !send_body_rewind(mail->body);
    while (!d->broken) {
        d->broken = !send_body_next(mail->body, &piece);
        if (d->broken || piece.len == 0)
            break;
        if (!put_stuffed(d, &e, piece))
            return false;
    }
    return !d->broken && put(d, smtp_dot_encode_end(&e));
}

static void note_result(struct dialog *d)
{
    struct send_recipient *r = &d->mail->recipients[d->client.rcpt_index];
    const struct smtp_reply *reply = &d->client.reply;
    size_t len = reply->text.len < sizeof(r->text) - 1 ? reply->text.len : sizeof(r->text) - 1;

    r->code = reply->code;
    memcpy(r->enhanced, reply->enhanced, sizeof(r->enhanced));
    if (len > 0)
        memcpy(r->text, reply->text.data, len);
    for (size_t i = 0; i < len; i++)
        if (r->text[i] == '\n')
            r->text[i] = ' ';
        else if ((unsigned char)r->text[i] < ' ' || r->text[i] == 127)
            r->text[i] = '?';
    r->text[len] = '\0';
}

static void begin(struct dialog *d)
{
    struct send_mail *mail = d->mail;

    for (size_t i = 0; i < mail->recipient_count; i++)
        d->rcpts[i] = (struct smtp_client_rcpt){.address = mail->recipients[i].address,
                                                .notify = mail->notify};
    d->transaction = (struct smtp_transaction){
        .sender = mail->sender,
        .rcpts = d->rcpts,
        .rcpt_count = mail->recipient_count,
        .size = send_mail_size(mail),
        .body_8bit = mail->body->has_8bit,
        .envid = mail->envid,
        .ret = mail->ret,
    };
    d->begun = true;
    smtp_client_begin(&d->client, &d->transaction, &d->out);
}

/* False: the dialog is over. */
static bool step(struct dialog *d)
{
    struct slice in = buf_slice(&d->in);
    enum smtp_client_event event = smtp_client_next(&d->client, &in, &d->out);

    buf_consume(&d->in, buf_len(&d->in) - in.len);
    switch (event) {
    case SMTP_CLIENT_NEED_INPUT: return flush(d) && get(d);
    case SMTP_CLIENT_READY:
        if (d->begun)
            smtp_client_quit(&d->client, &d->out);
        else
            begin(d);
        return true;
    case SMTP_CLIENT_RCPT_RESULT: note_result(d); return true;
    case SMTP_CLIENT_SEND_BODY:
        if (!flush(d) || !put_body(d))
            return !d->broken && get(d);
        smtp_client_body_sent(&d->client);
        return true;
    case SMTP_CLIENT_DONE: d->over = true; return true;
    case SMTP_CLIENT_FAILED:
    case SMTP_CLIENT_STARTTLS_READY: /* these were not asked for */
    case SMTP_CLIENT_STARTTLS_REFUSED:
    case SMTP_CLIENT_AUTH_CHALLENGE:
    case SMTP_CLIENT_AUTH_OK:
    case SMTP_CLIENT_AUTH_FAILED:
    case SMTP_CLIENT_CLOSED: return false;
    }
    return false;
}

enum send_outcome send_smtp(int fd, struct send_mail *mail, struct buf *why)
{
    struct dialog *d = mem_zalloc(sizeof(*d));
    enum send_outcome outcome = SEND_TAKEN;

    d->fd = fd;
    d->mail = mail;
    d->rcpts = mem_calloc(mail->recipient_count, sizeof(*d->rcpts));
    d->options.hostname = mail->hostname;
    buf_init(&d->in, 0);
    buf_init(&d->out, 0);
    for (size_t i = 0; i < mail->recipient_count; i++)
        mail->recipients[i].code = 0;
    smtp_client_init(&d->client, &d->options, d->text, sizeof(d->text));
    while (step(d))
        continue;
    if (d->broken) {
        outcome = SEND_BROKEN;
        (void)buf_printf(why, "cannot keep the message: %s", strerror(mail->body->error));
    } else if (!d->over) {
        outcome = SEND_NOT_NOW;
        if (d->client.failed && d->client.failure.code != 0)
            (void)buf_printf(why, "the server says: %u %.*s", (unsigned)d->client.failure.code,
                             SLICE_ARG(d->client.reply.text));
        else
            (void)buf_append_str(why, "the server went away");
    }
    (void)close(fd);
    buf_finish(&d->in);
    buf_finish(&d->out);
    mem_free(d->rcpts);
    mem_free(d);
    return outcome;
}
