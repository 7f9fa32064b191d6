/*
 * What the tests of this layer share.
 */
#ifndef BASE_TEST_H
#define BASE_TEST_H

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_slice.h"

/* A test that has to end in a failed assertion. Only where Check forks (CK_FORK is not "no"):
 * otherwise the signal would end the whole run. */
#define add_abort_test(tc, test)                                \
    do {                                                        \
        const char *fork_mode = getenv("CK_FORK");              \
        if (fork_mode == NULL || strcmp(fork_mode, "no") != 0)  \
            tcase_add_test_raise_signal((tc), (test), SIGABRT); \
    } while (0)

/* ck_assert() without its record of where the test is, which costs a system call: for inner loops. */
#define quick_assert(condition)             \
    do {                                    \
        if (!(condition))                   \
            ck_abort_msg("%s", #condition); \
    } while (0)

#define ck_assert_slice(actual, expected)                                              \
    do {                                                                               \
        struct slice actual_ = (actual);                                               \
        struct slice expected_ = (expected);                                           \
        ck_assert_msg(slice_equal(actual_, expected_), "\"%.*s\" instead of \"%.*s\"", \
                      SLICE_ARG(actual_), SLICE_ARG(expected_));                       \
    } while (0)

/* A copy of `s` that ends where unreadable memory begins. edge_free() takes what this answers. */
struct slice edge_copy(struct slice s);
void edge_free(struct slice s);

/* TEST_SEED, or a new one; printed, so that a failure can be repeated. */
uint64_t test_seed(const char *test);

#endif
