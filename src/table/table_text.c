#include "table_text.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_assert.h"
#include "base_mem.h"
#include "table_priv.h"

/* Reading */

static bool copy_text(void *context, int fd, const struct stat *status)
{
    struct table_text *text = context;
    size_t size = (size_t)status->st_size;
    ssize_t got;

    table_text_finish(text); /* of an earlier try */
    if (status->st_size > (off_t)TABLE_TEXT_MAX) {
        errno = EFBIG;
        return false;
    }
    text->mode = status->st_mode & 07777;
    text->owner = status->st_uid;
    text->bytes = mem_alloc(size + 1);
    do {
        got = read(fd, text->bytes + text->len, size + 1 - text->len);
        if (got > 0)
            text->len += (size_t)got;
    } while (got > 0 && text->len <= size);
    if (got >= 0)
        errno = 0;
    return got >= 0 && text->len == size;
}

bool table_text_read(const char *path, struct table_text *out, char *why, size_t why_size)
{
    struct table_text text = {0};

    if (!table_read_file(path, copy_text, &text, &text.stamp, why, why_size)) {
        table_text_finish(&text);
        return false;
    }
    *out = text;
    return true;
}

void table_text_finish(struct table_text *text)
{
    mem_free(text->bytes);
    *text = (struct table_text){0};
}

/* Lines */

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

/* Where the comment of a line begins; its length if it has none. */
static size_t comment_at(struct slice line)
{
    bool quoted = false;

    if (slice_find(line, '#') < 0)
        return line.len;
    for (size_t i = 0; i < line.len; i++) {
        uint8_t c = line.data[i];

        if (c == '"')
            quoted = !quoted;
        else if (c == '\\')
            i++;
        else if (c == '#' && !quoted && (i == 0 || is_blank(line.data[i - 1])))
            return i;
    }
    return line.len;
}

static struct slice trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        slice_advance(&s, 1);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

void table_lines_init(struct table_lines *lines, struct table_text *text, bool continued)
{
    static const struct slice mark =
        SLICE_INIT("\xEF\xBB\xBF"); /* some editors begin UTF-8 with it */

    *lines = (struct table_lines){.rest = slice_of(text->bytes, text->len), .continued = continued};
    if (slice_equal(slice_head(lines->rest, mark.len), mark))
        slice_advance(&lines->rest, mark.len);
}

/* The next line as it is, without its comment. */
static struct slice take_line(struct table_lines *lines)
{
    struct slice *rest = &lines->rest;
    ptrdiff_t newline = slice_find(*rest, '\n');
    struct slice line = newline < 0 ? *rest : slice_head(*rest, (size_t)newline);
    size_t comment = comment_at(line);

    /* It may be followed by more of the same entry. */
    memset((uint8_t *)(uintptr_t)line.data + comment, ' ', line.len - comment);
    lines->lines++;
    slice_advance(rest, newline < 0 ? rest->len : line.len + 1);
    return line;
}

bool table_lines_next(struct table_lines *lines, struct slice *out_entry)
{
    struct slice entry = SLICE_NULL;

    lines->wrong = NULL;
    while (entry.len == 0 && lines->rest.len > 0) {
        entry = trim(take_line(lines));
        lines->line = lines->lines;
    }
    if (entry.len == 0)
        return false;
    /* What follows and begins with a blank, lines of nothing and comments included. */
    while (lines->continued && lines->rest.len > 0
           && (is_blank(lines->rest.data[0]) || lines->rest.data[0] == '#')) {
        struct slice line = take_line(lines);

        entry.len = (size_t)(line.data + line.len - entry.data);
    }
    entry = trim(entry);
    if (slice_find(entry, '\0') >= 0)
        lines->wrong = "holds a NUL: this is not a text file";
    else if (entry.len > TABLE_LINE_MAX)
        lines->wrong = "is too long";
    *out_entry = lines->wrong != NULL ? slice_head(entry, 80) : entry;
    return true;
}

void table_split(struct slice entry, struct slice *out_key, struct slice *out_value)
{
    size_t len = 0;

    while (len < entry.len && !is_blank(entry.data[len]))
        len++;
    *out_key = slice_head(entry, len);
    slice_advance(&entry, len);
    *out_value = trim(entry);
}
