/* The users file: what is taken, what is refused and how that is said, and who is found in it. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#include "auth_world.h"
#include "base_assert.h"

Suite *auth_users_suite(void);

#define SHA512 \
    "$6$rounds=1000$saltsalt$LAV5VE5Y7w1d73x1mFNspYWUpazfmwv2SoepNXNKJ/otop/Zok96Hr8Q13LEv0DRY/x8v0/crpIjl8NJSAqXV/"
#define SHA256   "$5$rounds=1000$saltsalt$eKLZU9t9OoPWrqOQsoTIKG0aYkZ5rGOoOQhiIvoSWX2"
#define BCRYPT   "$2b$04$abcdefghijklmnopqrstuu2r9OfJnfCsdneAXAGHnS4UpFFP8WIrW"
#define YESCRYPT "$y$j75$saltsalt$0gBD67sgmJgRX3RZ6wHHO7sHimQEWGCWN85o4Twogh2"
#define SCRAM                                       \
    "{SCRAM-SHA-256}4096,W22ZaJ0SNY7soEsUEjb6gQ==," \
    "WG5d8oPm3OtcPnkdi4Uo7BkeZkBFzpcXkuLmtbsT4qY=,wfPLwcE6nTWhTAmQ7tl2KeoiWGPlZqQxSrmfPwDl2dU=" /* pencil */

static struct auth_users *users(void)
{
    return world.setup->users;
}

static const char *load(const char *text, unsigned mode)
{
    auth_put_file("users", text, mode);
    return auth_world_load("users = $//users");
}

START_TEST(test_found)
{
    struct auth_user u;

    ck_assert_str_eq(load("# comment\n\nann:" SHA512 "\r\n"
                          "  Bob@B.example :" BCRYPT ": bob@b.example, @c.example,*\n"
                          "eve:" YESCRYPT ":\n"
                          "locked:!" SHA512 "\nnone:*\n"
                          "dov:{SHA512-CRYPT}" SHA512 "\n"
                          "pencil:" SCRAM ":a@a.example",
                          0600),
                     "");
    ck_assert_uint_eq(auth_users_count(users()), 7);
    ck_assert(auth_users_find(users(), SLICE_LITERAL("ANN"), &u));
    ck_assert(slice_equal(u.name, SLICE_LITERAL("ann")));
    ck_assert(slice_equal(u.hash, SLICE_LITERAL(SHA512)));
    ck_assert_uint_eq(u.senders.len, 0);
    ck_assert(auth_users_find(users(), SLICE_LITERAL("bob@b.example"), &u));
    ck_assert(slice_equal(u.name, SLICE_LITERAL("bob@b.example")));
    ck_assert(slice_equal(u.hash, SLICE_LITERAL(BCRYPT)));
    ck_assert(slice_equal(u.senders, SLICE_LITERAL("bob@b.example, @c.example,*")));
    ck_assert(auth_users_find(users(), SLICE_LITERAL("eve"), &u) && u.kind == AUTH_HASH_CRYPT);
    ck_assert(auth_users_find(users(), SLICE_LITERAL("locked"), &u) && u.kind == AUTH_HASH_LOCKED);
    ck_assert(auth_users_find(users(), SLICE_LITERAL("none"), &u) && u.kind == AUTH_HASH_LOCKED);
    ck_assert(auth_users_find(users(), SLICE_LITERAL("dov"), &u));
    ck_assert(slice_equal(u.hash, SLICE_LITERAL(SHA512)));
    ck_assert(auth_users_find(users(), SLICE_LITERAL("pencil"), &u) && u.kind == AUTH_HASH_SCRAM);
    ck_assert(slice_equal(u.hash, SLICE_LITERAL(SCRAM)));
    ck_assert(slice_equal(u.senders, SLICE_LITERAL("a@a.example")));
    ck_assert(!auth_users_find(users(), SLICE_LITERAL("an"), &u));
    ck_assert(!auth_users_find(users(), SLICE_LITERAL("ann "), &u));
    ck_assert(!auth_users_find(users(), SLICE_LITERAL("ann\0"), &u));
    ck_assert(!auth_users_find(users(), SLICE_LITERAL("ann:"), &u));
    ck_assert(!auth_users_find(users(), SLICE_NULL, &u));
}
END_TEST

START_TEST(test_senders)
{
    struct slice rest, one;

    (void)load("bob:" BCRYPT ": bob@b.example,, @c.example,*,\n", 0600);
    rest = auth_setup_senders(world.setup, SLICE_LITERAL("Bob"));
    ck_assert(auth_sender_next(&rest, &one) && slice_equal(one, SLICE_LITERAL("bob@b.example")));
    ck_assert(auth_sender_next(&rest, &one) && slice_equal(one, SLICE_LITERAL("@c.example")));
    ck_assert(auth_sender_next(&rest, &one) && slice_equal(one, SLICE_LITERAL("*")));
    ck_assert(!auth_sender_next(&rest, &one));
    ck_assert_uint_eq(auth_setup_senders(world.setup, SLICE_LITERAL("nobody")).len, 0);
}
END_TEST

