/* Tables from a builder. */
#include <pthread.h>

#include "base_assert.h"
#include "base_mem.h"
#include "table_test.h"

Suite *table_memory_suite(void);

static enum table_add add(struct table_builder *b, const char *key, const char *value)
{
    return table_builder_add(b, slice_str(key), slice_str(value), NULL);
}

START_TEST(found_and_not_found)
{
    struct table_builder *b = table_builder_create("x", 0);
    struct slice value = SLICE_LITERAL("untouched");

    ck_assert_int_eq(add(b, "Ann", "1"), TABLE_ADDED);
    ck_assert_int_eq(add(b, "bob", ""), TABLE_ADDED);
    ck_assert_int_eq(add(b, "", "nobody"), TABLE_ADDED);
    ck_assert_int_eq(table_builder_add(b, SLICE_LITERAL("ANN"), SLICE_LITERAL("2"), &value),
                     TABLE_EXISTS);
    ck_assert_slice(value, "1");
    ck_assert_uint_eq(table_builder_count(b), 3);
    const struct table *t = table_build(b);
    ck_assert(table_find(t, SLICE_LITERAL("aNN"), &value));
    ck_assert_slice(value, "1");
    ck_assert(table_find(t, SLICE_LITERAL("bob"), &value));
    ck_assert_uint_eq(value.len, 0);
    ck_assert(table_find(t, SLICE_NULL, &value));
    ck_assert_slice(value, "nobody");
    ck_assert(!table_find(t, SLICE_LITERAL("an"), &value));
    ck_assert(!table_find(t, SLICE_LITERAL("anna"), &value));
    ck_assert(!table_find(t, SLICE_LITERAL("ann\0"), &value));
    ck_assert_slice(value, "nobody");
    ck_assert_int_eq(table_kind(t), TABLE_MEMORY);
    ck_assert_str_eq(table_name(t), "x");
    ck_assert_uint_eq(table_count(t), 3);
    table_unref(t);
    table_unref(NULL);
    table_builder_destroy(NULL);
    table_builder_destroy(table_builder_create("y", 10));
}
END_TEST

START_TEST(empty)
{
    const struct table *t = table_build(table_builder_create("x", 0));
    struct slice key, value;
    size_t cursor = 0;

    ck_assert(!table_find(t, SLICE_LITERAL("a"), &value));
    ck_assert(!table_find(t, SLICE_NULL, &value));
    ck_assert(!table_next(t, &cursor, &key, &value));
    table_unref(t);
}
END_TEST

START_TEST(exact_keys)
{
    struct table_builder *b = table_builder_create_exact("x", 0);
    struct slice value;

    ck_assert_int_eq(add(b, "/A", "1"), TABLE_ADDED);
    ck_assert_int_eq(add(b, "/a", "2"), TABLE_ADDED);
    const struct table *t = table_build(b);
    ck_assert(table_find(t, SLICE_LITERAL("/A"), &value));
    ck_assert_slice(value, "1");
    ck_assert(table_find(t, SLICE_LITERAL("/a"), &value));
    ck_assert_slice(value, "2");
    table_unref(t);
}
END_TEST

/* Lengths on both sides of what one and two octets of a length hold, and the longest key. */
START_TEST(lengths)
{
    static const size_t lens[] = {0, 1, 126, 127, 128, 129, 1023, 1024, 16383, 16384, 100000};
    struct table_builder *b = table_builder_create("x", 0);
    static uint8_t bytes[100001];
    struct slice value, key;
    size_t cursor = 0;

    memset(bytes, 'k', sizeof(bytes));
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        enum table_add expected = lens[i] > TABLE_KEY_MAX ? TABLE_TOO_LONG : TABLE_ADDED;

        ck_assert_int_eq(
            table_builder_add(b, slice_of(bytes, lens[i]), slice_of(bytes, lens[i]), NULL),
            expected);
    }
    ck_assert_int_eq(table_builder_add(b, SLICE_LITERAL("v"), slice_of(bytes, 100000), NULL),
                     TABLE_ADDED);
    const struct table *t = table_build(b);
    for (size_t i = 0; i < ARRAY_LEN(lens); i++) {
        bool found = table_find(t, slice_of(bytes, lens[i]), &value);

        ck_assert_int_eq(found, lens[i] <= TABLE_KEY_MAX);
        if (found)
            ck_assert_uint_eq(value.len, lens[i]);
    }
    for (size_t i = 0; i < 8; i++) {
        ck_assert(table_next(t, &cursor, &key, &value));
        ck_assert_uint_eq(key.len, lens[i]);
    }
    ck_assert(table_next(t, &cursor, &key, &value));
    ck_assert_uint_eq(value.len, 100000);
    ck_assert(!table_next(t, &cursor, &key, &value));
    table_unref(t);
}
END_TEST

