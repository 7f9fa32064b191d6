#include "conf_value_priv.h"

#include "base_assert.h"
#include "base_codec.h"
#include "conf.h"

struct slice conf_keep(struct arena *arena, struct slice text)
{
    char *copy = arena_strdup(arena, text);

    ASSERT(copy != NULL); /* the arena has no limit worth the name */
    return slice_of(copy, text.len);
}

struct slice conf_keep_lower(struct arena *arena, struct slice text)
{
    char *copy = arena_strdup(arena, text);

    ASSERT(copy != NULL);
    for (size_t i = 0; i < text.len; i++)
        if (copy[i] >= 'A' && copy[i] <= 'Z')
            copy[i] = (char)(copy[i] - 'A' + 'a');
    return slice_of(copy, text.len);
}

/* Numbers */

static bool in_range(const struct conf_row *row, uint64_t value, struct buf *why)
{
    void (*format)(uint64_t, struct buf *) = conf_types[row->type].format;

    if (value == 0 && row->zero != NULL)
        return true;
    if (value < row->min) {
        (void)buf_append_str(why, "is less than ");
        format(row->min, why);
        return false;
    }
    if (value > row->max) {
        (void)buf_append_str(why, "is more than ");
        format(row->max, why);
        return false;
    }
    if (row->multiple > 1 && value % row->multiple != 0) {
        (void)buf_append_str(why, "is not a multiple of ");
        format(row->multiple, why);
        return false;
    }
    return true;
}

static bool parse_number(const struct conf_row *row, struct slice text, void *out, struct buf *why,
                         bool (*parse)(struct slice, uint64_t *), const char *what)
{
    uint64_t value;

    if (!parse(text, &value)) {
        (void)buf_append_str(why, what);
        return false;
    }
    if (!in_range(row, value, why))
        return false;
    *(uint64_t *)out = value;
    return true;
}

static bool parse_count(const struct conf_row *row, struct slice text, struct arena *arena,
                        void *out, struct buf *why)
{
    (void)arena;
    return parse_number(row, text, out, why, slice_to_u64, "is not a number");
}

static bool parse_size(const struct conf_row *row, struct slice text, struct arena *arena,
                       void *out, struct buf *why)
{
    (void)arena;
    return parse_number(row, text, out, why, size_parse,
                        "is not a size: a number with K, M or G, like \"50M\"");
}

static bool parse_duration(const struct conf_row *row, struct slice text, struct arena *arena,
                           void *out, struct buf *why)
{
    (void)arena;
    return parse_number(row, text, out, why, duration_parse,
                        "is not a duration: a number with s, m, h or d, like \"5m\"");
}

static void format_count(uint64_t value, struct buf *out)
{
    (void)buf_append_u64(out, value);
}

static void format_percent(uint64_t value, struct buf *out)
{
    (void)buf_printf(out, "%llu %%", (unsigned long long)value);
}

/* Words and names */

bool conf_is_name(struct slice text)
{
    size_t label = 0;
    bool digits = true;

    if (text.len == 0 || text.len > 253)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (c == '.' ? label == 0 || text.data[i - 1] == '-' : !letter && c != '_' && c != '-')
            return false;
        if (c == '-' && label == 0)
            return false;
        digits = (digits || label == 0) && c >= '0' && c <= '9';
        label = c == '.' ? 0 : label + 1;
        if (label > 63)
            return false;
    }
    /* All digits at the end: an address, or somebody's attempt at one. */
    return label > 0 && !digits && text.data[text.len - 1] != '-';
}

static bool parse_name(const struct conf_row *row, struct slice text, struct arena *arena,
                       void *out, struct buf *why)
{
    (void)row;
    if (!conf_is_name(text)) {
        (void)buf_append_str(why, "is not a host name");
        return false;
    }
    *(struct slice *)out = conf_keep_lower(arena, text);
    return true;
}

static bool parse_pattern(const struct conf_row *row, struct slice text, struct arena *arena,
                          void *out, struct buf *why)
{
    struct slice name = text;

    (void)row;
    if (name.len > 2 && name.data[0] == '*' && name.data[1] == '.')
        slice_advance(&name, 2);
    if (!slice_equal(text, SLICE_LITERAL("*")) && !conf_is_name(name)) {
        (void)buf_append_str(why, "is none of DOMAIN, *.DOMAIN, *");
        return false;
    }
    *(struct slice *)out = conf_keep_lower(arena, text);
    return true;
}

static bool parse_label(const struct conf_row *row, struct slice text, struct arena *arena,
                        void *out, struct buf *why)
{
    (void)row;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] >= 127)
            text.len = 0;
    if (text.len == 0 || text.len > 64) {
        (void)buf_append_str(why, "is not a name: up to 64 ASCII characters, no spaces");
        return false;
    }
    *(struct slice *)out = conf_keep(arena, text);
    return true;
}

static bool parse_user(const struct conf_row *row, struct slice text, struct arena *arena,
                       void *out, struct buf *why)
{
    (void)row;
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] <= ' ' || text.data[i] == ':' || text.data[i] == '/')
            text.len = 0;
    if (text.len == 0) {
        (void)buf_append_str(why, "is not a user's name");
        return false;
    }
    *(const char **)out = (const char *)conf_keep(arena, text).data;
    return true;
}

