/*
 * main_send: sendmail(1): a message on standard input goes to the server at its submit socket, or waits for
 * it in the drop directory. Who calls may be anybody.
 */
#include <errno.h>
#include <poll.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base_arena.h"
#include "base_mem.h"
#include "main_priv.h"
#include "send_drop.h"
#include "send_message.h"
#include "send_options.h"
#include "smtp_address.h"

struct send {
    struct send_options options;
    struct conf *conf;
    struct send_message message;
    struct send_body body;
    struct arena arena; /* addresses, and what is added to the header */
    struct send_mail mail;
    struct send_recipient *recipients;
    size_t recipient_count, recipient_capacity;
    struct buf header;
    bool bad_address;
};

/* ---- whom from, whom to -------------------------------------------------------------------- */

/* "ann" becomes "ann@hostname". Data NULL: it is no address; said. */
static struct slice qualify(struct send *s, struct slice address)
{
    struct smtp_address parsed;
    struct buf whole;
    struct slice kept = SLICE_NULL;

    buf_init(&whole, 0);
    (void)buf_append_slice(&whole, address);
    if (smtp_address_parse(address, SMTP_PATH_UTF8, &parsed) != SMTP_ADDRESS_OK)
        (void)buf_printf(&whole, "@%.*s", SLICE_ARG(s->conf->hostname));
    if (smtp_address_parse(buf_slice(&whole), SMTP_PATH_UTF8, &parsed) == SMTP_ADDRESS_OK)
        kept = arena_dup(&s->arena, buf_slice(&whole));
    else
        main_complain("\"%.*s\" is no address", SLICE_ARG(address));
    buf_finish(&whole);
    return kept;
}

static void add_recipient(void *context, struct slice address)
{
    struct send *s = context;
    struct slice whole = qualify(s, address);

    if (whole.data == NULL) {
        s->bad_address = true;
        return;
    }
    for (size_t i = 0; i < s->recipient_count; i++)
        if (slice_equal(s->recipients[i].address, whole))
            return;
    if (s->recipient_count == s->recipient_capacity) {
        s->recipient_capacity = s->recipient_capacity > 0 ? 2 * s->recipient_capacity : 16;
        s->recipients = mem_realloc(s->recipients, s->recipient_capacity * sizeof(*s->recipients));
    }
    s->recipients[s->recipient_count++] = (struct send_recipient){.address = whole};
}

static void add_named(struct send *s)
{
    for (int i = 0; i < s->options.recipient_count; i++) {
        struct slice left = slice_str(s->options.recipients[i]), bad;
        struct send_message one;
        bool good = true;

        /* An argument may be "ann, bob" or "Ann <ann@a.example>": it is read as a field is. */
        send_message_init(&one, true);
        (void)buf_printf(&one.header, "To: %.*s\r\n", SLICE_ARG(left));
        for (size_t c = 0; c < left.len; c++)
            good = good && left.data[c] >= ' ' && left.data[c] != 127;
        if (!good || !send_message_recipients(&one, add_recipient, s, &bad)) {
            main_complain("recipient %d is no address", i + 1);
            s->bad_address = true;
        }
        send_message_release(&one);
    }
}

static bool find_recipients(struct send *s)
{
    struct slice bad = SLICE_NULL;

    add_named(s);
    if (s->options.recipients_inside
        && !send_message_recipients(&s->message, add_recipient, s, &bad)) {
        main_complain("the header names whom it is for in a way that makes no sense: %.*s",
                      SLICE_ARG(slice_head(bad, 200)));
        s->bad_address = true;
    }
    s->mail.hostname = s->conf->hostname;
    s->mail.recipients = s->recipients;
    s->mail.recipient_count = s->recipient_count;
    return !s->bad_address && s->recipient_count > 0;
}

static bool find_sender(struct send *s)
{
    const struct passwd *user = getpwuid(getuid());
    char number[32];

    if (s->options.sender != NULL) {
        if (s->options.sender[0] == '\0')
            return true; /* the null sender */
        s->mail.sender = qualify(s, slice_str(s->options.sender));
        return s->mail.sender.data != NULL;
    }
    (void)snprintf(number, sizeof(number), "uid%lu", (unsigned long)getuid());
    s->mail.sender = qualify(s, slice_str(user != NULL ? user->pw_name : number));
    return s->mail.sender.data != NULL;
}

