/* Every row of the tables: its default, the ends of its range, and what lies just beyond. */
#include "base_assert.h"
#include "conf_table_priv.h"
#include "conf_test.h"
#include "conf_value_priv.h"

struct rows_test {
    const struct conf_section *sections[3]; /* from the outside */
    unsigned depth;
    unsigned rows_seen;
};

static const char *title_of(const struct conf_section *section)
{
    return section->title == NULL ? "" : "\"a.example\"";
}

/* A whole configuration with `name = text` in the section, and what else must be there. */
static void write_config(const struct rows_test *t, const struct conf_row *row, struct slice text,
                         struct buf *out)
{
    const struct conf_section *top = t->depth > 0 ? t->sections[0] : NULL;

    if (top != NULL || strcmp(row->name, "hostname") != 0)
        (void)buf_append_str(out, "hostname = mx.example\n");
    if (top != NULL || strcmp(row->name, "relay_from") != 0)
        (void)buf_append_str(out, "relay_from = \"10.0.0.0/8\"\n");
    /* Every word of a listener's role and tls is to be good. */
    if (top == NULL || strcmp(top->name, "tls") != 0)
        (void)buf_append_str(out, "tls { certificate = /c key = /k }\n");
    if (top != NULL && strcmp(top->name, "retry") != 0)
        (void)buf_append_str(out, "retry { expire = 365d }\n"); /* for all of expire_bounces */
    if (top == NULL || strcmp(top->name, "auth") != 0)
        (void)buf_append_str(out, "auth { users = /u }\n");
    for (unsigned i = 0; i < t->depth; i++) {
        const struct conf_section *section = t->sections[i];

        (void)buf_printf(out, "%s %s {\n", section->name, title_of(section));
        for (size_t j = 0; j < section->row_count; j++) {
            const struct conf_row *other = &section->rows[j];

            if (other->required && other != row)
                (void)buf_printf(out, "%s = %s\n", other->name,
                                 other->type == CONF_TYPE_ADDRESS ? "127.0.0.1:25" : "mx");
        }
    }
    (void)buf_printf(out, "%s = \"%.*s\"\n", row->name, SLICE_ARG(text));
    if (strcmp(row->name, "expire_bounces") == 0)
        (void)buf_append_str(out, "expire = 365d\n");
    for (unsigned i = 0; i < t->depth; i++)
        (void)buf_append_str(out, "}\n");
    (void)buf_append_byte(out, '\0');
}

static const char *field_of(const struct rows_test *t, const struct conf_row *row)
{
    const char *base = (const char *)loaded.conf;

    for (unsigned i = 0; i < t->depth; i++) {
        const struct conf_section *section = t->sections[i];

        /* There is one of it, unless it is a route: the default comes first. */
        if (section->title != NULL) {
            size_t count = *(const size_t *)(const void *)(base + section->count_at);

            base = *(const char *const *)(const void *)(base + section->at);
            base += section->size * (count - 1);
        } else {
            base += section->at;
        }
    }
    return base + row->at;
}

static uint64_t number_of(const struct rows_test *t, const struct conf_row *row)
{
    const char *field = field_of(t, row);

    if (row->list)
        field = (const char *)((const struct conf_durations *)(const void *)field)->items;
    return *(const uint64_t *)(const void *)field;
}

static void check_number(const struct rows_test *t, const struct conf_row *row, uint64_t value,
                         const char *complaint)
{
    struct buf config = {0};
    struct buf text = {0};
    bool is_duration = row->type == CONF_TYPE_DURATION;

    (void)buf_printf(&text, "%llu%s", (unsigned long long)value, is_duration ? "ms" : "");
    write_config(t, row, buf_slice(&text), &config);
    load_text((const char *)buf_slice(&config).data);
    const char *report = (const char *)buf_slice(&loaded.report).data;
    if (complaint == NULL) {
        ck_assert_msg(loaded.conf != NULL, "%s = %llu: %s", row->name, (unsigned long long)value,
                      report);
        ck_assert_uint_eq(number_of(t, row), value);
    } else {
        ck_assert_msg(loaded.conf == NULL && strstr(report, complaint) != NULL
                          && strstr(report, row->name) != NULL,
                      "%s = %llu: %s", row->name, (unsigned long long)value, report);
    }
    buf_finish(&config);
    buf_finish(&text);
}

