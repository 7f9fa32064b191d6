/* test_smtp_address_vectors: the public isemail suite, where it is present. */
#include <check.h>
#include <stdio.h>

#include "smtp_address.h"
#include "smtp_feed.h"
#include "smtp_test_paths.h"

/* The string at `key` behind `from`, unescaped; false if it is null. */
static bool json_value(const char *from, const char *key, uint8_t *out, size_t *len)
{
    const char *at = strstr(from, key);

    *len = 0;
    ck_assert_ptr_nonnull(at);
    at += strlen(key);
    if (*at++ != '"')
        return false;
    for (; *at != '"'; at++) {
        unsigned value = (uint8_t)*at;

        if (*at == '\\') {
            at++;
            value = *at == 'n' ? '\n' : *at == 'r' ? '\r' : *at == 't' ? '\t' : (uint8_t)*at;
            if (*at == 'u') {
                ck_assert_int_eq(sscanf(at + 1, "%4x", &value), 1);
                ck_assert_uint_lt(value, 0x80);
                at += 4;
            }
        }
        out[(*len)++] = (uint8_t)value;
    }
    out[*len] = 0;
    return true;
}

static bool one_of(const uint8_t *category, const char *const *names)
{
    for (; *names != NULL; names++)
        if (strcmp((const char *)category, *names) == 0)
            return true;
    return false;
}

static void check_vector(const char *object)
{
    static const char *const valid[] = {"ISEMAIL_VALID_CATEGORY", "ISEMAIL_RFC5321",
                                        "ISEMAIL_DNSWARN", NULL};
    static const char *const wrong[] = {"ISEMAIL_ERR", NULL};
    static uint8_t address[65536], category[256];
    size_t address_len, category_len;
    struct smtp_address a;
    enum smtp_address_result result;

    if (!json_value(object, "\"address\": ", address, &address_len)
        || !json_value(object, "\"category\": ", category, &category_len))
        return;
    result = smtp_address_parse(feed_guard(slice_of(address, address_len)), 0, &a);
    /* Those in between are legal in headers only, or obsolete: either way is right. */
    if (one_of(category, valid))
        ck_assert_msg(result == SMTP_ADDRESS_OK, "refused: %s", address);
    else if (one_of(category, wrong))
        ck_assert_msg(result != SMTP_ADDRESS_OK, "accepted: %s", address);
}

START_TEST(test_vectors)
{
    static char text[256 * 1024];
    FILE *file = fopen(TEST_VECTORS "/address/isemail.json", "rb");
    size_t len, count = 0;

    if (file == NULL) {
        fputs("skipped: " TEST_VECTORS "/address is not there\n", stderr);
        return;
    }
    len = fread(text, 1, sizeof(text) - 1, file);
    text[len] = 0;
    fclose(file);
    for (const char *at = text; (at = strstr(at, "\"id\":")) != NULL; at++, count++)
        check_vector(at);
    ck_assert_uint_ge(count, 160);
}
END_TEST

Suite *smtp_address_vectors_suite(void)
{
    Suite *s = suite_create("smtp_address_vectors");
    TCase *t = tcase_create("vectors");

    tcase_add_test(t, test_vectors);
    suite_add_tcase(s, t);
    return s;
}
