/* Values that are words and texts of some form. */
#include "base_assert.h"
#include "conf.h"
#include "conf_value_priv.h"

bool conf_parse_bool(const struct conf_row *row, struct slice text, struct arena *arena, void *out,
                     struct buf *why)
{
    static const char *const words[2][3] = {{"no", "off", "false"}, {"yes", "on", "true"}};

    (void)row;
    (void)arena;
    for (unsigned value = 0; value < 2; value++) {
        for (unsigned i = 0; i < ARRAY_LEN(words[value]); i++) {
            if (slice_equal(text, slice_str(words[value][i]))) {
                *(bool *)out = value == 1;
                return true;
            }
        }
    }
    (void)buf_append_str(why, "is neither yes nor no");
    return false;
}

static bool is_printable(struct slice text, uint8_t lowest)
{
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] < lowest || text.data[i] > '~')
            return false;
    return text.len > 0 && text.len <= 1000 && text.data[0] != ' ';
}

bool conf_parse_text(const struct conf_row *row, struct slice text, struct arena *arena, void *out,
                     struct buf *why)
{
    (void)row;
    if (!is_printable(text, ' ')) {
        (void)buf_append_str(why, "is not a line of up to 1000 ASCII characters");
        return false;
    }
    *(struct slice *)out = conf_keep(arena, text);
    return true;
}

bool conf_parse_url(const struct conf_row *row, struct slice text, struct arena *arena, void *out,
                    struct buf *why)
{
    struct slice rest = text;

    (void)row;
    if (slice_starts_nocase(rest, SLICE_LITERAL("https://")))
        slice_advance(&rest, 8);
    else if (slice_starts_nocase(rest, SLICE_LITERAL("http://")))
        slice_advance(&rest, 7);
    if (rest.len == text.len || !is_printable(rest, '!') || rest.data[0] == '/') {
        (void)buf_append_str(why, "is not a URL like https://host/path");
        return false;
    }
    *(struct slice *)out = conf_keep(arena, text);
    return true;
}

bool conf_is_mailbox(struct slice text)
{
    ptrdiff_t at = slice_find(text, '@');

    return at > 0 && at <= 64 && is_printable(text, '!') && slice_find(text, '"') < 0
           && slice_find(text, '<') < 0 && slice_find(text, '>') < 0
           && conf_is_name(slice_of(text.data + at + 1, text.len - (size_t)at - 1));
}

/* Of our own making, so without the quotes and routes that a stranger's may have. */
bool conf_parse_mailbox(const struct conf_row *row, struct slice text, struct arena *arena,
                        void *out, struct buf *why)
{
    (void)row;
    if (!conf_is_mailbox(text)) {
        (void)buf_append_str(why, "is not an address like user@example.org");
        return false;
    }
    *(struct slice *)out = conf_keep(arena, text);
    return true;
}

/* "@a.example" is another way to write "a.example". */
bool conf_parse_sender(const struct conf_row *row, struct slice text, struct arena *arena,
                       void *out, struct buf *why)
{
    (void)row;
    if (text.len > 1 && text.data[0] == '@')
        slice_advance(&text, 1);
    if (!conf_is_mailbox(text) && !conf_is_name(text) && !slice_equal(text, SLICE_LITERAL("<>"))) {
        (void)buf_append_str(why, "is none of USER@DOMAIN, DOMAIN, <>");
        return false;
    }
    *(struct slice *)out = conf_keep_lower(arena, text);
    return true;
}

bool conf_parse_choice(const struct conf_row *row, struct slice text, struct arena *arena,
                       void *out, struct buf *why)
{
    (void)arena;
    for (unsigned i = 0; i < ARRAY_LEN(row->words) && row->words[i] != NULL; i++) {
        if (slice_equal(text, slice_str(row->words[i]))) {
            *(struct slice *)out = slice_str(row->words[i]);
            return true;
        }
    }
    conf_value_none_of(row, why);
    return false;
}

