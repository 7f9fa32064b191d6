#include "conf_test.h"

#include <cdb.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base_mem.h"

struct loaded loaded;
static char folder[256];
static char paths[8][512];
static unsigned path_count;

static void forget(void)
{
    conf_free(loaded.conf);
    conf_errors_finish(&loaded.errors);
    buf_finish(&loaded.report);
    loaded = (struct loaded){0};
}

void folder_setup(void)
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(folder, sizeof(folder), "%s/mailring-conf-XXXXXX", base != NULL ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

void folder_teardown(void)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

    forget();
    ck_assert_ptr_nonnull(dir);
    while ((entry = readdir(dir)) != NULL)
        (void)unlinkat(dirfd(dir), entry->d_name, 0); /* "." and ".." stay */
    (void)closedir(dir);
    ck_assert_int_eq(rmdir(folder), 0);
}

const char *in_folder(const char *name)
{
    char *path = paths[path_count++ % 8];

    (void)snprintf(path, sizeof(paths[0]), "%s/%s", folder, name);
    return path;
}

void put_file(const char *name, const char *text)
{
    FILE *file = fopen(in_folder(name), "w");

    ck_assert_ptr_nonnull(file);
    for (const char *c = text; *c != '\0'; c++) {
        if (c[0] == '$' && c[1] == '/')
            fputs(folder, file);
        else
            fputc(*c, file);
    }
    ck_assert_int_eq(fclose(file), 0);
}

void put_cdb(const char *name, const struct pair *pairs, size_t count, bool with_nul)
{
    struct cdb_make make;
    int fd = open(in_folder(name), O_RDWR | O_CREAT | O_TRUNC, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(cdb_make_start(&make, fd), 0);
    for (size_t i = 0; i < count; i++)
        ck_assert_int_eq(cdb_make_add(&make, pairs[i].key,
                                      (unsigned)strlen(pairs[i].key) + with_nul, pairs[i].value,
                                      (unsigned)strlen(pairs[i].value) + with_nul),
                         0);
    ck_assert_int_eq(cdb_make_finish(&make), 0);
    ck_assert_int_eq(close(fd), 0);
}

void age_file(const char *name)
{
    struct timespec times[2];

    ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &times[0]), 0);
    times[0].tv_sec -= 3600;
    times[1] = times[0];
    ck_assert_int_eq(utimensat(AT_FDCWD, in_folder(name), times, 0), 0);
}

static void add_report_line(const char *line)
{
    size_t prefix = strlen(folder) + 1;

    for (const char *found; (found = strstr(line, folder)) != NULL; line = found + prefix)
        (void)buf_append(&loaded.report, line, (size_t)(found - line));
    (void)buf_printf(&loaded.report, "%s\n", line);
}

void load_text(const char *text)
{
    forget();
    put_file("mailring.conf", text);
    bool ok = conf_load(in_folder("mailring.conf"), &loaded.conf, &loaded.errors);
    ck_assert_int_eq(ok, loaded.conf != NULL);
    ck_assert_int_eq(ok, loaded.errors.count == loaded.errors.warning_count);
    for (size_t i = 0; i < loaded.errors.count; i++)
        add_report_line(loaded.errors.items[i].text);
    (void)buf_append_byte(&loaded.report, '\0');
}

const struct conf *load_good(const char *text)
{
    load_text(text);
    ck_assert_str_eq((const char *)buf_slice(&loaded.report).data, "");
    return loaded.conf;
}

void check_report(const char *text, const char *report)
{
    load_text(text);
    ck_assert_str_eq((const char *)buf_slice(&loaded.report).data, report);
}
