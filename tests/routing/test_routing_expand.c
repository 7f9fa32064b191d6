/* What addresses stand for. */
#include <stdio.h>

#include "base_assert.h"
#include "routing_test.h"

Suite *routing_expand_suite(void);

static const char recipients[] = "ann\nbob\neve@one.example\n\"q..q\"\n";
static const char aliases[] = "# sendmail's format\n"
                              "info: ann, bob\n"
                              "Team: info, carol@else.example, ann\n"
                              "bob: bob, bob@phone.example\n"
                              "eve: \\eve, ann\n"
                              "postmaster: ann\n"
                              "all: :include:$/all.list\n"
                              "mixed: ann, gone, Bob.Smith@Else.Example\n"
                              "gone-all: gone, gone2\n"
                              "circle: round\n"
                              "round: circle\n"
                              "circle-and-ann: round, ann\n"
                              "self: self\n"
                              "far: ann@else.example, Ann@else.example, \"ann\"@ELSE.example\n"
                              "near: ANN, ann@ONE.example, \"ann\"@one.example\n"
                              "plus: ann+x, ann+y, ann\n"
                              "other: x@two.example\n"
                              "out-and-in: ann@virtual.example\n"
                              "sub+exact: bob@else.example\n"
                              "sub: ann@else.example\n";
static const char virtual[] = "ann@virtual.example ann@one.example\n"
                              "list@virtual.example info@one.example, x@else.example\n"
                              "@virtual.example catch@else.example\n"
                              "@moved.example @two.example\n"
                              "theirs@partner.example new@partner.example\n"
                              "ann@else2.example ann@else2.example, copy@one.example\n"
                              "info@three.example ann@one.example\n";

static const struct {
    const char *address;
    enum routing_expand result;
    const char *targets; /* each with a blank behind it */
    unsigned dropped;
} cases[] = {
    {"ann@one.example", ROUTING_SAME, "", 0},
    {"ANN+x@One.Example", ROUTING_SAME, "", 0},
    {"\"ann\"@one.example", ROUTING_SAME, "", 0},
    {"x@else.example", ROUTING_SAME, "", 0},
    {"x@[192.0.2.1]", ROUTING_SAME, "", 0},
    {"nobody@one.example", ROUTING_NOBODY, "", 1},
    {"info@one.example", ROUTING_EXPANDED, "ann@one.example bob@one.example bob@phone.example ", 0},
    {"INFO@ONE.example", ROUTING_EXPANDED, "ann@one.example bob@one.example bob@phone.example ", 0},
    {"\"info\"@one.example", ROUTING_EXPANDED, "ann@one.example bob@one.example bob@phone.example ",
     0},
    {"info+x@one.example", ROUTING_EXPANDED, "ann@one.example bob@one.example bob@phone.example ",
     0},
    {"team@one.example", ROUTING_EXPANDED,
     "ann@one.example bob@one.example bob@phone.example carol@else.example ", 0},
    /* Who is met on the way to himself stands for himself, with what he was called by. */
    {"bob@one.example", ROUTING_EXPANDED, "bob@one.example bob@phone.example ", 0},
    {"Bob+News@one.example", ROUTING_EXPANDED, "Bob+News@one.example bob@phone.example ", 0},
    {"eve@one.example", ROUTING_EXPANDED, "eve@one.example ann@one.example ", 0},
    {"postmaster@one.example", ROUTING_EXPANDED, "ann@one.example ", 0},
    {"all@one.example", ROUTING_EXPANDED, "ann@one.example zoe@else.example ", 0},
    {"mixed@one.example", ROUTING_EXPANDED, "ann@one.example Bob.Smith@else.example ", 1},
    {"gone-all@one.example", ROUTING_NOBODY, "", 2},
    {"circle@one.example", ROUTING_LOOP, "", 1},
    {"circle-and-ann@one.example", ROUTING_EXPANDED, "ann@one.example ", 1},
    {"self@one.example", ROUTING_LOOP, "", 1},
    /* Of other domains we do not know whether case matters; quotes never do. */
    {"far@one.example", ROUTING_EXPANDED, "ann@else.example Ann@else.example ", 0},
    {"near@one.example", ROUTING_EXPANDED, "ANN@one.example ", 0},
    {"plus@one.example", ROUTING_EXPANDED, "ann+x@one.example ann+y@one.example ann@one.example ",
     0},
    {"other@one.example", ROUTING_EXPANDED, "x@two.example ", 0},
    {"sub+exact@one.example", ROUTING_EXPANDED, "bob@else.example ", 0},
    {"sub+other@one.example", ROUTING_EXPANDED, "ann@else.example ", 0},
    /* Virtual aliases come first, then those of the domain. */
    {"ann@virtual.example", ROUTING_EXPANDED, "ann@one.example ", 0},
    {"Ann+x@virtual.example", ROUTING_EXPANDED, "ann@one.example ", 0},
    {"list@virtual.example", ROUTING_EXPANDED,
     "ann@one.example bob@one.example bob@phone.example x@else.example ", 0},
    {"any@virtual.example", ROUTING_EXPANDED, "catch@else.example ", 0},
    {"out-and-in@one.example", ROUTING_EXPANDED, "ann@one.example ", 0},
    {"Zoe+x@moved.example", ROUTING_EXPANDED, "Zoe+x@two.example ", 0},
    {"theirs@partner.example", ROUTING_EXPANDED, "new@partner.example ", 0},
    {"Theirs@partner.example", ROUTING_EXPANDED, "new@partner.example ", 0},
    {"other@partner.example", ROUTING_SAME, "", 0},
    {"ann@else2.example", ROUTING_SAME, "", 1},
    /* catch_all is for those that there are not. */
    {"ann@three.example", ROUTING_SAME, "", 0},
    {"info@three.example", ROUTING_EXPANDED, "ann@one.example ", 0},
    {"zoe@three.example", ROUTING_EXPANDED, "ann@three.example ", 0},
    {"zoe@four.example", ROUTING_EXPANDED, "ann@one.example bob@one.example bob@phone.example ", 0},
    {"zoe@five.example", ROUTING_NOBODY, "", 1},
};

