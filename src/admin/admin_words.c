/* admin_words: request lines: words with blanks between them, quoted where they need it. */
#include <stdio.h>

#include "admin_request.h"

static bool needs_quotes(struct slice word)
{
    for (size_t i = 0; i < word.len; i++) {
        uint8_t c = word.data[i];
        if (c <= ' ' || c == '"' || c == '\\' || c == 0x7F)
            return true;
    }
    return word.len == 0;
}

static bool append_quoted(struct buf *line, uint8_t c)
{
    switch (c) {
    case '"': return buf_append_str(line, "\\\"");
    case '\\': return buf_append_str(line, "\\\\");
    case '\n': return buf_append_str(line, "\\n");
    case '\r': return buf_append_str(line, "\\r");
    case '\t': return buf_append_str(line, "\\t");
    default: break;
    }
    if (c < ' ' || c == 0x7F)
        return buf_printf(line, "\\x%02x", c);
    return buf_append_byte(line, c);
}

bool admin_word_append(struct buf *line, struct slice word)
{
    bool fits = buf_len(line) == 0 || buf_append_byte(line, ' ');

    if (!needs_quotes(word))
        return fits && buf_append_slice(line, word);
    fits = fits && buf_append_byte(line, '"');
    for (size_t i = 0; i < word.len && fits; i++)
        fits = append_quoted(line, word.data[i]);
    return fits && buf_append_byte(line, '"');
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c |= 0x20;
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* What stands behind a backslash at `at`; moves *at to its last character. -1: nothing that is known. */
static int unescape(const uint8_t *line, size_t len, size_t *at)
{
    int high, low;

    if (*at == len)
        return -1;
    switch (line[*at]) {
    case '"':
    case '\\': return line[*at];
    case 'n': return '\n';
    case 'r': return '\r';
    case 't': return '\t';
    case 'x':
        if (len - *at < 3)
            return -1;
        high = hex_digit(line[*at + 1]);
        low = hex_digit(line[*at + 2]);
        *at += 2;
        return high < 0 || low < 0 ? -1 : high * 16 + low;
    default: return -1;
    }
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\r' || c == '\t';
}

/* One word at *at, written over the line from where it begins. False: bad quotes. */
static bool take_word(uint8_t *line, size_t len, size_t *at, struct slice *out)
{
    uint8_t *to = line + *at;
    bool quoted = false;

    *out = slice_of(to, 0);
    for (; *at < len && (quoted || !is_blank(line[*at])); ++*at) {
        int c = line[*at];
        if (c == '"') {
            quoted = !quoted;
            continue;
        }
        if (c == '\\' && quoted) {
            ++*at;
            c = unescape(line, len, at);
            if (c < 0)
                return false;
        }
        to[out->len++] = (uint8_t)c;
    }
    return !quoted;
}

ptrdiff_t admin_words_split(uint8_t *line, size_t len, struct slice *words, size_t max)
{
    size_t count = 0, at = 0;

    for (;;) {
        while (at < len && is_blank(line[at]))
            at++;
        if (at == len)
            return (ptrdiff_t)count;
        if (count == max)
            return ADMIN_WORDS_TOO_MANY;
        if (!take_word(line, len, &at, &words[count]))
            return ADMIN_WORDS_BAD;
        count++;
    }
}
