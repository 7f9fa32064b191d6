/* Addresses, networks, destinations and names as values; looking up domains and routes. */
#include "base_assert.h"
#include "conf_table_priv.h"
#include "conf_test.h"
#include "conf_value_priv.h"

/* One value, parsed by its type. */
static struct arena arena;
static struct buf why;

static void values_setup(void)
{
    arena_init(&arena, 1 << 20);
    buf_init(&why, 0);
}

static void values_teardown(void)
{
    arena_reset(&arena);
    buf_finish(&why);
}

static bool parse(enum conf_type type, uint16_t port, const char *text, void *out)
{
    const struct conf_row row = {.name = "test", .type = type, .port = port};

    buf_clear(&why);
    bool ok = conf_types[type].parse(&row, slice_str(text), &arena, out, &why);
    ck_assert_int_eq(ok, buf_len(&why) == 0);
    return ok;
}

static const struct {
    const char *text;
    uint16_t default_port;
    const char *ip; /* NULL: bad */
    uint16_t port;
} addresses[] = {
    {"192.0.2.1:25", 0, "192.0.2.1", 25},
    {"[::]:65535", 0, "::", 65535},
    {"[2001:db8::1]:1", 0, "2001:db8::1", 1},
    {"192.0.2.1", 53, "192.0.2.1", 53},
    {"192.0.2.1:54", 53, "192.0.2.1", 54},
    {"::1", 53, "::1", 53},
    {"[::1]", 53, "::1", 53},
    {"[::1]:55", 53, "::1", 55},
    {"192.0.2.1", 0, NULL, 0},
    {"[::1]", 0, NULL, 0},
    {"::1", 0, NULL, 0},
    {"", 0, NULL, 0},
    {":25", 0, NULL, 0},
    {"192.0.2.1:", 0, NULL, 0},
    {"192.0.2.1:0", 0, NULL, 0},
    {"192.0.2.1:65536", 0, NULL, 0},
    {"192.0.2.1:+25", 0, NULL, 0},
    {"192.0.2.1:25 ", 0, NULL, 0},
    {"192.0.2:25", 0, NULL, 0},
    {"[192.0.2.1]:25", 0, NULL, 0},
    {"[::1:25", 0, NULL, 0},
    {"[::1]25", 0, NULL, 0},
    {"[]:25", 0, NULL, 0},
    {"[", 0, NULL, 0},
    {"localhost:25", 0, NULL, 0},
    {"*:25", 0, NULL, 0},
    {"99999999999999999999", 53, NULL, 0},
};

START_TEST(parse_addresses)
{
    struct conf_address address;
    char ip[IP_TEXT_SIZE];

    ck_assert_msg(parse(CONF_TYPE_ADDRESS, addresses[_i].default_port, addresses[_i].text, &address)
                      == (addresses[_i].ip != NULL),
                  "%s", addresses[_i].text);
    if (addresses[_i].ip == NULL)
        return;
    ip_format(&address.ip, ip);
    ck_assert_str_eq(ip, addresses[_i].ip);
    ck_assert_uint_eq(address.port, addresses[_i].port);
}
END_TEST

#define P50 "12345678901234567890123456789012345678901234567890"