START_TEST(many)
{
    enum { COUNT = 200000 };
    struct table_builder *b = table_builder_create("x", 0);
    char key[32], value[32];
    struct slice found;

    for (int i = 0; i < COUNT; i++) {
        (void)snprintf(key, sizeof(key), "User%d@example.org", i);
        (void)snprintf(value, sizeof(value), "%d", i * 7);
        ck_assert_int_eq(add(b, key, value), TABLE_ADDED);
    }
    const struct table *t = table_build(b);
    for (int i = 0; i < COUNT + 1000; i++) {
        (void)snprintf(key, sizeof(key), "uSer%d@example.org", i);
        (void)snprintf(value, sizeof(value), "%d", i * 7);
        bool known = table_find(t, slice_str(key), &found);

        if (known != (i < COUNT) || (known && !slice_equal(found, slice_str(value))))
            ck_abort_msg("%s: %d", key, known);
    }
    /* At most ten octets and a half beside the text of an entry: what the hash table takes. */
    ck_assert_uint_le(table_memory(t), (size_t)COUNT * (22 + 7 + 2 + 11));
    table_unref(t);
}
END_TEST

START_TEST(digests)
{
    static const struct pair lists[][2] = {
        {{"a", "1"}, {"b", "2"}},
        {{"a", "2"}, {"b", "1"}},
        {{"1", "a"}, {"b", "2"}},
        {{"a", "12"}, {"b", ""}},
    };
    uint64_t seen[4];

    for (size_t i = 0; i < 4; i++) {
        struct table_builder *b = table_builder_create("x", 0);

        (void)add(b, lists[i][0].key, lists[i][0].value);
        (void)add(b, lists[i][1].key, lists[i][1].value);
        const struct table *t = table_build(b);
        seen[i] = table_digest(t);
        table_unref(t);
        for (size_t j = 0; j < i; j++)
            ck_assert(seen[i] != seen[j]);
    }
}
END_TEST

static void *look_up(void *context)
{
    const struct table *t = context;
    struct slice value;
    char key[16];

    for (int i = 0; i < 20000; i++) {
        (void)snprintf(key, sizeof(key), "K%d", i % 1000);
        if (!table_find(t, slice_str(key), &value))
            return context;
        (void)table_ref(t);
        table_unref(t);
    }
    table_unref(t);
    return NULL;
}

/* For ThreadSanitizer, and for the counter. */
START_TEST(threads_look_up)
{
    struct table_builder *b = table_builder_create("x", 0);
    pthread_t threads[4];
    char key[16];

    for (int i = 0; i < 1000; i++) {
        (void)snprintf(key, sizeof(key), "k%d", i);
        (void)add(b, key, key);
    }
    const struct table *t = table_build(b);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++)
        ck_assert_int_eq(
            pthread_create(&threads[i], NULL, look_up, (void *)(uintptr_t)table_ref(t)), 0);
    table_unref(t);
    for (size_t i = 0; i < ARRAY_LEN(threads); i++) {
        void *failed;

        ck_assert_int_eq(pthread_join(threads[i], &failed), 0);
        ck_assert_ptr_null(failed);
    }
}
END_TEST

START_TEST(too_many_files)
{
    struct table_builder *b = table_builder_create("x", 0);
    struct table_stamp stamp = {0};

    for (int i = 0; i < TABLE_FILES_MAX; i++)
        ck_assert(table_builder_file(b, "/x", &stamp));
    ck_assert(!table_builder_file(b, "/x", &stamp));
    const struct table *t = table_build(b);
    ck_assert_str_eq(table_file(t, 0), "/x");
    ck_assert_ptr_nonnull(table_file(t, TABLE_FILES_MAX - 1));
    ck_assert_ptr_null(table_file(t, TABLE_FILES_MAX));
    ck_assert(!table_is_current(t));
    table_unref(t);
}
END_TEST

Suite *table_memory_suite(void)
{
    Suite *suite = suite_create("table_memory");
    TCase *tc = tcase_create("memory");

    tcase_set_timeout(tc, 30);
    tcase_add_test(tc, found_and_not_found);
    tcase_add_test(tc, empty);
    tcase_add_test(tc, exact_keys);
    tcase_add_test(tc, lengths);
    tcase_add_test(tc, many);
    tcase_add_test(tc, digests);
    tcase_add_test(tc, threads_look_up);
    tcase_add_test(tc, too_many_files);
    suite_add_tcase(suite, tc);
    return suite;
}
