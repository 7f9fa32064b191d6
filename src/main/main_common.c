/* main_common: what all commands do: complain, and read the configuration. */
#include <stdarg.h>
#include <stdio.h>

#include "main_priv.h"

void main_complain(const char *format, ...)
{
    va_list args;

    (void)fputs("mailring: ", stderr);
    va_start(args, format);
    (void)vfprintf(stderr, format, args);
    va_end(args);
    (void)fputc('\n', stderr);
}

struct conf *main_load_conf(const struct main_options *o)
{
    struct conf_errors errors = {0};
    struct conf *conf = NULL;

    (void)conf_load(o->conf_path, &conf, &errors); /* conf says whether */
    for (size_t i = 0; i < errors.count; i++)
        (void)fprintf(stderr, "%s\n", errors.items[i].text);
    conf_errors_finish(&errors);
    return conf;
}
