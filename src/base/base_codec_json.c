#include "base_codec.h"
#include "base_text_priv.h"

/* The bytes that may follow a lead byte directly, and how long the character is. */
static size_t utf8_lead(uint8_t lead, uint8_t *low, uint8_t *high)
{
    *low = 0x80;
    *high = 0xBF;
    if (lead >= 0xC2 && lead <= 0xDF)
        return 2;
    if (lead >= 0xE0 && lead <= 0xEF) {
        if (lead == 0xE0)
            *low = 0xA0; /* else a long form */
        if (lead == 0xED)
            *high = 0x9F; /* else a surrogate */
        return 3;
    }
    if (lead >= 0xF0 && lead <= 0xF4) {
        if (lead == 0xF0)
            *low = 0x90;
        if (lead == 0xF4)
            *high = 0x8F; /* else beyond U+10FFFF */
        return 4;
    }
    return 0;
}

size_t utf8_length(struct slice s, bool *valid)
{
    uint8_t low;
    uint8_t high;

    *valid = s.data[0] < 0x80;
    if (*valid)
        return 1;
    size_t len = utf8_lead(s.data[0], &low, &high);
    for (size_t i = 1; i < len; i++) {
        if (i >= s.len || s.data[i] < low || s.data[i] > high)
            return i;
        low = 0x80;
        high = 0xBF;
    }
    *valid = len > 0;
    return len > 0 ? len : 1;
}

/* U+0080 to U+009F: some terminals obey them as they do escape sequences. */
static bool is_control(const uint8_t *character)
{
    return character[0] == 0xC2 && character[1] < 0xA0;
}

bool utf8_is_valid(struct slice s)
{
    bool valid = true;

    while (valid && s.len > 0)
        slice_advance(&s, utf8_length(s, &valid));
    return valid;
}

static bool json_plain(uint8_t c)
{
    return c >= 0x20 && c < 0x7F && c != '"' && c != '\\';
}

/* One ASCII character that is not plain; at most six bytes. */
static size_t json_escape(uint8_t c, uint8_t out[6])
{
    static const char hex[] = "0123456789abcdef";
    static const char letters[][2] = {{'"', '"'},  {'\\', '\\'}, {'\b', 'b'}, {'\f', 'f'},
                                      {'\n', 'n'}, {'\r', 'r'},  {'\t', 't'}};

    out[0] = '\\';
    for (size_t i = 0; i < sizeof(letters) / sizeof(letters[0]); i++) {
        if ((uint8_t)letters[i][0] == c) {
            out[1] = (uint8_t)letters[i][1];
            return 2;
        }
    }
    memcpy(out + 1, "u00", 3);
    out[4] = (uint8_t)hex[c >> 4];
    out[5] = (uint8_t)hex[c & 15];
    return 6;
}

size_t json_string_write(struct slice s, uint8_t *out)
{
    static const uint8_t replacement[] = {0xEF, 0xBF, 0xBD}; /* U+FFFD */
    uint8_t escape[6];
    size_t len = 0;

    if (out != NULL)
        out[len] = '"';
    len++;
    while (s.len > 0) {
        const uint8_t *from = s.data;
        size_t taken = 0;
        size_t written;
        bool valid = true;

        while (taken < s.len && json_plain(from[taken]))
            taken++;
        written = taken;
        if (taken == 0) {
            taken = written = utf8_length(s, &valid);
            if (!valid) {
                from = replacement;
                written = sizeof(replacement);
            } else if (from[0] < 0x80) {
                written = json_escape(from[0], escape);
                from = escape;
            } else if (is_control(from)) {
                written = json_escape(from[1], escape);
                from = escape;
            }
        }
        if (out != NULL)
            memcpy(out + len, from, written);
        len += written;
        slice_advance(&s, taken);
    }
    if (out != NULL)
        out[len] = '"';
    return len + 1;
}

bool json_append_string(struct buf *out, struct slice s)
{
    size_t len = json_string_write(s, NULL);
    uint8_t *room = buf_reserve(out, len);

    if (room == NULL) {
        out->overflow = true;
        return false;
    }
    (void)json_string_write(s, room); /* the length is known */
    buf_commit(out, len);
    return true;
}

bool text_append_printable(struct buf *out, struct slice s)
{
    bool fits = true;

    while (s.len > 0 && fits) {
        bool valid;
        size_t len = utf8_length(s, &valid);
        bool plain = len > 1 ? !is_control(s.data) : s.data[0] >= 0x20 && s.data[0] != 0x7F;

        if (valid && plain)
            fits = buf_append(out, s.data, len);
        else
            fits = buf_append_byte(out, '?');
        slice_advance(&s, len);
    }
    return fits;
}
