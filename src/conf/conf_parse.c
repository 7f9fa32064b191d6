#include "conf_parse_priv.h"

#include <stdio.h>

#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "conf_suggest_priv.h"

enum { INCLUDE_DEPTH_MAX = 16 };

/* libconfuse's callbacks have no argument of ours, and its scanner is global anyway. */
static struct parse {
    struct conf_load *load;
    struct conf_text *text;    /* that the scanner is in */
    unsigned depth;            /* of includes */
    size_t blanked;            /* unknown settings, this time */
    bool reported;             /* the reason why parsing stops has been told */
    bool freeing;              /* values that go are not being replaced */
    const cfg_opt_t *replaced; /* the setting whose old value just went */
    struct conf_place replaced_place;
    struct hash_table titles;
    size_t title_count; /* of those that were made unique */
} parse;

/* A section with a title that was read. */
struct title {
    struct hash_node node;
    char *section;
    char *title;
    struct conf_place place;
};

static struct conf_place place_here(const cfg_t *cfg)
{
    return (struct conf_place){parse.text, cfg->line > 0 ? (unsigned)cfg->line : 1};
}

/* Values */

static struct conf_value *value_create(const cfg_t *cfg, const cfg_opt_t *opt, const char *text)
{
    size_t len = strlen(text);
    struct conf_value *value = mem_alloc(sizeof(*value) + len + 1);

    value->option = opt;
    value->place = place_here(cfg);
    value->len = len;
    memcpy(value->text, text, len + 1);
    return value;
}

static void value_destroy(void *memory)
{
    struct conf_value *value = memory;

    if (!parse.freeing && parse.replaced != value->option) {
        parse.replaced = value->option;
        parse.replaced_place = value->place;
    }
    mem_free(value);
}

/* libconfuse follows "limits|queue" into a section. Nobody should have to read files like that. */
static bool is_option_of(const cfg_t *cfg, const cfg_opt_t *opt)
{
    for (size_t i = 0; cfg->opts[i].name != NULL; i++)
        if (&cfg->opts[i] == opt)
            return true;
    return false;
}

static int parse_value(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
    struct conf_place here = place_here(cfg);

    if (parse.replaced == opt) {
        char before[256];

        conf_place_name(parse.replaced_place, here, before, sizeof(before));
        conf_fail(parse.load, here, "%s is set twice, first at %s", opt->name, before);
    }
    parse.replaced = NULL;
    if (!is_option_of(cfg, opt))
        conf_fail(parse.load, here, "%s is set from outside its section", opt->name);
    *(void **)result = value_create(cfg, opt, text);
    return 0;
}

static bool title_matches(const struct hash_node *node, const void *key)
{
    const struct title *title = container_of(node, struct title, node);
    const cfg_t *cfg = key;

    return strcmp(title->section, cfg->name) == 0
           && slice_equal_nocase(slice_str(title->title), slice_str(cfg->title));
}

static bool may_repeat(const cfg_t *cfg)
{
    for (size_t i = 0; i < conf_root.section_count; i++)
        if (strcmp(conf_root.sections[i]->name, cfg->name) == 0)
            return conf_root.sections[i]->repeats;
    return false;
}

/* libconfuse takes a section of the same title for the same section: no two have one. What makes the
 * difference is no character of a text. */
#define TITLE_END '\x01'

static void make_unique(cfg_t *cfg)
{
    size_t size = strlen(cfg->title) + 24;
    char *title = mem_alloc(size);

    (void)snprintf(title, size, "%s%c%zu", cfg->title, TITLE_END, parse.title_count++);
    mem_free(cfg->title);
    cfg->title = title;
}

struct slice conf_title(const cfg_t *cfg)
{
    return slice_of(cfg->title, (size_t)(strchrnul(cfg->title, TITLE_END) - cfg->title));
}

/* Called when a section with a title begins: libconfuse fills in the defaults. A second section of
 * the same title has just replaced the first. */
