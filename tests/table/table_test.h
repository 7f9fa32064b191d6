/* What the tests of this layer share: a folder for a test's files. */
#ifndef TABLE_TEST_H
#define TABLE_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "table.h"

void folder_setup(void);
void folder_teardown(void);
const char *in_folder(const char *name); /* good until the test's end */
void put_file(const char *name, struct slice bytes);
/* As if it had been written an hour ago, so that it counts as standing still. */
void age_file(const char *name);

struct pair {
    const char *key, *value;
};
void put_cdb(const char *name, const struct pair *pairs, size_t count, bool with_nul);

#define ck_assert_slice(actual, expected)                                                          \
    do {                                                                                           \
        struct slice actual_ = (actual);                                                           \
        struct slice expected_ = slice_str(expected);                                              \
        ck_assert_msg(slice_equal(actual_, expected_), "%.*s instead of %.*s", SLICE_ARG(actual_), \
                      SLICE_ARG(expected_));                                                       \
    } while (0)

#endif
