/* Hashes that are made fit their password and no other; lines of a file are found, exchanged and taken out, and
 * nothing else is touched. */
#include "auth_password.h"

#include "auth_world.h"
#include "base_assert.h"

Suite *auth_password_suite(void);

static const uint8_t entropy[16] = "0123456789abcdef";

START_TEST(test_schemes)
{
    static const char *const begins[] = {"$y$", "$6$", "$2b$", "{SCRAM-SHA-256}", "{SCRAM-SHA-1}"};
    struct slice password = SLICE_LITERAL("correct horse \xc3\xa9");
    enum auth_scheme scheme = (enum auth_scheme)_i;
    enum auth_hash_kind kind;
    const char *why;
    struct buf hash;

    buf_init(&hash, 0);
    ck_assert(auth_password_fits(scheme, password, &why));
    ck_assert(auth_password_hash(scheme, password, entropy, &hash));
    ck_assert(slice_starts_nocase(buf_slice(&hash), slice_str(begins[_i])));
    ck_assert(auth_hash_kind(buf_slice(&hash), &kind, &why));
    ck_assert(auth_password_is(buf_slice(&hash), password));
    ck_assert(!auth_password_is(buf_slice(&hash), SLICE_LITERAL("correct horse")));
    buf_finish(&hash);
}
END_TEST

START_TEST(test_fits)
{
    uint8_t text[512];
    const char *why;

    memset(text, 'x', sizeof(text));
    ck_assert(auth_password_fits(AUTH_SCHEME_YESCRYPT, slice_of(text, 511), &why));
    ck_assert(!auth_password_fits(AUTH_SCHEME_YESCRYPT, slice_of(text, 512), &why));
    ck_assert(!auth_password_fits(AUTH_SCHEME_YESCRYPT, SLICE_NULL, &why));
    ck_assert(!auth_password_fits(AUTH_SCHEME_YESCRYPT, SLICE_LITERAL("a\tb"), &why));
    ck_assert(auth_password_fits(AUTH_SCHEME_BCRYPT, slice_of(text, 72), &why));
    ck_assert(!auth_password_fits(AUTH_SCHEME_BCRYPT, slice_of(text, 73), &why));
    ck_assert(auth_user_name_fits(SLICE_LITERAL("ann@a.example"), &why));
    ck_assert(!auth_user_name_fits(SLICE_LITERAL(""), &why));
    ck_assert(!auth_user_name_fits(SLICE_LITERAL("a:b"), &why));
    ck_assert(!auth_user_name_fits(SLICE_LITERAL("#a"), &why));
    ck_assert(!auth_user_name_fits(SLICE_LITERAL(" a"), &why));
    ck_assert(!auth_user_name_fits(SLICE_LITERAL("a\n"), &why));
}
END_TEST

static const struct {
    const char *text, *user, *set, *deleted; /* deleted NULL: he is not there */
} edits[] = {
    {"", "ann", "ann:H\n", NULL},
    {"ann:old\n", "ann", "ann:H\n", ""},
    {"ann:old:a@b,@c\n", "ann", "ann:H:a@b,@c\n", ""},
    {"ann:old:a@b\r\n", "ann", "ann:H:a@b\n", ""},
    {"# ann:x\n\nbob:1\n Ann : old\neve:2", "ann", "# ann:x\n\nbob:1\nann:H\neve:2",
     "# ann:x\n\nbob:1\neve:2"},
    {"bob:1", "ann", "bob:1\nann:H\n", NULL},
    {"bob:1\n", "ann", "bob:1\nann:H\n", NULL},
    {"#ann:1\n", "#ann", "#ann:1\n#ann:H\n", NULL},
    {"annie:1\nan:2\n", "ann", "annie:1\nan:2\nann:H\n", NULL},
    {"ann:1\nbob:2\nANN:3\n", "ann", "ann:H\nbob:2\n", "bob:2\n"},
    {"rubbish\nann:1", "ann", "rubbish\nann:H\n", "rubbish\n"},
};

START_TEST(test_edits)
{
    struct slice text = slice_str(edits[_i].text), user = slice_str(edits[_i].user), hash;
    struct buf out;

    buf_init(&out, 0);
    auth_file_set(text, user, SLICE_LITERAL("H"), &out);
    ck_assert(slice_equal(buf_slice(&out), slice_str(edits[_i].set)));
    if (user.data[0] != '#') {
        ck_assert(auth_file_find(buf_slice(&out), user, &hash));
        ck_assert(slice_equal(hash, SLICE_LITERAL("H")));
    }
    buf_clear(&out);
    ck_assert_int_eq(auth_file_delete(text, user, &out), edits[_i].deleted != NULL);
    ck_assert_int_eq(auth_file_find(text, user, &hash), edits[_i].deleted != NULL);
    ck_assert(slice_equal(buf_slice(&out), slice_str(edits[_i].deleted != NULL ? edits[_i].deleted
                                                                               : edits[_i].text)));
    buf_finish(&out);
}
END_TEST

Suite *auth_password_suite(void)
{
    Suite *suite = suite_create("auth_password");
    TCase *tc = tcase_create("password");

    tcase_add_loop_test(tc, test_schemes, 0, AUTH_SCHEME_COUNT);
    tcase_add_test(tc, test_fits);
    tcase_add_loop_test(tc, test_edits, 0, ARRAY_LEN(edits));
    tcase_set_timeout(tc, 60);
    suite_add_tcase(suite, tc);
    return suite;
}
