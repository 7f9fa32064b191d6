/*
 * The processor's CRC instruction takes eight bytes in one cycle but answers three cycles later, so
 * three streams run side by side, one after the other in memory, and are joined afterwards.
 *
 * Joining: a stream's checksum has to be moved past the streams behind it, that is multiplied by
 * x^(8 * bytes) modulo the polynomial. A carry-less product with a constant, fed to the CRC
 * instruction as if it were data, does that: the instruction multiplies by x^32 and reduces, and
 * reversed bits add one more x, so the constant is x^(8 * bytes - 33). Being data, the product may
 * as well be added to the last eight bytes of the last stream.
 */
#include <string.h>

#include "base_crc32c_priv.h"

#if defined(__x86_64__)

#include <immintrin.h>

#define CRC_TARGET __attribute__((target("sse4.2,pclmul")))

bool crc32c_hardware_available(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") && __builtin_cpu_supports("pclmul");
}

CRC_TARGET static inline uint64_t crc_word(uint64_t crc, uint64_t word)
{
    return _mm_crc32_u64(crc, word);
}

CRC_TARGET static inline uint64_t crc_byte(uint64_t crc, uint8_t byte)
{
    return _mm_crc32_u8((uint32_t)crc, byte);
}

CRC_TARGET static inline uint64_t carryless_product(uint64_t a, uint64_t b)
{
    __m128i product =
        _mm_clmulepi64_si128(_mm_cvtsi64_si128((long long)a), _mm_cvtsi64_si128((long long)b), 0);

    return (uint64_t)_mm_cvtsi128_si64(product);
}

#elif defined(__aarch64__) && defined(__AARCH64EL__)

#include <sys/auxv.h>

#include <asm/hwcap.h>

#define CRC_TARGET

bool crc32c_hardware_available(void)
{
    const unsigned long wanted = HWCAP_CRC32 | HWCAP_PMULL;

    return (getauxval(AT_HWCAP) & wanted) == wanted;
}

/* Spelled as instructions: compilers differ in how a function asks for the intrinsics. */
CRC_TARGET static inline uint64_t crc_word(uint64_t crc, uint64_t word)
{
    uint32_t result;

    __asm__(".arch_extension crc\n\tcrc32cx %w0, %w1, %x2"
            : "=r"(result)
            : "r"((uint32_t)crc), "r"(word));
    return result;
}

CRC_TARGET static inline uint64_t crc_byte(uint64_t crc, uint8_t byte)
{
    uint32_t result;

    __asm__(".arch_extension crc\n\tcrc32cb %w0, %w1, %w2"
            : "=r"(result)
            : "r"((uint32_t)crc), "r"((uint32_t)byte));
    return result;
}

CRC_TARGET static inline uint64_t carryless_product(uint64_t a, uint64_t b)
{
    uint64_t product;

    __asm__(".arch_extension aes\n\t"
            "fmov d0, %1\n\t"
            "fmov d1, %2\n\t"
            "pmull v0.1q, v0.1d, v1.1d\n\t"
            "fmov %0, d0"
            : "=r"(product)
            : "r"(a), "r"(b)
            : "v0", "v1");
    return product;
}

#else
#define CRC_NONE
#endif

#ifdef CRC_NONE

bool crc32c_hardware_available(void)
{
    return false;
}

uint32_t crc32c_hardware(uint32_t crc, void *to, const void *data, size_t len)
{
    if (to != NULL)
        memcpy(to, data, len);
    return crc32c_table(crc, data, len);
}

#else

/* Bytes of one of the three streams: long ones for bodies, short ones for headers and what is left.
 * x^(8 * n - 33) modulo the polynomial with its bits reversed, for one and for two streams. */
enum { CRC_LONG = 1024, CRC_SHORT = 128 };
#define CRC_PAST_LONG      0x170076FAu
#define CRC_PAST_LONG_TWO  0xA51B6135u
#define CRC_PAST_SHORT     0x0D3B6092u
#define CRC_PAST_SHORT_TWO 0xB9E02B86u

static inline uint64_t load_word(const uint8_t *from)
{
    uint64_t word;

    memcpy(&word, from, sizeof(word));
    return word;
}

/* One word of a stream, copied on the way if there is somewhere to copy to. */
CRC_TARGET static inline __attribute__((always_inline)) uint64_t crc_step(uint64_t crc, uint8_t *to,
                                                                          const uint8_t *from,
                                                                          bool copy)
{
    uint64_t word = load_word(from);

    if (copy)
        memcpy(to, &word, sizeof(word));
    return crc_word(crc, word);
}

CRC_TARGET static inline __attribute__((always_inline)) uint64_t crc_three(
    uint64_t crc, uint8_t *to, const uint8_t *from, bool copy, size_t size, uint32_t past_one,
    uint32_t past_two)
{
    uint64_t first = crc;
    uint64_t second = 0;
    uint64_t third = 0;
    size_t at = 0;

    for (; at < size - 8; at += 8) {
        first = crc_step(first, to + at, from + at, copy);
        second = crc_step(second, to + size + at, from + size + at, copy);
        third = crc_step(third, to + 2 * size + at, from + 2 * size + at, copy);
    }
    first = crc_step(first, to + at, from + at, copy);
    second = crc_step(second, to + size + at, from + size + at, copy);

    uint64_t last = load_word(from + 2 * size + at);
    if (copy)
        memcpy(to + 2 * size + at, &last, sizeof(last));
    last ^= carryless_product(first, past_two) ^ carryless_product(second, past_one);
    return crc_word(third, last);
}

CRC_TARGET static inline __attribute__((always_inline)) uint32_t crc_all(uint32_t seed, uint8_t *to,
                                                                         const uint8_t *from,
                                                                         size_t len, bool copy)
{
    uint64_t crc = (uint32_t)~seed;
    size_t at = 0;

    for (; len - at >= 3 * CRC_LONG; at += 3 * CRC_LONG)
        crc = crc_three(crc, to + at, from + at, copy, CRC_LONG, CRC_PAST_LONG, CRC_PAST_LONG_TWO);
    for (; len - at >= 3 * CRC_SHORT; at += 3 * CRC_SHORT)
        crc =
            crc_three(crc, to + at, from + at, copy, CRC_SHORT, CRC_PAST_SHORT, CRC_PAST_SHORT_TWO);
    for (; len - at >= 8; at += 8)
        crc = crc_step(crc, to + at, from + at, copy);
    for (; at < len; at++) {
        if (copy)
            to[at] = from[at];
        crc = crc_byte(crc, from[at]);
    }
    return ~(uint32_t)crc;
}

CRC_TARGET static uint32_t crc_only(uint32_t crc, const uint8_t *from, size_t len)
{
    /* `to` is never used, but is computed with: so it is a pointer of the right size, not NULL. */
    return crc_all(crc, (uint8_t *)(uintptr_t)from, from, len, false);
}

CRC_TARGET static uint32_t crc_copying(uint32_t crc, uint8_t *to, const uint8_t *from, size_t len)
{
    return crc_all(crc, to, from, len, true);
}

uint32_t crc32c_hardware(uint32_t crc, void *to, const void *data, size_t len)
{
    if (len == 0)
        return crc;
    return to == NULL ? crc_only(crc, data, len) : crc_copying(crc, to, data, len);
}

#endif
