/* main_drop: see the header. */
#include "main_drop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_codec.h"
#include "base_mem.h"
#include "mail_dsn.h"
#include "main_log.h"
#include "main_priv.h"
#include "send_drop.h"

enum {
    LOOK_MS = 60 * 1000, /* without a sign that there is something */
    RETRY_MS = 5 * 1000, /* something was put off; twice as long each time */
    LEFT_S = 10 * 60,    /* written and never renamed: perhaps the machine went down just then */
    DAY_S = 24 * 3600,
};

/* ---- the directory ------------------------------------------------------------------------- */

void main_drop_prepare(struct main_drop *d, const struct conf *conf, const struct main_user *user)
{
    struct stat st;

    d->conf = conf;
    d->directory = d->wake = d->notify = -1;
    if (!main_user_make_directory(user, conf->drop, 0700))
        return;
    /* Not through a link that somebody else may have put there. */
    d->directory = open(conf->drop, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (d->directory < 0 || fstat(d->directory, &st) != 0) {
        main_complain("drop \"%s\": %s; messages cannot wait there", conf->drop, strerror(errno));
        return;
    }
    if (user->change && st.st_uid != user->uid && fchown(d->directory, user->uid, user->gid) != 0) {
        main_complain("drop \"%s\": %s; messages cannot wait there", conf->drop, strerror(errno));
        return;
    }
    if (!user->change && st.st_uid != geteuid()) {
        main_complain("drop \"%s\": it is not ours (user id %u); messages cannot wait there",
                      conf->drop, (unsigned)st.st_uid);
        return;
    }
    if (fchmod(d->directory, 01733) != 0) {
        main_complain("drop \"%s\": %s; messages cannot wait there", conf->drop, strerror(errno));
        return;
    }
    d->usable = true;
}

static uint64_t now_s(void)
{
    return (uint64_t)time(NULL);
}

static void log_file(enum log_level level, const char *event, const char *name, const char *why)
{
    struct log_record r;

    log_begin(&r, level, event);
    log_str(&r, "file", name);
    if (why != NULL)
        log_str(&r, "reason", why);
    log_end(&r);
}

static void remove_file(const struct main_drop *d, const char *name)
{
    if (unlinkat(d->directory, name, 0) != 0 && errno != ENOENT)
        log_file(LOG_ERROR, "drop-not-removed", name, strerror(errno));
}

static void set_aside(const struct main_drop *d, const char *name, const char *why)
{
    char aside[NAME_MAX + 1];

    log_file(LOG_WARNING, "drop-set-aside", name, why);
    (void)snprintf(aside, sizeof(aside), ".strange-%.200s", name);
    if (renameat(d->directory, name, d->directory, aside) != 0)
        log_file(LOG_ERROR, "drop-not-removed", name, strerror(errno));
}

/* ---- one message --------------------------------------------------------------------------- */

/* RFC 5321 4.4: who has left it, for whoever wants to know later. */
static void add_trace(const struct main_drop *d, const struct send_drop *file, struct buf *header)
{
    char date[DATE_TEXT_SIZE];

    date_format(now_s(), date);
    (void)buf_printf(header, "Received: by %.*s (mailring drop, from userid %u);\r\n\t%s\r\n",
                     SLICE_ARG(d->conf->hostname), (unsigned)file->owner, date);
}

static enum send_outcome submit(const struct main_drop *d, struct send_mail *mail, struct buf *why)
{
    int fd = send_smtp_connect(d->conf->submit);

    if (fd >= 0)
        return send_smtp(fd, mail, why);
    (void)buf_printf(why, "%s: %s", d->conf->submit, strerror(errno));
    return SEND_NOBODY;
}

/* What became of one recipient, with the server's reply as it was (RFC 3464 2.3.6). */
static struct mail_dsn_rcpt failed(const struct send_recipient *r, struct arena *arena)
{
    struct mail_dsn_rcpt out = {
        .address = r->address, .action = MAIL_DSN_FAILED, .code = r->code, .last_attempt = now_s()};
    char reply[sizeof(r->text) + 32];
    int len = r->enhanced[0] == 0
                  ? snprintf(reply, sizeof(reply), "%u %s", (unsigned)r->code, r->text)
                  : snprintf(reply, sizeof(reply), "%u %u.%u.%u %s", (unsigned)r->code,
                             (unsigned)r->enhanced[0], (unsigned)r->enhanced[1],
                             (unsigned)r->enhanced[2], r->text);

    memcpy(out.enhanced, r->enhanced, sizeof(out.enhanced));
    out.diagnostic = arena_dup(arena, slice_of(reply, (size_t)len));
    return out;
}

/* The program that sent it is gone, so its sender is told by mail. True: it is done with. */
static bool tell_sender(const struct main_drop *d, const struct send_drop *file, const char *name)
{
    const struct send_mail *mail = &file->mail;
    struct mail_dsn_rcpt *rcpts = mem_calloc(mail->recipient_count, sizeof(*rcpts));
    struct send_recipient sender = {.address = mail->sender};
    struct send_body body;
    struct send_mail notice = {.hostname = d->conf->hostname,
                               .recipients = &sender,
                               .recipient_count = 1,
                               .whole = true,
                               .body = &body};
    struct mail_dsn dsn = {.hostname = d->conf->hostname,
                           .kind = MAIL_DSN_FAILURE,
                           .id = slice_str(name),
                           .from = d->conf->notices.from,
                           .to = mail->sender,
                           .sender = mail->sender,
                           .about_id = slice_str(name),
                           .date = now_s(),
                           .rcpts = rcpts};
    struct buf text, why;
    struct arena arena;
    bool told = false;

    if (mail->notify != 0 && (mail->notify & SMTP_NOTIFY_FAILURE) == 0) {
        mem_free(rcpts);
        return true; /* RFC 3461 4.1: he said that he does not want to know */
    }
    arena_init(&arena, SIZE_MAX);
    buf_init(&text, 0);
    buf_init(&why, 0);
    send_body_init(&body);
    for (size_t i = 0; i < mail->recipient_count; i++)
        if (mail->recipients[i].code >= 500)
            rcpts[dsn.rcpt_count++] = failed(&mail->recipients[i], &arena);
    if (getrandom(dsn.random, sizeof(dsn.random), 0) == (ssize_t)sizeof(dsn.random)
        && mail_dsn_compose(&dsn, &text) && send_body_take(&body, &text))
        told = submit(d, &notice, &why) == SEND_TAKEN && sender.code >= 200
               && (sender.code < 300 || sender.code >= 500); /* who is nobody cannot be told */
    send_body_finish(&body);
    buf_finish(&why);
    buf_finish(&text);
    arena_reset(&arena);
    mem_free(rcpts);
    return told;
}

/* Of a message that has been taken for some: those that are left, as a file of its own. */
static bool keep_rest(const struct main_drop *d, struct send_mail *mail)
{
    size_t left = 0;

    for (size_t i = 0; i < mail->recipient_count; i++)
        if (mail->recipients[i].code < 200
            || (mail->recipients[i].code >= 300 && mail->recipients[i].code < 500))
            mail->recipients[left++] = mail->recipients[i];
    mail->recipient_count = left;
    return left == 0 || send_drop_write(d->conf->drop, mail) == 0;
}

static void log_taken(const struct send_drop *file, const char *name)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "drop-sent");
    log_str(&r, "file", name);
    log_u64(&r, "uid", file->owner);
    log_slice(&r, "from", file->mail.sender);
    log_u64(&r, "recipients", file->mail.recipient_count);
    log_end(&r);
}

