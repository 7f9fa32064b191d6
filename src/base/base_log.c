#include "base_log.h"

#include "base_assert.h"
#include "base_codec.h"
#include "base_text_priv.h"

/* Kept free behind the fields for the mark of a record that was cut, the brace and the LF. */
#define CUT_TEXT " cut=yes"
#define CUT_JSON ",\"cut\":true"
enum { LOG_TAIL = sizeof(CUT_JSON) + 2 };

static struct {
    enum log_level level;
    enum log_format format;
    log_sink *sink; /* NULL: nothing is logged */
    void *context;
    uint64_t (*unix_ms)(void);
} setup = {.level = LOG_INFO};

static const char *const level_names[] = {
    [LOG_DEBUG] = "debug",     [LOG_INFO] = "info",   [LOG_NOTICE] = "notice",
    [LOG_WARNING] = "warning", [LOG_ERROR] = "error", [LOG_CRITICAL] = "critical",
};
_Static_assert(ARRAY_LEN(level_names) == LOG_CRITICAL + 1, "each level has a name");

void log_setup(enum log_level level, enum log_format format, log_sink *sink, void *context)
{
    setup.level = level;
    setup.format = format;
    setup.sink = sink;
    setup.context = context;
}

void log_set_clock(uint64_t (*unix_ms)(void))
{
    setup.unix_ms = unix_ms;
}

bool log_enabled(enum log_level level)
{
    return setup.sink != NULL && level >= setup.level;
}

/* Room for a field: `value_len` bytes and the key around it. NULL when it does not fit; then this
 * field and all after it are left out, so that what is there is the beginning of the record. */
static uint8_t *field_begin(struct log_record *r, const char *key, size_t value_len)
{
    bool json = setup.format == LOG_JSON;
    size_t key_len = strlen(key);
    size_t around = json ? key_len + 4 : key_len + 2; /* ,"key": or a space, key and = */

    if (!r->active || r->cut)
        return NULL;
    if (value_len > sizeof(r->bytes) || r->len + around + value_len > sizeof(r->bytes) - LOG_TAIL) {
        r->cut = true;
        return NULL;
    }
    uint8_t *to = r->bytes + r->len;
    uint8_t *begin = to;
    if (json) {
        *to++ = r->len == 0 ? '{' : ',';
        *to++ = '"';
        memcpy(to, key, key_len);
        to += key_len;
        *to++ = '"';
        *to++ = ':';
    } else {
        if (r->len > 0)
            *to++ = ' ';
        memcpy(to, key, key_len);
        to += key_len;
        *to++ = '=';
    }
    r->len += (size_t)(to - begin) + value_len;
    return to;
}

/* For values that need neither quotes nor escapes in a text line. */
static void field_plain(struct log_record *r, const char *key, const char *value, size_t len)
{
    bool json = setup.format == LOG_JSON;
    uint8_t *to = field_begin(r, key, json ? len + 2 : len);

    if (to == NULL)
        return;
    if (json)
        *to++ = '"';
    memcpy(to, value, len);
    if (json)
        to[len] = '"';
}

/* The length of the longest beginning that needs no escapes; without quotes, spaces and '=' have a
 * meaning too. */
static size_t text_plain(struct slice s, bool quoted)
{
    size_t len = 0;

    for (; len < s.len; len++) {
        uint8_t c = s.data[len];

        if (c < ' ' || c >= 0x7F || c == '"' || c == '\\' || (!quoted && (c == ' ' || c == '=')))
            break;
    }
    return len;
}

/* One character of a quoted value, at most four bytes a byte of it; answers how many it took. */
static size_t text_escape(struct slice s, uint8_t *out, size_t *out_len)
{
    static const char hex[] = "0123456789abcdef";
    uint8_t c = s.data[0];
    bool valid;
    size_t taken = utf8_length(s, &valid);
    /* U+0080 to U+009F are control characters too, and terminals obey them. */
    bool control = c < ' ' || c == 0x7F || (c == 0xC2 && taken == 2 && s.data[1] < 0xA0);

    *out_len = 0;
    if (valid && !control) {
        if (c == '"' || c == '\\')
            out[(*out_len)++] = '\\';
        memcpy(out + *out_len, s.data, taken);
        *out_len += taken;
        return taken;
    }
    if (c == '\n' || c == '\r' || c == '\t') {
        out[0] = '\\';
        out[1] = c == '\n' ? 'n' : c == '\r' ? 'r' : 't';
        *out_len = 2;
        return 1;
    }
    for (size_t i = 0; i < taken; i++) {
        out[(*out_len)++] = '\\';
        out[(*out_len)++] = 'x';
        out[(*out_len)++] = (uint8_t)hex[s.data[i] >> 4];
        out[(*out_len)++] = (uint8_t)hex[s.data[i] & 15];
    }
    return taken;
}

