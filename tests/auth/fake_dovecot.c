/* fake_dovecot: see the header. */
#include "fake_dovecot.h"

#include "base_assert.h"

struct fake_dovecot fake;
static const char *mechanisms;

static void flush(void)
{
    if (fake.fd < 0 || io_op_busy(&fake.send) || buf_len(&fake.out) == 0)
        return;
    struct buf swap = fake.sending;
    fake.sending = fake.out;
    fake.out = swap;
    io_send(world.io, &fake.send, fake.fd, buf_slice(&fake.sending), 0);
}

static void hung_up(void)
{
    if (!io_op_busy(&fake.recv) && !io_op_busy(&fake.send) && !io_op_busy(&fake.close)
        && fake.fd >= 0)
        io_close(world.io, &fake.close, fake.fd);
}

static void on_closed(struct io_op *op)
{
    (void)op;
    fake.fd = -1;
    fake.closing = false;
    buf_clear(&fake.in);
    buf_clear(&fake.out);
    buf_clear(&fake.sending);
}

static void on_shut(struct io_op *op)
{
    (void)op;
    hung_up();
}

void fake_dovecot_hang_up(void)
{
    static struct io_op shut;

    if (fake.fd < 0 || fake.closing)
        return;
    fake.closing = true;
    shut.done = on_shut;
    io_shutdown(world.io, &shut, fake.fd);
}

void fake_dovecot_say(const char *lines)
{
    (void)buf_append_str(&fake.out, lines);
    flush();
}

static void on_sent(struct io_op *op)
{
    buf_clear(&fake.sending);
    if (fake.closing || op->res < 0)
        hung_up();
    else
        flush();
}

static struct slice field(struct slice *rest)
{
    ptrdiff_t tab = slice_find(*rest, '\t');
    struct slice f = tab < 0 ? *rest : slice_head(*rest, (size_t)tab);

    slice_advance(rest, tab < 0 ? rest->len : f.len + 1);
    return f;
}

static void answer_plain(struct slice id, struct slice resp)
{
    uint8_t text[256];
    size_t len = 0;
    struct slice message, user;

    ck_assert(base64_decode(resp, text, &len));
    message = slice_of(text, len);
    slice_advance(&message, 1);
    user = slice_head(message, (size_t)slice_find(message, '\0'));
    slice_advance(&message, user.len + 1);
    if (slice_equal(user, SLICE_LITERAL("temp")))
        (void)buf_printf(&fake.out, "FAIL\t%.*s\tuser=temp\tcode=temp_fail\n", SLICE_ARG(id));
    else if (slice_equal(message, SLICE_LITERAL("secret")))
        (void)buf_printf(&fake.out, "OK\t%.*s\tuser=%.*s\tfoo\tbar=x\n", SLICE_ARG(id),
                         SLICE_ARG(user));
    else
        (void)buf_printf(&fake.out, "FAIL\t%.*s\tuser=%.*s\treason=no\n", SLICE_ARG(id),
                         SLICE_ARG(user));
}

static void take_request(struct slice line)
{
    struct slice verb = field(&line), id = field(&line), mechanism = SLICE_NULL, last = SLICE_NULL;

    switch (fake.mood) {
    case FAKE_STALL: return;
    case FAKE_DIE: fake_dovecot_hang_up(); return;
    case FAKE_NONSENSE: (void)buf_append_str(&fake.out, "OK\tx\tuser=ann\n"); return;
    case FAKE_BAD_NAME:
        (void)buf_printf(&fake.out, "OK\t%.*s\tuser=a\001nb\n", SLICE_ARG(id));
        return;
    case FAKE_BAD_BASE64: (void)buf_printf(&fake.out, "CONT\t%.*s\t!!\n", SLICE_ARG(id)); return;
    case FAKE_GOOD:
    case FAKE_SILENT:
    case FAKE_OTHER:
    case FAKE_BABBLE:
    case FAKE_POOR: break;
    }
    if (slice_equal(verb, SLICE_LITERAL("CANCEL")))
        return;
    if (slice_equal(verb, SLICE_LITERAL("CONT"))) {
        if (slice_equal(line, SLICE_LITERAL("Z29vZA==")))
            (void)buf_printf(&fake.out, "OK\t%.*s\tuser=Ann\n", SLICE_ARG(id));
        else
            (void)buf_printf(&fake.out, "FAIL\t%.*s\tuser=ann\n", SLICE_ARG(id));
        return;
    }
    ck_assert(slice_equal(verb, SLICE_LITERAL("AUTH")));
    mechanism = field(&line);
    while (line.len > 0)
        last = field(&line);
    if (slice_equal(mechanism, SLICE_LITERAL("CRAM-MD5"))) {
        (void)buf_printf(&fake.out, "NOTFOUND\t1\nCONT\t%.*s\tPDEyMz4=\n", SLICE_ARG(id));
        return;
    }
    ck_assert(slice_starts_nocase(last, SLICE_LITERAL("resp=")));
    slice_advance(&last, 5);
    answer_plain(id, last);
}

