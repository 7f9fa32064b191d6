/* mailring: the daemon and its administration, one program with commands. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base_assert.h"
#include "io_uring_ring.h"
#include "main_priv.h"

static int main_help(const struct main_options *o);

static const struct {
    const char *name;
    int (*run)(const struct main_options *o);
    const char *help;
    bool takes_words;
    bool takes_options; /* of its own: they are among the words */
} commands[] = {
    {"serve", main_serve, "run in the foreground; SIGTERM drains and exits, SIGHUP reloads", false,
     false},
    {"check", main_check, "read the configuration and say what is wrong with it", false, false},
    {"status", main_status, "counters of the running server [--json]", false, false},
    {"queue", main_queue,
     "list, show, summary, retry, hold, release, delete, bounce, ...: see mailring queue help",
     true, true},
    {"explain", main_explain,
     "ADDRESS [--sender=ADDRESS] | ID: where mail goes now, or what a message waits for [--json]",
     true, true},
    {"tls-report", main_tls_report, "send: tell other domains now how TLS with them went so far",
     true, false},
    {"send", NULL, "a message on standard input, as sendmail(1) does; its options, and -c", true,
     true},
    {"spool", main_spool, "verify (only while no server runs) | dump [ID]", true, false},
    {"passwd", main_passwd, "USER: set a password [--scheme=NAME], or --delete, or --check", true,
     false},
    {"version", main_version, "version, kernel features found, build", false, false},
    {"help", main_help, "this", true, false},
};

int main_version(const struct main_options *o)
{
    struct buf text;

    (void)o;
    buf_init(&text, 0);
    io_uring_describe(&text);
    (void)printf("mailring %s\nkernel: %.*s (io_uring)\nlibraries: %s\n"
                 "build: %s, C%ld, optimised %s, assertions on\n",
                 MAILRING_VERSION, SLICE_ARG(buf_slice(&text)), MAILRING_LIBRARIES, __VERSION__,
                 __STDC_VERSION__ / 100 % 100,
#ifdef __OPTIMIZE__
                 "yes"
#else
                 "no"
#endif
    );
    buf_finish(&text);
    return EX_OK;
}

static void print_usage(FILE *to)
{
    (void)fprintf(to, "usage: mailring COMMAND [-c FILE] [options]\n\n");
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        (void)fprintf(to, "  %-10s %s\n", commands[i].name, commands[i].help);
    (void)fprintf(
        to,
        "\n  -c FILE               configuration (default " MAIN_CONF_PATH_DEFAULT ")\n"
        "  --json                answer in JSON\n"
        "  --log-format=FORMAT   of serve: text (key=value) or json\n"
        "  --log-level=LEVEL     of serve: debug, info, notice, warning or error\n"
        "  --scheme=NAME         of passwd: yescrypt, sha512, bcrypt, scram-sha-256, scram-sha-1\n");
}

static int main_help(const struct main_options *o)
{
    (void)o;
    print_usage(stdout);
    return EX_OK;
}

static bool parse_level(const char *text, enum log_level *out)
{
    static const char *const names[] = {"debug", "info", "notice", "warning", "error"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (strcmp(text, names[i]) == 0) {
            *out = (enum log_level)i;
            return true;
        }
    }
    main_complain("--log-level=%s: known are debug, info, notice, warning and error", text);
    return false;
}

static bool parse_format(const char *text, enum log_format *out)
{
    if (strcmp(text, "json") != 0 && strcmp(text, "text") != 0) {
        main_complain("--log-format=%s: known are text and json", text);
        return false;
    }
    *out = strcmp(text, "json") == 0 ? LOG_JSON : LOG_TEXT;
    return true;
}

/* Options may stand anywhere; the other words are kept in order. */
static bool parse_arguments(int argc, char **argv, bool own_options, struct main_options *o)
{
    for (int i = 0; i < argc; i++) {
        const char *a = argv[i];
        if (strcmp(a, "-c") == 0) {
            if (++i == argc) {
                main_complain("-c needs a file");
                return false;
            }
            o->conf_path = argv[i];
        } else if (strcmp(a, "--json") == 0) {
            o->json = true;
        } else if (strncmp(a, "--log-format=", 13) == 0) {
            if (!parse_format(a + 13, &o->log_format))
                return false;
        } else if (strncmp(a, "--log-level=", 12) == 0) {
            if (!parse_level(a + 12, &o->log_level))
                return false;
        } else if (strncmp(a, "--scheme=", 9) == 0) {
            o->scheme = a + 9;
        } else if (strcmp(a, "--delete") == 0) {
            o->delete_user = true;
        } else if (strcmp(a, "--check") == 0) {
            o->check_user = true;
        } else if (a[0] == '-' && !own_options) {
            main_complain("unknown option %s; see mailring help", a);
            return false;
        } else {
            o->words[o->word_count++] = argv[i];
        }
    }
    return true;
}

static bool has_own_options(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(name, commands[i].name) == 0)
            return commands[i].takes_options;
    }
    return false;
}

static int run_command(const struct main_options *o, const char *name)
{
    if (strcmp(name, "--help") == 0 || strcmp(name, "-h") == 0)
        return main_help(o);
    if (strcmp(name, "--version") == 0)
        return main_version(o);
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(name, commands[i].name) != 0)
            continue;
        if ((o->scheme != NULL || o->delete_user || o->check_user)
            && commands[i].run != main_passwd) {
            main_complain("--scheme, --delete and --check are options of passwd");
            return EX_USAGE;
        }
        if (o->word_count > 0 && !commands[i].takes_words) {
            main_complain("%s takes no \"%s\"; a configuration is named with -c", name,
                          o->words[0]);
            return EX_USAGE;
        }
        return commands[i].run(o);
    }
    main_complain("unknown command %s; see mailring help", name);
    return EX_USAGE;
}

static const char *base_name(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash != NULL ? slash + 1 : path;
}

/* Names that other programs call us by. */
static bool is_sendmail(const char *name)
{
    return strcmp(name, "sendmail") == 0 || strcmp(name, "mailq") == 0
           || strcmp(name, "newaliases") == 0;
}

int main(int argc, char **argv)
{
    struct main_options o = {
        .conf_path = MAIN_CONF_PATH_DEFAULT, .log_level = LOG_INFO, .log_format = LOG_TEXT};
    int exit_code = EX_USAGE;

    if (argc > 0 && is_sendmail(base_name(argv[0])))
        return main_send(base_name(argv[0]), argc - 1, argv + 1);
    if (argc < 2) {
        print_usage(stderr);
        return EX_USAGE;
    }
    if (strcmp(argv[1], "send") == 0)
        return main_send(argv[1], argc - 2, argv + 2);
    o.words = calloc((size_t)argc, sizeof(*o.words));
    if (o.words == NULL) {
        main_complain("no memory");
        return EX_OSERR;
    }
    if (parse_arguments(argc - 2, argv + 2, has_own_options(argv[1]), &o))
        exit_code = run_command(&o, argv[1]);
    free(o.words);
    return exit_code;
}
