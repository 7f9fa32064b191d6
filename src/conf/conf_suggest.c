#include "conf_suggest_priv.h"

#include "conf_parse_priv.h"
#include "conf_table_priv.h"

enum { NAME_SIZE_MAX = 32 };

static size_t min_size(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Insertions, deletions, replacements and swaps of neighbours that make one word the other. */
static size_t distance(struct slice a, struct slice b)
{
    size_t rows[3][NAME_SIZE_MAX + 1];

    if (a.len > NAME_SIZE_MAX || b.len > NAME_SIZE_MAX)
        return NAME_SIZE_MAX;
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= a.len; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i - 1) % 3];

        row[0] = i;
        for (size_t j = 1; j <= b.len; j++) {
            size_t replaced = above[j - 1] + (a.data[i - 1] != b.data[j - 1]);

            row[j] = min_size(replaced, min_size(above[j], row[j - 1]) + 1);
            if (i > 1 && j > 1 && a.data[i - 1] == b.data[j - 2] && a.data[i - 2] == b.data[j - 1])
                row[j] = min_size(row[j], rows[(i - 2) % 3][j - 2] + 1);
        }
    }
    return rows[a.len % 3][b.len];
}

static const char *nearest(const cfg_t *section, struct slice name)
{
    const char *best = NULL;
    size_t best_distance = name.len < 4 ? 2 : 3; /* this far is too far */

    for (size_t i = 0; section->opts[i].name != NULL; i++) {
        size_t d = distance(name, slice_str(section->opts[i].name));

        if (d < best_distance) {
            best_distance = d;
            best = section->opts[i].name;
        }
    }
    return best;
}

/* Appends the sections that do have a setting or section of this name: "limits or listener". */
static void append_owners(const struct conf_section *section, struct slice name, struct buf *owners)
{
    bool found = false;

    for (size_t i = 0; i < section->row_count; i++)
        found = found || slice_equal(name, slice_str(section->rows[i].name));
    for (size_t i = 0; i < section->section_count; i++)
        found = found || slice_equal(name, slice_str(section->sections[i]->name));
    if (found)
        (void)buf_printf(owners, "%s%s", buf_len(owners) > 0 ? " or " : "",
                         section->name != NULL ? section->name : "the top of the file");
    for (size_t i = 0; i < section->section_count; i++)
        append_owners(section->sections[i], name, owners);
}

void conf_suggest(const cfg_t *section, struct slice name, struct buf *message)
{
    const char *near = nearest(section, name);
    struct buf owners;

    buf_init(&owners, 0);
    append_owners(&conf_root, name, &owners);
    (void)buf_printf(message, "unknown setting \"%.*s\"", SLICE_ARG(slice_head(name, 80)));
    if (section->title != NULL)
        (void)buf_printf(message, " in %s \"%.*s\"", section->name,
                         SLICE_ARG(slice_head(conf_title(section), 80)));
    else if (strcmp(section->name, "root") != 0)
        (void)buf_printf(message, " in %s", section->name);
    if (buf_len(&owners) > 0)
        (void)buf_printf(message, "; it belongs in %.*s", SLICE_ARG(buf_slice(&owners)));
    else if (near != NULL)
        (void)buf_printf(message, "; did you mean \"%s\"?", near);
    buf_finish(&owners);
}