static void on_received(struct io_op *op)
{
    if (op->res > 0) {
        (void)buf_append_slice(&fake.in, op->lent);
        (void)buf_append_slice(&fake.heard, op->lent);
        io_lent_return(world.io, op);
    }
    if (op->res <= 0 || fake.closing) {
        hung_up();
        return;
    }
    for (ptrdiff_t end; (end = slice_find(buf_slice(&fake.in), '\n')) >= 0;) {
        struct slice line = slice_head(buf_slice(&fake.in), (size_t)end);

        if (!slice_starts_nocase(line, SLICE_LITERAL("VERSION"))
            && !slice_starts_nocase(line, SLICE_LITERAL("CPID")))
            take_request(line);
        buf_consume(&fake.in, (size_t)end + 1);
    }
    flush();
    io_recv(world.io, &fake.recv, fake.fd);
}

static void greet(void)
{
    static const char usual[] = "MECH\tPLAIN\tplaintext\nMECH\tLOGIN\tplaintext\n"
                                "MECH\tCRAM-MD5\tdictionary\tactive\nMECH\tANONYMOUS\tanonymous\n"
                                "MECH\tEXTERNAL\nMECH\tSCRAM-SHA-256-PLUS\nMECH\tSECRET\tprivate\n";

    switch (fake.mood) {
    case FAKE_SILENT: return;
    case FAKE_OTHER: (void)buf_append_str(&fake.out, "VERSION\t2\t0\nDONE\n"); return;
    case FAKE_BABBLE:
        for (unsigned i = 0; i < 40000; i++)
            (void)buf_append_byte(&fake.out, 'x');
        return;
    case FAKE_POOR:
        (void)buf_append_str(&fake.out, "VERSION\t1\t2\nMECH\tANONYMOUS\tanonymous\nDONE\n");
        return;
    case FAKE_GOOD:
    case FAKE_STALL:
    case FAKE_DIE:
    case FAKE_NONSENSE:
    case FAKE_BAD_NAME:
    case FAKE_BAD_BASE64: break;
    }
    (void)buf_printf(&fake.out, "VERSION\t1\t2\n%sSPID\t11\nCUID\t5\nCOOKIE\tabc\nDONE\n",
                     mechanisms != NULL ? mechanisms : usual);
}

static void on_accepted(struct io_op *op)
{
    if (op->res < 0)
        return;
    ck_assert_int_eq(fake.fd, -1); /* one at a time */
    fake.fd = op->res;
    fake.connections++;
    greet();
    flush();
    io_recv(world.io, &fake.recv, fake.fd);
}

void fake_dovecot_mechanisms(const char *lines)
{
    mechanisms = lines;
}

void fake_dovecot_start(enum fake_mood mood)
{
    struct io_addr addr;

    fake = (struct fake_dovecot){.mood = mood, .fd = -1};
    fake.accept.done = on_accepted;
    fake.recv.done = on_received;
    fake.send.done = on_sent;
    fake.close.done = on_closed;
    ck_assert(io_addr_parse(SLICE_LITERAL("unix:" FAKE_DOVECOT_PATH), &addr));
    fake.listener = io_listen(world.io, &addr, 0, 8);
    ck_assert_int_ge(fake.listener, 0);
    io_accept(world.io, &fake.accept, fake.listener);
}

void fake_dovecot_stop(void)
{
    fake_dovecot_hang_up();
    io_cancel(world.io, &fake.accept);
    while (fake.fd >= 0 || io_op_busy(&fake.accept))
        auth_world_run_ms(10);
    io_close_now(world.io, fake.listener);
    buf_finish(&fake.in);
    buf_finish(&fake.out);
    buf_finish(&fake.sending);
    buf_finish(&fake.heard);
    mechanisms = NULL;
}
