/*
 * smtp_scan: blocks of 64 bytes in vectors of 32, by the compiler's vector extension, so that the
 * same text makes SSE2, AVX2 and NEON code. A byte and its successor are compared at once by loading
 * the block twice, one byte apart: there is no branch and no state between lines.
 */
#include "smtp_scan.h"

typedef uint8_t vector __attribute__((vector_size(32)));
typedef uint64_t words __attribute__((vector_size(32)));

enum { BLOCK = 2 * sizeof(vector) };

#define LOAD(p)      (*(const struct unaligned *)(const void *)(p)).v
#define ALL(byte)    ((vector){0} + (uint8_t)(byte))
#define EQUAL(a, b)  ((vector)((a) == (b)))
#define ANY(v)       ((((words)(v))[0] | ((words)(v))[1] | ((words)(v))[2] | ((words)(v))[3]) != 0)
#define INLINE       static inline __attribute__((always_inline))
#define HIGH_BIT_SET (0x8080808080808080u)

struct unaligned {
    vector v;
} __attribute__((packed, may_alias));

INLINE size_t clean(const uint8_t *p, size_t len, unsigned *seen)
{
    const vector cr = ALL('\r'), lf = ALL('\n'), dot = ALL('.'), zero = ALL(0);
    vector all = zero, nul = zero;
    size_t at = 0;

    for (; len - at > BLOCK; at += BLOCK) {
        vector a = LOAD(p + at), b = LOAD(p + at + sizeof(vector));
        vector a1 = LOAD(p + at + 1), b1 = LOAD(p + at + sizeof(vector) + 1);
        vector odd = (EQUAL(a, cr) ^ EQUAL(a1, lf)) | (EQUAL(b, cr) ^ EQUAL(b1, lf))
                     | (EQUAL(a, lf) & EQUAL(a1, dot)) | (EQUAL(b, lf) & EQUAL(b1, dot));

        if (ANY(odd))
            break;
        all |= a | b;
        nul |= EQUAL(a, zero) | EQUAL(b, zero);
    }
    if (ANY((words)all & ((words){0} + HIGH_BIT_SET)))
        *seen |= SMTP_SCAN_8BIT;
    if (ANY(nul))
        *seen |= SMTP_SCAN_NUL;
    return at;
}

INLINE size_t undotted(const uint8_t *p, size_t len)
{
    const vector lf = ALL('\n'), dot = ALL('.');
    size_t at = 0;

    for (; len - at > BLOCK; at += BLOCK) {
        vector a = LOAD(p + at), b = LOAD(p + at + sizeof(vector));
        vector a1 = LOAD(p + at + 1), b1 = LOAD(p + at + sizeof(vector) + 1);

        if (ANY((EQUAL(a, lf) & EQUAL(a1, dot)) | (EQUAL(b, lf) & EQUAL(b1, dot))))
            break;
    }
    return at;
}

#if defined(__x86_64__)

__attribute__((target("avx2"))) static size_t clean_avx2(const uint8_t *p, size_t len,
                                                         unsigned *seen)
{
    return clean(p, len, seen);
}

__attribute__((target("avx2"))) static size_t undotted_avx2(const uint8_t *p, size_t len)
{
    return undotted(p, len);
}

size_t smtp_scan_clean(struct slice s, unsigned *seen)
{
    if (s.len <= BLOCK)
        return 0;
    return __builtin_cpu_supports("avx2") ? clean_avx2(s.data, s.len, seen)
                                          : clean(s.data, s.len, seen);
}

size_t smtp_scan_undotted(struct slice s)
{
    if (s.len <= BLOCK)
        return 0;
    return __builtin_cpu_supports("avx2") ? undotted_avx2(s.data, s.len) : undotted(s.data, s.len);
}

#else

size_t smtp_scan_clean(struct slice s, unsigned *seen)
{
    return s.len <= BLOCK ? 0 : clean(s.data, s.len, seen);
}

size_t smtp_scan_undotted(struct slice s)
{
    return s.len <= BLOCK ? 0 : undotted(s.data, s.len);
}

#endif
