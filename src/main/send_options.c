/* send_options: a table of letters. A value stands behind its letter or, if it has to be there, in the next
 * argument. */
#include "send_options.h"

#include <string.h>

#include "base_assert.h"

enum option {
    OPTION_IGNORED,
    OPTION_MODE,
    OPTION_SET,
    OPTION_CONF,
    OPTION_SENDER,
    OPTION_FULL_NAME,
    OPTION_INSIDE,
    OPTION_DOT,
    OPTION_VERBOSE,
    OPTION_NOTIFY,
    OPTION_RET,
    OPTION_ENVID,
    OPTION_RUN,
    OPTION_LONG_SET,
};

enum value {
    VALUE_NONE,
    VALUE_REQUIRED,
    VALUE_ATTACHED, /* whatever else is in the same argument */
};

/* Letters of Sendmail 8, Postfix and Exim that callers are seen to use. */
/* clang-format off */
static const struct {
    char letter;
    enum value value;
    enum option option;
} letters[] = {
    {'A', VALUE_ATTACHED, OPTION_IGNORED},  /* -Ac, -Am */
    {'B', VALUE_REQUIRED, OPTION_IGNORED},  /* 7BIT, 8BITMIME: it is looked at anyway */
    {'C', VALUE_REQUIRED, OPTION_CONF},
    {'c', VALUE_REQUIRED, OPTION_CONF},     /* as of mailring's other commands */
    {'D', VALUE_REQUIRED, OPTION_IGNORED},
    {'d', VALUE_ATTACHED, OPTION_IGNORED},
    {'e', VALUE_ATTACHED, OPTION_IGNORED},  /* -em: errors by mail; they go to standard error */
    {'E', VALUE_ATTACHED, OPTION_IGNORED},
    {'F', VALUE_REQUIRED, OPTION_FULL_NAME},
    {'f', VALUE_REQUIRED, OPTION_SENDER},
    {'G', VALUE_NONE, OPTION_IGNORED},
    {'h', VALUE_REQUIRED, OPTION_IGNORED},  /* hops */
    {'I', VALUE_NONE, OPTION_MODE},         /* old for -bi */
    {'i', VALUE_NONE, OPTION_DOT},
    {'L', VALUE_REQUIRED, OPTION_IGNORED},  /* a label for logs */
    {'m', VALUE_NONE, OPTION_IGNORED},      /* me too */
    {'N', VALUE_REQUIRED, OPTION_NOTIFY},
    {'n', VALUE_NONE, OPTION_IGNORED},      /* no aliases */
    {'O', VALUE_REQUIRED, OPTION_LONG_SET},
    {'o', VALUE_ATTACHED, OPTION_SET},
    {'p', VALUE_REQUIRED, OPTION_IGNORED},  /* protocol and host it came by */
    {'q', VALUE_ATTACHED, OPTION_RUN},
    {'R', VALUE_REQUIRED, OPTION_RET},
    {'r', VALUE_REQUIRED, OPTION_SENDER},
    {'s', VALUE_NONE, OPTION_IGNORED},
    {'t', VALUE_NONE, OPTION_INSIDE},
    {'U', VALUE_NONE, OPTION_IGNORED},
    {'V', VALUE_REQUIRED, OPTION_ENVID},
    {'v', VALUE_NONE, OPTION_VERBOSE},
    {'X', VALUE_REQUIRED, OPTION_IGNORED},  /* a log file of the caller's choice: never */
    {'x', VALUE_ATTACHED, OPTION_IGNORED},
    {'b', VALUE_REQUIRED, OPTION_MODE},
};
/* clang-format on */

static bool take_mode(struct send_options *o, const char *value, struct buf *why)
{
    switch (value[0]) {
    case 'm':
    case 'a': return true;
    case 's': o->mode = SEND_SMTP; return true;
    case 'p': o->mode = SEND_LIST; return true;
    case 'i':
    case 'I': o->mode = SEND_ALIASES; return true;
    case 'd':
    case 'D':
        (void)buf_printf(why, "-b%s: the server is started with \"mailring serve\"", value);
        return false;
    default: break;
    }
    (void)buf_printf(why, "-b%s: known are -bm, -bs, -bp and -bi", value);
    return false;
}

/* -oi, -oem, -odb...: what Sendmail's options were before they had names. */
static bool take_set(struct send_options *o, const char *value)
{
    if (strcmp(value, "i") == 0)
        o->dot_is_text = true;
    return true;
}

static bool take_long_set(struct send_options *o, const char *value)
{
    if (strcasecmp(value, "IgnoreDots") == 0 || strcasecmp(value, "IgnoreDots=true") == 0)
        o->dot_is_text = true;
    return true;
}

static bool take(struct send_options *o, enum option option, const char *value, struct buf *why)
{
    switch (option) {
    case OPTION_IGNORED: return true;
    case OPTION_MODE: return take_mode(o, value != NULL ? value : "i", why);
    case OPTION_SET: return take_set(o, value);
    case OPTION_LONG_SET: return take_long_set(o, value);
    case OPTION_CONF: o->conf_path = value; return true;
    case OPTION_SENDER: o->sender = strcmp(value, "<>") == 0 ? "" : value; return true;
    case OPTION_FULL_NAME: o->full_name = value; return true;
    case OPTION_INSIDE: o->recipients_inside = true; return true;
    case OPTION_DOT: o->dot_is_text = true; return true;
    case OPTION_VERBOSE: o->verbose = true; return true;
    case OPTION_NOTIFY: o->notify = value; return true;
    case OPTION_RET: o->ret = value; return true;
    case OPTION_ENVID: o->envid = value; return true;
    case OPTION_RUN: o->mode = SEND_NOTHING; return true;
    }
    UNREACHABLE();
}

/* The letters of one argument; *next is moved over a value in the following one. */
static bool take_letters(struct send_options *o, const char *text, int argc, char **argv, int *next,
                         struct buf *why)
{
    while (*text != '\0') {
        size_t i = 0;

        while (i < ARRAY_LEN(letters) && letters[i].letter != *text)
            i++;
        if (i == ARRAY_LEN(letters)) {
            (void)buf_printf(why, "unknown option -%c", *text >= ' ' && *text < 127 ? *text : '?');
            return false;
        }
        text++;
        switch (letters[i].value) {
        case VALUE_NONE:
            if (!take(o, letters[i].option, NULL, why))
                return false;
            continue;
        case VALUE_ATTACHED: return take(o, letters[i].option, text, why);
        case VALUE_REQUIRED:
            if (*text == '\0' && *next == argc) {
                (void)buf_printf(why, "-%c needs a value", letters[i].letter);
                return false;
            }
            return take(o, letters[i].option, *text != '\0' ? text : argv[(*next)++], why);
        }
    }
    return true;
}

bool send_options_parse(const char *name, int argc, char **argv, struct send_options *out,
                        struct buf *why)
{
    struct send_options o = {.mode = SEND_MESSAGE};
    int next = 0;

    if (strcmp(name, "mailq") == 0)
        o.mode = SEND_LIST;
    else if (strcmp(name, "newaliases") == 0)
        o.mode = SEND_ALIASES;
    while (next < argc && argv[next][0] == '-' && argv[next][1] != '\0') {
        const char *text = argv[next++] + 1;

        if (strcmp(text, "-") == 0)
            break;
        if (!take_letters(&o, text, argc, argv, &next, why))
            return false;
    }
    o.recipients = argv + next;
    o.recipient_count = argc - next;
    *out = o;
    return true;
}
