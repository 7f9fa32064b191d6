#include "base_crc32c.h"

#include "base_assert.h"
#include "base_crc32c_priv.h"
#include "base_rand.h"
#include "base_test.h"

/* RFC 3720 B.4, and the check value of the usual catalogues. */
static const uint8_t iscsi_read[48] = {
    0x01, 0xC0, [16] = 0x14, [22] = 0x04, [27] = 0x14, [31] = 0x18, 0x28, [40] = 0x02};

typedef uint32_t crc_function(uint32_t crc, const void *data, size_t len);

static uint32_t hardware(uint32_t crc, const void *data, size_t len)
{
    return crc32c_hardware(crc, NULL, data, len);
}

static void check_vectors(crc_function *f)
{
    uint8_t zeros[32] = {0};
    uint8_t ones[32];
    uint8_t up[32];
    uint8_t down[32];

    memset(ones, 0xFF, sizeof(ones));
    for (uint8_t i = 0; i < 32; i++) {
        up[i] = i;
        down[i] = (uint8_t)(31 - i);
    }
    ck_assert_uint_eq(f(0, zeros, 32), 0x8A9136AA);
    ck_assert_uint_eq(f(0, ones, 32), 0x62A8AB43);
    ck_assert_uint_eq(f(0, up, 32), 0x46DD794E);
    ck_assert_uint_eq(f(0, down, 32), 0x113FDB5C);
    ck_assert_uint_eq(f(0, iscsi_read, 48), 0xD9963A56);
    ck_assert_uint_eq(f(0, "123456789", 9), 0xE3069283);
    ck_assert_uint_eq(f(0, NULL, 0), 0);
    ck_assert_uint_eq(f(77, NULL, 0), 77);
}

START_TEST(known_values)
{
    check_vectors(crc32c);
    check_vectors(crc32c_table);
    if (crc32c_hardware_available())
        check_vectors(hardware);
}
END_TEST

enum { SIZE = 20000 };
static uint8_t bytes[SIZE];
static uint8_t copy[SIZE + 16];

static void fill(uint64_t seed)
{
    struct rand r;

    rand_seed(&r, seed);
    for (size_t i = 0; i < SIZE; i++)
        bytes[i] = (uint8_t)rand_u64(&r);
}

static void check_one(uint32_t begin, size_t from, size_t len, size_t to)
{
    uint32_t expected = crc32c_table(begin, bytes + from, len);

    memset(copy, 0xA5, sizeof(copy));
    quick_assert(crc32c(begin, bytes + from, len) == expected);
    quick_assert(crc32c_copy(begin, copy + to, bytes + from, len) == expected);
    quick_assert(memcmp(copy + to, bytes + from, len) == 0);
    for (size_t i = 0; i < to; i++)
        quick_assert(copy[i] == 0xA5);
    for (size_t i = to + len; i < to + len + 8 && i < sizeof(copy); i++)
        quick_assert(copy[i] == 0xA5);
}

/* All lengths around the blocks of the hardware way, at all alignments. */
START_TEST(hardware_equals_table_and_copies)
{
    fill(test_seed("crc32c"));
    for (size_t len = 0; len < 1200; len++)
        check_one((uint32_t)(len * 2654435761u), len % 9, len, len % 7);
    for (size_t len = 3000; len < 3200; len++)
        check_one(1, len % 8, len, len % 5);
    for (size_t len = 9000; len < SIZE - 8; len += 777)
        check_one(0xFFFFFFFF, len % 8, len, len % 3);
}
END_TEST

START_TEST(continues_at_every_cut)
{
    const size_t len = 4000;

    fill(3);
    uint32_t whole = crc32c(0, bytes, len);
    for (size_t cut = 0; cut <= len; cut++) {
        quick_assert(crc32c(crc32c(0, bytes, cut), bytes + cut, len - cut) == whole);
        uint32_t crc = crc32c_copy(0, copy, bytes, cut);
        quick_assert(crc32c_copy(crc, copy + cut, bytes + cut, len - cut) == whole);
    }
    quick_assert(memcmp(copy, bytes, len) == 0);
}
END_TEST

START_TEST(reads_nothing_beyond)
{
    fill(4);
    for (size_t len = 0; len < 500; len++) {
        struct slice s = edge_copy(slice_of(bytes, len));

        quick_assert(crc32c(0, s.data, s.len) == crc32c_table(0, bytes, len));
        quick_assert(crc32c_copy(0, copy, s.data, s.len) == crc32c_table(0, bytes, len));
        edge_free(s);
    }
}
END_TEST

Suite *crc32c_suite(void)
{
    Suite *s = suite_create("crc32c");
    TCase *tc = tcase_create("crc32c");

    tcase_set_timeout(tc, 20);
    tcase_add_test(tc, known_values);
    tcase_add_test(tc, hardware_equals_table_and_copies);
    tcase_add_test(tc, continues_at_every_cut);
    tcase_add_test(tc, reads_nothing_beyond);
    suite_add_tcase(s, tc);
    return s;
}