/* What has a slash in its first word is meant for a path, and one that begins elsewhere is a mistake. */
static bool looks_like_path(struct slice text)
{
    for (size_t i = 0; i < text.len && text.data[i] != ' ' && text.data[i] != '\t'; i++)
        if (text.data[i] == '/')
            return true;
    return false;
}

/* "hash:/etc/aliases" */
static bool is_other_kind(struct slice text)
{
    size_t i = 0;

    while (i < text.len && text.data[i] >= 'a' && text.data[i] <= 'z')
        i++;
    return i > 0 && i + 1 < text.len && text.data[i] == ':' && text.data[i + 1] == '/'
           && !slice_equal(slice_head(text, i), SLICE_LITERAL("cdb"));
}

bool conf_parse_table(const struct conf_row *row, struct slice text, struct arena *arena, void *out,
                      struct buf *why)
{
    struct slice path = slice_trim(text);
    bool good = path.len > 0 && path.len <= 4095 && path.data[0] != '#';

    (void)row;
    if (is_other_kind(path)) {
        (void)buf_append_str(
            why, "is a kind of table that is not supported: those are text files, as /PATH, "
                 "and constant databases, as cdb:/PATH");
        return false;
    }
    for (size_t i = 0; i < path.len; i++)
        good = good && (path.data[i] >= ' ' || path.data[i] == '\t') && path.data[i] != 127;
    if (slice_equal(slice_head(path, 5), SLICE_LITERAL("cdb:/")))
        slice_advance(&path, 4);
    if (!good || (path.data[0] != '/' && looks_like_path(path))
        || slice_equal(slice_head(path, 4), SLICE_LITERAL("cdb:"))) {
        (void)buf_append_str(why, "is neither a path that begins with / nor an entry of a table");
        return false;
    }
    *(const char **)out = (const char *)conf_keep(arena, slice_trim(text)).data;
    return true;
}

/* RFC 4422 3.1: sasl-mech. */
bool conf_parse_mechanism(const struct conf_row *row, struct slice text, struct arena *arena,
                          void *out, struct buf *why)
{
    struct slice name = conf_keep(arena, text);

    (void)row;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t *c = (uint8_t *)(uintptr_t)&name.data[i];

        if (*c >= 'a' && *c <= 'z')
            *c = (uint8_t)(*c - 'a' + 'A');
        if (!((*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '-' || *c == '_'))
            text.len = 0;
    }
    if (text.len == 0 || text.len > 20) {
        (void)buf_append_str(why, "is not the name of a SASL mechanism");
        return false;
    }
    *(struct slice *)out = name;
    return true;
}

/* "sha256:" and 64 hexadecimal digits, with or without colons between pairs. */
bool conf_parse_fingerprint(const struct conf_row *row, struct slice text, struct arena *arena,
                            void *out, struct buf *why)
{
    struct conf_fingerprint *f = out;
    struct conf_fingerprint value = {{0}};
    size_t digits = 0;
    bool good = slice_starts_nocase(text, SLICE_LITERAL("sha256:"));

    (void)row;
    (void)arena;
    for (size_t i = good ? 7 : text.len; i < text.len; i++) {
        uint8_t c = text.data[i] | 0x20; /* lower case, for letters */
        unsigned digit = c >= 'a' && c <= 'f' ? c - 'a' + 10U : text.data[i] - (unsigned)'0';

        if (text.data[i] == ':' && digits > 0 && digits % 2 == 0 && digits < 64)
            continue;
        if (digit > 15 || digits == 64) {
            good = false;
            break;
        }
        value.sha256[digits / 2] = (uint8_t)(value.sha256[digits / 2] << 4 | digit);
        digits++;
    }
    if (!good || digits != 64) {
        (void)buf_append_str(why, "is not a fingerprint: sha256: and 64 hexadecimal digits");
        return false;
    }
    *f = value;
    return true;
}