/* ---- the header ---------------------------------------------------------------------------- */

/* What stands for itself in an encoded word before an address (RFC 2047 5, 3). */
static bool is_plain(uint8_t c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

/* No more than `max` octets, and no piece of a character. */
static struct slice shortened(struct slice name, size_t max)
{
    if (name.len <= max)
        return name;
    while (max > 0 && (name.data[max] & 0xc0) == 0x80)
        max--;
    return slice_head(name, max);
}

/* A display name (RFC 5322 3.2.5) as a quoted string, or encoded (RFC 2047) if it is not ASCII. */
static void append_name(struct slice name, struct buf *out)
{
    bool ascii = true;

    for (size_t i = 0; i < name.len; i++)
        ascii = ascii && name.data[i] >= ' ' && name.data[i] < 127;
    (void)buf_append_str(out, ascii ? "\"" : "=?utf-8?q?");
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];

        if (!ascii && !is_plain(c))
            (void)buf_printf(out, "=%02X", (unsigned)c);
        else if (ascii && (c == '"' || c == '\\'))
            (void)buf_printf(out, "\\%c", c);
        else
            (void)buf_append_byte(out, c);
    }
    (void)buf_append_str(out, ascii ? "\"" : "?=");
}

/* As long as an encoded word may be (RFC 2047 2), whatever has to be encoded. */
enum { FULL_NAME_MAX = 20 };

static struct slice full_name(const struct send *s)
{
    const struct passwd *user = getpwuid(getuid());
    struct slice name = SLICE_NULL;
    ptrdiff_t comma;

    if (s->options.full_name != NULL)
        return slice_str(s->options.full_name);
    if (user != NULL && user->pw_gecos != NULL)
        name = slice_str(user->pw_gecos);
    comma = slice_find(name, ',');
    return comma < 0 ? name : slice_head(name, (size_t)comma);
}

/* What the message lacks and only the caller knows; Date and Message-ID are the server's. */
static void complete_header(struct send *s)
{
    struct slice name = full_name(s);

    if (!send_message_has(&s->message, "from") && !send_message_has(&s->message, "resent-from")) {
        (void)buf_append_str(&s->header, "From: ");
        if (name.len > 0) {
            append_name(shortened(name, FULL_NAME_MAX), &s->header);
            (void)buf_append_byte(&s->header, ' ');
        }
        if (s->mail.sender.len > 0)
            (void)buf_printf(&s->header, "<%.*s>\r\n", SLICE_ARG(s->mail.sender));
        else
            (void)buf_printf(&s->header, "<MAILER-DAEMON@%.*s>\r\n", SLICE_ARG(s->conf->hostname));
    }
    (void)buf_append_slice(&s->header, buf_slice(&s->message.header));
    s->mail.header = buf_slice(&s->header);
}

/* ---- the message --------------------------------------------------------------------------- */

static int read_message(struct send *s)
{
    struct buf body;
    bool good = true, fits = true;
    ssize_t n = 1;

    buf_init(&body, 0);
    while (good && fits && n > 0 && !s->message.ended) {
        uint8_t piece[65536];

        n = read(STDIN_FILENO, piece, sizeof(piece));
        if (n < 0 && errno == EINTR) {
            n = 1;
            continue;
        }
        if (n > 0) {
            fits = send_message_take(&s->message, slice_of(piece, (size_t)n), &body);
            good = send_body_take(&s->body, &body);
        }
    }
    if (n < 0) {
        main_complain("standard input: %s", strerror(errno));
    } else if (good && fits) {
        fits = send_message_finish(&s->message, &body);
        good = send_body_take(&s->body, &body);
    }
    buf_finish(&body);
    if (!good)
        main_complain("cannot keep the message: %s", strerror(s->body.error));
    if (!fits)
        main_complain("the message's header is larger than %d octets", SEND_HEADER_MAX);
    return n < 0 ? EX_NOINPUT : !good ? EX_TEMPFAIL : !fits ? EX_DATAERR : EX_OK;
}