static int parse_section_mark(cfg_t *cfg, cfg_opt_t *opt, const char *text, void *result)
{
    struct conf_place here = place_here(cfg);
    uint64_t hash = hash_bytes_nocase(slice_str(cfg->title));
    const struct hash_node *node = hash_table_find(&parse.titles, hash, title_matches, cfg);

    (void)text;
    parse.replaced = NULL;
    *(void **)result = value_create(cfg, opt, cfg->title);
    if (may_repeat(cfg)) {
        make_unique(cfg);
    } else if (node != NULL) {
        char before[256];

        conf_place_name(container_of(node, struct title, node)->place, here, before,
                        sizeof(before));
        conf_fail(parse.load, here, "%s \"%s\" stands twice, first at %s", cfg->name, cfg->title,
                  before);
    } else {
        struct title *title = mem_zalloc(sizeof(*title));

        title->section = mem_strdup(cfg->name);
        title->title = mem_strdup(cfg->title);
        title->place = here;
        hash_table_insert(&parse.titles, &title->node, hash);
    }
    return 0;
}

static bool forget_title(struct hash_node *node, void *context)
{
    struct title *title = container_of(node, struct title, node);

    (void)context;
    hash_table_remove(&parse.titles, node);
    mem_free(title->section);
    mem_free(title->title);
    mem_free(title);
    return true;
}

/* Problems that libconfuse finds */

__attribute__((format(printf, 2, 0))) static void parse_error(cfg_t *cfg, const char *format,
                                                              va_list args)
{
    struct conf_place here = place_here(cfg);
    struct buf message;

    /* At the end of an included file, an outer level may complain about the inner one's end. */
    if (parse.reported)
        return;
    parse.reported = true;
    buf_init(&message, 4096);
    if (strcmp(format, "no such option '%s'") == 0) {
        va_list copy;

        va_copy(copy, args);
        struct slice name = slice_str(va_arg(copy, const char *));
        va_end(copy);
        conf_suggest(cfg, name, &message);
        if (conf_text_blank(parse.text, here.line, name))
            parse.blanked++;
    } else if (!buf_vprintf(&message, format, args)) {
        buf_clear(&message);
        (void)buf_append_str(&message, "syntax error");
    }
    conf_fail(parse.load, here, "%.*s", SLICE_ARG(buf_slice(&message)));
    buf_finish(&message);
}

/* Files */

static void add_text(struct conf_load *load, struct conf_text *text)
{
    struct conf_place place = {text, 1};
    const char *why;

    conf_texts_add(load, text);
    if (!conf_text_prepare(text, &place.line, &why)) {
        conf_fail(load, place, "%s", why);
        text->bad = true;
        load->incomplete = true;
    }
}

static int parse_text(cfg_t *cfg, struct conf_text *text)
{
    struct conf_text *outer = parse.text;

    if (text->bad)
        return 0;
    parse.text = text;
    text->active = true;
    int result = cfg_parse_buf(cfg, text->bytes);
    text->active = false;
    parse.text = outer;
    return result;
}

/* "other.conf" stands beside the file that names it. */
static void include_path(const char *name, struct buf *path)
{
    const char *slash = strrchr(parse.text->path, '/');

    if (name[0] != '/' && slash != NULL)
        (void)buf_append(path, parse.text->path, (size_t)(slash - parse.text->path) + 1);
    (void)buf_append(path, name, strlen(name) + 1);
}

/* The text at this path, from the earlier passes or from the disk; NULL once that is reported. */
static struct conf_text *included_text(struct conf_place here, const char *path)
{
    struct conf_text *text = parse.load->texts;
    char why[128];

    while (text != NULL && strcmp(text->path, path) != 0)
        text = text->next;
    if (text != NULL)
        return text;
    text = conf_text_read(path, why, sizeof(why));
    if (text == NULL) {
        conf_fail(parse.load, here, "cannot read %s: %s", path, why);
        parse.load->incomplete = true;
        return NULL;
    }
    add_text(parse.load, text);
    return text;
}

/* Another path can lead to a file that is being read (a link). */
static bool is_active(const struct conf_text *text)
{
    for (const struct conf_text *t = parse.load->texts; t != NULL; t = t->next)
        if (t->active && t->device == text->device && t->inode == text->inode)
            return true;
    return false;
}