static void check_numbers(const struct rows_test *t, const struct conf_row *row)
{
    uint64_t step = row->multiple > 1 ? row->multiple : 1;

    ck_assert_uint_eq(row->min % step, 0);
    ck_assert_uint_eq(row->max % step, 0);
    check_number(t, row, row->min, NULL);
    check_number(t, row, row->max, NULL);
    check_number(t, row, row->max + 1, "is more than");
    if (row->min > 1)
        check_number(t, row, row->min - 1, "is less than");
    if (row->min > 0 && row->zero == NULL)
        check_number(t, row, 0, "is less than");
    if (step > 1)
        check_number(t, row, row->min + 1, "is not a multiple of");
}

static void check_garbage(const struct rows_test *t, const struct conf_row *row, const char *text)
{
    struct buf config = {0};

    write_config(t, row, slice_str(text), &config);
    load_text((const char *)buf_slice(&config).data);
    ck_assert_msg(loaded.conf == NULL, "%s = \"%s\" was taken", row->name, text);
    ck_assert_ptr_nonnull(strstr((const char *)buf_slice(&loaded.report).data, row->name));
    buf_finish(&config);
}

static void check_row(struct rows_test *t, const struct conf_row *row)
{
    t->rows_seen++;
    ck_assert_ptr_nonnull(row->prose);
    ck_assert_ptr_nonnull(strchr(".)", row->prose[strlen(row->prose) - 1]));
    ck_assert(row->required || (row->fallback == NULL) == (row->unset != NULL));
    if (conf_types[row->type].format != NULL)
        check_numbers(t, row);
    check_garbage(t, row, " ");
    check_garbage(t, row, "\xC3\xA4\\x01");
    if (row->type != CONF_TYPE_SEPARATORS)
        check_garbage(t, row, "");
    for (size_t i = 0; row->type == CONF_TYPE_WORD && i < ARRAY_LEN(row->words); i++) {
        struct buf config = {0};

        if (row->words[i] == NULL)
            break;
        write_config(t, row, slice_str(row->words[i]), &config);
        (void)load_good((const char *)buf_slice(&config).data);
        const void *field = field_of(t, row);
        if (row->list)
            field = ((const struct conf_extensions *)field)->items;
        ck_assert_uint_eq(*(const unsigned *)field, i);
        buf_finish(&config);
    }
}

static void check_section(struct rows_test *t, const struct conf_section *section)
{
    for (size_t i = 0; i < section->row_count; i++)
        check_row(t, &section->rows[i]);
    for (size_t i = 0; i < section->section_count; i++) {
        t->sections[t->depth++] = section->sections[i];
        check_section(t, section->sections[i]);
        t->depth--;
    }
}

START_TEST(every_row)
{
    struct rows_test t = {.depth = 0};

    check_section(&t, &conf_root);
    ck_assert_uint_gt(t.rows_seen, 40);
}
END_TEST