static bool take_notify(struct send *s)
{
    struct smtp_params params = {0};
    struct buf text;
    bool good;

    buf_init(&text, 0);
    if (s->options.notify != NULL)
        (void)buf_printf(&text, "NOTIFY=%s", s->options.notify);
    good = smtp_params_parse(SMTP_VERB_RCPT, SMTP_EXT_DSN, buf_slice(&text), &params)
           == SMTP_PARAMS_OK;
    s->mail.notify = params.notify;
    buf_clear(&text);
    if (s->options.ret != NULL)
        (void)buf_printf(&text, "RET=%s ", s->options.ret);
    if (s->options.envid != NULL)
        (void)buf_printf(&text, "ENVID=%s", s->options.envid);
    good = good
           && smtp_params_parse(SMTP_VERB_MAIL, SMTP_EXT_DSN, buf_slice(&text), &params)
                  == SMTP_PARAMS_OK;
    s->mail.ret = (enum smtp_ret)params.ret;
    s->mail.envid = s->options.envid != NULL ? slice_str(s->options.envid) : SLICE_NULL;
    buf_finish(&text);
    if (!good)
        main_complain("-N, -R or -V: not as in NOTIFY=, RET= and ENVID= (RFC 3461)");
    return good;
}

/* ---- where it goes ------------------------------------------------------------------------- */

static int drop(struct send *s, struct slice why)
{
    int error = send_drop_write(s->conf->drop, &s->mail);

    if (error == 0) {
        if (s->options.verbose)
            (void)fprintf(stderr, "%.*s: the message waits in %s\n", SLICE_ARG(why), s->conf->drop);
        return EX_OK;
    }
    main_complain("%.*s, and the message cannot wait in %s: %s", SLICE_ARG(why), s->conf->drop,
                  strerror(-error));
    return EX_TEMPFAIL;
}

static int code_of(uint16_t code)
{
    return code == 550 || code == 551 || code == 553 ? EX_NOUSER : EX_UNAVAILABLE;
}

/* Those that were refused are told to the caller; those that were put off wait in the drop directory. */
static int settle(struct send *s)
{
    size_t later = 0;
    int exit_code = EX_OK;

    for (size_t i = 0; i < s->recipient_count; i++) {
        const struct send_recipient *r = &s->recipients[i];

        if (r->code >= 500) {
            main_complain("<%.*s>: %u %s", SLICE_ARG(r->address), (unsigned)r->code, r->text);
            exit_code = code_of(r->code);
        } else if (r->code < 200 || r->code >= 300) {
            s->recipients[later++] = *r;
        }
    }
    if (later > 0) {
        int dropped;

        s->mail.recipient_count = later;
        dropped = drop(s, slice_str(s->recipients[0].text));
        if (dropped != EX_OK)
            exit_code = dropped;
    }
    return exit_code;
}

static int deliver(struct send *s)
{
    int fd = send_smtp_connect(s->conf->submit);
    struct buf why;
    int exit_code;

    buf_init(&why, 0);
    if (fd < 0) {
        (void)buf_printf(&why, "no server answers at %s (%s)", s->conf->submit, strerror(errno));
        exit_code = drop(s, buf_slice(&why));
        buf_finish(&why);
        return exit_code;
    }
    switch (send_smtp(fd, &s->mail, &why)) {
    case SEND_TAKEN: exit_code = settle(s); break;
    case SEND_NOBODY:
    case SEND_NOT_NOW: exit_code = drop(s, buf_slice(&why)); break;
    case SEND_BROKEN:
        main_complain("%.*s", SLICE_ARG(buf_slice(&why)));
        exit_code = EX_TEMPFAIL;
        break;
    }
    buf_finish(&why);
    return exit_code;
}

