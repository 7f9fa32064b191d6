/* mail_header: a state a piece of a line; the rest of a field that nobody asks about is skipped. */
#include "mail_header.h"

#include "base_assert.h"

/* RFC 5322 2.1.1 */
enum { LINE_LEN_MAX = 998 };

enum state {
    FIRST_LINE, /* at the start of a line, no field before it */
    LINE_START,
    EMPTY_CR, /* a CR at the start of a line */
    NAME,
    NAME_BLANK,  /* between a name and its colon, RFC 5322 4.5 */
    TOKEN_BLANK, /* before the first word of the value */
    TOKEN,
    VALUE, /* the rest of the line */
};

static const struct {
    const char *name; /* in lower case */
    enum mail_header_fact fact;
    bool once;        /* RFC 5322 3.6: at most one */
    const char *word; /* its first word decides, if it is this (true) or another (false) */
    bool equal;
} fields[] = {
    {"from", MAIL_HEADER_FROM, true, NULL, false},
    {"date", MAIL_HEADER_DATE, true, NULL, false},
    {"message-id", MAIL_HEADER_MESSAGE_ID, true, NULL, false},
    {"sender", MAIL_HEADER_SENDER, true, NULL, false},
    {"to", MAIL_HEADER_TO, true, NULL, false},
    {"subject", MAIL_HEADER_SUBJECT, true, NULL, false},
    {"return-path", MAIL_HEADER_RETURN_PATH, false, NULL, false},
    {"auto-submitted", MAIL_HEADER_AUTO_SUBMITTED, false, "no", false},
    {"tls-required", MAIL_HEADER_TLS_OPTIONAL, false, "no", true},
};

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

void mail_header_init(struct mail_header *h)
{
    *h = (struct mail_header){.state = FIRST_LINE};
}

static bool name_is(const struct mail_header *h, const char *name)
{
    return h->name_len == strlen(name) && memcmp(h->name, name, h->name_len) == 0;
}

/* Longer names than we have room for are none that we know. */
static void keep(struct mail_header *h, uint8_t c)
{
    if (h->name_len < sizeof(h->name))
        h->name[h->name_len] = lower(c);
    if (h->name_len <= sizeof(h->name))
        h->name_len++;
}

/* The name is complete. */
static void begin_value(struct mail_header *h)
{
    h->state = VALUE;
    if (name_is(h, "received")) {
        h->received++;
        return;
    }
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (!name_is(h, fields[i].name))
            continue;
        if (fields[i].word != NULL) {
            h->field = (uint8_t)i;
            h->state = TOKEN_BLANK;
            h->name_len = 0;
            return;
        }
        if (fields[i].once && h->facts & fields[i].fact)
            h->facts |= MAIL_HEADER_DUPLICATE;
        h->facts |= fields[i].fact;
        return;
    }
}

static void end_token(struct mail_header *h)
{
    if (h->name_len > 0 && name_is(h, fields[h->field].word) == fields[h->field].equal)
        h->facts |= fields[h->field].fact;
    h->state = VALUE;
}

static void no_field(struct mail_header *h)
{
    h->facts |= MAIL_HEADER_NO_FIELD;
    h->done = true;
}

static void end_line(struct mail_header *h)
{
    h->size += h->line_len;
    h->line_len = 0;
    h->state = LINE_START;
}

static void line_start(struct mail_header *h, uint8_t c)
{
    bool first = h->state == FIRST_LINE;

    if (c == '\r') {
        h->state = EMPTY_CR;
    } else if (c == '\n') {
        end_line(h);
        h->done = true;
    } else if (c == ' ' || c == '\t') {
        h->state = VALUE;
        if (first)
            no_field(h);
    } else if (c > 32 && c < 127 && c != ':') {
        h->name_len = 0;
        keep(h, c);
        h->state = NAME;
    } else {
        no_field(h);
    }
}

static void take(struct mail_header *h, uint8_t c)
{
    switch ((enum state)h->state) {
    case FIRST_LINE:
    case LINE_START: line_start(h, c); return;
    case EMPTY_CR:
        if (c == '\n') {
            end_line(h);
            h->done = true;
        } else {
            no_field(h);
        }
        return;
    case NAME:
        if (c > 32 && c < 127 && c != ':') {
            keep(h, c);
            return;
        }
        h->state = NAME_BLANK; /* and as there: */
        /* fall through */
    case NAME_BLANK:
        if (c == ':')
            begin_value(h);
        else if (c != ' ' && c != '\t')
            no_field(h);
        return;
    case TOKEN_BLANK:
        if (c == '\n')
            end_line(h);
        else if (c != ' ' && c != '\t' && c != '\r') {
            keep(h, c);
            h->state = TOKEN;
        }
        return;
    case TOKEN:
        if (c > 32 && c != ';' && c != '(') {
            keep(h, c);
            return;
        }
        end_token(h);
        /* fall through */
    case VALUE:
        if (c == '\n')
            end_line(h);
        return;
    }
    UNREACHABLE();
}

/* Counts octets of the line. */
static void count(struct mail_header *h, size_t octets)
{
    size_t len = h->line_len + octets;

    h->line_len = (uint32_t)(len < UINT32_MAX ? len : UINT32_MAX);
    if (len > LINE_LEN_MAX + 2)
        h->facts |= MAIL_HEADER_LONG_LINE;
}

bool mail_header_scan(struct mail_header *h, struct slice bytes)
{
    while (!h->done && bytes.len > 0) {
        /* Within a value there is nothing but its end to look for. */
        if (h->state == VALUE) {
            ptrdiff_t lf = slice_find(bytes, '\n');
            size_t skip = lf < 0 ? bytes.len : (size_t)lf;

            count(h, skip);
            slice_advance(&bytes, skip);
            if (lf < 0)
                break;
        }
        count(h, 1);
        take(h, bytes.data[0]);
        slice_advance(&bytes, 1);
    }
    return h->done;
}

void mail_header_finish(struct mail_header *h)
{
    if (h->done)
        return;
    if (h->state == TOKEN)
        end_token(h);
    if (h->state == NAME || h->state == NAME_BLANK || h->state == EMPTY_CR)
        no_field(h);
    else
        end_line(h);
    h->done = true;
}