START_TEST(defaults)
{
    const struct conf *c = load_good("hostname = MX1.Example.ORG\ndomain a.example { to = mx }");

    ck_assert_str_eq(c->file, in_folder("mailring.conf"));
    ck_assert_slice(c->hostname, "mx1.example.org");
    ck_assert_str_eq(c->spool, "/var/spool/mailring");
    ck_assert_uint_eq(c->spool_segment, 64 << 20);
    ck_assert_str_eq(c->control, "/run/mailring/control.sock");
    ck_assert_ptr_null(c->user);
    ck_assert_uint_eq(c->shards, 0);
    ck_assert_uint_eq(c->relay_from.count, 0);
    ck_assert_uint_eq(c->retry.intervals.count, 5);
    ck_assert_uint_eq(c->retry.intervals.items[0], 300000);
    ck_assert_uint_eq(c->retry.intervals.items[4], 3600000);
    ck_assert_uint_eq(c->retry.expire, 432000000);
    ck_assert_uint_eq(c->retry.jitter, 10);
    ck_assert_uint_eq(c->dns.servers.count, 0);
    ck_assert_uint_eq(c->dns.timeout, 5000);
    ck_assert_uint_eq(c->limits.message_size, 50 << 20);
    ck_assert_uint_eq(c->limits.recipients, 1000);
    ck_assert_uint_eq(c->limits.connections, 50000);
    ck_assert_uint_eq(c->limits.connections_per_client, 100);
    ck_assert_uint_eq(c->submit_listener->connections, c->limits.connections / 2);
    ck_assert_uint_eq(c->submit_listener->connections_per_client, c->limits.connections / 10);
    ck_assert_uint_eq(c->limits.messages_per_connection, 1000);
    ck_assert_uint_eq(c->limits.errors, 20);
    ck_assert_uint_eq(c->limits.hops, 100);
    ck_assert_uint_eq(c->limits.queue, (uint64_t)20 << 30);
    ck_assert_uint_eq(c->limits.timeout.greeting, 300000);
    ck_assert_uint_eq(c->limits.timeout.command, 300000);
    ck_assert_uint_eq(c->limits.timeout.data, 600000);
}
END_TEST

START_TEST(default_listener)
{
    const struct conf *c = load_good("hostname = mx.example domain a.example { to = mx }");
    struct ip_addr any;

    ck_assert_uint_eq(c->listener_count, 1);
    ck_assert_slice(c->listeners[0].name, "mx");
    ck_assert_int_eq(c->listeners[0].role, CONF_ROLE_MX);
    ck_assert_int_eq(c->listeners[0].bare_newline, CONF_BARE_NEWLINE_REJECT);
    ck_assert_uint_eq(c->listeners[0].message_size, 50 << 20);
    ck_assert_uint_eq(c->listeners[0].connections, 50000);
    ck_assert_uint_eq(c->listeners[0].address.count, 2);
    ck_assert(ip_parse(SLICE_LITERAL("0.0.0.0"), &any));
    ck_assert_mem_eq(&c->listeners[0].address.items[0].ip, &any, sizeof(any));
    ck_assert(ip_parse(SLICE_LITERAL("::"), &any));
    ck_assert_mem_eq(&c->listeners[0].address.items[1].ip, &any, sizeof(any));
    ck_assert_uint_eq(c->listeners[0].address.items[0].port, 25);
    ck_assert_uint_eq(c->listeners[0].address.items[1].port, 25);
}
END_TEST

START_TEST(default_route)
{
    const struct conf *c = load_good("hostname = mx.example domain a.example { to = mx }");

    ck_assert_uint_eq(c->route_count, 1);
    ck_assert_slice(c->routes[0].pattern, "*");
    ck_assert_uint_eq(c->routes[0].to.count, 1);
    ck_assert_int_eq(c->routes[0].to.items[0].kind, CONF_TO_MX);
    ck_assert_uint_eq(c->routes[0].connections, 20);
    ck_assert_uint_eq(c->routes[0].messages_per_connection, 100);
    ck_assert_uint_eq(c->routes[0].messages_per_minute, 0);
    ck_assert_uint_eq(c->routes[0].recipients_per_message, 100);
    ck_assert_uint_eq(c->routes[0].timeout.connect, 30000);
    ck_assert_uint_eq(c->routes[0].timeout.response, 300000);
    ck_assert_uint_eq(c->routes[0].timeout.data, 600000);
    ck_assert_uint_eq(c->routes[0].timeout.idle, 5000);
}
END_TEST

START_TEST(listener_hides)
{
    const struct conf *c = load_good("hostname = mx.example domain a.example { to = mx }\n"
                                     "listener a { address = 127.0.0.1:25 hide = {DSN, SIZE} }\n"
                                     "listener b { address = 127.0.0.1:26 hide = DSN }\n"
                                     "listener c { address = 127.0.0.1:27 }\n");

    ck_assert_uint_eq(c->listeners[0].hide.count, 2);
    ck_assert_int_eq(c->listeners[0].hide.items[0], CONF_EXTENSION_DSN);
    ck_assert_int_eq(c->listeners[0].hide.items[1], CONF_EXTENSION_SIZE);
    ck_assert_uint_eq(c->listeners[1].hide.count, 1);
    ck_assert_uint_eq(c->listeners[2].hide.count, 0);
}
END_TEST