static int send_one(struct send *s)
{
    int exit_code;

    if (!take_notify(s))
        return EX_USAGE;
    exit_code = read_message(s);
    if (exit_code != EX_OK)
        return exit_code;
    if (!find_sender(s))
        return EX_DATAERR;
    if (!find_recipients(s)) {
        if (!s->bad_address)
            main_complain("nobody is named to send to%s",
                          s->options.recipients_inside ? " in To, Cc and Bcc" : "");
        return s->bad_address ? EX_DATAERR : EX_USAGE;
    }
    complete_header(s);
    return deliver(s);
}

/* ---- -bs ----------------------------------------------------------------------------------- */

/* What comes in at one end goes out at the other. False: nothing more will. */
static bool pass(int from, int to)
{
    uint8_t piece[16384];
    ssize_t n = read(from, piece, sizeof(piece));
    ssize_t done = 0;

    if (n < 0 && errno == EINTR)
        return true;
    while (n > 0 && done < n) {
        ssize_t w = write(to, piece + done, (size_t)(n - done));

        if (w < 0 && errno != EINTR)
            return false;
        if (w > 0)
            done += w;
    }
    return n > 0;
}

static int send_dialog(struct send *s)
{
    struct pollfd ends[2] = {{.fd = STDIN_FILENO, .events = POLLIN}, {.events = POLLIN}};
    int fd = send_smtp_connect(s->conf->submit);

    if (fd < 0) {
        (void)printf("421 4.3.2 %.*s The server does not run\r\n", SLICE_ARG(s->conf->hostname));
        main_complain("no server answers at %s: %s", s->conf->submit, strerror(errno));
        return EX_TEMPFAIL;
    }
    ends[1].fd = fd;
    for (;;) {
        if (poll(ends, 2, -1) < 0 && errno != EINTR)
            break;
        if (ends[1].revents != 0 && !pass(fd, STDOUT_FILENO))
            break;
        if (ends[0].revents != 0 && !pass(STDIN_FILENO, fd)) {
            (void)shutdown(fd, SHUT_WR);
            ends[0].fd = -1;
        }
    }
    (void)close(fd);
    return EX_OK;
}

/* ---- the command --------------------------------------------------------------------------- */

static struct conf *load_settings(const char *path)
{
    struct conf_errors errors = {0};
    struct conf *conf = NULL;

    if (!conf_load_settings(path, &conf, &errors))
        for (size_t i = 0; i < errors.count; i++)
            (void)fprintf(stderr, "%s\n", errors.items[i].text);
    conf_errors_finish(&errors);
    return conf;
}

static int run(struct send *s)
{
    struct main_options o = {.conf_path = s->options.conf_path};
    char list[] = "list";
    char *words[] = {list};

    switch (s->options.mode) {
    case SEND_LIST:
        o.words = words;
        o.word_count = 1;
        return main_queue(&o);
    case SEND_ALIASES: return main_new_aliases(&o);
    case SEND_NOTHING: return EX_OK; /* the server tries what is due by itself */
    case SEND_MESSAGE:
    case SEND_SMTP: break;
    }
    s->conf = load_settings(s->options.conf_path);
    if (s->conf == NULL)
        return EX_CONFIG;
    return s->options.mode == SEND_SMTP ? send_dialog(s) : send_one(s);
}

int main_send(const char *name, int argc, char **argv)
{
    struct send *s = mem_zalloc(sizeof(*s));
    struct buf why;
    int exit_code = EX_USAGE;

    buf_init(&why, 0);
    buf_init(&s->header, 0);
    arena_init(&s->arena, SIZE_MAX);
    if (send_options_parse(name, argc, argv, &s->options, &why)) {
        send_message_init(&s->message, s->options.dot_is_text);
        send_body_init(&s->body);
        s->mail.body = &s->body;
        s->mail.verbose = s->options.verbose;
        if (s->options.conf_path == NULL)
            s->options.conf_path = MAIN_CONF_PATH_DEFAULT;
        exit_code = run(s);
        send_message_release(&s->message);
        send_body_finish(&s->body);
    } else {
        main_complain("%.*s", SLICE_ARG(buf_slice(&why)));
    }
    conf_free(s->conf);
    arena_reset(&s->arena);
    buf_finish(&s->header);
    buf_finish(&why);
    mem_free(s->recipients);
    mem_free(s);
    return exit_code;
}