static const struct {
    const char *text;
    const char *normal; /* kind, then what belongs to it; NULL: bad */
} destinations[] = {
    {"mx", "mx"},
    {"discard", "discard"},
    {"smtp://mail.Example.org", "smtp mail.example.org 25"},
    {"smtp://mail.example.org:2525", "smtp mail.example.org 2525"},
    {"smtp://localhost", "smtp localhost 25"},
    {"smtp://127.0.0.1:26", "smtp 127.0.0.1 26 ip"},
    {"smtp://[::1]", "smtp ::1 25 ip"},
    {"smtp://[2001:DB8::1]:587", "smtp 2001:db8::1 587 ip"},
    {"maildir:/var/mail/%d/%u", "maildir /var/mail/%d/%u"},
    {"maildir:/%%", "maildir /%%"},
    {"reject:No such list: it moved", "reject No such list: it moved"},
    {"", NULL},
    {"MX", NULL},
    {"mx ", NULL},
    {"mx://a", NULL},
    {"discards", NULL},
    {"smtp:", NULL},
    {"smtp://", NULL},
    {"smtp://:25", NULL},
    {"smtp://a b", NULL},
    {"smtp://a/", NULL},
    {"smtp://a:25/", NULL},
    {"smtp://a:0", NULL},
    {"smtp://a:b", NULL},
    {"smtp://::1", NULL},
    {"smtp://[::1", NULL},
    {"smtp://[a]:25", NULL},
    {"smtp://[127.0.0.1]:25", NULL},
    {"smtp://300.1.1.1", NULL},
    {"smtp://-a", NULL},
    {"smtp://a..b", NULL},
    {"maildir:", NULL},
    {"maildir:var", NULL},
    {"maildir:/%", NULL},
    {"maildir:/%x", NULL},
    {"maildir:/a%", NULL},
    {"reject", NULL},
    {"reject:", NULL},
    {"reject:a\r\nb", NULL},
    {"reject:\xC3\xA4", NULL},
    {"lmtp://127.0.0.1", "lmtp 127.0.0.1 24 ip"},
    {"lmtp://Store.example:2424", "lmtp store.example 2424"},
    {"lmtp://[::1]:24", "lmtp ::1 24 ip"},
    {"lmtp+unix:/run/dovecot/lmtp", "lmtp /run/dovecot/lmtp"},
    {"lmtp+unix:/a path", "lmtp /a path"},
    {"lmtp+unix:/" P50 P50 "123456", "lmtp /" P50 P50 "123456"},
    {"lmtp+unix:/" P50 P50 "1234567", NULL},
    {"lmtp+unix:run", NULL},
    {"lmtp+unix:", NULL},
    {"lmtp+unix:/a\nb", NULL},
    {"lmtp:/run/lmtp", NULL},
    {"lmtp://", NULL},
    {"lmtp://a:0", NULL},
};

START_TEST(parse_destinations)
{
    static const char *const kinds[] = {"mx", "smtp", "lmtp", "maildir", "discard", "reject"};
    struct conf_destination to;
    struct buf text = {0};

    ck_assert_msg(parse(CONF_TYPE_DESTINATION, 0, destinations[_i].text, &to)
                      == (destinations[_i].normal != NULL),
                  "%s", destinations[_i].text);
    if (destinations[_i].normal == NULL)
        return;
    (void)buf_append_str(&text, kinds[to.kind]);
    if (to.kind == CONF_TO_LMTP && to.host.len == 0)
        (void)buf_printf(&text, " %s", (const char *)to.path.data);
    else if (to.kind == CONF_TO_SMTP || to.kind == CONF_TO_LMTP)
        (void)buf_printf(&text, " %s %u%s", (const char *)to.host.data, to.port,
                         to.host_is_ip ? " ip" : "");
    if (to.kind == CONF_TO_MAILDIR)
        (void)buf_printf(&text, " %s", (const char *)to.path.data);
    if (to.kind == CONF_TO_REJECT)
        (void)buf_printf(&text, " %s", (const char *)to.text.data);
    ck_assert_slice(buf_slice(&text), destinations[_i].normal);
    buf_finish(&text);
}
END_TEST

#define L63 "123456789012345678901234567890123456789012345678901234567890abc"

static const struct {
    const char *text;
    bool good;
} names[] = {
    {"a", true},         {"a.b", true},
    {"1.a", true},       {"a-b.c", true},
    {"a--b", true},      {"_dmarc.a", true},
    {"xn--a.b", true},   {"1a.2b", true},
    {L63 "." L63, true}, {"", false},
    {".", false},        {"a.", false},
    {".a", false},       {"a..b", false},
    {"-a", false},       {"a-", false},
    {"a.-b", false},     {"a-.b", false},
    {"a b", false},      {"a/b", false},
    {"1", false},        {"1.2.3.4", false},
    {"a.1", false},      {"\xC3\xA4.de", false},
    {L63 "x", false},    {L63 "." L63 "." L63 "." L63, false},
};

