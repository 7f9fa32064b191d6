/* send_drop: see the header. */
#include "send_drop.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_mem.h"

#define DROP_MAGIC "mailring-drop 1"

enum {
    NAME_BYTES = 16, /* of chance */
    NAME_SIZE = 2 + 2 * NAME_BYTES,
    HEAD_MAX = 4 * 1024 * 1024, /* some ten thousand recipients */
};

/* ---- writing ------------------------------------------------------------------------------- */

static int choose_name(char out[NAME_SIZE])
{
    uint8_t chance[NAME_BYTES];

    if (getrandom(chance, sizeof(chance), 0) != (ssize_t)sizeof(chance))
        return -EAGAIN;
    out[0] = '.';
    for (size_t i = 0; i < sizeof(chance); i++)
        (void)snprintf(out + 1 + 2 * i, 3, "%02x", chance[i]);
    return 0;
}

static void notify_words(uint8_t notify, struct buf *out)
{
    static const struct {
        uint8_t bit;
        const char *word;
    } words[] = {{SMTP_NOTIFY_NEVER, "never"},
                 {SMTP_NOTIFY_SUCCESS, "success"},
                 {SMTP_NOTIFY_FAILURE, "failure"},
                 {SMTP_NOTIFY_DELAY, "delay"}};
    const char *separator = "notify ";

    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++) {
        if ((notify & words[i].bit) == 0)
            continue;
        (void)buf_printf(out, "%s%s", separator, words[i].word);
        separator = ",";
    }
    if (notify != 0)
        (void)buf_append_byte(out, '\n');
}

static void write_head(const struct send_mail *mail, struct buf *out)
{
    (void)buf_printf(out, DROP_MAGIC "\nsender %.*s\n", SLICE_ARG(mail->sender));
    for (size_t i = 0; i < mail->recipient_count; i++)
        (void)buf_printf(out, "recipient %.*s\n", SLICE_ARG(mail->recipients[i].address));
    notify_words(mail->notify, out);
    if (mail->ret != SMTP_RET_NONE)
        (void)buf_printf(out, "ret %s\n", mail->ret == SMTP_RET_FULL ? "full" : "hdrs");
    if (mail->envid.len > 0)
        (void)buf_printf(out, "envid %.*s\n", SLICE_ARG(mail->envid));
    (void)buf_printf(out, "size %llu\n\n", (unsigned long long)send_mail_size(mail));
    (void)buf_append_slice(out, mail->header);
    (void)buf_append_slice(out, send_mail_separator(mail));
}

static int write_all(int fd, struct slice bytes)
{
    while (bytes.len > 0) {
        ssize_t n = write(fd, bytes.data, bytes.len);

        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            slice_advance(&bytes, (size_t)n);
    }
    return 0;
}

static int write_content(int fd, const struct send_mail *mail)
{
    struct slice piece = SLICE_NULL;
    struct buf head;
    int error;

    buf_init(&head, 0);
    write_head(mail, &head);
    /* What could not be read back is not taken. */
    error = buf_len(&head) > HEAD_MAX ? -E2BIG : write_all(fd, buf_slice(&head));
    buf_finish(&head);
    if (error != 0)
        return error;
    if (!send_body_rewind(mail->body))
        return -mail->body->error;
    do {
        if (!send_body_next(mail->body, &piece))
            return -mail->body->error;
        error = write_all(fd, piece);
    } while (error == 0 && piece.len > 0);
    return error;
}

/* The directory may not be read, so it cannot be opened to be synced. A file system with a journal syncs a
 * file's name with it, the new one as well since renaming changes the file's ctime. */
static int settle(int directory, int fd, const char *name)
{
    if (fchmod(fd, 0644) != 0 || fsync(fd) != 0)
        return -errno;
    if (renameat(directory, name, directory, name + 1) != 0)
        return -errno;
    if (fsync(fd) != 0) {
        int error = errno;
        (void)unlinkat(directory, name + 1, 0);
        return -error;
    }
    return 0;
}

int send_drop_write(const char *path, struct send_mail *mail)
{
    char name[NAME_SIZE];
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int fd = -1, error;

    if (directory < 0)
        return -errno;
    error = choose_name(name);
    if (error == 0) {
        fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        error = fd < 0 ? -errno : 0;
    }
    if (error == 0)
        error = write_content(fd, mail);
    if (error == 0)
        error = settle(directory, fd, name);
    if (error != 0 && fd >= 0)
        (void)unlinkat(directory, name, 0);
    if (fd >= 0)
        (void)close(fd);
    (void)close(directory);
    return error;
}

/* ---- reading ------------------------------------------------------------------------------- */

/* "word rest" off the front of *head; the empty line and the end are none. */
static bool next_line(struct slice *head, struct slice *word, struct slice *rest)
{
    ptrdiff_t end = slice_find(*head, '\n');
    ptrdiff_t blank;

    if (end <= 0)
        return false;
    *word = slice_head(*head, (size_t)end);
    slice_advance(head, (size_t)end + 1);
    blank = slice_find(*word, ' ');
    *rest =
        blank < 0 ? SLICE_NULL : slice_of(word->data + blank + 1, word->len - (size_t)blank - 1);
    if (blank >= 0)
        word->len = (size_t)blank;
    return true;
}

static bool parse_notify(struct slice words, uint8_t *out)
{
    struct buf text;
    struct smtp_params params = {0};
    bool good;

    buf_init(&text, 0);
    (void)buf_printf(&text, "NOTIFY=%.*s", SLICE_ARG(words));
    good = smtp_params_parse(SMTP_VERB_RCPT, SMTP_EXT_DSN, buf_slice(&text), &params)
           == SMTP_PARAMS_OK;
    *out = params.notify;
    buf_finish(&text);
    return good;
}

