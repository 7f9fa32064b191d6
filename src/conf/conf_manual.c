/* The reference manual, from the tables. */
#include "base_assert.h"
#include "conf.h"
#include "conf_manual_priv.h"
#include "conf_table_priv.h"
#include "conf_value_priv.h"

/* Both formats are written through these; `text` is plain and escaped on the way. */
struct writer {
    struct buf *out;
    bool roff;
};

static bool at_line_start(const struct writer *w)
{
    struct slice written = buf_slice(w->out);

    return written.len > 0 && written.data[written.len - 1] == '\n';
}

static void escape(const struct writer *w, struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        char c = (char)text.data[i];

        if (w->roff && c == '\\')
            (void)buf_append_str(w->out, "\\e");
        else if (w->roff && c == '-')
            (void)buf_append_str(w->out, "\\-");
        else if (w->roff && (c == '.' || c == '\'') && at_line_start(w))
            (void)buf_printf(w->out, "\\&%c", c);
        else if (!w->roff && strchr("\\`*_<>[]|", c) != NULL)
            (void)buf_printf(w->out, "\\%c", c);
        else
            (void)buf_append_byte(w->out, (uint8_t)c);
    }
}

static void put(const struct writer *w, const char *text)
{
    escape(w, slice_str(text));
}

static void put_bold(const struct writer *w, const char *text)
{
    (void)buf_append_str(w->out, w->roff ? "\\fB" : "**");
    put(w, text);
    (void)buf_append_str(w->out, w->roff ? "\\fR" : "**");
}

static void put_italic(const struct writer *w, const char *text)
{
    (void)buf_append_str(w->out, w->roff ? "\\fI" : "*");
    put(w, text);
    (void)buf_append_str(w->out, w->roff ? "\\fR" : "*");
}

static void heading(const struct writer *w, const char *text)
{
    (void)buf_printf(w->out, w->roff ? ".SH %s\n" : "\n## %s\n", text);
}

static void paragraph(const struct writer *w, const char *text)
{
    (void)buf_append_str(w->out, w->roff ? ".PP\n" : "\n");
    put(w, text);
    (void)buf_append_str(w->out, "\n");
}

static void example(const struct writer *w, const char *text)
{
    (void)buf_append_str(w->out, w->roff ? ".PP\n.nf\n.RS 4\n" : "\n```\n");
    if (w->roff)
        put(w, text);
    else
        (void)buf_append_str(w->out, text);
    (void)buf_append_str(w->out, w->roff ? ".RE\n.fi\n" : "```\n");
}

/* An item of a list: what stands between begin and end is the term, then comes its text. */
static void term_begin(const struct writer *w)
{
    (void)buf_append_str(w->out, w->roff ? ".TP\n" : "\n- ");
}

static void term_end(const struct writer *w)
{
    (void)buf_append_str(w->out, w->roff ? "\n" : "  \n  ");
}

/* Facts about a setting, each a short sentence behind the prose. */

static void put_number(const struct writer *w, const struct conf_row *row, uint64_t value)
{
    struct buf text;

    buf_init(&text, 0);
    conf_types[row->type].format(value, &text);
    escape(w, buf_slice(&text));
    buf_finish(&text);
}

static void put_range(const struct writer *w, const struct conf_row *row)
{
    if (conf_types[row->type].format == NULL)
        return;
    put(w, " From ");
    put_number(w, row, row->min);
    put(w, " to ");
    put_number(w, row, row->max);
    if (row->multiple > 1) {
        put(w, ", a multiple of ");
        put_number(w, row, row->multiple);
    }
    if (row->zero != NULL) {
        put(w, "; 0: ");
        put(w, row->zero);
    }
    put(w, ".");
}

static void put_default(const struct writer *w, const struct conf_row *row)
{
    if (row->required) {
        put(w, " It must be set.");
    } else if (row->fallback != NULL) {
        put(w, " Default: ");
        /* A list's items stand between spaces. */
        for (const char *c = row->fallback; *c != '\0'; c++) {
            if (row->list && *c == ' ')
                put(w, ",");
            escape(w, slice_of(c, 1));
        }
        put(w, ".");
    } else {
        ASSERT(row->unset != NULL);
        put(w, " Default: not set, ");
        put(w, row->unset);
        put(w, ".");
    }
}

