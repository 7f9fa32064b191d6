#include "tls_hello_priv.h"

#include "tls_link.h"
#include "tls_test.h"

/* ---- hellos by hand --------------------------------------------------------------------------------- */

static void number(struct buf *b, size_t width, size_t value)
{
    while (width-- > 0)
        (void)buf_append_byte(b, (uint8_t)(value >> (8 * width)));
}

static void extension(struct buf *b, size_t type, struct slice data)
{
    number(b, 2, type);
    number(b, 2, data.len);
    (void)buf_append_slice(b, data);
}

struct recipe {
    const char *sni;
    const uint16_t *suites, *algorithms;
    size_t suite_count, algorithm_count;
    bool no_algorithms, tls13, extended_master_secret;
};

static void make_body(const struct recipe *r, struct buf *out)
{
    struct buf extensions, data;
    buf_init(&extensions, 0);
    buf_init(&data, 0);
    number(out, 2, 0x0303);
    for (size_t i = 0; i < 32; i++)
        number(out, 1, i);
    number(out, 1, 0);
    number(out, 2, 2 * r->suite_count);
    for (size_t i = 0; i < r->suite_count; i++)
        number(out, 2, r->suites[i]);
    number(out, 2, 0x0100);
    extension(&extensions, 0x4A4A, SLICE_NULL); /* GREASE */
    if (r->sni != NULL) {
        number(&data, 2, strlen(r->sni) + 3);
        number(&data, 1, 0);
        number(&data, 2, strlen(r->sni));
        (void)buf_append_str(&data, r->sni);
        extension(&extensions, 0, buf_slice(&data));
        buf_clear(&data);
    }
    if (!r->no_algorithms) {
        number(&data, 2, 2 * r->algorithm_count);
        for (size_t i = 0; i < r->algorithm_count; i++)
            number(&data, 2, r->algorithms[i]);
        extension(&extensions, 13, buf_slice(&data));
        buf_clear(&data);
    }
    if (r->tls13)
        extension(&extensions, 43, slice_of("\x06\x7A\x7A\x03\x04\x03\x03", 7));
    if (r->extended_master_secret)
        extension(&extensions, 23, SLICE_NULL);
    number(out, 2, buf_len(&extensions));
    (void)buf_append_slice(out, buf_slice(&extensions));
    buf_finish(&extensions);
    buf_finish(&data);
}

/* In records of `record_size`. */
static void make_stream(struct slice body, size_t record_size, struct buf *out)
{
    struct buf message;
    buf_init(&message, 0);
    number(&message, 1, 1);
    number(&message, 3, body.len);
    (void)buf_append_slice(&message, body);
    struct slice rest = buf_slice(&message);
    while (rest.len > 0) {
        struct slice part = slice_head(rest, record_size);
        number(out, 3, 0x160301);
        number(out, 2, part.len);
        (void)buf_append_slice(out, part);
        slice_advance(&rest, part.len);
    }
    buf_finish(&message);
}

static const uint16_t both_suites[] = {0x1A1A, 0xC02B, 0xC02F}, rsa_suites[] = {0xC030, 0x009C},
                      ecdsa_suites[] = {0xC02C}, old_suites[] = {0x002F, 0x0035},
                      suites_13[] = {0x1301, 0x1303};
static const uint16_t both_algorithms[] = {0x0403, 0x0804, 0x0401}, rsa_algorithms[] = {0x0804},
                      ecdsa_algorithms[] = {0x0403, 0x0807}, sha1_algorithms[] = {0x0201, 0x0203};

#define SUITES(name)     .suites = name, .suite_count = ARRAY_LEN(name)
#define ALGORITHMS(name) .algorithms = name, .algorithm_count = ARRAY_LEN(name)

static const struct {
    struct recipe recipe;
    const char *sni;
    bool rsa, ecdsa, ed25519;
} rows[] = {
    {{.sni = "mx.example.org", SUITES(both_suites), ALGORITHMS(both_algorithms)},
     "mx.example.org",
     true,
     true,
     false},
    {{.sni = "MX.Example.ORG.", SUITES(both_suites), ALGORITHMS(rsa_algorithms)},
     "mx.example.org",
     true,
     false,
     false},
    {{SUITES(rsa_suites), ALGORITHMS(both_algorithms)}, "", true, false, false},
    {{SUITES(ecdsa_suites), ALGORITHMS(both_algorithms)}, "", false, true, false},
    {{SUITES(old_suites), ALGORITHMS(both_algorithms)}, "", false, false, false},
    {{SUITES(suites_13), ALGORITHMS(ecdsa_algorithms), .tls13 = true}, "", false, true, true},
    {{SUITES(suites_13), ALGORITHMS(both_algorithms), .tls13 = true}, "", true, true, false},
    {{SUITES(both_suites), ALGORITHMS(sha1_algorithms)}, "", false, false, false},
    {{SUITES(both_suites), .no_algorithms = true}, "", true, false, false},
    {{.sni = "mx.example.org",
      SUITES(both_suites),
      ALGORITHMS(both_algorithms),
      .extended_master_secret = true},
     "mx.example.org",
     true,
     true,
     false},
};

