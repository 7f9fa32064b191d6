/*
 * base_assert: assertions that stay on in release builds. SMTP peers retry and the spool is
 * crash-safe, so stopping is the cheap way to be wrong. Never used on bytes from a peer, a disk or
 * a configuration.
 */
#ifndef BASE_ASSERT_H
#define BASE_ASSERT_H

#include <stddef.h>

_Noreturn void assert_failed(const char *expression, const char *file, int line);

#define ASSERT(condition) ((condition) ? (void)0 : assert_failed(#condition, __FILE__, __LINE__))
#define UNREACHABLE()     assert_failed("unreachable", __FILE__, __LINE__)

/* The struct that embeds `member`, from a pointer to the member. */
#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

#define ARRAY_LEN(array) (sizeof(array) / sizeof((array)[0]))

#endif