static bool parse_path(const struct conf_row *row, struct slice text, struct arena *arena,
                       void *out, struct buf *why)
{
    (void)row;
    if (text.len == 0 || text.data[0] != '/' || text.len > 4095) {
        (void)buf_append_str(why, "is not a path that begins with /");
        return false;
    }
    *(const char **)out = (const char *)conf_keep(arena, text).data;
    return true;
}

/* Characters of atext (RFC 5322 3.2.3) that separate nothing else in a local part. */
static bool parse_separators(const struct conf_row *row, struct slice text, struct arena *arena,
                             void *out, struct buf *why)
{
    (void)row;
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] == '\0' || strchr("+-_=#!$&*/?^`{|}~%'", text.data[i]) == NULL) {
            (void)buf_append_str(why, "has a character that cannot begin a subaddress; "
                                      "usual ones are + and -");
            return false;
        }
    }
    *(struct slice *)out = conf_keep(arena, text);
    return true;
}

void conf_value_none_of(const struct conf_row *row, struct buf *why)
{
    (void)buf_append_str(why, "is none of ");
    for (unsigned i = 0; i < ARRAY_LEN(row->words) && row->words[i] != NULL; i++)
        (void)buf_printf(why, "%s%s", i == 0 ? "" : ", ", row->words[i]);
}

static bool parse_word(const struct conf_row *row, struct slice text, struct arena *arena,
                       void *out, struct buf *why)
{
    (void)arena;
    for (unsigned i = 0; i < ARRAY_LEN(row->words) && row->words[i] != NULL; i++) {
        if (slice_equal(text, slice_str(row->words[i]))) {
            *(unsigned *)out = i;
            return true;
        }
    }
    conf_value_none_of(row, why);
    return false;
}
_Static_assert(sizeof(enum conf_role) == sizeof(unsigned), "parse_word() stores an unsigned");

static bool parse_net(const struct conf_row *row, struct slice text, struct arena *arena, void *out,
                      struct buf *why)
{
    (void)row;
    (void)arena;
    if (ip_net_parse(text, out))
        return true;
    (void)buf_append_str(why, "is not a network like 10.0.0.0/8 or 2001:db8::/32");
    return false;
}

const struct conf_type_info conf_types[CONF_TYPE_COUNT_OF_TYPES] = {
    [CONF_TYPE_COUNT] = {"number", sizeof(uint64_t), parse_count, format_count},
    [CONF_TYPE_PERCENT] = {"percentage", sizeof(uint64_t), parse_count, format_percent},
    [CONF_TYPE_SIZE] = {"size", sizeof(uint64_t), parse_size, size_format},
    [CONF_TYPE_DURATION] = {"duration", sizeof(uint64_t), parse_duration, duration_format},
    [CONF_TYPE_NAME] = {"name", sizeof(struct slice), parse_name, NULL},
    [CONF_TYPE_USER] = {"user", sizeof(const char *), parse_user, NULL},
    [CONF_TYPE_PATH] = {"path", sizeof(const char *), parse_path, NULL},
    [CONF_TYPE_SEPARATORS] = {"characters", sizeof(struct slice), parse_separators, NULL},
    [CONF_TYPE_WORD] = {"word", sizeof(unsigned), parse_word, NULL},
    [CONF_TYPE_ADDRESS] = {"address", sizeof(struct conf_address), conf_parse_address, NULL},
    [CONF_TYPE_NET] = {"network", sizeof(struct ip_net), parse_net, NULL},
    [CONF_TYPE_DESTINATION] = {"destination", sizeof(struct conf_destination),
                               conf_parse_destination, NULL},
    [CONF_TYPE_BOOL] = {"yes or no", sizeof(bool), conf_parse_bool, NULL},
    [CONF_TYPE_TEXT] = {"text", sizeof(struct slice), conf_parse_text, NULL},
    [CONF_TYPE_URL] = {"URL", sizeof(struct slice), conf_parse_url, NULL},
    [CONF_TYPE_MAILBOX] = {"address", sizeof(struct slice), conf_parse_mailbox, NULL},
    [CONF_TYPE_MECHANISM] = {"mechanism", sizeof(struct slice), conf_parse_mechanism, NULL},
    [CONF_TYPE_FINGERPRINT] = {"fingerprint", sizeof(struct conf_fingerprint),
                               conf_parse_fingerprint, NULL},
    [CONF_TYPE_TABLE] = {"table", sizeof(const char *), conf_parse_table, NULL},
    [CONF_TYPE_SENDER] = {"sender", sizeof(struct slice), conf_parse_sender, NULL},
    [CONF_TYPE_CHOICE] = {"word", sizeof(struct slice), conf_parse_choice, NULL},
    [CONF_TYPE_LABEL] = {"name", sizeof(struct slice), parse_label, NULL},
    [CONF_TYPE_PATTERN] = {"pattern", sizeof(struct slice), parse_pattern, NULL},
};