/* True: the file may go. */
static bool settle(const struct main_drop *d, struct send_drop *file, const char *name)
{
    struct send_mail *mail = &file->mail;
    bool refused = false, taken = false;

    for (size_t i = 0; i < mail->recipient_count; i++) {
        refused |= mail->recipients[i].code >= 500;
        taken |= mail->recipients[i].code >= 200 && mail->recipients[i].code < 300;
    }
    if (refused && mail->sender.len > 0 && !tell_sender(d, file, name))
        return false; /* all of it once more: better twice than not */
    if (!taken && !refused)
        return false;
    log_taken(file, name);
    return keep_rest(d, mail);
}

/* What the server would say; but it would have to be read first. */
static enum send_outcome refuse_large(struct send_mail *mail)
{
    for (size_t i = 0; i < mail->recipient_count; i++) {
        static const uint16_t too_large[3] = {5, 3, 4};
        struct send_recipient *r = &mail->recipients[i];

        r->code = 552;
        memcpy(r->enhanced, too_large, sizeof(r->enhanced));
        (void)snprintf(r->text, sizeof(r->text), "Message too large to be stored");
    }
    return SEND_TAKEN;
}

/* False: it is put off. */
static bool take_file(const struct main_drop *d, const char *name, bool unfinished)
{
    struct send_drop *file = mem_zalloc(sizeof(*file));
    struct buf header, why;
    bool done = true;
    int error = 0;

    buf_init(&header, 0);
    buf_init(&why, 0);
    switch (send_drop_read(d->directory, name, d->conf->limits.message_size, file, &error)) {
    case SEND_DROP_OK:
        add_trace(d, file, &header);
        file->mail.header = buf_slice(&header);
        file->mail.hostname = d->conf->hostname;
        done = (file->too_large ? refuse_large(&file->mail) : submit(d, &file->mail, &why))
                   == SEND_TAKEN
               && settle(d, file, name);
        if (done)
            remove_file(d, name);
        else
            log_file(LOG_NOTICE, "drop-waits", name, "the server does not take it now");
        send_drop_finish(file);
        break;
    case SEND_DROP_GONE: break;
    case SEND_DROP_STRANGE:
        if (!unfinished)
            set_aside(d, name, "not a message that mailring send has left");
        break;
    case SEND_DROP_FAILED:
        done = false;
        log_file(LOG_ERROR, "drop-unreadable", name, strerror(error));
        break;
    }
    buf_finish(&why);
    buf_finish(&header);
    mem_free(file);
    main_log_flush();
    return done;
}

