/* Where one recipient's mail goes: domains of ours, routes by recipient and by sender. */
#include "base_assert.h"
#include "routing_priv.h"
#include "routing_test.h"

Suite *routing_way_suite(void);

#define CONF                                                                             \
    "domain one.example { to = \"maildir:/mail/%d/%u\" }\n"                              \
    "domain in.example { to = {\"smtp://192.0.2.1\", \"smtp://[2001:db8::1]:2525\"} }\n" \
    "domain gone.example { to = \"reject:moved away\" }\n"                               \
    "route \"a.example\" { to = \"smtp://a.test\" }\n"                                   \
    "route \"*.a.example\" { to = \"smtp://below-a.test:587\" }\n"                       \
    "route \"*.example\" { to = discard }\n"

static const struct {
    const char *recipient;
    const char *words;
} ways[] = {
    {"ann@one.example", "domain \"one.example\": maildir:/mail/%d/%u"},
    {"ann@ONE.Example", "domain \"one.example\": maildir:/mail/%d/%u"},
    {"\"x@a.example\"@one.example", "domain \"one.example\": maildir:/mail/%d/%u"},
    {"ann@in.example", "domain \"in.example\": smtp://192.0.2.1:25, smtp://[2001:db8::1]:2525"},
    {"ann@gone.example", "domain \"gone.example\": reject:moved away"},
    {"ann@a.example", "route \"a.example\": smtp://a.test:25"},
    {"ann@A.Example", "route \"a.example\": smtp://a.test:25"},
    {"ann@b.a.example", "route \"*.a.example\": smtp://below-a.test:587"},
    {"ann@c.b.a.example", "route \"*.a.example\": smtp://below-a.test:587"},
    {"ann@b.example", "route \"*.example\": discard"},
    {"ann@aa.example", "route \"*.example\": discard"},
    {"ann@x.one.example", "route \"*.example\": discard"},
    {"ann@example", "route \"*\": mx"},
    {"ann@elsewhere.test", "route \"*\": mx"},
    {"ann@[192.0.2.1]", "route \"*\": mx"},
    {"ann", "route \"*\": mx"},
};

static void check_way(const struct conf *conf, const char *sender, const char *recipient,
                      const char *words)
{
    struct routing_way way;
    struct buf text;

    buf_init(&text, 0);
    routing_find(conf, slice_str(sender), slice_str(recipient), &way);
    routing_explain(conf, &way, &text);
    ck_assert_slice(buf_slice(&text), words);
    buf_finish(&text);
}

START_TEST(by_recipient)
{
    check_way(load(CONF), "bob@one.example", ways[_i].recipient, ways[_i].words);
}
END_TEST

START_TEST(what_a_way_holds)
{
    const struct conf *conf = load(CONF);
    struct slice recipient = slice_str("ann@in.example");
    struct routing_way way;

    routing_find(conf, SLICE_NULL, recipient, &way);
    ck_assert_ptr_eq(way.ours, conf_domain_find(conf, slice_str("in.example")));
    ck_assert_ptr_eq(way.to, &way.ours->to);
    ck_assert_slice(way.route->pattern, "*.example"); /* its manners hold also here */
    ck_assert_ptr_eq(way.domain.data, recipient.data + 4);
    routing_find(conf, SLICE_NULL, slice_str("ann@b.a.example"), &way);
    ck_assert_ptr_null(way.ours);
    ck_assert_ptr_eq(way.to, &way.route->to);
}
END_TEST

START_TEST(by_single_recipient)
{
    static const struct {
        const char *recipient;
        const char *words;
    } recipients[] = {
        {"ann@one.example", "destinations of domain \"one.example\": smtp://store1.test:25"},
        {"ANN@One.example", "destinations of domain \"one.example\": smtp://store1.test:25"},
        {"ann+x@one.example", "destinations of domain \"one.example\": smtp://store1.test:25"},
        {"\"ann\"@one.example", "destinations of domain \"one.example\": smtp://store1.test:25"},
        {"bob@one.example", "destinations of domain \"one.example\": smtp://store1.test:25"},
        {"list+x@one.example", "destinations of domain \"one.example\": discard"},
        {"list@one.example", "domain \"one.example\": reject:not here"},
        {"\"ann@two.example\"@one.example", "domain \"one.example\": reject:not here"},
        {"ann@two.example", "route \"*\": mx"},
    };
    struct routing_way ann, bob;
    const struct conf *conf;

    put_file("where", "ann smtp://store1.test\nbob@one.example smtp://store1.test\n"
                      "list+x discard\nann@two.example discard\n");
    conf = load("domain one.example { to = \"reject:not here\" destinations = \"$/where\" "
                "subaddress = \"+\" }\n");
    for (size_t i = 0; i < ARRAY_LEN(recipients); i++)
        check_way(conf, "", recipients[i].recipient, recipients[i].words);
    routing_find(conf, SLICE_NULL, slice_str("ann@one.example"), &ann);
    routing_find(conf, SLICE_NULL, slice_str("bob@one.example"), &bob);
    ck_assert_ptr_eq(ann.to, bob.to); /* one way: they go together */
}
END_TEST

/* ---- routes with senders ------------------------------------------------------------------- */

#define WORDS(...)                                                             \
    {                                                                          \
        (const struct slice[]){__VA_ARGS__},                                   \
            sizeof((const struct slice[]){__VA_ARGS__}) / sizeof(struct slice) \
    }

