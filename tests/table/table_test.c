#include "table_test.h"

#include <cdb.h>
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static char folder[256];
static char paths[8][512];
static unsigned path_count;

void folder_setup(void)
{
    const char *base = getenv("TMPDIR");

    (void)snprintf(folder, sizeof(folder), "%s/mailring-table-XXXXXX",
                   base != NULL ? base : "/tmp");
    ck_assert_ptr_nonnull(mkdtemp(folder));
}

void folder_teardown(void)
{
    DIR *dir = opendir(folder);
    const struct dirent *entry;

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

void put_file(const char *name, struct slice bytes)
{
    FILE *file = fopen(in_folder(name), "w");

    ck_assert_ptr_nonnull(file);
    ck_assert_uint_eq(bytes.len == 0 ? 0 : fwrite(bytes.data, 1, bytes.len, file), bytes.len);
    ck_assert_int_eq(fclose(file), 0);
}

void age_file(const char *name)
{
    struct timespec times[2];

    ck_assert_int_eq(clock_gettime(CLOCK_REALTIME, &times[0]), 0);
    times[0].tv_sec -= 3600;
    times[1] = times[0];
    ck_assert_int_eq(utimensat(AT_FDCWD, in_folder(name), times, 0), 0);
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
