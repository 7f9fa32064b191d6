#include "routing_test.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char folder[256];
static struct conf *conf;

void world_setup(void)
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(folder, sizeof(folder), "%s/mailring-routing-XXXXXX",
                   base != NULL ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

void world_teardown(void)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    conf_free(conf);
    conf = NULL;
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." stay */
    (void)closedir(dir);
    ck_assert_int_eq(rmdir(folder), 0);
}

void put_file(const char *name, const char *text)
{
    char path[512];
    FILE *file;

    (void)snprintf(path, sizeof(path), "%s/%s", folder, name);
    file = fopen(path, "w");
    ck_assert_ptr_nonnull(file);
    for (const char *c = text; *c != '\0'; c++) {
        if (c[0] == '$' && c[1] == '/')
            fputs(folder, file);
        else
            fputc(*c, file);
    }
    ck_assert_int_eq(fclose(file), 0);
}

const struct conf *load(const char *text)
{
    struct conf_errors errors = {0};
    char path[512];
    struct buf whole = {0};

    buf_init(&whole, 0);
    (void)buf_printf(&whole, "hostname = mx.example\nspool = \"/nonexistent\"\n%s", text);
    (void)buf_append_byte(&whole, '\0');
    put_file("mailring.conf", (const char *)buf_slice(&whole).data);
    buf_finish(&whole);
    (void)snprintf(path, sizeof(path), "%s/mailring.conf", folder);
    conf_free(conf);
    conf = NULL;
    ck_assert_msg(conf_load(path, &conf, &errors), "%s",
                  errors.count > 0 ? errors.items[errors.count - 1].text : "");
    conf_errors_finish(&errors);
    return conf;
}

struct smtp_address address_of(const char *text)
{
    struct smtp_address address = {0};

    ck_assert_msg(smtp_address_parse(slice_str(text), SMTP_PATH_UTF8, &address) == SMTP_ADDRESS_OK,
                  "%s", text);
    return address;
}
