/* What the tests of this layer share: a configuration of a few files. */
#ifndef ROUTING_TEST_H
#define ROUTING_TEST_H

#include <check.h>

#include "routing.h"

/* Fixtures: each test has an empty folder, which is gone afterwards, with the configuration. */
void world_setup(void);
void world_teardown(void);
/* Writes a file. In its text, "$/" stands for the folder and a slash. */
void put_file(const char *name, const char *text);
/* A configuration with a hostname and this text; all has to be well. */
const struct conf *load(const char *text);

struct smtp_address address_of(const char *text);

#define ck_assert_slice(actual, expected)                                                          \
    do {                                                                                           \
        struct slice actual_ = (actual);                                                           \
        struct slice expected_ = slice_str(expected);                                              \
        ck_assert_msg(slice_equal(actual_, expected_), "%.*s instead of %.*s", SLICE_ARG(actual_), \
                      SLICE_ARG(expected_));                                                       \
    } while (0)

#endif