#define HEX16 "00112233445566778899aabbccddeeff"
static const struct {
    enum conf_type type;
    const char *text;
    bool good;
} texts[] = {
    {CONF_TYPE_BOOL, "yes", true},
    {CONF_TYPE_BOOL, "off", true},
    {CONF_TYPE_BOOL, "Yes", false},
    {CONF_TYPE_BOOL, "1", false},
    {CONF_TYPE_TEXT, "ECDHE-RSA-AES128-GCM-SHA256:x", true},
    {CONF_TYPE_TEXT, " x", false},
    {CONF_TYPE_TEXT, "a\tb", false},
    {CONF_TYPE_URL, "https://a.example/introspect", true},
    {CONF_TYPE_URL, "HTTP://127.0.0.1:80", true},
    {CONF_TYPE_URL, "https://", false},
    {CONF_TYPE_URL, "https:///x", false},
    {CONF_TYPE_URL, "a.example", false},
    {CONF_TYPE_URL, "https://a b", false},
    {CONF_TYPE_MAILBOX, "tls-reports@example.org", true},
    {CONF_TYPE_MAILBOX, "@example.org", false},
    {CONF_TYPE_MAILBOX, "a@", false},
    {CONF_TYPE_MAILBOX, "<a@example.org>", false},
    {CONF_TYPE_MAILBOX, "a b@example.org", false},
    {CONF_TYPE_MECHANISM, "scram-sha-256-plus", true},
    {CONF_TYPE_MECHANISM, "PLAIN LOGIN", false},
    {CONF_TYPE_MECHANISM, "ABCDEFGHIJKLMNOPQRSTU", false},
    {CONF_TYPE_FINGERPRINT, "sha256:" HEX16 HEX16, true},
    {CONF_TYPE_FINGERPRINT, "SHA256:AA:bb" HEX16 "00112233445566778899aabbccdd", true},
    {CONF_TYPE_FINGERPRINT, "sha256:" HEX16 HEX16 "0", false},
    {CONF_TYPE_FINGERPRINT, "sha256:" HEX16, false},
    {CONF_TYPE_FINGERPRINT, "sha256:g" HEX16 HEX16, false},
    {CONF_TYPE_FINGERPRINT, "sha256::" HEX16 HEX16, false},
    {CONF_TYPE_FINGERPRINT, HEX16 HEX16, false},
};

START_TEST(parse_texts)
{
    union {
        struct slice slice;
        struct conf_fingerprint fingerprint;
        bool yes;
    } out;

    ck_assert_msg(parse(texts[_i].type, 0, texts[_i].text, &out) == texts[_i].good, "%s",
                  texts[_i].text);
}
END_TEST

START_TEST(fingerprint_bytes)
{
    struct conf_fingerprint out;

    ck_assert(
        parse(CONF_TYPE_FINGERPRINT, 0, "sha256:F0:" HEX16 "00112233445566778899aabbccddee", &out));
    ck_assert_uint_eq(out.sha256[0], 0xf0);
    ck_assert_uint_eq(out.sha256[16], 0xff);
    ck_assert_uint_eq(out.sha256[31], 0xee);
}
END_TEST

START_TEST(is_name)
{
    ck_assert_msg(conf_is_name(slice_str(names[_i].text)) == names[_i].good, "%s", names[_i].text);
}
END_TEST

/* Lookups */

static const char routes_text[] = "hostname = mx.example relay_from = {\"127.0.0.0/8\", \"::1\"}\n"
                                  "route \"*.Example.org\" { connections = 1 }\n"
                                  "route \"example.org\" { connections = 2 }\n"
                                  "route \"*.b.example.org\" { connections = 3 }\n"
                                  "route \"a.b.example.org\" { connections = 4 }\n"
                                  "route \"*\" { connections = 5 }\n"
                                  "route \"*.net\" { connections = 6 }\n";
