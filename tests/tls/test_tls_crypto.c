#include "tls_crypto.h"

#include "tls_test.h"

#define TEN      "kkkkkkkkkk"
#define LONG_KEY TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN TEN "k"

/* FIPS 180-4, RFC 2202, RFC 4231, RFC 6070, and Python's hashlib for the same with other hashes. */
static const struct {
    enum tls_hash hash;
    const char *data, *digest;
} digests[] = {
    {TLS_HASH_SHA1, "", "da39a3ee5e6b4b0d3255bfef95601890afd80709"},
    {TLS_HASH_SHA1, "abc", "a9993e364706816aba3e25717850c26c9cd0d89d"},
    {TLS_HASH_SHA256, "", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
    {TLS_HASH_SHA256, "abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
    {TLS_HASH_SHA384, "abc",
     "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"},
    {TLS_HASH_SHA512, "",
     "cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e"},
    {TLS_HASH_SHA512, "abc",
     "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"},
};
static const struct {
    enum tls_hash hash;
    const char *key, *data, *digest;
} macs[] = {
    {TLS_HASH_SHA1, "", "", "fbdb1d1b18aa6c08324b7d64b71fb76370690e1d"},
    {TLS_HASH_SHA1, "Jefe", "what do ya want for nothing?",
     "effcdf6ae5eb2fa2d27416d5f184df9c259a7c79"},
    {TLS_HASH_SHA1, LONG_KEY, "Test Using Larger Than Block-Size Key - Hash Key First",
     "522882a14ee30c4bdb54258404357ea8b91d18a9"},
    {TLS_HASH_SHA256, "", "", "b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"},
    {TLS_HASH_SHA256, "Jefe", "what do ya want for nothing?",
     "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"},
    {TLS_HASH_SHA256, LONG_KEY, "Test Using Larger Than Block-Size Key - Hash Key First",
     "70e4b005732fa7ff79392aa24fb240159b925dbc9f1398420c0f45e6763dcf14"},
    {TLS_HASH_SHA512, "", "",
     "b936cee86c9f87aa5d3c6f2e84cb5a4239a5fe50480a6ec66b70ab5b1f4ac6730c6c515421b327ec1d69402e53dfb49ad7381eb067b338fd7b0cb22247225d47"},
    {TLS_HASH_SHA512, "Jefe", "what do ya want for nothing?",
     "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737"},
    {TLS_HASH_SHA512, LONG_KEY, "Test Using Larger Than Block-Size Key - Hash Key First",
     "7c8e74d6159803e71a2ed5b35c729ab16d5f2d66dd859a349113fca9caf48a8cdc5373de4ecde6c9879975e8a8af4cf9a37c86466642a65752e18e2eb6686b04"},
};
static const struct {
    enum tls_hash hash;
    const char *password, *salt;
    uint32_t iterations;
    const char *digest;
} stretched[] = {
    {TLS_HASH_SHA1, "password", "salt", 4096, "4b007901b765489abead49d926f721d065a429c1"},
    {TLS_HASH_SHA1, "", "", 1, "1e437a1c79d75be61e91141dae20affc4892cc99"},
    {TLS_HASH_SHA1, "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 2,
     "8f2c3482e40bdbe537935153ef1692de0c7f4740"},
    {TLS_HASH_SHA256, "password", "salt", 4096,
     "c5e478d59288c841aa530db6845c4c8d962893a001ce4e11a4963873aa98134a"},
    {TLS_HASH_SHA256, "", "", 1,
     "f7ce0b653d2d72a4108cf5abe912ffdd777616dbbb27a70e8204f3ae2d0f6fad"},
    {TLS_HASH_SHA256, "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 2,
     "13dc8a7c13d372c90382822d2dc492f2ed52467fb7828ea86488783f2ef0397f"},
    {TLS_HASH_SHA512, "password", "salt", 4096,
     "d197b1b33db0143e018b12f3d1d1479e6cdebdcc97c5c0f87f6902e072f457b5143f30602641b3d55cd335988cb36b84376060ecd532e039b742a239434af2d5"},
    {TLS_HASH_SHA512, "", "", 1,
     "6d2ecbbbfb2e6dcd7056faf9af6aa06eae594391db983279a6bf27e0eb2286143ab0c996f33ca4b667e945829ea693340f2831797324e5f31df18ed171d18c97"},
    {TLS_HASH_SHA512, "passwordPASSWORDpassword", "saltSALTsaltSALTsaltSALTsaltSALTsalt", 2,
     "98d5c1535939ed6d044fa6c4eaf0ebc685d2975e2a36e919abbd284cabd937109ecad1ab3c087ecc1b356514bcfbccdf5c498e66a7ace125e15b9063f2cfd4dd"},
};

static void check_digest(enum tls_hash hash, const uint8_t *actual, const char *expected)
{
    char text[2 * TLS_HASH_SIZE_MAX + 1];
    for (size_t i = 0; i < tls_hash_size(hash); i++)
        snprintf(text + 2 * i, 3, "%02x", actual[i]);
    ck_assert_str_eq(text, expected);
}

START_TEST(digest)
{
    uint8_t out[TLS_HASH_SIZE_MAX];
    tls_digest(digests[_i].hash, slice_str(digests[_i].data), out);
    check_digest(digests[_i].hash, out, digests[_i].digest);
}
END_TEST

START_TEST(hmac)
{
    uint8_t out[TLS_HASH_SIZE_MAX];
    tls_hmac(macs[_i].hash, slice_str(macs[_i].key), slice_str(macs[_i].data), out);
    check_digest(macs[_i].hash, out, macs[_i].digest);
}
END_TEST

START_TEST(pbkdf2)
{
    uint8_t out[TLS_HASH_SIZE_MAX];
    tls_pbkdf2(stretched[_i].hash, slice_str(stretched[_i].password), slice_str(stretched[_i].salt),
               stretched[_i].iterations, out);
    check_digest(stretched[_i].hash, out, stretched[_i].digest);
}
END_TEST

START_TEST(nothing_and_in_place)
{
    uint8_t digest_of_nothing[32], bytes[32] = "abc";
    tls_digest(TLS_HASH_SHA256, SLICE_NULL, digest_of_nothing);
    check_digest(TLS_HASH_SHA256, digest_of_nothing, digests[2].digest);
    tls_digest(TLS_HASH_SHA256, slice_of(bytes, 3), bytes);
    check_digest(TLS_HASH_SHA256, bytes, digests[3].digest);
    tls_hmac(TLS_HASH_SHA256, SLICE_NULL, SLICE_NULL, bytes);
    check_digest(TLS_HASH_SHA256, bytes, macs[3].digest);
    memcpy(bytes, "Jefe", 4);
    tls_hmac(TLS_HASH_SHA256, slice_of(bytes, 4), slice_str(macs[4].data), bytes);
    check_digest(TLS_HASH_SHA256, bytes, macs[4].digest);
    memcpy(bytes, "password", 8);
    tls_pbkdf2(TLS_HASH_SHA256, slice_of(bytes, 8), SLICE_LITERAL("salt"), 4096, bytes);
    check_digest(TLS_HASH_SHA256, bytes, stretched[3].digest);
}
END_TEST

START_TEST(equal)
{
    ck_assert(tls_equal(SLICE_NULL, SLICE_NULL));
    ck_assert(tls_equal(SLICE_NULL, SLICE_LITERAL("")));
    ck_assert(tls_equal(SLICE_LITERAL("abc"), SLICE_LITERAL("abc")));
    ck_assert(!tls_equal(SLICE_LITERAL("abc"), SLICE_LITERAL("abd")));
    ck_assert(!tls_equal(SLICE_LITERAL("Abc"), SLICE_LITERAL("abc")));
    ck_assert(!tls_equal(SLICE_LITERAL("abc"), SLICE_LITERAL("ab")));
    ck_assert(!tls_equal(SLICE_LITERAL("a\x80"), SLICE_LITERAL("a\0")));
}
END_TEST

Suite *tls_crypto_suite(void)
{
    Suite *suite = suite_create("tls_crypto");
    TCase *tc = tcase_create("tls_crypto");
    tcase_add_loop_test(tc, digest, 0, ARRAY_LEN(digests));
    tcase_add_loop_test(tc, hmac, 0, ARRAY_LEN(macs));
    tcase_add_loop_test(tc, pbkdf2, 0, ARRAY_LEN(stretched));
    tcase_add_test(tc, nothing_and_in_place);
    tcase_add_test(tc, equal);
    suite_add_tcase(suite, tc);
    return suite;
}