static const struct {
    const char *text;
    unsigned mode;
    const char *report;
} bad[] = {
    {"", 0600, "mailring.conf:5: warning: users: nobody is in users\n"},
    {"ann\n", 0600, "users:1: this is not user:hash[:sender,...]\n"},
    {"# one\n\nann:\n", 0600, "users:3: there is no hash\n"},
    {":" SHA512 "\n", 0600,
     "users:1: the user's name is empty, too long, not UTF-8, or has control characters\n"},
    {"a\tb:" SHA512 "\na\xff:" SHA512 "\n", 0600,
     "users:1: the user's name is empty, too long, not UTF-8, or has control characters\n"
     "users:2: the user's name is empty, too long, not UTF-8, or has control characters\n"},
    {"ann:secret\n", 0600, "users:1: the hash is not one that crypt(3) knows\n"},
    {"ann:$6x$saltsalt$x\n", 0600, "users:1: the hash is not one that crypt(3) knows\n"},
    {"ann:ab1234567890.\n", 0600, "users:1: the hash is not one that crypt(3) knows\n"},
    {"ann:{PLAIN}secret\n", 0600, "users:1: the hash is not one that crypt(3) knows\n"},
    {"ann:{SCRAM-SHA-256}4096,xx\n", 0600,
     "users:1: the hash is not {SCRAM-...}iterations,salt,StoredKey,ServerKey\n"},
    {"ann:" SHA512 "\nbob:" SHA512 "\nAnn:" BCRYPT "\n", 0600,
     "users:3: this user stands here for the second time\n"},
    {"ann:" SHA512 ":1000:100\n", 0600, "users:1: a sender is an address, @domain, or *\n"},
    {"ann:" SHA512 ":a@a.example b@b.example\n", 0600,
     "users:1: a sender's address has no spaces in it\n"},
    {"ann:" SHA512 "\n", 0604,
     "mailring.conf:5: users: others may read or change users (mode 604): chmod 600 it, or 640 for a "
     "group that reads it\n"},
    {"ann:" SHA512 "\n", 0620,
     "mailring.conf:5: users: others may read or change users (mode 620): chmod 600 it, or 640 for a "
     "group that reads it\n"},
    {"ann:" SHA512 "\n", 0640, ""},
    {"ann:" SHA512 "\n", 0400, ""},
};

START_TEST(test_bad)
{
    ck_assert_str_eq(load(bad[_i].text, bad[_i].mode), bad[_i].report);
}
END_TEST

START_TEST(test_wrong_file)
{
    char text[4096] = "";

    for (int i = 0; i < 100; i++)
        strcat(text, "this is something else\n");
    (void)load(text, 0600);
    /* Ten lines are enough to see it. */
    ck_assert_ptr_nonnull(strstr(load(text, 0600), "users:10: "));
    ck_assert_ptr_null(strstr(load(text, 0600), "users:11: "));
}
END_TEST

START_TEST(test_no_file)
{
    ck_assert_str_eq(auth_world_load("users = $//missing"),
                     "mailring.conf:5: users: cannot read missing: No such file or directory\n");
    ck_assert_str_eq(auth_world_load("users = $//"), "mailring.conf:5: users:  is not a file\n");
}
END_TEST

START_TEST(test_verify)
{
    static const struct slice hashes[] = {SLICE_INIT(SHA512), SLICE_INIT(SHA256),
                                          SLICE_INIT(BCRYPT), SLICE_INIT(YESCRYPT)};

    for (size_t i = 0; i < ARRAY_LEN(hashes); i++) {
        ck_assert(auth_verify(hashes[i], SLICE_LITERAL("secret")));
        ck_assert(!auth_verify(hashes[i], SLICE_LITERAL("secret ")));
        ck_assert(!auth_verify(hashes[i], SLICE_LITERAL("Secret")));
    }
    ck_assert(auth_verify(SLICE_LITERAL(SCRAM), SLICE_LITERAL("pencil")));
    ck_assert(!auth_verify(SLICE_LITERAL(SCRAM), SLICE_LITERAL("pencils")));
    ck_assert(!auth_verify(SLICE_LITERAL("!" SHA512), SLICE_LITERAL("secret")));
    ck_assert(!auth_verify(SLICE_LITERAL("*0"), SLICE_LITERAL("secret")));
    ck_assert(!auth_verify(SLICE_LITERAL("$9$x"), SLICE_LITERAL("secret")));
}
END_TEST

