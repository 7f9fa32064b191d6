/*
 * bench_table: a million entries "userN@dD.example.org value" read from a text file, and from a CDB: how long
 * until they can be looked up, what they take, and what a lookup costs, of keys that are there and of
 * others, in no order. With --tiny a thousand, among the tests.
 */
#include <cdb.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base_assert.h"
#include "base_hash.h"
#include "table_text.h"

static uint64_t count = 1000000, lookups = 5000000;
static uint64_t checksum, text_bytes;
static char folder[] = "/tmp/mailring-bench-table-XXXXXX";
static char text_path[64], cdb_path[64];

static double now(void)
{
    struct timespec t;

    ASSERT(clock_gettime(CLOCK_MONOTONIC, &t) == 0);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static struct slice key_of(uint64_t number, char text[64])
{
    int len = snprintf(text, 64, "user%" PRIu64 "@d%" PRIu64 ".example.org", number, number % 1000);

    return slice_of(text, (size_t)len);
}

static struct slice value_of(uint64_t number, char text[64])
{
    int len = snprintf(text, 64, "box%" PRIu64, number);

    return slice_of(text, (size_t)len);
}

static void make_files(void)
{
    struct cdb_make make;
    char key[64], value[64];

    ASSERT(mkdtemp(folder) != NULL);
    (void)snprintf(text_path, sizeof(text_path), "%s/text", folder);
    (void)snprintf(cdb_path, sizeof(cdb_path), "%s/a.cdb", folder);
    FILE *text = fopen(text_path, "w");
    int fd = open(cdb_path, O_RDWR | O_CREAT | O_TRUNC, 0600);
    ASSERT(text != NULL && fd >= 0);
    ASSERT(cdb_make_start(&make, fd) == 0);
    for (uint64_t i = 0; i < count; i++) {
        struct slice k = key_of(i, key), v = value_of(i, value);

        ASSERT(fprintf(text, "%.*s %.*s\n", SLICE_ARG(k), SLICE_ARG(v)) > 0);
        ASSERT(cdb_make_add(&make, k.data, (unsigned)k.len, v.data, (unsigned)v.len) == 0);
        text_bytes += k.len + v.len;
    }
    ASSERT(fclose(text) == 0);
    ASSERT(cdb_make_finish(&make) == 0);
    ASSERT(close(fd) == 0);
}

static const struct table *load_text(void)
{
    struct table_text text;
    struct table_lines lines;
    struct slice entry, key, value;
    char why[128];

    ASSERT(table_text_read(text_path, &text, why, sizeof(why)));
    struct table_builder *builder = table_builder_create("bench", text.len);
    table_lines_init(&lines, &text, false);
    while (table_lines_next(&lines, &entry)) {
        table_split(entry, &key, &value);
        ASSERT(table_builder_add(builder, key, value, NULL) == TABLE_ADDED);
    }
    table_text_finish(&text);
    return table_build(builder);
}

static const struct table *load_cdb(void)
{
    char why[128];
    const struct table *table = table_open_cdb("bench", cdb_path, why, sizeof(why));

    ASSERT(table != NULL);
    return table;
}

/* Half of the keys are there. */
static void look_up(const struct table *table)
{
    char memory[64];
    struct slice value;

    for (uint64_t i = 0; i < lookups; i++) {
        struct slice key = key_of(hash_u64(i) % (2 * count), memory);

        if (table_find(table, key, &value))
            checksum += value.len + value.data[value.len - 1];
    }
}

/* What it costs to make up the keys. */
static double key_cost(void)
{
    char memory[64];
    double begin = now();

    for (uint64_t i = 0; i < lookups; i++)
        checksum += key_of(hash_u64(i) % (2 * count), memory).len;
    return now() - begin;
}

static void run(const char *name, const struct table *(*load)(void), double keys)
{
    double begin = now();
    const struct table *table = load();
    double loaded = now() - begin;

    ASSERT(table_count(table) == count);
    begin = now();
    look_up(table);
    double looked = now() - begin - keys;
    printf("%-5s %8" PRIu64
           " entries: loaded in %.3f s, %.1f bytes each beside %.1f of text, a lookup "
           "%.0f ns\n",
           name, count, loaded, (double)(table_memory(table) - text_bytes) / (double)count,
           (double)text_bytes / (double)count, looked * 1e9 / (double)lookups);
    table_unref(table);
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "--tiny") == 0) {
        count = 1000;
        lookups = 5000;
    }
    make_files();
    double keys = key_cost();
    run("text", load_text, keys);
    run("cdb", load_cdb, keys);
    printf("checksum %" PRIu64 "\n", checksum);
    (void)unlink(text_path); /* they were made here */
    (void)unlink(cdb_path);
    (void)rmdir(folder);
    return 0;
}