static const char conf_text[] =
    "virtual_aliases = \"$/virtual\"\n"
    "domain one.example { to = discard recipients = \"$/list\" aliases = \"$/aliases\" "
    "subaddress = \"+\" }\n"
    "domain two.example { to = discard }\n"
    "domain three.example { to = discard recipients = \"$/list\" catch_all = ann@three.example }\n"
    "domain four.example { to = discard recipients = \"$/list\" catch_all = info@one.example }\n"
    "domain five.example { to = discard recipients = \"$/list\" catch_all = nobody@one.example }\n"
    "domain virtual.example { to = discard recipients = \"$/list\" subaddress = \"+\" }\n"
    "domain moved.example { to = discard recipients = \"$/list\" }\n";

static const struct conf *load_tables(void)
{
    put_file("list", recipients);
    put_file("aliases", aliases);
    put_file("virtual", virtual);
    put_file("all.list", "ann\n\n# a comment\nzoe@else.example\n");
    return load(conf_text);
}

static void targets_text(const struct routing_targets *targets, struct buf *out)
{
    buf_init(out, 0);
    for (uint32_t i = 0; i < targets->count; i++)
        (void)buf_printf(out, "%.*s ", SLICE_ARG(targets->items[i]));
}

START_TEST(expansions)
{
    const struct conf *conf = load_tables();
    struct routing_targets targets;
    struct arena arena;
    struct buf text;

    arena_init(&arena, SIZE_MAX);
    ck_assert_msg(routing_expand(conf, slice_str(cases[_i].address), 100, &arena, &targets)
                      == cases[_i].result,
                  "%s", cases[_i].address);
    if (cases[_i].result == ROUTING_EXPANDED) {
        targets_text(&targets, &text);
        ck_assert_slice(buf_slice(&text), cases[_i].targets);
        buf_finish(&text);
    }
    ck_assert_uint_eq(targets.dropped, cases[_i].dropped);
    ck_assert_int_eq(targets.culprit.len > 0, cases[_i].dropped > 0);
    arena_reset(&arena);
}
END_TEST