/* One who is not there costs what one of those there costs, and always the same one. */
START_TEST(test_stand_in)
{
    bool seen[3] = {false, false, false};

    (void)load("ann:" SHA512 "\nbob:" BCRYPT "\neve:" YESCRYPT "\nlocked:*\n", 0600);
    for (int i = 0; i < 100; i++) {
        char name[16];
        struct slice hash;

        (void)snprintf(name, sizeof(name), "user%d", i);
        hash = auth_users_stand_in(users(), slice_str(name));
        ck_assert(slice_equal(hash, auth_users_stand_in(users(), slice_str(name))));
        seen[0] |= slice_equal(hash, SLICE_LITERAL(SHA512));
        seen[1] |= slice_equal(hash, SLICE_LITERAL(BCRYPT));
        seen[2] |= slice_equal(hash, SLICE_LITERAL(YESCRYPT));
    }
    ck_assert(seen[0] && seen[1] && seen[2]);
    (void)load("locked:*\n", 0600);
    ck_assert_uint_eq(auth_users_stand_in(users(), SLICE_LITERAL("x")).data[0], '$');
    ck_assert_uint_eq(auth_users_stand_in(NULL, SLICE_LITERAL("x")).data[0], '$');
}
END_TEST

START_TEST(test_verifiers)
{
    struct sasl_verifier a, b;

    (void)load("pencil:" SCRAM "\nann:" SHA512 "\n", 0600);
    ck_assert_uint_eq(auth_users_scram(users(), TLS_HASH_SHA256), 1);
    ck_assert_uint_eq(auth_users_scram(users(), TLS_HASH_SHA1), 0);
    ck_assert(!auth_users_all_scram(users(), TLS_HASH_SHA256));
    ck_assert(auth_users_verifier(users(), SLICE_LITERAL("Pencil"), TLS_HASH_SHA256, &a));
    ck_assert_uint_eq(a.iterations, 4096);
    /* Neither she who has another hash nor he who is not there is told apart from the others. */
    ck_assert(!auth_users_verifier(users(), SLICE_LITERAL("ann"), TLS_HASH_SHA256, &a));
    ck_assert_uint_eq(a.iterations, 4096);
    ck_assert_uint_eq(a.salt_len, 16);
    ck_assert(!auth_users_verifier(users(), SLICE_LITERAL("NoBody"), TLS_HASH_SHA256, &a));
    /* The same after a restart, with a user more. */
    (void)load("pencil:" SCRAM "\nann:" SHA512 "\nlocked:*\n", 0600);
    ck_assert(!auth_users_verifier(users(), SLICE_LITERAL("nobody"), TLS_HASH_SHA256, &b));
    ck_assert_mem_eq(a.salt, b.salt, 16);
    (void)load("pencil:" SCRAM "\nlocked:*\n", 0600);
    ck_assert(auth_users_all_scram(users(), TLS_HASH_SHA256));
}
END_TEST

/* Many users load in a moment. */
START_TEST(test_many)
{
    enum { MANY = 200000 };
    FILE *file = fopen(auth_path("users"), "w");
    struct timespec start, end;
    struct auth_user u;

    for (int i = 0; i < MANY; i++)
        fprintf(file, "user%d@example.org:%s:user%d@example.org\n", i, i % 2 ? YESCRYPT : SCRAM, i);
    ck_assert_int_eq(fclose(file), 0);
    ck_assert_int_eq(chmod(auth_path("users"), 0600), 0);
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    ck_assert_str_eq(auth_world_load("users = $//users"), "");
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    printf("# %d users in %ld ms\n", MANY,
           (end.tv_sec - start.tv_sec) * 1000 + (end.tv_nsec - start.tv_nsec) / 1000000);
    ck_assert_uint_eq(auth_users_count(users()), MANY);
    for (int i = 0; i < MANY; i += 997) {
        char name[64];

        (void)snprintf(name, sizeof(name), "user%d@example.org", i);
        ck_assert(auth_users_find(users(), slice_str(name), &u));
        ck_assert(slice_equal(u.senders, slice_str(name)));
    }
    ck_assert(!auth_users_find(users(), SLICE_LITERAL("user200000@example.org"), &u));
}
END_TEST

Suite *auth_users_suite(void)
{
    Suite *suite = suite_create("auth_users");
    TCase *tc = tcase_create("users");

    tcase_add_checked_fixture(tc, auth_folder_setup, auth_world_teardown);
    tcase_add_test(tc, test_found);
    tcase_add_test(tc, test_senders);
    tcase_add_loop_test(tc, test_bad, 0, ARRAY_LEN(bad));
    tcase_add_test(tc, test_wrong_file);
    tcase_add_test(tc, test_no_file);
    tcase_add_test(tc, test_verify);
    tcase_add_test(tc, test_stand_in);
    tcase_add_test(tc, test_verifiers);
    tcase_add_test(tc, test_many);
    tcase_set_timeout(tc, 30);
    suite_add_tcase(suite, tc);
    return suite;
}