static void check_row(size_t i, size_t record_size)
{
    struct buf body, stream;
    struct tls_hello hello;
    buf_init(&body, 0);
    buf_init(&stream, 0);
    make_body(&rows[i].recipe, &body);
    make_stream(buf_slice(&body), record_size, &stream);
    size_t len = buf_len(&stream);
    (void)buf_append_str(&stream, "and what comes behind");

    /* Exactly as much is asked for as there is, whatever is there already. */
    for (size_t have = 0; have < len; have++) {
        size_t missing = tls_hello_missing(slice_head(buf_slice(&stream), have));
        quick_assert(missing > 0 && have + missing <= len);
        quick_assert(!tls_hello_parse(slice_head(buf_slice(&stream), have), &hello));
    }
    ck_assert_uint_eq(tls_hello_missing(slice_head(buf_slice(&stream), len)), 0);

    ck_assert(tls_hello_parse(slice_head(buf_slice(&stream), len), &hello));
    ck_assert(slice_equal(buf_slice(&hello.sni), slice_str(rows[i].sni)));
    ck_assert_int_eq(hello.rsa, rows[i].rsa);
    ck_assert_int_eq(hello.ecdsa, rows[i].ecdsa);
    ck_assert_int_eq(hello.ed25519, rows[i].ed25519);
    ck_assert_int_eq(hello.tls13, rows[i].recipe.tls13);
    ck_assert_int_eq(hello.extended_master_secret, rows[i].recipe.extended_master_secret);
    tls_hello_finish(&hello);
    buf_finish(&body);
    buf_finish(&stream);
}

START_TEST(reads)
{
    check_row((size_t)_i, 16384);
    check_row((size_t)_i, 50);
    check_row((size_t)_i, 1);
}
END_TEST

START_TEST(refuses)
{
    static const struct {
        const char *bytes;
        size_t len, missing;
    } streams[] = {
        {"", 0, 5},
        {"\x16", 1, 4},
        {"EHLO x", 6, 0},               /* plain text */
        {"\x17\x03\x03\x00\x05", 5, 0}, /* application data */
        {"\x16\x02\x00\x00\x05", 5, 0}, /* not TLS */
        {"\x16\x03\x01\x00\x00", 5, 0}, /* empty */
        {"\x16\x03\x01\x40\x01", 5, 0}, /* longer than a record may be */
        {"\x16\x03\x01\x00\x04\x02\0\0\0", 9, 0} /* a ServerHello */,
        {"\x16\x03\x01\x00\x04\x01\xFF\0\0", 9, 0} /* 16 MiB of ClientHello */,
        {"\x16\x03\x01\x00\x04\x01\x00\x00\x08", 9, 5},
        {"\x80\x2E\x01\x00\x02", 5, 0}, /* SSLv2 */
    };
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        struct slice stream = slice_of(streams[i].bytes, streams[i].len);
        struct tls_hello hello;
        ck_assert_uint_eq(tls_hello_missing(stream), streams[i].missing);
        ck_assert(!tls_hello_parse(stream, &hello));
        ck_assert_uint_eq(buf_len(&hello.sni), 0);
    }
}
END_TEST

/* Whatever byte of a hello is wrong, nothing worse happens than that it is not understood. */
START_TEST(survives)
{
    struct buf body, stream;
    buf_init(&body, 0);
    make_body(&rows[9].recipe, &body);
    for (size_t at = 0; at < buf_len(&body); at++) {
        for (unsigned value = 0; value < 256; value += 15) {
            uint8_t *byte = (uint8_t *)buf_slice(&body).data + at, kept = *byte;
            struct tls_hello hello;
            buf_init(&stream, 0);
            *byte = (uint8_t)value;
            make_stream(buf_slice(&body), 16384, &stream);
            *byte = kept;
            if (tls_hello_parse(buf_slice(&stream), &hello))
                tls_hello_finish(&hello);
            buf_finish(&stream);
        }
    }
    for (size_t len = 0; len < buf_len(&body); len++) { /* cut short, with lengths that say more */
        struct tls_hello hello;
        buf_init(&stream, 0);
        make_stream(slice_head(buf_slice(&body), len), 16384, &stream);
        quick_assert(!tls_hello_parse(buf_slice(&stream), &hello)
                     || len == 45 /* no extensions: fine */);
        tls_hello_finish(&hello);
        buf_finish(&stream);
    }
    buf_finish(&body);
}
END_TEST

START_TEST(strange_names)
{
    static const char *names[] = {"two words", "nul\x01", "", "\xC3\xA4.example"};
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct recipe r = {
            .sni = names[i], SUITES(both_suites), ALGORITHMS(both_algorithms), .tls13 = true};
        struct buf body, stream;
        struct tls_hello hello;
        buf_init(&body, 0);
        buf_init(&stream, 0);
        make_body(&r, &body);
        make_stream(buf_slice(&body), 16384, &stream);
        ck_assert(tls_hello_parse(buf_slice(&stream), &hello));
        ck_assert(hello.rsa && hello.tls13);
        ck_assert_uint_eq(buf_len(&hello.sni), 0);
        tls_hello_finish(&hello);
        buf_finish(&body);
        buf_finish(&stream);
    }
}
END_TEST

Suite *tls_hello_suite(void)
{
    Suite *suite = suite_create("tls_hello");
    TCase *tc = tcase_create("tls_hello");
    tcase_add_loop_test(tc, reads, 0, ARRAY_LEN(rows));
    tcase_add_test(tc, refuses);
    tcase_add_test(tc, survives);
    tcase_add_test(tc, strange_names);
    suite_add_tcase(suite, tc);
    return suite;
}