static int parse_include(cfg_t *cfg, cfg_opt_t *opt, int argc, const char **argv)
{
    struct conf_place here = place_here(cfg);
    struct conf_text *text = NULL;
    struct buf path;
    int result = 0;

    (void)opt;
    if (argc != 1 || argv[0][0] == '\0') {
        conf_fail(parse.load, here, "include wants one file, as in include(\"more.conf\")");
        parse.load->incomplete = true;
        return 0;
    }
    buf_init(&path, 8192);
    include_path(argv[0], &path);
    if (parse.depth == INCLUDE_DEPTH_MAX || path.overflow)
        conf_fail(parse.load, here, "includes are nested too deeply");
    else
        text = included_text(here, (const char *)buf_slice(&path).data);
    if (text != NULL && is_active(text)) {
        conf_fail(parse.load, here, "%s includes itself", text->path);
    } else if (text != NULL) {
        int line = cfg->line;

        parse.depth++;
        result = parse_text(cfg, text);
        parse.depth--;
        cfg->line = line;
    }
    buf_finish(&path);
    return result;
}

/* Option arrays */

static cfg_opt_t *options_create(const struct conf_section *section)
{
    size_t count = 0;
    cfg_opt_t *options =
        mem_calloc(section->row_count + section->section_count + 3, sizeof(*options));

    if (section->title != NULL)
        options[count++] = (cfg_opt_t){
            .name = CONF_SECTION_MARK,
            .type = CFGT_PTR,
            .flags = CFGF_LIST, /* only lists have defaults that go through the parser */
            .def.parsed = mem_strdup("{begins}"),
            .parsecb = parse_section_mark,
            .freecb = value_destroy,
        };
    options[count++] = (cfg_opt_t){.name = "include", .type = CFGT_FUNC, .func = parse_include};
    for (size_t i = 0; i < section->row_count; i++)
        options[count++] = (cfg_opt_t){
            .name = section->rows[i].name,
            .type = CFGT_PTR,
            .flags = section->rows[i].list ? CFGF_LIST : CFGF_NONE,
            .parsecb = parse_value,
            .freecb = value_destroy,
        };
    for (size_t i = 0; i < section->section_count; i++)
        options[count++] = (cfg_opt_t){
            .name = section->sections[i]->name,
            .type = CFGT_SEC,
            .flags = section->sections[i]->title != NULL ? CFGF_MULTI | CFGF_TITLE : CFGF_NONE,
            .subopts = options_create(section->sections[i]),
        };
    return options;
}

static void options_destroy(cfg_opt_t *options)
{
    for (size_t i = 0; options[i].name != NULL; i++) {
        if (options[i].subopts != NULL)
            options_destroy(options[i].subopts);
        mem_free(options[i].def.parsed);
    }
    mem_free(options);
}

static cfg_t *parse_once(struct conf_load *load)
{
    cfg_opt_t *options = options_create(&conf_root);
    cfg_t *cfg = cfg_init(options, CFGF_NONE);

    ASSERT(cfg != NULL);
    options_destroy(options); /* libconfuse has made a copy */
    (void)cfg_set_error_function(cfg, parse_error);
    hash_table_init(&parse.titles);
    parse.freeing = false;
    parse.replaced = NULL;
    parse.blanked = 0;
    parse.reported = false;
    if (parse_text(cfg, load->texts) != CFG_SUCCESS && parse.blanked == 0) {
        load->incomplete = true;
        if (!parse.reported)
            conf_fail(load,
                      (struct conf_place){load->texts, (unsigned)(cfg->line > 0 ? cfg->line : 1)},
                      "syntax error");
    }
    parse.freeing = true;
    hash_table_each(&parse.titles, forget_title, NULL);
    hash_table_finish(&parse.titles);
    return cfg;
}

cfg_t *conf_parse(struct conf_load *load, const char *path)
{
    char why[128];
    cfg_t *cfg;
    struct conf_text *text = conf_text_read(path, why, sizeof(why));

    parse = (struct parse){.load = load};
    if (text == NULL) {
        /* So that the problem has a place. */
        text = mem_zalloc(sizeof(*text));
        text->path = mem_strdup(path);
        text->bytes = mem_strdup("");
        add_text(load, text);
        text->bad = true;
        load->incomplete = true;
        conf_fail(load, (struct conf_place){text, 1}, "cannot read this file: %s", why);
    } else {
        add_text(load, text);
    }
    /* libconfuse stops at an unknown setting. It is gone from the text now: read the text again,
     * to find everything else that is wrong. Only the last time's other findings count. */
    for (;;) {
        cfg = parse_once(load);
        if (parse.blanked == 0 || load->problem_count >= CONF_PROBLEMS_MAX)
            break;
        cfg_free(cfg);
    }
    return cfg;
}