static void put_type(const struct writer *w, const struct conf_row *row)
{
    put(w, " = ");
    if (row->type == CONF_TYPE_WORD) {
        for (size_t i = 0; i < ARRAY_LEN(row->words) && row->words[i] != NULL; i++) {
            put(w, i == 0 ? "" : " | ");
            put_bold(w, row->words[i]);
        }
    } else {
        put_italic(w, conf_types[row->type].name);
    }
    if (row->list)
        put(w, " or a list of them");
}

static void put_row(const struct writer *w, const struct conf_row *row)
{
    term_begin(w);
    put_bold(w, row->name);
    put_type(w, row);
    term_end(w);
    put(w, row->prose);
    put_range(w, row);
    put_default(w, row);
    if (row->restart)
        put(w, " Takes effect when the server starts.");
    (void)buf_append_str(w->out, "\n");
}

static void put_rows(const struct writer *w, const struct conf_section *section)
{
    for (size_t i = 0; i < section->row_count; i++)
        put_row(w, &section->rows[i]);
}

/* "limits { timeout { ... } }": `outer` is "limits", or NULL. */
static void put_section(const struct writer *w, const struct conf_section *section,
                        const char *outer)
{
    (void)buf_append_str(w->out, w->roff ? ".SS " : "\n### ");
    if (outer != NULL) {
        put(w, outer);
        put(w, " { ");
    }
    put(w, section->name);
    if (section->title != NULL) {
        /* In a roff heading, quotes would be eaten. */
        (void)buf_append_str(w->out, w->roff ? " \\(dq" : " \"");
        put(w, section->title);
        (void)buf_append_str(w->out, w->roff ? "\\(dq" : "\"");
    }
    put(w, outer != NULL ? " { } }" : " { }");
    (void)buf_append_str(w->out, "\n");
    if (!w->roff)
        (void)buf_append_str(w->out, "\n");
    put(w, section->prose);
    (void)buf_append_str(w->out, "\n");
    put_rows(w, section);
    for (size_t i = 0; i < section->section_count; i++)
        put_section(w, section->sections[i], section->name);
}

static void put_settings(const struct writer *w)
{
    heading(w, w->roff ? "SETTINGS" : "Settings");
    paragraph(w, conf_root.prose);
    put_rows(w, &conf_root);
    heading(w, w->roff ? "SECTIONS" : "Sections");
    for (size_t i = 0; i < conf_root.section_count; i++)
        put_section(w, conf_root.sections[i], NULL);
}

static void put_part(const struct writer *w, const struct conf_manual_part *part)
{
    if (part->heading[w->roff] == NULL)
        return; /* not a part of this format */
    heading(w, part->heading[w->roff]);
    for (size_t i = 0; i < ARRAY_LEN(part->items) && part->items[i].text != NULL; i++) {
        const struct conf_manual_item *item = &part->items[i];

        if (item->term != NULL) {
            term_begin(w);
            put_bold(w, item->term);
            term_end(w);
            put(w, item->text);
            (void)buf_append_str(w->out, "\n");
        } else if (item->is_example) {
            example(w, item->text);
        } else {
            paragraph(w, item->text);
        }
    }
}

void conf_manual(enum conf_manual_format format, struct buf *out)
{
    const struct writer w = {.out = out, .roff = format == CONF_MANUAL_ROFF};

    if (w.roff)
        (void)buf_append_str(out, ".\\\" Made from the tables in src/conf; edit those.\n"
                                  ".TH MAILRING.CONF 5\n"
                                  ".SH NAME\nmailring.conf \\- configuration of mailring\n");
    else
        (void)buf_append_str(out, "<!-- Made from the tables in src/conf; edit those. -->\n"
                                  "# mailring.conf\n");
    for (size_t i = 0; i < conf_manual_before_count; i++)
        put_part(&w, &conf_manual_before[i]);
    put_settings(&w);
    for (size_t i = 0; i < conf_manual_after_count; i++)
        put_part(&w, &conf_manual_after[i]);
}
