/* test_send_drop: what is left in the drop directory comes back as it was, and what others put there is not
 * taken for it. */
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_mem.h"
#include "send_drop.h"

static char folder[64];
static int directory;

static void setup(void)
{
    (void)snprintf(folder, sizeof(folder), "/tmp/mailring-test-drop-XXXXXX");
    ck_assert_ptr_nonnull(mkdtemp(folder));
    directory = open(folder, O_RDONLY | O_DIRECTORY);
    ck_assert_int_ge(directory, 0);
}

/* The one name in the folder, which is the caller's to free; NULL: none. */
static char *only_name(void)
{
    char command[128], name[128] = "";
    FILE *list;

    (void)snprintf(command, sizeof(command), "ls -A %s", folder);
    list = popen(command, "r");
    ck_assert_ptr_nonnull(list);
    if (fgets(name, sizeof(name), list) != NULL)
        name[strcspn(name, "\n")] = '\0';
    ck_assert_ptr_null(fgets(command, sizeof(command), list));
    ck_assert_int_eq(pclose(list), 0);
    return name[0] != '\0' ? mem_strdup(name) : NULL;
}

static void teardown(void)
{
    char command[128];

    (void)close(directory);
    (void)snprintf(command, sizeof(command), "rm -rf %s", folder);
    ck_assert_int_eq(system(command), 0);
}

static void put(const char *name, const char *text)
{
    int fd = openat(directory, name, O_WRONLY | O_CREAT | O_EXCL, 0644);

    ck_assert_int_ge(fd, 0);
    ck_assert_int_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    (void)close(fd);
}

static enum send_drop_result get(const char *name, struct send_drop *d)
{
    int error;

    return send_drop_read(directory, name, 100 * 1024 * 1024, d, &error);
}

static void check_content(struct send_body *body, struct slice want)
{
    struct slice piece = SLICE_NULL;

    ck_assert_uint_eq(body->size, want.len);
    ck_assert(send_body_rewind(body));
    do {
        ck_assert(send_body_next(body, &piece));
        ck_assert(slice_equal(piece, slice_head(want, piece.len)));
        slice_advance(&want, piece.len);
    } while (piece.len > 0);
    ck_assert_uint_eq(want.len, 0);
}

/* A small one stays in memory, a large one does not. */
START_TEST(test_round_trip)
{
    static const size_t sizes[] = {0, 10, 5 * 1024 * 1024};
    struct send_recipient recipients[] = {{.address = SLICE_LITERAL("bob@b.example")},
                                          {.address = SLICE_LITERAL("\"a b\"@b.example")}};
    struct send_body body;
    struct send_mail mail = {.sender = SLICE_LITERAL("ann@a.example"),
                             .recipients = recipients,
                             .recipient_count = 2,
                             .notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_DELAY,
                             .ret = SMTP_RET_HDRS,
                             .envid = SLICE_LITERAL("QQ+2B"),
                             .header = SLICE_LITERAL("Subject: x\r\n"),
                             .body = &body};
    struct buf bytes, whole;
    struct send_drop d;
    struct stat st;
    char *name;

    buf_init(&bytes, 0);
    buf_init(&whole, 0);
    send_body_init(&body);
    for (size_t i = 0; i < sizes[_i]; i++)
        (void)buf_append_byte(&bytes, (uint8_t)(i * 7));
    ck_assert(buf_append_str(&whole, "Subject: x\r\n\r\n"));
    ck_assert(buf_append_slice(&whole, buf_slice(&bytes)));
    ck_assert(send_body_take(&body, &bytes));
    ck_assert_int_eq(send_drop_write(folder, &mail), 0);
    name = only_name();
    ck_assert_ptr_nonnull(name);
    ck_assert_uint_eq(strlen(name), 32);
    ck_assert_int_eq(fstatat(directory, name, &st, 0), 0);
    ck_assert_uint_eq(st.st_mode & 0777, 0644);
    ck_assert_int_eq(get(name, &d), SEND_DROP_OK);
    ck_assert(slice_equal(d.mail.sender, mail.sender));
    ck_assert_uint_eq(d.mail.recipient_count, 2);
    ck_assert(slice_equal(d.mail.recipients[1].address, recipients[1].address));
    ck_assert_uint_eq(d.mail.notify, mail.notify);
    ck_assert_int_eq(d.mail.ret, mail.ret);
    ck_assert(slice_equal(d.mail.envid, mail.envid));
    ck_assert_uint_eq(d.owner, getuid());
    ck_assert_uint_eq(send_mail_size(&d.mail), buf_len(&whole));
    check_content(d.mail.body, buf_slice(&whole));
    send_drop_finish(&d);
    send_body_finish(&body);
    buf_finish(&bytes);
    buf_finish(&whole);
    mem_free(name);
}
END_TEST

#define GOOD "mailring-drop 1\nsender a\nrecipient b\nsize 5\n\nhello"

/* However much of a file is there: all of it, or it is none. */
START_TEST(test_cut_off)
{
    struct send_drop d;
    char text[] = GOOD, name[16];

    for (size_t len = strlen(GOOD); len-- > 0;) {
        text[len] = '\0';
        (void)snprintf(name, sizeof(name), "f%zu", len);
        put(name, text);
        ck_assert_int_eq(get(name, &d), SEND_DROP_STRANGE);
    }
    put("good", GOOD);
    ck_assert_int_eq(get("good", &d), SEND_DROP_OK);
    send_drop_finish(&d);
}
END_TEST

