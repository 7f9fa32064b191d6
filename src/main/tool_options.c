/* tool_options: see the header. */
#include "tool_options.h"

#include <inttypes.h>

#include "base_assert.h"
#include "base_codec.h"

enum { HELP_COLUMN = 28, PERCENT_UNIT = 100, PERCENT_MAX = 100 * PERCENT_UNIT };

static const struct tool_option *find_option(const struct tool_program *program, struct slice name)
{
    for (size_t i = 0; i < program->option_count; i++) {
        if (slice_equal(slice_str(program->options[i].name), name))
            return &program->options[i];
    }
    return NULL;
}

static bool set_count(const struct tool_option *option, void *field, struct slice value,
                      struct buf *out_error)
{
    uint64_t count;

    if (slice_to_u64(value, &count) && count >= option->min && count <= option->max) {
        *(uint64_t *)field = count;
        return true;
    }
    if (option->max == UINT64_MAX)
        (void)buf_printf(out_error, "a number from %" PRIu64 " on is needed", option->min);
    else
        (void)buf_printf(out_error, "a number from %" PRIu64 " to %" PRIu64 " is needed",
                         option->min, option->max);
    return false;
}

static bool set_value(const struct tool_option *option, void *options, const char *text,
                      struct buf *out_error)
{
    void *field = (char *)options + option->offset;
    struct slice value = slice_str(text);

    switch (option->kind) {
    case TOOL_FLAG: *(bool *)field = true; return true;
    case TOOL_YES_NO:
        *(bool *)field = slice_equal(value, SLICE_LITERAL("yes"));
        if (*(bool *)field || slice_equal(value, SLICE_LITERAL("no")))
            return true;
        (void)buf_append_str(out_error, "yes or no is needed");
        return false;
    case TOOL_COUNT: return set_count(option, field, value, out_error);
    case TOOL_DURATION:
        if (duration_parse(value, field))
            return true;
        (void)buf_append_str(out_error, "a time such as 250ms, 5s or 1m is needed");
        return false;
    case TOOL_TEXT: *(const char **)field = text; return true;
    case TOOL_CALL: return option->parse(options, value, out_error);
    }
    UNREACHABLE();
}

/* One option at argv[*at]; moves *at to its last word. */
static bool take_option(const struct tool_program *program, int argc, char **argv, int *at,
                        void *options, struct buf *out_error)
{
    struct slice name = slice_str(argv[*at] + 2);
    ptrdiff_t equals = slice_find(name, '=');
    const char *value = equals < 0 ? NULL : argv[*at] + 2 + equals + 1;
    const struct tool_option *option;

    if (equals >= 0)
        name.len = (size_t)equals;
    option = find_option(program, name);
    if (option == NULL) {
        (void)buf_printf(out_error, "unknown option --%.*s", SLICE_ARG(name));
        return false;
    }
    if (option->argument == NULL && value != NULL) {
        (void)buf_printf(out_error, "--%s takes no value", option->name);
        return false;
    }
    if (option->argument != NULL && value == NULL) {
        if (*at + 1 == argc) {
            (void)buf_printf(out_error, "--%s needs a value: %s", option->name, option->argument);
            return false;
        }
        value = argv[++*at];
    }
    (void)buf_printf(out_error, "--%s %s: ", option->name, value != NULL ? value : "");
    if (!set_value(option, options, value != NULL ? value : "", out_error))
        return false;
    buf_clear(out_error);
    return true;
}

enum tool_options_result tool_options_parse(const struct tool_program *program, int argc,
                                            char **argv, void *options, const char **out_url,
                                            struct buf *out_error)
{
    const char *url = NULL;

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return TOOL_OPTIONS_HELP;
        if (strcmp(argv[i], "--version") == 0)
            return TOOL_OPTIONS_VERSION;
        if (strncmp(argv[i], "--", 2) == 0) {
            if (!take_option(program, argc, argv, &i, options, out_error))
                return TOOL_OPTIONS_BAD;
        } else if (argv[i][0] == '-') {
            (void)buf_printf(out_error, "unknown option %s", argv[i]);
            return TOOL_OPTIONS_BAD;
        } else if (url != NULL) {
            (void)buf_printf(out_error, "one URL is enough: %s, %s", url, argv[i]);
            return TOOL_OPTIONS_BAD;
        } else {
            url = argv[i];
        }
    }
    if (url == NULL) {
        (void)buf_printf(out_error, "a URL is needed: %s", program->url);
        return TOOL_OPTIONS_BAD;
    }
    *out_url = url;
    return TOOL_OPTIONS_OK;
}

static void help_line(const char *name, const char *argument, const char *help, struct buf *out)
{
    size_t start = buf_len(out);

    (void)buf_printf(out, "  --%s%s%s", name, argument != NULL ? " " : "",
                     argument != NULL ? argument : "");
    if (buf_len(out) - start >= HELP_COLUMN) {
        (void)buf_append_byte(out, '\n');
        start = buf_len(out);
    }
    (void)buf_printf(out, "%*s%s\n", (int)(HELP_COLUMN - (buf_len(out) - start)), "", help);
}

void tool_options_help(const struct tool_program *program, struct buf *out)
{
    (void)buf_printf(out, "usage: %s %s [options]\n\n%s\n\n", program->name, program->url,
                     program->what);
    for (size_t i = 0; i < program->option_count; i++) {
        const struct tool_option *option = &program->options[i];
        help_line(option->name, option->argument, option->help, out);
    }
    help_line("help", NULL, "this", out);
    help_line("version", NULL, "the version", out);
}

bool tool_split(struct slice *text, uint8_t byte, struct slice *out_head)
{
    ptrdiff_t at = slice_find(*text, byte);

    if (at < 0)
        return false;
    *out_head = slice_head(*text, (size_t)at);
    slice_advance(text, (size_t)at + 1);
    return true;
}

bool tool_percent_parse(struct slice text, unsigned *out)
{
    struct slice whole = text;
    uint64_t units, hundredths = 0;

    if (tool_split(&text, '.', &whole)) {
        if (text.len > 2 || !slice_to_u64(text, &hundredths))
            return false;
        if (text.len == 1)
            hundredths *= 10;
    }
    if (!slice_to_u64(whole, &units) || units > 100)
        return false;
    units = units * PERCENT_UNIT + hundredths;
    if (units > PERCENT_MAX)
        return false;
    *out = (unsigned)units;
    return true;
}