static const struct {
    const char *domain;
    unsigned connections;
} lookups[] = {
    {"example.org", 2},
    {"EXAMPLE.ORG", 2},
    {"a.example.org", 1},
    {"x.y.example.org", 1},
    {"b.example.org", 1},
    {"a.b.example.org", 4},
    {"A.B.example.ORG", 4},
    {"c.b.example.org", 3},
    {"d.a.b.example.org", 3},
    {"example.com", 5},
    {"org", 5},
    {"net", 5},
    {"x.net", 6},
    {"x.y.net", 6},
    {"xnet", 5},
    {"notexample.org", 5},
    {"", 5},
    {".", 5},
    {".net", 5},
    {"..net", 5},
    {"a..net", 5},
    {"net.", 5},
    {"*.net", 6},
    {"*", 5},
    {"[127.0.0.1]", 5},
    {".example.org", 5},
};

START_TEST(route_lookup)
{
    const struct conf *c = load_good(routes_text);

    for (size_t i = 0; i < ARRAY_LEN(lookups); i++) {
        struct slice domain = slice_str(lookups[i].domain);

        ck_assert_msg(conf_route_find(c, domain)->connections == lookups[i].connections, "%s: %llu",
                      lookups[i].domain,
                      (unsigned long long)conf_route_find(c, domain)->connections);
    }
    static uint8_t long_name[1000];
    ck_assert_uint_eq(conf_route_find(c, slice_of(long_name, sizeof(long_name)))->connections, 5);
    ck_assert_uint_eq(conf_route_find(c, SLICE_NULL)->connections, 5);
}
END_TEST

START_TEST(domain_lookup)
{
    const struct conf *c = load_good("hostname = mx.example\n"
                                     "domain b.example { to = mx }\n"
                                     "domain A.example { to = discard }\n"
                                     "domain c.example { to = {\"smtp://x:1\", mx} }\n");

    ck_assert_uint_eq(c->domain_count, 3);
    ck_assert_slice(conf_domain_find(c, slice_str("a.EXAMPLE"))->name, "a.example");
    ck_assert_slice(conf_domain_find(c, slice_str("b.example"))->name, "b.example");
    ck_assert_uint_eq(conf_domain_find(c, slice_str("c.example"))->to.count, 2);
    ck_assert_uint_eq(conf_domain_find(c, slice_str("c.example"))->to.items[0].port, 1);
    ck_assert_ptr_null(conf_domain_find(c, slice_str("example")));
    ck_assert_ptr_null(conf_domain_find(c, slice_str("x.a.example")));
    ck_assert_ptr_null(conf_domain_find(c, slice_str("")));
    ck_assert_ptr_null(conf_domain_find(c, SLICE_NULL));
    c = load_good("hostname = mx.example relay_from = \"::1\"");
    ck_assert_ptr_null(conf_domain_find(c, slice_str("a.example")));
}
END_TEST

START_TEST(relay)
{
    static const struct {
        const char *client;
        bool may;
    } clients[] = {{"127.0.0.1", true}, {"127.255.0.1", true}, {"128.0.0.1", false},
                   {"::1", true},       {"::2", false},        {"::", false}};
    const struct conf *c = load_good(routes_text);

    for (size_t i = 0; i < ARRAY_LEN(clients); i++) {
        struct ip_addr ip;

        ck_assert(ip_parse(slice_str(clients[i].client), &ip));
        ck_assert_msg(conf_may_relay(c, &ip) == clients[i].may, "%s", clients[i].client);
    }
}
END_TEST

Suite *conf_values_suite(void)
{
    Suite *suite = suite_create("conf_values");
    TCase *values = tcase_create("values");
    TCase *lookup = tcase_create("lookup");

    tcase_add_checked_fixture(values, values_setup, values_teardown);
    tcase_add_loop_test(values, parse_addresses, 0, (int)ARRAY_LEN(addresses));
    tcase_add_loop_test(values, parse_destinations, 0, (int)ARRAY_LEN(destinations));
    tcase_add_loop_test(values, parse_texts, 0, (int)ARRAY_LEN(texts));
    tcase_add_test(values, fingerprint_bytes);
    tcase_add_loop_test(values, is_name, 0, (int)ARRAY_LEN(names));
    suite_add_tcase(suite, values);
    tcase_add_checked_fixture(lookup, folder_setup, folder_teardown);
    tcase_add_test(lookup, route_lookup);
    tcase_add_test(lookup, domain_lookup);
    tcase_add_test(lookup, relay);
    suite_add_tcase(suite, lookup);
    return suite;
}