/* Aliases make an address valid that no list of recipients has. */
START_TEST(what_expands_is_known)
{
    static const struct {
        const char *address;
        enum routing_known known;
        bool alias;
    } addresses[] = {
        {"info@one.example", ROUTING_OURS, true},
        {"info+x@one.example", ROUTING_OURS, true},
        {"ann@one.example", ROUTING_OURS, false},
        {"bob@one.example", ROUTING_OURS, true},
        {"nobody@one.example", ROUTING_UNKNOWN, false},
        {"gone-all@one.example", ROUTING_OURS, true},
        {"ann@virtual.example", ROUTING_OURS, true},
        {"any@virtual.example", ROUTING_OURS, true},
        {"any@moved.example", ROUTING_OURS, true},
        {"any@three.example", ROUTING_OURS, false},
        {"theirs@partner.example", ROUTING_ELSEWHERE, true}, /* no licence to relay */
        {"x@partner.example", ROUTING_ELSEWHERE, false},
        {"\"info@three.example\"@two.example", ROUTING_OURS, false},
        {"\"info@three.example\"@one.example", ROUTING_UNKNOWN, false},
    };
    const struct conf *conf = load_tables();

    for (size_t i = 0; i < ARRAY_LEN(addresses); i++) {
        struct smtp_address address = address_of(addresses[i].address);
        ck_assert_msg(routing_known(conf, &address) == addresses[i].known, "%s",
                      addresses[i].address);
        ck_assert_msg(routing_is_alias(conf, &address) == addresses[i].alias, "%s",
                      addresses[i].address);
    }
}
END_TEST

START_TEST(the_culprit_is_named)
{
    const struct conf *conf = load_tables();
    struct routing_targets targets;
    struct arena arena;

    arena_init(&arena, SIZE_MAX);
    (void)routing_expand(conf, slice_str("mixed@one.example"), 100, &arena, &targets);
    ck_assert_slice(targets.culprit, "gone@one.example");
    (void)routing_expand(conf, slice_str("circle@one.example"), 100, &arena, &targets);
    ck_assert_slice(targets.culprit, "circle@one.example");
    ck_assert_int_eq(routing_expand(conf, slice_str("info@one.example"), 2, &arena, &targets),
                     ROUTING_TOO_MANY);
    ck_assert_slice(targets.culprit, "bob@phone.example");
    arena_reset(&arena);
}
END_TEST

/* a0 -> a1 -> ... -> a<length> -> ann */
static const struct conf *load_chain(unsigned length)
{
    struct buf text;
    const struct conf *conf;

    buf_init(&text, 0);
    for (unsigned i = 0; i < length; i++)
        (void)buf_printf(&text, "a%u: a%u\n", i, i + 1);
    (void)buf_printf(&text, "a%u: ann%c", length, '\0');
    put_file("aliases", (const char *)buf_slice(&text).data);
    put_file("list", "ann\n");
    conf = load("domain one.example { to = discard recipients = \"$/list\" "
                "aliases = \"$/aliases\" }\n");
    buf_finish(&text);
    return conf;
}

START_TEST(depth_is_bounded)
{
    struct routing_targets targets;
    struct arena arena;

    arena_init(&arena, SIZE_MAX);
    ck_assert_int_eq(routing_expand(load_chain(ROUTING_DEPTH_MAX - 1), slice_str("a0@one.example"),
                                    1, &arena, &targets),
                     ROUTING_EXPANDED);
    ck_assert_uint_eq(targets.count, 1);
    ck_assert_int_eq(routing_expand(load_chain(ROUTING_DEPTH_MAX), slice_str("a0@one.example"), 1,
                                    &arena, &targets),
                     ROUTING_LOOP);
    ck_assert_slice(targets.culprit, "ann@one.example");
    arena_reset(&arena);
}
END_TEST

/* Two targets each, both the next level: 2^18 ways, 20 addresses. */
START_TEST(ways_that_meet_are_gone_once)
{
    struct routing_targets targets;
    struct arena arena;
    struct buf text;

    buf_init(&text, 0);
    for (unsigned i = 0; i < 18; i++)
        (void)buf_printf(&text, "a%u: b%u, c%u\nb%u: a%u\nc%u: a%u\n", i, i, i, i, i + 1, i, i + 1);
    (void)buf_append_str(&text, "a18: ann\n");
    (void)buf_append_byte(&text, '\0');
    put_file("aliases", (const char *)buf_slice(&text).data);
    put_file("list", "ann\n");
    arena_init(&arena, SIZE_MAX);
    ck_assert_int_eq(
        routing_expand(load("domain one.example { to = discard recipients = \"$/list\" "
                            "aliases = \"$/aliases\" }\n"),
                       slice_str("a10@one.example"), 1, &arena, &targets),
        ROUTING_EXPANDED);
    ck_assert_uint_eq(targets.count, 1);
    arena_reset(&arena);
    buf_finish(&text);
}
END_TEST