/* Sorted by pattern, as conf has them. `connections` is the name of each. */
static const struct conf_route routes[] = {
    {.pattern = SLICE_INIT("*"), .connections = 1},
    {.pattern = SLICE_INIT("*"), .from = WORDS(SLICE_INIT("a.example")), .connections = 2},
    {.pattern = SLICE_INIT("*"),
     .from = WORDS(SLICE_INIT("ann@a.example"), SLICE_INIT("b.example")),
     .connections = 3},
    {.pattern = SLICE_INIT("*"), .from = WORDS(SLICE_INIT("<>")), .connections = 4},
    {.pattern = SLICE_INIT("*.test"), .from = WORDS(SLICE_INIT("a.example")), .connections = 5},
    {.pattern = SLICE_INIT("one.test"), .from = WORDS(SLICE_INIT("<>")), .connections = 6},
    {.pattern = SLICE_INIT("two.test"), .connections = 7},
};

static const struct {
    const char *sender;
    const char *domain;
    unsigned route;
} by_sender[] = {
    {"x@x.example", "y.example", 1},
    {"x@a.example", "y.example", 2},
    {"x@A.Example", "y.example", 2},
    {"x@sub.a.example", "y.example", 1},
    {"ann@a.example", "y.example", 3}, /* the address before the domain */
    {"Ann@a.example", "y.example", 3},
    {"\"ann\"@a.example", "y.example", 3},
    {"\"x@a.example\"@c.example", "y.example", 1},
    {"ann@b.example", "y.example", 3},
    {"", "y.example", 4},
    {"<>@y.example", "y.example", 1},
    {"x@x.example", "one.test", 1}, /* nothing more specific is for them */
    {"x@a.example", "one.test", 5},
    {"ann@a.example", "one.test", 5}, /* the recipient's domain comes first */
    {"", "one.test", 6},
    {"", "x.test", 4},
    {"ann@a.example", "two.test", 7},
    {"a.example", "y.example", 1}, /* no address */
};

START_TEST(by_sender_too)
{
    const struct conf conf = {.routes = routes, .route_count = sizeof(routes) / sizeof(*routes)};
    const struct conf_route *route =
        routing_route(&conf, slice_str(by_sender[_i].sender), slice_str(by_sender[_i].domain));

    ck_assert_msg(route->connections == by_sender[_i].route, "%s to %s: %u", by_sender[_i].sender,
                  by_sender[_i].domain, (unsigned)route->connections);
}
END_TEST

/* The same, as conf reads it. */
START_TEST(by_sender_as_configured)
{
    const struct conf *conf =
        load("route \"*\" { from = \"news.example\" to = \"smtp://news.test\" }\n"
             "route \"*\" { from = {\"Ann@news.example\", \"<>\"} to = \"smtp://ann.test:587\" }\n"
             "route \"in.example\" { from = \"news.example\" to = discard }\n");

    check_way(conf, "x@y.example", "a@b.example", "route \"*\": mx");
    check_way(conf, "x@news.example", "a@b.example",
              "route \"*\" from news.example: smtp://news.test:25");
    check_way(conf, "ann@news.example", "a@b.example",
              "route \"*\" from ann@news.example, <>: smtp://ann.test:587");
    check_way(conf, "", "a@b.example",
              "route \"*\" from ann@news.example, <>: smtp://ann.test:587");
    check_way(conf, "ann@news.example", "a@in.example",
              "route \"in.example\" from news.example: discard");
    check_way(conf, "", "a@in.example",
              "route \"*\" from ann@news.example, <>: smtp://ann.test:587");
}
END_TEST

START_TEST(senders_in_words)
{
    const struct conf_destination to[] = {{.kind = CONF_TO_MX}};
    struct routing_way way = {.route = &routes[2], .to = &(struct conf_destinations){to, 1}};
    struct buf text;

    buf_init(&text, 0);
    routing_explain(NULL, &way, &text);
    ck_assert_slice(buf_slice(&text), "route \"*\" from ann@a.example, b.example: mx");
    buf_finish(&text);
}
END_TEST

START_TEST(long_names_match_the_star)
{
    const struct conf *conf = load(CONF);
    char name[600];

    memset(name, 'a', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    memcpy(name + 300, "@", 1);
    check_way(conf, name, name, "route \"*\": mx");
    name[300] = '.';
    name[1] = '@';
    check_way(conf, name, name, "route \"*\": mx");
    name[0] = '"';
    check_way(conf, name, name, "route \"*\": mx");
}
END_TEST

Suite *routing_way_suite(void)
{
    Suite *suite = suite_create("routing_way");
    TCase *tcase = tcase_create("ways");

    tcase_add_checked_fixture(tcase, world_setup, world_teardown);
    tcase_add_loop_test(tcase, by_recipient, 0, (int)(sizeof(ways) / sizeof(*ways)));
    tcase_add_test(tcase, what_a_way_holds);
    tcase_add_loop_test(tcase, by_sender_too, 0, (int)(sizeof(by_sender) / sizeof(*by_sender)));
    tcase_add_test(tcase, by_single_recipient);
    tcase_add_test(tcase, by_sender_as_configured);
    tcase_add_test(tcase, senders_in_words);
    tcase_add_test(tcase, long_names_match_the_star);
    suite_add_tcase(suite, tcase);
    return suite;
}
