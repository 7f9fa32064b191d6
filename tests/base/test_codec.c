#include "base_codec.h"

#include "base_assert.h"
#include "base_rand.h"
#include "base_test.h"

START_TEST(little_endian)
{
    uint8_t bytes[9];
    static const uint8_t expected[] = {0x55, 0x08, 0x07, 0x06, 0x05, 0x04, 0x03, 0xF2, 0xF1};

    bytes[0] = 0x55;
    put_le64(bytes + 1, 0xF1F2030405060708);
    ck_assert_mem_eq(bytes, expected, 9);
    ck_assert_uint_eq(get_le64(bytes + 1), 0xF1F2030405060708);
    ck_assert_uint_eq(get_le32(bytes + 5), 0xF1F20304);
    ck_assert_uint_eq(get_le16(bytes + 7), 0xF1F2);
    put_le16(bytes + 1, 0xABCD);
    put_le32(bytes + 3, 0xFEDCBA98);
    ck_assert_uint_eq(get_le64(bytes + 1), 0xF1F2FEDCBA98ABCD);
}
END_TEST

START_TEST(decimal)
{
    static const uint64_t values[] = {0,   9,    10,     11,     99,      100,        101,
                                      999, 1000, 123456, 999999, 1000000, 4294967296, UINT64_MAX};

    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char text[U64_TEXT_SIZE];
        char expected[32];
        size_t len = u64_to_text(values[i], text);

        (void)snprintf(expected, sizeof(expected), "%llu", (unsigned long long)values[i]);
        ck_assert_slice(slice_of(text, len), slice_str(expected));
    }
}
END_TEST

START_TEST(id_round_trip_and_order)
{
    struct rand r;
    uint64_t last = 0;
    char last_text[ID_TEXT_SIZE];

    rand_seed(&r, test_seed("id"));
    id_to_text(0, last_text);
    ck_assert_str_eq(last_text, "0000000000000");
    for (int i = 0; i < 10000; i++) {
        uint64_t id = i == 0 ? UINT64_MAX : rand_u64(&r) >> rand_below(&r, 64);
        uint64_t back = 0;
        char text[ID_TEXT_SIZE];

        id_to_text(id, text);
        quick_assert(strlen(text) == 13);
        quick_assert(id_from_text(slice_str(text), &back));
        quick_assert(back == id);
        quick_assert((strcmp(text, last_text) < 0) == (id < last));
        for (size_t cut = 0; cut < 13; cut++)
            quick_assert(!id_from_text(slice_of(text, cut), &back));
        last = id;
        memcpy(last_text, text, sizeof(text));
    }
}
END_TEST

START_TEST(id_texts)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t id;
    } rows[] = {
        {"0000000000010", true, 32},
        {"000000000000z", true, 31},
        {"FZZZZZZZZZZZZ", true, UINT64_MAX},
        {"fzzzzzzzzzzzz", true, UINT64_MAX},
        {"G000000000000", false, 0}, /* 65 bits */
        {"00000000000oO", true, 0},
        {"00000000000iL", true, 33},
        {"000000000000U", false, 0},
        {"000000000000-", false, 0},
        {"000000000000 ", false, 0},
        {"00000000000000", false, 0},
        {"", false, 0},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t id = 77;

        ck_assert_msg(id_from_text(slice_str(rows[i].text), &id) == rows[i].ok, "%s", rows[i].text);
        ck_assert_uint_eq(id, rows[i].ok ? rows[i].id : 77);
    }
    ck_assert(!id_from_text(SLICE_LITERAL("000000000000\0"), &(uint64_t){0}));
}
END_TEST

typedef bool unit_parser(struct slice text, uint64_t *out);

struct unit_row {
    const char *text;
    bool ok;
    uint64_t value;
    const char *formatted; /* NULL: as `text` */
};

static void check_units(const struct unit_row *rows, size_t count, unit_parser *parse,
                        void (*format)(uint64_t value, struct buf *out))
{
    for (size_t i = 0; i < count; i++) {
        struct slice text = edge_copy(slice_str(rows[i].text));
        struct buf out = {0};
        uint64_t value = 77;

        ck_assert_msg(parse(text, &value) == rows[i].ok, "%s", rows[i].text);
        ck_assert_uint_eq(value, rows[i].ok ? rows[i].value : 77);
        if (rows[i].ok) {
            format(value, &out);
            ck_assert_slice(buf_slice(&out),
                            slice_str(rows[i].formatted ? rows[i].formatted : rows[i].text));
        }
        buf_finish(&out);
        edge_free(text);
    }
}

START_TEST(durations)
{
    static const struct unit_row rows[] = {
        {"90s", true, 90000, NULL},
        {"5m", true, 300000, NULL},
        {"4h", true, 14400000, NULL},
        {"5d", true, 432000000, NULL},
        {"24h", true, 86400000, "1d"},
        {"250ms", true, 250, NULL},
        {"1500ms", true, 1500, NULL},
        {"30", true, 30000, "30s"},
        {"120", true, 120000, "2m"},
        {"0", true, 0, "0s"},
        {"0d", true, 0, "0s"},
        {"213503982334d", true, 18446744073657600000u, NULL},
        {"213503982335d", false, 0, NULL},
        {"18446744073709551615ms", true, UINT64_MAX, NULL},
        {"18446744073709551616ms", false, 0, NULL},
        {"", false, 0, NULL},
        {"m", false, 0, NULL},
        {"-5m", false, 0, NULL},
        {"5 m", false, 0, NULL},
        {" 5m", false, 0, NULL},
        {"5m ", false, 0, NULL},
        {"5M", false, 0, NULL},
        {"5w", false, 0, NULL},
        {"5mm", false, 0, NULL},
        {"1.5h", false, 0, NULL},
        {"1h30m", false, 0, NULL},
    };

    check_units(rows, ARRAY_LEN(rows), duration_parse, duration_format);
}
END_TEST

START_TEST(sizes)
{
    static const struct unit_row rows[] = {
        {"50M", true, 52428800, NULL},
        {"1K", true, 1024, NULL},
        {"3G", true, 3221225472, NULL},
        {"1000", true, 1000, NULL},
        {"1025", true, 1025, NULL},
        {"1024", true, 1024, "1K"},
        {"1024K", true, 1048576, "1M"},
        {"0", true, 0, NULL},
        {"17179869183G", true, 18446744072635809792u, NULL},
        {"17179869184G", false, 0, NULL},
        {"", false, 0, NULL},
        {"M", false, 0, NULL},
        {"50m", false, 0, NULL},
        {"50MB", false, 0, NULL},
        {"50 M", false, 0, NULL},
    };

    check_units(rows, ARRAY_LEN(rows), size_parse, size_format);
}
END_TEST

Suite *codec_suite(void)
{
    Suite *s = suite_create("codec");
    TCase *tc = tcase_create("codec");

    tcase_add_test(tc, little_endian);
    tcase_add_test(tc, decimal);
    tcase_add_test(tc, id_round_trip_and_order);
    tcase_add_test(tc, id_texts);
    tcase_add_test(tc, durations);
    tcase_add_test(tc, sizes);
    suite_add_tcase(s, tc);
    return s;
}
