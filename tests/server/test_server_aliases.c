/* What recipients stand for, and what is kept of what was said with them: dialogs, and the envelopes that they
 * come to. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "server_world.h"

Suite *server_aliases_suite(void);

static struct server_world w;

enum { MANY = 3000 };

static void write_aliases(FILE *file)
{
    fputs("friend: ann\n"
          "team: ann, bob, carl@far.example\n"
          "others: bob, dora, Ann\n"
          "nested: team, others\n"
          "loop: loop2\nloop2: loop\n"
          "self: self, bob\n"
          "gone: nobody-here\n"
          "closed: x@shut.example\n"
          "many: ",
          file);
    for (int i = 0; i < MANY; i++)
        fprintf(file, "%su%d@list.example", i > 0 ? ", " : "", i);
    fputs("\nmany2: ", file);
    for (int i = 0; i < 5 * MANY / 2; i++)
        fprintf(file, "%sv%d@list.example", i > 0 ? ", " : "", i);
    fputs("\ntoo-many: many, many2\n", file);
}

static void write_file(char *path, const char *text)
{
    int fd = mkstemp(path);
    FILE *file = fdopen(fd, "w");

    ck_assert_ptr_nonnull(file);
    if (text != NULL)
        fputs(text, file);
    else
        write_aliases(file);
    ck_assert_int_eq(fclose(file), 0);
}

static void open_world(const char *more)
{
    char aliases[] = "/tmp/server-aliases-XXXXXX", recipients[] = "/tmp/server-recipients-XXXXXX";
    char conf[1024];

    write_file(aliases, NULL);
    write_file(recipients, "ann\nbob\ndora\nself\n");
    (void)snprintf(conf, sizeof(conf),
                   "domain \"ours.example\" { to = \"discard\" aliases = \"%s\"\n"
                   "    recipients = \"%s\" subaddress = \"+\" }\n"
                   "relay_from = \"10.0.0.2\" verify { recipient_domain = no }\n"
                   "limits { recipients = 5 } %s",
                   aliases, recipients, more);
    server_world_open(&w, NULL, conf, 0);
    unlink(aliases);
    unlink(recipients);
}

static void setup(void)
{
    open_world("");
}

#define MAIL      "MAIL FROM:<a@b.example>"
#define TO(name)  "RCPT TO:<" name "@ours.example>"
#define OK_MAIL   "250 2.1.0 Ok\r\n"
#define OK        "250 2.1.5 Ok\r\n"
#define DATA      "DATA\r\nx\r\n.\r\n"
#define DATA_OK   "354 End data with <CRLF>.<CRLF>\r\n" ACCEPTED
#define BY(alias) "[rfc822;" alias "@ours.example]"

static const struct {
    const char *sent, *got;
    const char *mail; /* without body and braces; NULL: none */
} dialogs[] = {
    /* One address each, and each once. */
    {MAIL "\r\n" TO("ann") "\r\n" TO("Ann") "\r\n" TO("\"ann\"") "\r\n" DATA,
     OK_MAIL OK OK OK DATA_OK, "a@b.example|ann@ours.example"},
    {MAIL "\r\n" TO("ann+x") "\r\n" TO("ann") "\r\n" DATA, OK_MAIL OK OK DATA_OK,
     "a@b.example|ann+x@ours.example ann@ours.example"},
    {MAIL
     "\r\nRCPT TO:<X@far.example>\r\nRCPT TO:<x@FAR.example>\r\nRCPT TO:<x@far.example>\r\n" DATA,
     OK_MAIL OK OK OK DATA_OK, "a@b.example|X@far.example x@FAR.example"},
    /* Aliases; bounces name what the sender has named. */
    {MAIL "\r\n" TO("friend") "\r\n" DATA, OK_MAIL OK DATA_OK,
     "a@b.example|ann@ours.example" BY("friend")},
    {MAIL "\r\n" TO("team") "\r\n" DATA, OK_MAIL OK DATA_OK,
     "a@b.example|ann@ours.example" BY("team") " bob@ours.example" BY(
         "team") " carl@far.example" BY("team")},
    {MAIL "\r\n" TO("team") "\r\n" TO("others") "\r\n" TO("bob") "\r\n" DATA,
     OK_MAIL OK OK OK DATA_OK,
     "a@b.example|ann@ours.example" BY("team") " bob@ours.example" BY(
         "team") " carl@far.example" BY("team") " dora@ours.example" BY("others")},
    {MAIL "\r\n" TO("bob") "\r\n" TO("team+x") "\r\n" DATA, OK_MAIL OK OK DATA_OK,
     "a@b.example|bob@ours.example ann@ours.example[rfc822;team+2Bx@ours.example]"
     " carl@far.example[rfc822;team+2Bx@ours.example]"},
    {MAIL "\r\n" TO("self") "\r\n" DATA, OK_MAIL OK DATA_OK,
     "a@b.example|self@ours.example" BY("self") " bob@ours.example" BY("self")},
    {MAIL "\r\n" TO("loop") "\r\n" TO("gone") "\r\n" TO("closed") "\r\n" TO("eve") "\r\n" TO(
         "too-many") "\r\n" TO("bob") "\r\n" DATA,
     OK_MAIL
     "550 5.4.6 That alias leads back to itself\r\n"
     "550 5.1.1 No such recipient here\r\n550 5.7.1 moved away\r\n550 5.1.1 No such recipient here\r\n"
     "550 5.2.4 That alias stands for too many addresses\r\n" OK DATA_OK,
     "a@b.example|bob@ours.example"},
    {MAIL "\r\n" TO("loop") "\r\nDATA\r\n",
     OK_MAIL "550 5.4.6 That alias leads back to itself\r\n554 5.5.1 No valid recipients\r\n",
     NULL},
    /* What is said about notices goes with the mail. */
    {MAIL
     " RET=HDRS ENVID=q+2B1\r\n" TO("bob") " NOTIFY=FAILURE,DELAY ORCPT=rfc822;b+2Bc@x.example\r\n" TO(
         "dora") " NOTIFY=NEVER\r\n" TO("ann") "\r\n" DATA,
     OK_MAIL OK OK OK DATA_OK,
     "a@b.example[q+2B1][HDRS]|bob@ours.example[FAILURE][DELAY][rfc822;b+2Bc@x.example]"
     " dora@ours.example[NEVER] ann@ours.example"},
    {MAIL " RET=FULL\r\n" TO("friend") " NOTIFY=SUCCESS ORCPT=rfc822;f@x.example\r\n" DATA,
     OK_MAIL OK DATA_OK, "a@b.example[FULL]|ann@ours.example[SUCCESS][rfc822;f@x.example]"},
    {MAIL "\r\n" TO("team") " NOTIFY=SUCCESS,FAILURE\r\n" DATA, OK_MAIL OK DATA_OK,
     "a@b.example|ann@ours.example[FAILURE]" BY("team") " bob@ours.example[FAILURE]" BY(
         "team") " carl@far.example[FAILURE]" BY("team") " team@ours.example[SUCCESS][FAILURE][expanded]"},
    {MAIL "\r\n" TO("team") " NOTIFY=SUCCESS ORCPT=rfc822;t@x.example\r\n" DATA, OK_MAIL OK DATA_OK,
     "a@b.example|ann@ours.example[NEVER][rfc822;t@x.example]"
     " bob@ours.example[NEVER][rfc822;t@x.example] carl@far.example[NEVER][rfc822;t@x.example]"
     " team@ours.example[SUCCESS][rfc822;t@x.example][expanded]"},
    {MAIL "\r\n" TO("team") " NOTIFY=NEVER\r\n" TO("others") " NOTIFY=DELAY\r\n" DATA,
     OK_MAIL OK OK DATA_OK,
     "a@b.example|ann@ours.example[DELAY]" BY("team") " bob@ours.example[DELAY]" BY(
         "team") " carl@far.example[NEVER]" BY("team") " dora@ours.example[DELAY]" BY("others")},
    {MAIL "\r\n" TO("ann") "\r\n" TO("ANN") " NOTIFY=SUCCESS\r\n" DATA, OK_MAIL OK OK DATA_OK,
     "a@b.example|ann@ours.example[SUCCESS][FAILURE][DELAY]"},
    {MAIL "\r\n" TO("self") " NOTIFY=SUCCESS\r\n" TO("self") " NOTIFY=SUCCESS\r\n" DATA,
     OK_MAIL OK OK DATA_OK,
     "a@b.example|self@ours.example[NEVER]" BY("self") " bob@ours.example[NEVER]" BY(
         "self") " self@ours.example[SUCCESS][expanded]"},
    {MAIL " ENVID=+ZZ\r\n" MAIL " RET=SOME\r\n" MAIL
          "\r\n" TO("ann") " NOTIFY=NEVER,SUCCESS\r\n" TO("ann") " ORCPT=ann\r\nRSET\r\n",
     "501 5.5.4 Parameter value\r\n501 5.5.4 Parameter value\r\n" OK_MAIL
     "501 5.5.4 Parameter value\r\n501 5.5.4 Parameter value\r\n250 2.0.0 Ok\r\n",
     NULL},
    /* The client's limit is on what it names. */
    {MAIL "\r\n" TO("bob") "\r\n" TO("bob") "\r\n" TO("bob") "\r\n" TO("bob") "\r\n" TO(
         "bob") "\r\n" TO("ann") "\r\n" DATA,
     OK_MAIL OK OK OK OK OK "452 4.5.3 Too many recipients\r\n" DATA_OK,
     "a@b.example|bob@ours.example"},
};