static const char *const strange[] = {
    GOOD "!",
    "mailring-drop 2\nsender a\nrecipient b\nsize 5\n\nhello",
    "mailring-drop 1\nrecipient b\nsize 5\n\nhello",
    "mailring-drop 1\nsender a\nsize 5\n\nhello",
    "mailring-drop 1\nsender a\nrecipient b\n\nhello",
    "mailring-drop 1\nsender a\nrecipient \nsize 5\n\nhello",
    "mailring-drop 1\nsender a\nrecipient b\nsize 5x\n\nhello",
    "mailring-drop 1\nsender a\nrecipient b\nnotify never,success\nsize 5\n\nhello",
    "mailring-drop 1\nsender a\nrecipient b\nwhatever x\nsize 5\n\nhello",
    "hello",
    "",
};

START_TEST(test_strange)
{
    struct send_drop d;

    put("file", strange[_i]);
    ck_assert_int_eq(get("file", &d), SEND_DROP_STRANGE);
}
END_TEST

/* Its sender is to be told; but not of what was cut off. */
START_TEST(test_too_large)
{
    struct send_drop d;
    int error;

    put("file", GOOD);
    ck_assert_int_eq(send_drop_read(directory, "file", 5, &d, &error), SEND_DROP_OK);
    ck_assert(!d.too_large);
    send_drop_finish(&d);
    ck_assert_int_eq(send_drop_read(directory, "file", 4, &d, &error), SEND_DROP_OK);
    ck_assert(d.too_large);
    ck_assert(slice_equal(d.mail.sender, slice_str("a")));
    ck_assert_uint_eq(d.mail.recipient_count, 1);
    send_drop_finish(&d);
    put("cut", "mailring-drop 1\nsender a\nrecipient b\nsize 5000\n\nhello");
    ck_assert_int_eq(send_drop_read(directory, "cut", 4, &d, &error), SEND_DROP_STRANGE);
}
END_TEST

/* More recipients than are read back: nobody is told that the message is safe. */
START_TEST(test_crowd)
{
    enum { MANY = 200000 };
    struct send_recipient *recipients = mem_calloc(MANY, sizeof(*recipients));
    struct send_body body;
    struct send_mail mail = {.recipients = recipients, .body = &body};
    struct send_drop d;
    char *name;

    send_body_init(&body);
    for (size_t i = 0; i < MANY; i++)
        recipients[i].address = SLICE_LITERAL("somebody@b.example");
    mail.recipient_count = MANY;
    ck_assert_int_eq(send_drop_write(folder, &mail), -E2BIG);
    ck_assert_ptr_null(only_name());
    mail.recipient_count = MANY / 2;
    ck_assert_int_eq(send_drop_write(folder, &mail), 0);
    name = only_name();
    ck_assert_int_eq(get(name, &d), SEND_DROP_OK);
    ck_assert_uint_eq(d.mail.recipient_count, MANY / 2);
    send_drop_finish(&d);
    send_body_finish(&body);
    mem_free(recipients);
    mem_free(name);
}
END_TEST

START_TEST(test_not_a_file)
{
    struct send_drop d;
    char path[128];

    put("good", GOOD);
    ck_assert_int_eq(linkat(directory, "good", directory, "second", 0), 0);
    ck_assert_int_eq(get("good", &d), SEND_DROP_STRANGE);
    ck_assert_int_eq(get("second", &d), SEND_DROP_STRANGE);
    ck_assert_int_eq(symlinkat("/etc/passwd", directory, "link"), 0);
    ck_assert_int_eq(get("link", &d), SEND_DROP_STRANGE);
    ck_assert_int_eq(mkfifoat(directory, "pipe", 0644), 0);
    ck_assert_int_eq(get("pipe", &d), SEND_DROP_STRANGE);
    (void)snprintf(path, sizeof(path), "%s/sub", folder);
    ck_assert_int_eq(mkdir(path, 0755), 0);
    ck_assert_int_eq(get("sub", &d), SEND_DROP_STRANGE);
    ck_assert_int_eq(get("none", &d), SEND_DROP_GONE);
}
END_TEST

/* Nothing is left of what could not be written whole. */
START_TEST(test_no_room)
{
    struct send_recipient recipient = {.address = SLICE_LITERAL("b")};
    struct send_body body;
    struct send_mail mail = {.recipients = &recipient, .recipient_count = 1, .body = &body};

    send_body_init(&body);
    body.error = ENOSPC; /* as if the temporary file could not be read back */
    ck_assert_int_eq(send_drop_write(folder, &mail), -ENOSPC);
    ck_assert_ptr_null(only_name());
    send_body_finish(&body);
    ck_assert_int_eq(send_drop_write("/nowhere/at/all", &mail), -ENOENT);
}
END_TEST

Suite *send_drop_suite(void)
{
    Suite *s = suite_create("send_drop");
    TCase *t = tcase_create("drop");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_loop_test(t, test_round_trip, 0, 3);
    tcase_add_test(t, test_cut_off);
    tcase_add_loop_test(t, test_strange, 0, sizeof(strange) / sizeof(strange[0]));
    tcase_add_test(t, test_too_large);
    tcase_add_test(t, test_crowd);
    tcase_add_test(t, test_not_a_file);
    tcase_add_test(t, test_no_room);
    suite_add_tcase(s, t);
    return s;
}
