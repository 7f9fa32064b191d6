#include <check.h>

#include "base_codec.h"
#include "base_rand.h"

/* RFC 4648 10, and what stands in RFC 4616 and RFC 4954. */
static const struct {
    struct slice plain;
    const char *text;
} good[] = {
    {SLICE_INIT(""), ""},
    {SLICE_INIT("f"), "Zg=="},
    {SLICE_INIT("fo"), "Zm8="},
    {SLICE_INIT("foo"), "Zm9v"},
    {SLICE_INIT("foob"), "Zm9vYg=="},
    {SLICE_INIT("fooba"), "Zm9vYmE="},
    {SLICE_INIT("foobar"), "Zm9vYmFy"},
    {SLICE_INIT("test\0test\0test1234"), "dGVzdAB0ZXN0AHRlc3QxMjM0"},
    {SLICE_INIT("\xfb\xff\xfe"), "+//+"},
    {SLICE_INIT("\0\0\0"), "AAAA"},
};

START_TEST(test_known)
{
    uint8_t bytes[64];
    size_t len = 99;
    struct buf out;

    buf_init(&out, 0);
    ck_assert(base64_encode(good[_i].plain, &out));
    ck_assert(slice_equal(buf_slice(&out), slice_str(good[_i].text)));
    ck_assert(base64_decode(slice_str(good[_i].text), bytes, &len));
    ck_assert(slice_equal(slice_of(bytes, len), good[_i].plain));
    buf_finish(&out);
}
END_TEST

static const char *const bad[] = {
    "=",        "A",      "AA",       "AAA",  "A===",     "====",     "AA=A",     "=AAA",
    "Zg==Zg==", "Zg=",    "Zh==",     "Zm9=", "Zm9v\n",   "Zm9v\r\n", "Zm 9",     " Zm9",
    "Zm-_",     "Zm9vYg", "Zm9vYg=a", "*",    "AAAA*AAA", "\200AAA",  "AA==AAAA", "AAAAA===",
};

START_TEST(test_bad)
{
    uint8_t bytes[64];
    size_t len = 99;

    ck_assert(!base64_decode(slice_str(bad[_i]), bytes, &len));
    ck_assert_uint_eq(len, 99);
}
END_TEST

START_TEST(test_round_trip)
{
    struct rand r;

    rand_seed(&r, 1);
    for (size_t len = 0; len < 200; len++) {
        uint8_t plain[200], back[201];
        size_t back_len;
        struct buf out;

        for (size_t i = 0; i < len; i++)
            plain[i] = (uint8_t)rand_u64(&r);
        buf_init(&out, 0);
        ck_assert(base64_encode(slice_of(plain, len), &out));
        ck_assert(base64_decode(buf_slice(&out), back, &back_len));
        ck_assert_uint_le(back_len, base64_decoded_max(buf_len(&out)));
        ck_assert(slice_equal(slice_of(back, back_len), slice_of(plain, len)));
        buf_finish(&out);
    }
}
END_TEST

START_TEST(test_full)
{
    struct buf out;

    buf_init(&out, 3);
    ck_assert(!base64_encode(SLICE_LITERAL("a"), &out));
    ck_assert(out.overflow);
    ck_assert(base64_encode(SLICE_NULL, &out));
    buf_finish(&out);
}
END_TEST

Suite *codec_base64_suite(void)
{
    Suite *s = suite_create("base_codec_base64");
    TCase *tc = tcase_create("base64");

    tcase_add_loop_test(tc, test_known, 0, sizeof(good) / sizeof(good[0]));
    tcase_add_loop_test(tc, test_bad, 0, sizeof(bad) / sizeof(bad[0]));
    tcase_add_test(tc, test_round_trip);
    tcase_add_test(tc, test_full);
    suite_add_tcase(s, tc);
    return s;
}