static void begin(struct client *c)
{
    *c = (struct client){0};
    buf_clear(&w.mail);
    client_open(&w, c, 0);
    client_send(c, "EHLO c\r\n");
    server_world_run_ms(&w, 20);
    buf_clear(&c->got);
}

static void end(struct client *c, size_t n)
{
    char mail[2048] = "";

    server_world_run_ms(&w, 200);
    ck_assert_msg(strcmp(client_got(c), dialogs[n].got) == 0, "%s got\n%sinstead of\n%s",
                  dialogs[n].sent, client_got(c), dialogs[n].got);
    if (dialogs[n].mail != NULL)
        (void)snprintf(mail, sizeof(mail), "{%s|x\r\n}", dialogs[n].mail);
    (void)buf_append_byte(&w.mail, '\0');
    ck_assert_str_eq((const char *)buf_slice(&w.mail).data, mail);
    client_finish(&w, c);
}

START_TEST(at_once)
{
    struct client c;

    begin(&c);
    client_send(&c, dialogs[_i].sent);
    end(&c, (size_t)_i);
    server_world_close(&w);
}
END_TEST

START_TEST(octet_by_octet)
{
    struct client c;

    begin(&c);
    for (const char *p = dialogs[_i].sent; *p != '\0'; p++) {
        client_send_bytes(&c, p, 1);
        server_world_run_ms(&w, 3);
    }
    end(&c, (size_t)_i);
    server_world_close(&w);
}
END_TEST

