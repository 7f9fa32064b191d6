/*
 * What the tests of this layer share: a folder for a test's files, and loading from it.
 */
#ifndef CONF_TEST_H
#define CONF_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "conf.h"

/* Fixtures: each test has an empty folder, which is gone afterwards. */
void folder_setup(void);
void folder_teardown(void);

/* The path of a file in the folder; good until the test's end. */
const char *in_folder(const char *name);
/* Writes a file. In its text, "$/" stands for the folder and a slash. */
void put_file(const char *name, const char *text);

/* Writes a CDB, with a NUL behind keys and values or without. */
struct pair {
    const char *key, *value;
};
void put_cdb(const char *name, const struct pair *pairs, size_t count, bool with_nul);
/* As if the file had been written an hour ago, so that it counts as standing still. */
void age_file(const char *name);

/* Loads "mailring.conf" with this text. What was found, each line of it without the folder, is in
 * `loaded.report`. Earlier results are freed. */
struct loaded {
    struct conf *conf; /* NULL: it failed */
    struct conf_errors errors;
    struct buf report; /* ends in NUL */
};
extern struct loaded loaded;
void load_text(const char *text);
/* The same, when all has to be well. */
const struct conf *load_good(const char *text);
/* Loads the text and compares the report. */
void check_report(const char *text, const char *report);

#define ck_assert_slice(actual, expected)                                                          \
    do {                                                                                           \
        struct slice actual_ = (actual);                                                           \
        struct slice expected_ = slice_str(expected);                                              \
        ck_assert_msg(slice_equal(actual_, expected_), "%.*s instead of %.*s", SLICE_ARG(actual_), \
                      SLICE_ARG(expected_));                                                       \
    } while (0)

#endif