START_TEST(default_life)
{
    const struct conf *c = load_good("hostname = mx.example  control = \"/run/x/c.sock\"\n"
                                     "domain a.example { to = mx }");

    ck_assert_uint_eq(c->retry.expire_bounces, 172800000);
    ck_assert_uint_eq(c->retry.warn_after, 14400000);
    ck_assert_slice(c->notices.from, "");
    ck_assert_slice(c->notices.postmaster, "");
    ck_assert_uint_eq(c->notices.copies.count, 1);
    ck_assert_slice(c->notices.copies.items[0], "double");
    ck_assert_ptr_null(c->notices.template_failure);
    ck_assert_uint_eq(c->notices.return_size, 65536);
    ck_assert(c->verify.recipient_domain);
    ck_assert(!c->verify.sender_domain);
    ck_assert_slice(c->verify.callout.sender, "");
    ck_assert_uint_eq(c->verify.callout.timeout, 10000);
    ck_assert_uint_eq(c->verify.callout.positive, 86400000);
    ck_assert_uint_eq(c->verify.callout.negative, 3600000);
    ck_assert(c->verify.callout.defer_unknown);
    ck_assert_str_eq(c->submit, "/run/x/submit.sock");
    ck_assert_str_eq(c->drop, "/var/spool/mailring-drop");
    ck_assert(!c->domains[0].callout);
    ck_assert_slice(c->domains[0].catch_all, "");
    ck_assert_int_eq(c->routes[0].family, CONF_FAMILY_ANY);
    ck_assert_uint_eq(c->routes[0].from.count, 0);
    ck_assert_uint_eq(c->routes[0].retry.expire, c->retry.expire);
    ck_assert_uint_eq(c->routes[0].retry.intervals.count, 5);
}
END_TEST

/* What a route's retry leaves out is the outer one's; what it says counts, 0 too. */
START_TEST(route_retry)
{
    const struct conf *c = load_good(
        "hostname = mx.example  relay_from = \"::1\"\n"
        "retry { intervals = {1m, 2m} expire = 3d expire_bounces = 1d warn_after = 5h\n"
        "        jitter = 7 }\n"
        "route a.example { }\n"
        "route b.example { retry { intervals = 9m expire = 12h warn_after = 0 jitter = 0 } }\n"
        "route c.example { retry { expire_bounces = 2d } }\n");
    const struct conf_retry *r = &conf_route_find(c, SLICE_LITERAL("a.example"))->retry;

    ck_assert_uint_eq(r->intervals.count, 2);
    ck_assert_uint_eq(r->intervals.items[1], 120000);
    ck_assert_uint_eq(r->expire, 259200000);
    ck_assert_uint_eq(r->expire_bounces, 86400000);
    ck_assert_uint_eq(r->warn_after, 18000000);
    ck_assert_uint_eq(r->jitter, 7);
    r = &conf_route_find(c, SLICE_LITERAL("b.example"))->retry;
    ck_assert_uint_eq(r->intervals.count, 1);
    ck_assert_uint_eq(r->intervals.items[0], 540000);
    ck_assert_uint_eq(r->expire, 43200000);
    ck_assert_uint_eq(r->expire_bounces, 43200000);
    ck_assert_uint_eq(r->warn_after, 0);
    ck_assert_uint_eq(r->jitter, 0);
    r = &conf_route_find(c, SLICE_LITERAL("c.example"))->retry;
    ck_assert_uint_eq(r->expire_bounces, 172800000);
    ck_assert_uint_eq(conf_route_find(c, SLICE_LITERAL("x.example"))->retry.expire, 259200000);
}
END_TEST