/* With `to` NULL it only measures. */
static size_t text_quoted(struct slice s, uint8_t *to)
{
    uint8_t spare[16];
    size_t len = 1;

    if (to != NULL)
        to[0] = '"';
    while (s.len > 0) {
        size_t taken = text_plain(s, true);
        size_t written = taken;

        if (taken == 0)
            taken = text_escape(s, to != NULL ? to + len : spare, &written);
        else if (to != NULL)
            memcpy(to + len, s.data, taken);
        len += written;
        slice_advance(&s, taken);
    }
    if (to != NULL)
        to[len] = '"';
    return len + 1;
}

void log_slice(struct log_record *r, const char *key, struct slice value)
{
    uint8_t *to;

    if (!r->active)
        return;
    if (setup.format == LOG_JSON) {
        to = field_begin(r, key, json_string_write(value, NULL));
        if (to != NULL)
            (void)json_string_write(value, to); /* the length is known */
        return;
    }
    if (value.len > 0 && text_plain(value, false) == value.len) {
        to = field_begin(r, key, value.len);
        if (to != NULL)
            memcpy(to, value.data, value.len);
        return;
    }
    to = field_begin(r, key, text_quoted(value, NULL));
    if (to != NULL)
        (void)text_quoted(value, to);
}

void log_str(struct log_record *r, const char *key, const char *value)
{
    log_slice(r, key, slice_str(value));
}

void log_u64(struct log_record *r, const char *key, uint64_t value)
{
    char digits[U64_TEXT_SIZE];

    if (!r->active)
        return;
    size_t len = u64_to_text(value, digits);
    uint8_t *to = field_begin(r, key, len);

    if (to != NULL)
        memcpy(to, digits, len);
}

void log_i64(struct log_record *r, const char *key, int64_t value)
{
    char digits[U64_TEXT_SIZE];
    bool negative = value < 0;

    if (!r->active)
        return;
    size_t len = u64_to_text(negative ? -(uint64_t)value : (uint64_t)value, digits);
    uint8_t *to = field_begin(r, key, len + negative);

    if (to == NULL)
        return;
    if (negative)
        *to++ = '-';
    memcpy(to, digits, len);
}

void log_id(struct log_record *r, const char *key, uint64_t id)
{
    char text[ID_TEXT_SIZE];

    if (!r->active)
        return;
    id_to_text(id, text);
    field_plain(r, key, text, ID_TEXT_SIZE - 1);
}

void log_ip(struct log_record *r, const char *key, const void *ip_addr)
{
    char text[IP_TEXT_SIZE];

    if (!r->active)
        return;
    ip_format(ip_addr, text);
    field_plain(r, key, text, strlen(text));
}

void log_errno(struct log_record *r, int error)
{
    /* strerror() may speak the locale's language or share a buffer among threads. */
    const char *text = strerrordesc_np(error < 0 ? -error : error);

    if (text != NULL)
        log_str(r, "error", text);
    else
        log_i64(r, "error", error);
}

void log_begin(struct log_record *r, enum log_level level, const char *event)
{
    r->len = 0;
    r->cut = false;
    r->level = level;
    r->active = log_enabled(level);
    if (!r->active)
        return;
    if (setup.unix_ms != NULL) {
        char text[DATE_TEXT_SIZE];

        date_format_iso(setup.unix_ms(), text);
        field_plain(r, "time", text, strlen(text));
    }
    field_plain(r, "level", level_names[level], strlen(level_names[level]));
    log_str(r, "event", event);
}

static void append_tail(struct log_record *r, const char *text)
{
    size_t len = strlen(text);

    ASSERT(len <= sizeof(r->bytes) - r->len);
    memcpy(r->bytes + r->len, text, len);
    r->len += len;
}

void log_end(struct log_record *r)
{
    bool json = setup.format == LOG_JSON;

    if (!r->active)
        return;
    if (r->cut)
        append_tail(r, json ? CUT_JSON : CUT_TEXT);
    append_tail(r, json ? "}\n" : "\n");
    r->active = false;
    setup.sink(setup.context, r->level, slice_of(r->bytes, r->len));
}
