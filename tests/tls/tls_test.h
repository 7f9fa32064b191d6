/*
 * What the tests of this layer share.
 */
#ifndef TLS_TEST_H
#define TLS_TEST_H

#include <check.h>
#include <stdio.h>
#include <stdlib.h>

#include "base_assert.h"
#include "base_slice.h"

/* ck_assert() without its record of where the test is, which costs a system call: for inner loops. */
#define quick_assert(condition)             \
    do {                                    \
        if (!(condition))                   \
            ck_abort_msg("%s", #condition); \
    } while (0)

#endif