/* What does not fit is sent separately; what never does is refused for good. Nothing of either is in. */
START_TEST(large_lists)
{
    struct client c;
    const char *mail;

    begin(&c);
    client_send(&c, MAIL "\r\n" TO("many") "\r\n" TO("many2") "\r\n" TO("bob") "\r\n" DATA);
    server_world_run_ms(&w, 2000);
    ck_assert_str_eq(client_got(&c), OK_MAIL OK
                     "452 4.5.3 Too many recipients, send the others separately\r\n" OK DATA_OK);
    (void)buf_append_byte(&w.mail, '\0');
    mail = (const char *)buf_slice(&w.mail).data;
    ck_assert_ptr_nonnull(strstr(mail, "u2999@list.example"));
    ck_assert_ptr_nonnull(strstr(mail, " bob@ours.example|"));
    ck_assert_ptr_null(strstr(mail, "v0@list.example"));
    ck_assert_uint_eq(server_world_counters(&w).recipients, MANY + 1);
    buf_clear(&w.mail);
    buf_clear(&c.got);
    client_send(&c, MAIL "\r\n" TO("many2") "\r\n" DATA);
    server_world_run_ms(&w, 2000);
    ck_assert_str_eq(client_got(&c), OK_MAIL OK DATA_OK);
    (void)buf_append_byte(&w.mail, '\0');
    ck_assert_ptr_nonnull(strstr((const char *)buf_slice(&w.mail).data, "v7499@list.example"));
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

/* Received tells for whom, as the client said it, if that was one. */
START_TEST(what_is_written)
{
    struct client c;

    begin(&c);
    client_send(&c, MAIL "\r\n" TO("friend") "\r\n" DATA MAIL "\r\n" TO("team") "\r\n" DATA);
    server_world_run_ms(&w, 200);
    ck_assert_str_eq(client_got(&c), OK_MAIL OK DATA_OK OK_MAIL OK DATA_OK);
    ck_assert_uint_eq(server_world_counters(&w).accepted, 2);
    ck_assert_uint_eq(server_world_counters(&w).recipients, 4);
    ck_assert_uint_eq(server_world_counters(&w).expanded, 2);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

#define TOO_MANY "550 5.2.4 That alias stands for too many addresses\r\n"

/* So much work for one message, and no more, whatever comes of it. The next has its own. */
START_TEST(work_has_an_end)
{
    struct client c;

    begin(&c);
    client_send(
        &c, MAIL "\r\n" TO("too-many") "\r\n" TO("too-many") "\r\n" TO("too-many") "\r\n" TO(
                "too-many") "\r\n" TO("too-many") "\r\n" TO("bob") "\r\nRSET\r\n" MAIL
                                                                   "\r\n" TO("bob") "\r\n" DATA);
    server_world_run_ms(&w, 2000);
    ck_assert_str_eq(client_got(&c), OK_MAIL TOO_MANY TOO_MANY TOO_MANY TOO_MANY TOO_MANY
                     "452 4.5.3 Too many recipients, send the others separately\r\n"
                     "250 2.0.0 Ok\r\n" OK_MAIL OK DATA_OK);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

/* What many clients keep us from forgetting has a bound; who goes gives it back. */
START_TEST(lists_at_once)
{
    enum { CROWD = 150 };
    static struct client crowd[CROWD];
    struct client *last = &crowd[CROWD - 1];

    for (unsigned i = 0; i < CROWD; i++) {
        client_open(&w, &crowd[i], i % CLIENT_HOSTS);
        client_send(&crowd[i], "HELO c\r\n");
        server_world_run_ms(&w, 20);
        buf_clear(&crowd[i].got);
        client_send(&crowd[i], MAIL "\r\n" TO("many2") "\r\n");
        server_world_run_ms(&w, 100);
    }
    server_world_run_ms(&w, 500);
    ck_assert_str_eq(client_got(&crowd[20]), OK_MAIL OK);
    ck_assert_str_eq(client_got(last),
                     OK_MAIL "452 4.3.1 Too many large lists at once, try again later\r\n");
    buf_clear(&last->got);
    client_send(last, TO("team") "\r\n");
    client_send(&crowd[0], "RSET\r\n");
    server_world_run_ms(&w, 100);
    client_send(last, TO("many2") "\r\n");
    server_world_run_ms(&w, 100);
    ck_assert_str_eq(client_got(last), OK OK);
    for (unsigned i = 0; i < CROWD; i++)
        client_finish(&w, &crowd[i]);
    server_world_close(&w);
}
END_TEST

/* A command that took long is the last of its pass: others do not wait for all that a client has piled up. */
START_TEST(others_have_their_turn)
{
    struct client c, other = {0};
    unsigned passes = 0;

    begin(&c);
    client_open(&w, &other, 1);
    client_send(&other, "HELO c\r\n");
    server_world_run_ms(&w, 50);
    buf_clear(&other.got);
    client_send(&c, MAIL "\r\n" TO("too-many") "\r\n" TO("too-many") "\r\n" TO("too-many") "\r\n");
    while (buf_len(&c.got) == 0)
        ck_assert(server_world_pass_any(&w));
    ck_assert_str_eq(client_got(&c), OK_MAIL TOO_MANY);
    for (; strcmp(client_got(&c), OK_MAIL TOO_MANY TOO_MANY TOO_MANY) != 0; passes++)
        ck_assert(server_world_pass_any(&w));
    ck_assert_uint_ge(passes, 2);
    client_finish(&w, &other);
    client_finish(&w, &c);
    server_world_close(&w);
}
END_TEST

Suite *server_aliases_suite(void)
{
    Suite *s = suite_create("server_aliases");
    TCase *tc = tcase_create("envelopes");

    tcase_set_timeout(tc, 60);
    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_loop_test(tc, at_once, 0, (int)ARRAY_LEN(dialogs));
    tcase_add_loop_test(tc, octet_by_octet, 0, (int)ARRAY_LEN(dialogs));
    tcase_add_test(tc, large_lists);
    tcase_add_test(tc, what_is_written);
    tcase_add_test(tc, work_has_an_end);
    tcase_add_test(tc, lists_at_once);
    tcase_add_test(tc, others_have_their_turn);
    suite_add_tcase(s, tc);
    return s;
}
