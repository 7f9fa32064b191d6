/* Whether an address exists: RFC 5321 2.4 (case), 4.1.2 (quotes), 4.5.1 (postmaster). */
#include "routing_test.h"

Suite *routing_known_suite(void);

static const struct {
    const char *address;
    enum routing_known known;
} cases[] = {
    {"ann@one.example", ROUTING_OURS},
    {"ANN@One.Example", ROUTING_OURS},
    {"\"ann\"@one.example", ROUTING_OURS},
    {"\"a\\nn\"@one.example", ROUTING_OURS},
    {"\"Ann\"@one.example", ROUTING_OURS},
    {"\" ann\"@one.example", ROUTING_UNKNOWN},
    {"ann+news@one.example", ROUTING_OURS},
    {"\"ann+news\"@one.example", ROUTING_OURS},
    {"ann+@one.example", ROUTING_OURS},
    {"+ann@one.example", ROUTING_UNKNOWN},
    {"list+all@one.example", ROUTING_OURS}, /* as it stands in the file */
    {"list@one.example", ROUTING_UNKNOWN},
    {"list+other@one.example", ROUTING_UNKNOWN},
    {"list+all+x@one.example", ROUTING_UNKNOWN}, /* of list */
    {"j.d@one.example", ROUTING_OURS},
    {"\"j.d\"@one.example", ROUTING_OURS},
    {"\"q..q\"@one.example", ROUTING_OURS}, /* stands there in its quotes */
    {"eve@one.example", ROUTING_UNKNOWN},
    {"postmaster@one.example", ROUTING_OURS},
    {"PostMaster@one.example", ROUTING_OURS},
    {"\"postmaster\"@one.example", ROUTING_OURS},
    {"postmaster+x@one.example", ROUTING_OURS},
    {"anybody@all.example", ROUTING_OURS},
    {"\"\"@all.example", ROUTING_OURS},
    {"\"\"@one.example", ROUTING_UNKNOWN},
    {"\"a@one.example\"@all.example", ROUTING_OURS},
    {"\"ann@one.example\"@else.example", ROUTING_ELSEWHERE},
    {"ann@else.example", ROUTING_ELSEWHERE},
    {"ann@sub.one.example", ROUTING_ELSEWHERE},
    {"postmaster@else.example", ROUTING_ELSEWHERE},
    {"ann@[127.0.0.1]", ROUTING_ELSEWHERE},
};

START_TEST(known)
{
    struct smtp_address address = address_of(cases[_i].address);

    put_file("list", "ann\nlist+all\nj.d@one.example\n\"q..q\"\n");
    ck_assert_msg(routing_known(load("domain one.example { to = discard recipients = \"$/list\" "
                                     "subaddress = \"+\" }\n"
                                     "domain all.example { to = discard }\n"),
                                &address)
                      == cases[_i].known,
                  "%s", cases[_i].address);
}
END_TEST

Suite *routing_known_suite(void)
{
    Suite *suite = suite_create("routing_known");
    TCase *tcase = tcase_create("addresses");

    tcase_add_checked_fixture(tcase, world_setup, world_teardown);
    tcase_add_loop_test(tcase, known, 0, (int)(sizeof(cases) / sizeof(*cases)));
    suite_add_tcase(suite, tcase);
    return suite;
}
