#include "conf_target_priv.h"

#include "base_assert.h"
#include "conf_tables_priv.h"
#include "conf_value_priv.h"

enum { LOCAL_PART_MAX = 64 };

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        slice_advance(&s, 1);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

static bool is_atext(uint8_t c)
{
    return c >= 0x80 || (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')
           || (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static bool is_dot_atom(struct slice text)
{
    bool dot = true; /* the last one was, or there is none yet */

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '.' ? dot : !is_atext(text.data[i]))
            return false;
        dot = text.data[i] == '.';
    }
    return !dot;
}

static bool is_quoted_string(struct slice text)
{
    if (text.len < 3 || text.data[0] != '"' || text.data[text.len - 1] != '"')
        return false;
    for (size_t i = 1; i < text.len - 1; i++) {
        uint8_t c = text.data[i];

        if (c == '\\')
            c = ++i < text.len - 1 ? text.data[i] : '"';
        else if (c == '"')
            return false;
        if (c < ' ' || c == 127 || (c == '"' && i == text.len - 1))
            return false;
    }
    return true;
}

bool conf_is_local_part(struct slice text)
{
    return text.len > 0 && text.len <= LOCAL_PART_MAX
           && (is_dot_atom(text) || is_quoted_string(text));
}

/* The first comma that is not in quotes or angle brackets; the list's length if there is none. */
static size_t target_end(struct slice list)
{
    bool quoted = false, bracketed = false;

    for (size_t i = 0; i < list.len; i++) {
        uint8_t c = list.data[i];

        if (c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '<' || c == '>'))
            bracketed = c == '<';
        else if (!quoted && !bracketed && c == ',')
            return i;
    }
    return list.len;
}

/* "Ann <ann@a.example>" is ann@a.example. */
static struct slice without_phrase(struct slice word)
{
    bool quoted = false;

    if (word.len < 2 || word.data[word.len - 1] != '>')
        return word;
    for (size_t i = 0; i < word.len; i++) {
        quoted = quoted != (word.data[i] == '"');
        if (!quoted && word.data[i] == '<')
            return trim(slice_of(word.data + i + 1, word.len - i - 2));
    }
    return word;
}

/* All of it in quotes, as sendmail takes it: "ann@a.example", ":include:/list". */
static struct slice without_quotes(struct slice word)
{
    struct slice inner = word;

    if (!is_quoted_string(word))
        return word;
    slice_advance(&inner, 1);
    inner.len--;
    return slice_find(inner, '\\') < 0 && slice_find(inner, '"') < 0 && slice_find(inner, ' ') < 0
               ? inner
               : word;
}

/* The address in `memory`, its domain in lower case. */
static bool keep_address(struct slice word, uint8_t memory[CONF_ADDRESS_MAX], struct slice *out,
                         bool *out_domain)
{
    size_t at = word.len;

    for (size_t i = 0; i < word.len; i++)
        if (word.data[i] == '@')
            at = i;
    if (word.len > CONF_ADDRESS_MAX || (at > 0 && !conf_is_local_part(slice_head(word, at)))
        || (at < word.len && !conf_is_name(slice_of(word.data + at + 1, word.len - at - 1)))
        || word.len == 0)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        uint8_t c = word.data[i];

        memory[i] = i > at && c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    *out = slice_of(memory, word.len);
    *out_domain = at == 0;
    return true;
}

static enum conf_target_kind wrong(struct slice word, const char *what, struct conf_target *out,
                                   const char **why)
{
    out->address = word;
    *why = what;
    return CONF_TARGET_WRONG;
}

enum conf_target_kind conf_target_parse(struct slice *list, uint8_t memory[CONF_ADDRESS_MAX],
                                        struct conf_target *out, const char **why)
{
    static const struct slice include = SLICE_INIT(":include:");
    struct slice word = SLICE_NULL;
    bool is_domain;

    while (word.len == 0 && list->len > 0) {
        size_t end = target_end(*list);

        word = trim(slice_head(*list, end));
        slice_advance(list, end < list->len ? end + 1 : end);
    }
    *out = (struct conf_target){.address = word};
    if (word.len == 0)
        return CONF_TARGET_END;
    struct slice plain = without_quotes(word);
    uint8_t first = word.data[0] == '"' && word.len > 1 ? word.data[1] : word.data[0];
    if (first == '|')
        return wrong(word, "is a command: that is not supported; let an LMTP server run it", out,
                     why);
    if (first == '/')
        return wrong(word, "is a file: that is not supported; use a destination", out, why);
    if (slice_starts_nocase(plain, include)) {
        slice_advance(&plain, include.len);
        out->address = plain = trim(plain);
        return plain.len > 0 && plain.data[0] == '/'
                   ? CONF_TARGET_INCLUDE
                   : wrong(word, "has no path that begins with / behind :include:", out, why);
    }
    if (first == ':')
        return wrong(word, "is not supported: of words with colons, :include: is", out, why);
    if (plain.data[0] == '\\') {
        out->final = true;
        slice_advance(&plain, 1);
    }
    if (!keep_address(without_phrase(plain), memory, &out->address, &is_domain))
        return wrong(word, "is neither an address nor a local part", out, why);
    return is_domain ? CONF_TARGET_DOMAIN : CONF_TARGET_ADDRESS;
}

/* In our tables */

static void put_number(struct buf *out, size_t value)
{
    for (; value >= 0x80; value >>= 7)
        (void)buf_append_byte(out, (uint8_t)(value | 0x80));
    (void)buf_append_byte(out, (uint8_t)value);
}

static size_t take_number(struct slice *s)
{
    size_t value = 0;

    for (unsigned shift = 0; s->len > 0; shift += 7) {
        uint8_t c = s->data[0];

        slice_advance(s, 1);
        value |= (size_t)(c & 0x7F) << shift;
        if (c < 0x80)
            break;
    }
    return value;
}

void conf_targets_begin(struct buf *packed, unsigned line)
{
    buf_clear(packed);
    put_number(packed, line);
}

void conf_targets_pack(struct buf *packed, const struct conf_target *target)
{
    put_number(packed, target->address.len << 1 | target->final);
    (void)buf_append_slice(packed, target->address);
}

unsigned conf_targets_line(struct slice *packed)
{
    return (unsigned)take_number(packed);
}

void conf_targets_open(struct conf_targets *targets, const struct table *table, struct slice value)
{
    targets->rest = value;
    targets->file = table_file(table, 0);
    targets->packed = table_kind(table) == TABLE_MEMORY;
    targets->line = targets->packed ? conf_targets_line(&targets->rest) : 0;
}

bool conf_targets_next(struct conf_targets *targets, struct conf_target *out)
{
    enum conf_target_kind kind;
    const char *why;

    if (targets->packed) {
        if (targets->rest.len == 0)
            return false;
        size_t number = take_number(&targets->rest);
        ASSERT(number >> 1 <= targets->rest.len); /* conf_targets_pack() made it */
        *out = (struct conf_target){slice_head(targets->rest, number >> 1), number & 1};
        slice_advance(&targets->rest, number >> 1);
        return true;
    }
    do { /* what is wrong in a CDB was reported when it was read */
        kind = conf_target_parse(&targets->rest, targets->memory, out, &why);
    } while (kind == CONF_TARGET_WRONG || kind == CONF_TARGET_INCLUDE);
    return kind != CONF_TARGET_END;
}
