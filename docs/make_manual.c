/*
 * make_manual roff|markdown                        writes the configuration's reference manual
 * make_manual check CONFIGURATION.MD SAMPLE.CONF   TAP: the manual in the tree is up to date, and
 *                                                  the sample is a good configuration
 */
#include <stdio.h>
#include <stdlib.h>

#include "conf.h"

static struct buf manual(enum conf_manual_format format)
{
    struct buf out = {0};

    conf_manual(format, &out);
    return out;
}

static int write_manual(enum conf_manual_format format)
{
    struct buf text = manual(format);
    bool ok = fwrite(buf_slice(&text).data, 1, buf_len(&text), stdout) == buf_len(&text);

    buf_finish(&text);
    return ok && fflush(stdout) == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}

static bool is_up_to_date(const char *path)
{
    struct buf text = manual(CONF_MANUAL_MARKDOWN);
    size_t at = 0;
    FILE *file = fopen(path, "r");
    int c = 0;

    if (file == NULL)
        perror(path);
    while (file != NULL && (c = getc(file)) != EOF && at < buf_len(&text)
           && c == buf_slice(&text).data[at])
        at++;
    bool same = file != NULL && c == EOF && at == buf_len(&text);
    if (file != NULL)
        (void)fclose(file); /* only read from */
    buf_finish(&text);
    return same;
}

static bool is_good(const char *path)
{
    struct conf *conf = NULL;
    struct conf_errors errors = {0};

    (void)conf_load(path, &conf, &errors); /* warnings count here too */
    bool good = errors.count == 0;
    for (size_t i = 0; i < errors.count; i++)
        printf("# %s\n", errors.items[i].text);
    conf_errors_finish(&errors);
    conf_free(conf);
    return good;
}

static int check(const char *manual_path, const char *sample_path)
{
    bool current = is_up_to_date(manual_path);
    bool good = is_good(sample_path);

    if (!current)
        printf("# make it with: make_manual markdown > %s\n", manual_path);
    printf("1..2\n");
    printf("%sok 1 - %s is up to date\n", current ? "" : "not ", manual_path);
    printf("%sok 2 - %s is a good configuration\n", good ? "" : "not ", sample_path);
    return current && good ? EXIT_SUCCESS : EXIT_FAILURE;
}

int main(int argc, char **argv)
{
    if (argc == 2 && strcmp(argv[1], "roff") == 0)
        return write_manual(CONF_MANUAL_ROFF);
    if (argc == 2 && strcmp(argv[1], "markdown") == 0)
        return write_manual(CONF_MANUAL_MARKDOWN);
    if (argc == 4 && strcmp(argv[1], "check") == 0)
        return check(argv[2], argv[3]);
    fprintf(stderr, "usage: make_manual roff|markdown\n"
                    "       make_manual check CONFIGURATION.MD SAMPLE.CONF\n");
    return 2;
}