/* Routes of one pattern: sorted, those for some senders first, and none of those is found without one. */
START_TEST(routes_by_sender)
{
    const struct conf *c =
        load_good("hostname = mx.example  relay_from = \"::1\"\n"
                  "route \"*\" { from = {News.example, \"Ann@A.example\"} family = ipv4 }\n"
                  "route b.example { from = \"@c.example\" family = ipv6 }\n"
                  "route b.example { family = prefer-ipv4 }\n"
                  "route b.example { from = \"<>\" family = prefer-ipv6 }\n");

    ck_assert_uint_eq(c->route_count, 5);
    for (size_t i = 0; i < c->route_count; i++)
        ck_assert_slice(c->routes[i].pattern, i < 2 ? "*" : "b.example");
    ck_assert_uint_eq(c->routes[0].from.count, 2);
    ck_assert_slice(c->routes[0].from.items[0], "news.example");
    ck_assert_slice(c->routes[0].from.items[1], "ann@a.example");
    ck_assert_uint_eq(c->routes[1].from.count, 0);
    ck_assert_slice(c->routes[2].from.items[0], "<>");
    ck_assert_slice(c->routes[3].from.items[0], "c.example");
    ck_assert_uint_eq(c->routes[4].from.count, 0);
    ck_assert_ptr_eq(conf_route_find(c, SLICE_LITERAL("b.example")), &c->routes[4]);
    ck_assert_ptr_eq(conf_route_find(c, SLICE_LITERAL("c.example")), &c->routes[1]);
    ck_assert_int_eq(c->routes[4].family, CONF_FAMILY_PREFER_IPV4);
    ck_assert_int_eq(c->routes[1].family, CONF_FAMILY_ANY);
}
END_TEST

/* The one for any sender is found among many. */
START_TEST(many_routes_of_one_pattern)
{
    struct buf text = {0};

    (void)buf_append_str(&text, "hostname = mx.example relay_from = \"::1\"\n");
    for (int i = 0; i < 2000; i++)
        (void)buf_printf(&text, "route \"*.b.example\" { from = s%d.example }\n", i);
    (void)buf_append_str(&text, "route \"*.b.example\" { connections = 3 }\n");
    (void)buf_append_byte(&text, '\0');
    const struct conf *c = load_good((const char *)text.data);
    buf_finish(&text);
    ck_assert_uint_eq(c->route_count, 2002);
    ck_assert_uint_eq(conf_route_find(c, SLICE_LITERAL("x.b.example"))->connections, 3);
    ck_assert_slice(conf_route_find(c, SLICE_LITERAL("b.example"))->pattern, "*");
}
END_TEST

START_TEST(listener_limits)
{
    const struct conf *c = load_good("hostname = mx.example\nrelay_from = \"::1\"\n"
                                     "listener a { address = 127.0.0.1:25 message_size = 1M }\n"
                                     "listener b { address = 127.0.0.1:26 recipients = 7\n"
                                     "             connections = 3 connections_per_client = 2 }\n"
                                     "limits { message_size = 2M recipients = 9 connections = 8\n"
                                     "         connections_per_client = 6 }\n");

    ck_assert_uint_eq(c->listener_count, 2);
    ck_assert_uint_eq(c->listeners[0].message_size, 1 << 20);
    ck_assert_uint_eq(c->listeners[0].recipients, 9);
    ck_assert_uint_eq(c->listeners[0].connections, 8);
    ck_assert_uint_eq(c->listeners[0].connections_per_client, 6);
    ck_assert_uint_eq(c->listeners[1].message_size, 2 << 20);
    ck_assert_uint_eq(c->listeners[1].recipients, 7);
    ck_assert_uint_eq(c->listeners[1].connections, 3);
    ck_assert_uint_eq(c->listeners[1].connections_per_client, 2);
}
END_TEST

Suite *conf_rows_suite(void)
{
    Suite *suite = suite_create("conf_rows");
    TCase *tc = tcase_create("rows");

    tcase_add_checked_fixture(tc, folder_setup, folder_teardown);
    tcase_add_test(tc, every_row);
    tcase_add_test(tc, defaults);
    tcase_add_test(tc, default_listener);
    tcase_add_test(tc, default_route);
    tcase_add_test(tc, listener_hides);
    tcase_add_test(tc, default_life);
    tcase_add_test(tc, route_retry);
    tcase_add_test(tc, routes_by_sender);
    tcase_add_test(tc, many_routes_of_one_pattern);
    tcase_add_test(tc, listener_limits);
    suite_add_tcase(suite, tc);
    return suite;
}