static void put_list(const char *file, unsigned from, unsigned to)
{
    struct buf text;

    buf_init(&text, 0);
    for (unsigned i = from; i < to; i++)
        (void)buf_printf(&text, "user%u@else.example\n", i);
    (void)buf_append_byte(&text, '\0');
    put_file(file, (const char *)buf_slice(&text).data);
    buf_finish(&text);
}

START_TEST(many_targets)
{
    const struct conf *conf;
    struct routing_targets targets;
    struct arena arena;

    put_list("some.list", 0, 9999);
    put_list("more.list", 9990, 10001);
    put_file("aliases",
             "some: :include:$/some.list\nmore: :include:$/more.list\nall: some, more\n");
    conf = load("domain one.example { to = discard aliases = \"$/aliases\" }\n");
    arena_init(&arena, SIZE_MAX);
    ck_assert_int_eq(
        routing_expand(conf, slice_str("all@one.example"), UINT32_MAX, &arena, &targets),
        ROUTING_TOO_MANY);
    ck_assert_int_eq(
        routing_expand(conf, slice_str("some@one.example"), UINT32_MAX, &arena, &targets),
        ROUTING_EXPANDED);
    ck_assert_uint_eq(targets.count, 9999);
    ck_assert_slice(targets.items[9998], "user9998@else.example");
    arena_reset(&arena);
    arena_init(&arena, 4096); /* what the arena does not hold is too many, too */
    ck_assert_int_eq(
        routing_expand(conf, slice_str("some@one.example"), UINT32_MAX, &arena, &targets),
        ROUTING_TOO_MANY);
    arena_reset(&arena);
}
END_TEST

START_TEST(rules_in_words)
{
    static const struct {
        const char *address;
        const char *words; /* without the folder */
    } rules[] = {
        {"info@one.example", "alias \"info@one.example\" (aliases:2)"},
        {"Info+x@one.example", "alias \"info@one.example\" (aliases:2)"},
        {"zoe@virtual.example", "virtual alias \"@virtual.example\" (virtual:3)"},
        {"ann+x@virtual.example", "virtual alias \"ann@virtual.example\" (virtual:1)"},
        {"zoe@three.example", "catch_all of domain \"three.example\""},
        {"ann@one.example", ""},
        {"zoe@else.example", ""},
    };
    const struct conf *conf = load_tables();
    char words[512];
    struct buf text;

    for (size_t i = 0; i < ARRAY_LEN(rules); i++) {
        const char *folder, *slash;
        buf_init(&text, 0);
        ck_assert_int_eq(routing_explain_alias(conf, slice_str(rules[i].address), &text),
                         rules[i].words[0] != '\0');
        (void)snprintf(words, sizeof(words), "%.*s", SLICE_ARG(buf_slice(&text)));
        folder = strchr(words, '(');
        slash = strrchr(words, '/');
        if (folder != NULL && slash != NULL)
            memmove(words + (folder - words) + 1, slash + 1, strlen(slash + 1) + 1);
        ck_assert_str_eq(words, rules[i].words);
        buf_finish(&text);
    }
}
END_TEST

Suite *routing_expand_suite(void)
{
    Suite *suite = suite_create("routing_expand");
    TCase *tcase = tcase_create("expansions");

    tcase_add_checked_fixture(tcase, world_setup, world_teardown);
    tcase_add_loop_test(tcase, expansions, 0, (int)ARRAY_LEN(cases));
    tcase_add_test(tcase, what_expands_is_known);
    tcase_add_test(tcase, the_culprit_is_named);
    tcase_add_test(tcase, depth_is_bounded);
    tcase_add_test(tcase, ways_that_meet_are_gone_once);
    tcase_add_test(tcase, many_targets);
    tcase_add_test(tcase, rules_in_words);
    suite_add_tcase(suite, tcase);
    return suite;
}