/* ---- looking ------------------------------------------------------------------------------- */

/* Of a name with a dot: it is being written, was left, or was set aside. */
static bool look_at_hidden(const struct main_drop *d, const char *name)
{
    bool strange = strncmp(name, ".strange-", 9) == 0;
    uint64_t age_s;
    struct stat st;

    if (fstatat(d->directory, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || S_ISDIR(st.st_mode))
        return true;
    age_s = now_s() > (uint64_t)st.st_ctime ? now_s() - (uint64_t)st.st_ctime : 0;
    if (age_s > (strange ? 7 * DAY_S : DAY_S)) {
        log_file(LOG_NOTICE, "drop-removed", name, "old, and no message");
        remove_file(d, name);
        return true;
    }
    return strange || age_s < LEFT_S || take_file(d, name, true);
}

static bool is_stopping(const struct main_drop *d)
{
    struct pollfd p = {.fd = d->wake, .events = POLLIN};

    return poll(&p, 1, 0) > 0;
}

/* What cannot be removed would be sent again with each look: on a disk that has become read-only, say. */
static bool may_remove(const struct main_drop *d)
{
    if (faccessat(d->directory, ".", W_OK | X_OK, AT_EACCESS) == 0)
        return true;
    log_file(LOG_ERROR, "drop-not-writable", d->conf->drop, strerror(errno));
    return false;
}

/* False: something waits. All names are looked at, since somebody may have filled the directory with such as
 * stay there. */
static bool look(const struct main_drop *d)
{
    int fd = openat(d->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = fd >= 0 ? fdopendir(fd) : NULL;
    bool all = true;

    if (list == NULL) {
        if (fd >= 0)
            (void)close(fd);
        return false;
    }
    for (struct dirent *e; !is_stopping(d) && (e = readdir(list)) != NULL;) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (e->d_name[0] == '.')
            all &= look_at_hidden(d, e->d_name);
        else
            all &= take_file(d, e->d_name, false);
    }
    (void)closedir(list);
    return all;
}

/* What inotify says is only that there is something. */
static void forget_signs(const struct main_drop *d)
{
    uint8_t events[4096];

    while (d->notify >= 0 && read(d->notify, events, sizeof(events)) > 0)
        continue;
}

static void *run(void *argument)
{
    struct main_drop *d = argument;
    int retry_ms = RETRY_MS;

    main_log_buffer_this_thread();
    while (!is_stopping(d)) {
        struct pollfd p[2] = {{.fd = d->wake, .events = POLLIN},
                              {.fd = d->notify, .events = POLLIN}};
        bool all;

        forget_signs(d);
        all = !may_remove(d) || look(d);
        main_log_flush();
        (void)poll(p, 2, all ? LOOK_MS : retry_ms);
        retry_ms = all ? RETRY_MS : 2 * retry_ms < LOOK_MS ? 2 * retry_ms : LOOK_MS;
    }
    return NULL;
}

void main_drop_start(struct main_drop *d)
{
    int error;

    if (!d->usable)
        return;
    d->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    d->notify = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (d->notify >= 0
        && inotify_add_watch(d->notify, d->conf->drop, IN_MOVED_TO | IN_ONLYDIR) < 0) {
        (void)close(d->notify);
        d->notify = -1;
    }
    error = d->wake >= 0 ? pthread_create(&d->thread, NULL, run, d) : errno;
    d->running = error == 0;
    if (!d->running)
        main_complain("drop \"%s\": cannot start a thread: %s", d->conf->drop, strerror(error));
}

void main_drop_stop(struct main_drop *d)
{
    uint64_t one = 1;

    if (d->running) {
        (void)!write(d->wake, &one, sizeof(one)); /* cannot fail: the counter is 0 */
        (void)pthread_join(d->thread, NULL);
    }
    if (d->wake >= 0)
        (void)close(d->wake);
    if (d->notify >= 0)
        (void)close(d->notify);
    if (d->directory >= 0)
        (void)close(d->directory);
    d->running = false;
}
