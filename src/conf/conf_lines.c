#include "conf_lines_priv.h"

#include <errno.h>
#include <stdio.h>

#include "base_mem.h"
#include "conf_value_priv.h"

enum { BAD_LINES_MAX = 10 }; /* then it is the wrong file */

/* In an address '#' is a character like others. */
static struct slice without_comment(struct slice line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] == '#' && (i == 0 || line.data[i - 1] == ' ' || line.data[i - 1] == '\t'))
            line.len = i;
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return slice_trim(line);
}

bool conf_is_recipient(struct slice text, struct slice *out_local)
{
    size_t at = text.len;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] == 127)
            return false;
        if (text.data[i] == '@')
            at = i;
    }
    *out_local = slice_head(text, at);
    if (at == 0 || at > CONF_LOCAL_PART_MAX)
        return false;
    return at == text.len || conf_is_name(slice_of(text.data + at + 1, text.len - at - 1));
}

/* A file that is not configuration text, but in which problems can be. */
static struct conf_text *place_holder(struct conf_load *load, const char *path)
{
    struct conf_text *text = mem_zalloc(sizeof(*text));
    struct conf_text **end = &load->texts;

    text->path = mem_strdup(path);
    for (; *end != NULL; end = &(*end)->next)
        text->number = (*end)->number + 1;
    *end = text;
    return text;
}

bool conf_lines_open(struct conf_lines *lines, struct conf_load *load, struct conf_place here,
                     const char *setting, const char *path)
{
    char why[128];
    size_t len = 0;
    char *bytes = NULL;
    FILE *file = fopen(path, "re");

    if (file == NULL)
        (void)snprintf(why, sizeof(why), "%s", strerrordesc_np(errno));
    else
        bytes = conf_read_all(file, CONF_LINES_SIZE_MAX, &len, why, sizeof(why));
    if (file != NULL)
        (void)fclose(file); /* only read from */
    if (bytes == NULL) {
        conf_fail(load, here, "%s: cannot read %s: %s", setting, path, why);
        return false;
    }
    *lines = (struct conf_lines){.load = load,
                                 .bytes = bytes,
                                 .rest = slice_of(bytes, len),
                                 .place = {place_holder(load, path), 0}};
    return true;
}

bool conf_lines_next(struct conf_lines *lines, struct slice *out_entry)
{
    struct slice *rest = &lines->rest;

    while (rest->len > 0 && lines->bad < BAD_LINES_MAX) {
        ptrdiff_t newline = slice_find(*rest, '\n');
        struct slice line = newline < 0 ? *rest : slice_head(*rest, (size_t)newline);

        *out_entry = without_comment(line);
        lines->place.line++;
        slice_advance(rest, newline < 0 ? rest->len : line.len + 1);
        if (out_entry->len > 0)
            return true;
    }
    return false;
}

void conf_lines_fail(struct conf_lines *lines, struct slice entry, const char *what)
{
    conf_fail(lines->load, lines->place, "\"%.*s\" %s", SLICE_ARG(slice_head(entry, 80)), what);
    lines->bad++;
}