static size_t count_recipients(struct slice head)
{
    struct slice word, rest;
    size_t count = 0;

    while (next_line(&head, &word, &rest))
        count += slice_equal(word, SLICE_LITERAL("recipient"));
    return count;
}

/* Behind the first line. *size: of the message. */
static bool parse_head(struct slice head, struct send_mail *mail, uint64_t *size)
{
    struct slice word, rest;
    bool has_sender = false, has_size = false;

    mail->recipients = mem_calloc(count_recipients(head) + 1, sizeof(*mail->recipients));
    while (next_line(&head, &word, &rest)) {
        if (slice_equal(word, SLICE_LITERAL("sender"))) {
            mail->sender = rest;
            has_sender = true;
        } else if (slice_equal(word, SLICE_LITERAL("recipient")) && rest.len > 0) {
            mail->recipients[mail->recipient_count++].address = rest;
        } else if (slice_equal(word, SLICE_LITERAL("notify"))) {
            if (!parse_notify(rest, &mail->notify))
                return false;
        } else if (slice_equal(word, SLICE_LITERAL("ret"))) {
            mail->ret = slice_equal(rest, SLICE_LITERAL("full")) ? SMTP_RET_FULL : SMTP_RET_HDRS;
        } else if (slice_equal(word, SLICE_LITERAL("envid"))) {
            mail->envid = rest;
        } else if (slice_equal(word, SLICE_LITERAL("size"))) {
            has_size = slice_to_u64(rest, size);
        } else {
            return false;
        }
    }
    return has_sender && has_size && mail->recipient_count > 0;
}

/* Reads up to the empty line into `memory`; what came behind it goes to the body. */
static enum send_drop_result read_head(int fd, struct send_drop *d, int *error)
{
    struct buf rest;

    for (;;) {
        struct slice all = buf_slice(&d->memory);
        const uint8_t *end = all.len > 0 ? memmem(all.data, all.len, "\n\n", 2) : NULL;
        uint8_t piece[16384];
        ssize_t n;

        if (end != NULL) {
            size_t len = (size_t)(end - all.data) + 2;
            bool good;
            buf_init(&rest, 0);
            (void)buf_append(&rest, all.data + len, all.len - len);
            buf_truncate(&d->memory, len);
            good = send_body_take(&d->content, &rest);
            buf_finish(&rest);
            *error = d->content.error;
            return good ? SEND_DROP_OK : SEND_DROP_FAILED;
        }
        if (all.len >= HEAD_MAX)
            return SEND_DROP_STRANGE;
        n = read(fd, piece, sizeof(piece));
        if (n == 0)
            return SEND_DROP_STRANGE;
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0) {
            *error = errno;
            return SEND_DROP_FAILED;
        }
        (void)buf_append(&d->memory, piece, (size_t)n);
    }
}

static enum send_drop_result read_body(int fd, struct send_drop *d, uint64_t size_max, int *error)
{
    struct buf bytes;
    ssize_t n = 1;
    bool good = true;

    buf_init(&bytes, 0);
    while (good && n > 0 && d->content.size <= size_max) {
        uint8_t piece[65536];

        n = read(fd, piece, sizeof(piece));
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        if (n > 0) {
            (void)buf_append(&bytes, piece, (size_t)n);
            good = send_body_take(&d->content, &bytes);
        }
    }
    *error = n < 0 ? errno : d->content.error;
    buf_finish(&bytes);
    if (!good || n < 0)
        return SEND_DROP_FAILED;
    return d->content.size <= size_max ? SEND_DROP_OK : SEND_DROP_STRANGE;
}

static enum send_drop_result read_file(int fd, uint64_t size_max, uint64_t file_size,
                                       struct send_drop *d, int *error)
{
    enum send_drop_result result = read_head(fd, d, error);
    struct slice head = buf_slice(&d->memory), word, rest;
    uint64_t size = 0;

    if (result != SEND_DROP_OK)
        return result;
    if (!next_line(&head, &word, &rest) || !slice_equal(word, SLICE_LITERAL("mailring-drop"))
        || !slice_equal(rest, SLICE_LITERAL("1")) || !parse_head(head, &d->mail, &size))
        return SEND_DROP_STRANGE;
    if (size > size_max && file_size >= size) {
        d->too_large = true;
        return SEND_DROP_OK;
    }
    result = read_body(fd, d, size_max, error);
    if (result == SEND_DROP_OK && d->content.size != size)
        return SEND_DROP_STRANGE; /* it was cut off */
    return result;
}

enum send_drop_result send_drop_read(int directory_fd, const char *name, uint64_t size_max,
                                     struct send_drop *out, int *error)
{
    int fd = openat(directory_fd, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    enum send_drop_result result;
    struct stat st;

    *error = errno;
    if (fd < 0)
        return *error == ENOENT                                         ? SEND_DROP_GONE
               : *error == ELOOP || *error == ENXIO || *error == EACCES ? SEND_DROP_STRANGE
                                                                        : SEND_DROP_FAILED;
    *out = (struct send_drop){.owner = 0};
    buf_init(&out->memory, 0);
    send_body_init(&out->content);
    out->mail.body = &out->content;
    out->mail.whole = true;
    if (fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_nlink != 1) {
        result = SEND_DROP_STRANGE;
    } else {
        out->owner = (uint32_t)st.st_uid;
        result = read_file(fd, size_max, (uint64_t)st.st_size, out, error);
    }
    (void)close(fd);
    if (result != SEND_DROP_OK)
        send_drop_finish(out);
    return result;
}

void send_drop_finish(struct send_drop *d)
{
    mem_free(d->mail.recipients);
    send_body_finish(&d->content);
    buf_finish(&d->memory);
}
