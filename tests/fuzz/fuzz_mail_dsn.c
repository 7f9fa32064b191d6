/*
 * Notifications about whatever peers say: always lines, never a field or a part of theirs. And templates,
 * which are refused or expand to the same. The input: octets that say how, then texts up to a 0x00 each.
 */
#include "base_assert.h"
#include "mail_dsn.h"
#include "mail_template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct slice next_text(struct slice *rest, size_t most)
{
    ptrdiff_t end = slice_find(*rest, 0);
    struct slice text = slice_head(*rest, end < 0 ? rest->len : (size_t)end);

    slice_advance(rest, text.len + (end >= 0));
    return slice_head(text, most);
}

static uint8_t next_octet(struct slice *rest)
{
    uint8_t octet = rest->len > 0 ? rest->data[0] : 0;

    slice_advance(rest, rest->len > 0);
    return octet;
}

static void check_lines(struct slice text)
{
    size_t line = 0;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        ASSERT(c != 0);
        if (c == '\n') {
            ASSERT(i > 0 && text.data[i - 1] == '\r');
            ASSERT(line <= 998 + 1);
            line = 0;
            continue;
        }
        ASSERT(i == 0 || text.data[i - 1] != '\r');
        line++;
    }
}

/* Boundaries at the beginning of lines: what we put there and nothing else. */
static void check_parts(struct slice text, const struct mail_dsn *d)
{
    static const char dashes[] = "\r\n--=_";
    size_t parts = 0;
    char random[2 * MAIL_DSN_RANDOM + 1];

    for (int i = 0; i < MAIL_DSN_RANDOM; i++) {
        random[2 * i] = "0123456789abcdef"[d->random[i] >> 4];
        random[2 * i + 1] = "0123456789abcdef"[d->random[i] & 15];
    }
    random[sizeof(random) - 1] = '\0';
    for (size_t i = 0; i + sizeof(dashes) + sizeof(random) <= text.len; i++) {
        parts += memcmp(text.data + i, dashes, sizeof(dashes) - 1) == 0
                 && memcmp(text.data + i + sizeof(dashes) - 1, random, sizeof(random) - 1) == 0;
    }
    ASSERT(parts == (d->returned == MAIL_DSN_NOTHING ? 3u : 4u));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice rest = slice_of(data, size);
    struct mail_template template;
    struct mail_dsn_rcpt rcpts[3] = {0};
    struct mail_dsn d = {
        .hostname = SLICE_LITERAL("mx.example"), .id = SLICE_LITERAL("ID"), .rcpts = rcpts};
    uint8_t how = next_octet(&rest), more = next_octet(&rest), cut = next_octet(&rest);
    struct buf out, why;
    struct mail_dsn_original original;
    struct slice message;
    unsigned line = 0;

    buf_init(&out, 0);
    buf_init(&why, 0);
    d.kind = (enum mail_dsn_kind)(how % 3);
    d.returned = (enum mail_dsn_returned)(how / 3 % 3);
    d.reader = (enum mail_dsn_reader)(how / 9 % 3);
    d.utf8 = more & 1;
    d.original_8bit = more & 2;
    d.date = 1795299590;
    d.arrival = more & 4 ? 1795200000 : 0;
    d.rcpt_count = 1 + more / 8 % 3;
    for (int i = 0; i < MAIL_DSN_RANDOM; i++)
        d.random[i] = (uint8_t)(0xa5 + 31 * i); /* no part of the corpus */
    d.sender = next_text(&rest, 1000);
    d.to = d.sender.len > 0 ? d.sender : SLICE_LITERAL("pm@mx.example");
    d.envid = next_text(&rest, 1000);
    d.received_from = next_text(&rest, 1000);
    d.received_ip = next_text(&rest, 1000);
    d.from = next_text(&rest, 1000);
    for (size_t i = 0; i < d.rcpt_count; i++) {
        rcpts[i].address = next_text(&rest, 2000);
        rcpts[i].orcpt_type = next_text(&rest, 1000);
        rcpts[i].orcpt = next_text(&rest, 1000);
        rcpts[i].remote_mta = next_text(&rest, 1000);
        rcpts[i].diagnostic = next_text(&rest, 5000);
        rcpts[i].action = (enum mail_dsn_action)(next_octet(&rest) % 5);
        rcpts[i].code = (uint16_t)(next_octet(&rest) % 6 * 100);
        rcpts[i].enhanced[0] = next_octet(&rest) % 6;
        rcpts[i].enhanced[1] = next_octet(&rest) % 9;
        rcpts[i].enhanced[2] = next_octet(&rest);
        rcpts[i].expired = next_octet(&rest) & 1;
        rcpts[i].retry_until = next_octet(&rest);
    }
    if (mail_template_parse(next_text(&rest, MAIL_TEMPLATE_MAX + 1), &template, &line, &why))
        d.template = &template;
    else
        ASSERT(line > 0 && buf_len(&why) > 0);
    d.headers = message = rest;
    ASSERT(mail_dsn_begin(&d, &out));
    mail_dsn_original_init(&original, &d);
    while (message.len > 0 && mail_dsn_original(&original, &message, 1 + cut, &out)) {
    }
    ASSERT(mail_dsn_end(&d, &original, &out));
    check_lines(buf_slice(&out));
    check_parts(buf_slice(&out), &d);
    buf_finish(&out);
    buf_finish(&why);
    return 0;
}
