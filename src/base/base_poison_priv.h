/*
 * base_poison: tells AddressSanitizer which bytes of our own allocators are not in use, so that a
 * read of a returned object is caught as it would be with malloc(). Nothing in other builds.
 */
#ifndef BASE_POISON_PRIV_H
#define BASE_POISON_PRIV_H

#if defined(__SANITIZE_ADDRESS__)
#define BASE_POISON 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define BASE_POISON 1
#endif
#endif

#ifdef BASE_POISON
#include <sanitizer/asan_interface.h>
#define memory_poison(memory, size)   __asan_poison_memory_region((memory), (size))
#define memory_unpoison(memory, size) __asan_unpoison_memory_region((memory), (size))
#else
#define memory_poison(memory, size)   ((void)(memory), (void)(size))
#define memory_unpoison(memory, size) ((void)(memory), (void)(size))
#endif

#endif
