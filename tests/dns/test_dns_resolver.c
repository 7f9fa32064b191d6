/* The resolver of production against a scripted server, on the real kernel. */
#include <arpa/inet.h>
#include <check.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base_wheel.h"
#include "dns_reply.h"
#include "dns_resolver_priv.h"
#include "dns_server.h"
#include "io_uring_ring.h"

enum { QUERIES = 32, PATIENCE_MS = 20000, BIG_COUNT = 40 };

struct probe {
    struct dns_query q;
    unsigned done;
};

static struct io *io;
static struct wheel wheel;
static struct dns *dns;
static struct dns_server *server;
static struct io_addr server_addr;
static struct probe probes[QUERIES];
static int fds_before;
static enum dns_dnssec dnssec;

/* ---- the script ----------------------------------------------------------------------------- */

static void big_answer(const struct dns_server_query *q, struct buf *reply)
{
    for (unsigned i = 0; i < BIG_COUNT; i++) {
        char host[64];
        (void)snprintf(host, sizeof(host), "a-rather-long-host-name-number-%u.big.test", i);
        reply_mx(reply, "@", 300, (uint16_t)(BIG_COUNT - i), host);
        if (!q->tcp && i == 5)
            break;
    }
    if (!q->tcp)
        reply_truncated(reply);
}

static bool is(const struct dns_server_query *q, const char *name)
{
    return strcmp(q->name, name) == 0;
}

static enum dns_server_act answer_mx(const struct dns_server_query *q, struct buf *reply)
{
    reply_begin(reply, q->id, 0, q->name, q->type);
    if (is(q, "mx.test")) {
        reply_mx(reply, "@", 300, 20, "b.mx.test");
        reply_mx(reply, "@", 300, 10, "A.mx.test");
        reply_mx(reply, "@", 300, 10, "c.mx.test");
    } else if (is(q, "null.test")) {
        reply_mx(reply, "@", 300, 0, "");
    } else if (is(q, "big.test") || (is(q, "stuck.test") && !q->tcp)
               || (is(q, "hangup.test") && !q->tcp)) {
        big_answer(q, reply);
    } else if (is(q, "stuck.test")) {
        return SERVER_DROP;
    } else if (is(q, "hangup.test")) {
        return SERVER_CLOSE;
    } else {
        reply_soa(reply, "test", 300, 60);
    }
    return SERVER_SEND;
}

static enum dns_server_act answer_address(const struct dns_server_query *q, struct buf *reply)
{
    reply_begin(reply, q->id, 0, q->name, q->type);
    if (is(q, "host.test")) {
        reply_address(reply, "@", 300, q->type == REPLY_A ? "192.0.2.1" : "2001:db8::1");
    } else if (is(q, "alias.test")) {
        reply_cname(reply, "@", 300, "real.test");
        if (q->type == REPLY_A)
            reply_address(reply, "real.test", 300, "192.0.2.2");
    } else if (is(q, "half.test") && q->type == REPLY_A) {
        reply_address(reply, "@", 300, "192.0.2.3");
    } else if (is(q, "half.test")) {
        buf_clear(reply);
        reply_begin(reply, q->id, 2, q->name, q->type);
    }
    return SERVER_SEND;
}

static enum dns_server_act script(const struct dns_server_query *q, struct buf *reply)
{
    if (!q->ad) /* a question that does not want to know what is validated */
        return SERVER_DROP;
    if (is(q, "slow.test"))
        return SERVER_DROP;
    if (is(q, "signed.test") || is(q, "_25._tcp.signed.test") || is(q, "signed.null.test")) {
        reply_begin(reply, q->id, is(q, "signed.null.test") ? 3 : 0, q->name, q->type);
        reply_secure(reply);
        if (q->type == REPLY_MX)
            reply_mx(reply, "@", 300, 20, "signed.test");
        else if (q->type == REPLY_TLSA)
            reply_record(reply, 0, "@", REPLY_TLSA, 60, SLICE_LITERAL("\3\1\1abc"));
        else if (q->type == REPLY_TXT)
            reply_record(reply, 0, "@", REPLY_TXT, 60, SLICE_LITERAL("\2ab\1c"));
        else if (q->type == REPLY_CNAME)
            reply_cname(reply, "@", 60, "mx.test");
        return SERVER_SEND;
    }
    if (is(q, "lost.test") && q->before == 0)
        return SERVER_DROP; /* one datagram */
    if (is(q, "garbage.test")) {
        reply_begin(reply, q->id, 0, q->name, q->type);
        reply_record(reply, 0, "@", REPLY_MX, 60, SLICE_LITERAL("\0\1\xff\xff"));
        return SERVER_SEND;
    }
    if (is(q, "stranger.test")) {
        reply_begin(reply, (uint16_t)(q->id + 1), 0, q->name, q->type);
        reply_mx(reply, "@", 300, 1, "evil.test");
        return SERVER_SEND;
    }
    if (is(q, "other.test")) { /* an answer to another question */
        reply_begin(reply, q->id, 0, "mx.test", q->type);
        reply_mx(reply, "@", 300, 1, "evil.test");
        return SERVER_SEND;
    }
    if (is(q, "nxdomain.test") || is(q, "servfail.test") || is(q, "refused.test")
        || ((is(q, "old.test") || is(q, "older.test")) && q->edns)) {
        unsigned rcode = is(q, "nxdomain.test")   ? 3
                         : is(q, "servfail.test") ? 2
                         : is(q, "refused.test")  ? 5
                                                  : 1;
        reply_begin(reply, q->id, rcode, q->name, q->type);
        return SERVER_SEND;
    }
    if (is(q, "old.test") || is(q, "older.test") || is(q, "lost.test")) {
        reply_begin(reply, q->id, 0, q->name, q->type);
        reply_mx(reply, "@", 300, 1, "mail.test");
        return SERVER_SEND;
    }
    return q->type == REPLY_MX ? answer_mx(q, reply) : answer_address(q, reply);
}

/* ---- the world ------------------------------------------------------------------------------ */

static int count_fds(void)
{
    DIR *dir = opendir("/proc/self/fd");
    int count = 0;

    ck_assert_ptr_nonnull(dir);
    while (readdir(dir) != NULL)
        count++;
    (void)closedir(dir);
    return count;
}

static void create_dns(uint64_t timeout_ms)
{
    struct dns_resolver_options options = {
        .servers = &server_addr, .server_count = 1, .timeout_ms = timeout_ms, .dnssec = dnssec};
    struct buf error = {0};

    dns = dns_resolver_create(io, &wheel, &options, &error);
    ck_assert_msg(dns != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    buf_finish(&error);
}

static void setup(void)
{
    const struct io_uring_options options = {
        .entries = 16, .recv_buffers = 8, .recv_buffer_len = 2048, .cpu = -1};
    struct buf error = {0};
    int code = 0;

    memset(probes, 0, sizeof(probes));
    dnssec = DNS_DNSSEC_AUTO;
    io = io_uring_create(&options, &error, &code);
    ck_assert_msg(io != NULL, "%.*s", SLICE_ARG(buf_slice(&error)));
    ck_assert_int_eq(io_uring_start(io), 0);
    wheel_init(&wheel, io_now_ms(io));
    fds_before = count_fds();
    server = dns_server_start(script, &server_addr);
    create_dns(3000);
}

static void pass(void)
{
    uint64_t soon = io_now_ms(io) + 100, next;

    wheel_advance(&wheel, io_now_ms(io));
    next = wheel_next_ms(&wheel);
    (void)io_wait(io, next < soon ? next : soon);
    wheel_advance(&wheel, io_now_ms(io));
}

static void end_dns(void)
{
    uint64_t deadline_ms = io_now_ms(io) + PATIENCE_MS;

    dns_resolver_stop(dns);
    for (int i = 0; i < QUERIES; i++)
        dns_query_finish(&probes[i].q);
    while (!dns_resolver_idle(dns)) {
        pass();
        ck_assert_uint_lt(io_now_ms(io), deadline_ms);
    }
    dns_destroy(dns);
}

static void teardown(void)
{
    end_dns();
    dns_server_stop(server);
    ck_assert_int_eq(count_fds(), fds_before);
    io_destroy(io);
}

static void probe_done(struct dns_query *q)
{
    container_of(q, struct probe, q)->done++;
}

static struct probe *ask(int i, bool mx, const char *name)
{
    struct probe *p = &probes[i];

    dns_query_finish(&p->q);
    *p = (struct probe){.q.done = probe_done};
    if (mx)
        dns_query_mx(dns, &p->q, slice_str(name));
    else
        dns_query_addresses(dns, &p->q, slice_str(name));
    ck_assert_uint_eq(p->done, 0);
    return p;
}

static void wait_for(struct probe *p)
{
    uint64_t deadline_ms = io_now_ms(io) + PATIENCE_MS;

    while (p->done == 0) {
        pass();
        ck_assert_uint_lt(io_now_ms(io), deadline_ms);
    }
    ck_assert_uint_eq(p->done, 1);
    ck_assert((p->q.status == DNS_OK) == (p->q.answer != NULL));
}

static struct probe *ask_mx(const char *name)
{
    struct probe *p = ask(0, true, name);

    wait_for(p);
    return p;
}

static struct probe *ask_addresses(const char *name)
{
    struct probe *p = ask(0, false, name);

    wait_for(p);
    return p;
}

/* ---- answers -------------------------------------------------------------------------------- */

START_TEST(mx)
{
    const struct probe *p = ask_mx("MX.test");

    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_uint_eq(p->q.answer->mx_count, 3);
    ck_assert_str_eq(p->q.answer->mx[0].host, "a.mx.test");
    ck_assert_str_eq(p->q.answer->mx[1].host, "c.mx.test");
    ck_assert_str_eq(p->q.answer->mx[2].host, "b.mx.test");
    ck_assert_uint_eq(p->q.answer->mx[2].preference, 20);
    p = ask_mx("null.test");
    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_str_eq(p->q.answer->mx[0].host, "");
}
END_TEST

START_TEST(statuses)
{
    static const struct {
        const char *name;
        enum dns_status status;
    } rows[] = {
        {"nxdomain.test", DNS_NO_NAME},   {"nodata.test", DNS_NO_DATA},
        {"servfail.test", DNS_TEMPORARY}, {"refused.test", DNS_TEMPORARY},
        {"garbage.test", DNS_TEMPORARY},  {"old.test", DNS_OK},
        {"older.test", DNS_OK},           {"bad..name", DNS_BAD_NAME},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(ask_mx(rows[i].name)->q.status == rows[i].status, "%s", rows[i].name);
}
END_TEST

START_TEST(addresses)
{
    const struct probe *p = ask_addresses("host.test");

    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_uint_eq(p->q.answer->address_count, 2);
    ck_assert(!ip_is_v4(&p->q.answer->addresses[0]));
    ck_assert(ip_is_v4(&p->q.answer->addresses[1]));
    p = ask_addresses("alias.test");
    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_uint_eq(p->q.answer->address_count, 1);
    p = ask_addresses("half.test");
    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_int_eq(ask_addresses("none.test")->q.status, DNS_NO_DATA);
    ck_assert_int_eq(ask_addresses("nxdomain.test")->q.status, DNS_NO_NAME);
}
END_TEST

START_TEST(localhost)
{
    ck_assert_int_eq(ask_addresses("localhost")->q.status, DNS_OK);
    ck_assert_uint_eq(dns_server_asked(server), 0);
}
END_TEST

/* Cut over UDP, whole over TCP. */
START_TEST(truncated)
{
    const struct probe *p = ask_mx("big.test");

    ck_assert_int_eq(p->q.status, DNS_OK);
    ck_assert_uint_eq(p->q.answer->mx_count, BIG_COUNT);
    ck_assert_str_eq(p->q.answer->mx[0].host, "a-rather-long-host-name-number-39.big.test");
    ck_assert_uint_eq(dns_server_asked(server), 2);
    /* And once more, over a new connection. */
    ck_assert_int_eq(ask_mx("mx.test")->q.status, DNS_OK);
}
END_TEST

START_TEST(hung_up)
{
    ck_assert_int_eq(ask_mx("hangup.test")->q.status, DNS_TEMPORARY);
    ck_assert_int_eq(ask_mx("mx.test")->q.status, DNS_OK);
}
END_TEST

START_TEST(one_lost_datagram)
{
    ck_assert_int_eq(ask_mx("lost.test")->q.status, DNS_OK);
    ck_assert_uint_eq(dns_server_asked(server), 2);
}
END_TEST

/* ---- time ----------------------------------------------------------------------------------- */

static void with_timeout(uint64_t timeout_ms)
{
    dns_destroy(dns);
    create_dns(timeout_ms);
}

START_TEST(timeouts)
{
    static const struct {
        const char *name;
        uint64_t least_ms;
    } rows[] = {
        {"slow.test", 600},     /* no answer */
        {"stranger.test", 600}, /* one with a wrong id */
        {"other.test", 600},    /* one to another question */
        {"stuck.test", 0},      /* a TCP connection that says nothing: tried once */
    };

    with_timeout(700);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        uint64_t began_ms = io_now_ms(io), took_ms;
        ck_assert_msg(ask_mx(rows[i].name)->q.status == DNS_TEMPORARY, "%s", rows[i].name);
        took_ms = io_now_ms(io) - began_ms;
        ck_assert_msg(took_ms >= rows[i].least_ms && took_ms < 3000, "%s: %u ms", rows[i].name,
                      (unsigned)took_ms);
    }
}
END_TEST

/* ---- many ----------------------------------------------------------------------------------- */

START_TEST(asked_once)
{
    struct dns_counters counters;

    for (int i = 0; i < QUERIES; i++)
        (void)ask(i, true, i % 2 == 0 ? "mx.test" : "Mx.Test.");
    for (int i = 0; i < QUERIES; i++)
        wait_for(&probes[i]);
    (void)ask_mx("mx.test");
    ck_assert_uint_eq(dns_server_asked(server), 1);
    dns_counters(dns, &counters);
    ck_assert_uint_eq(counters.asked, QUERIES + 1);
    ck_assert_uint_eq(counters.sent, 1);
    ck_assert_uint_eq(counters.cache_hits, 1);
}
END_TEST

START_TEST(many_at_a_time)
{
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < QUERIES; i++) {
            char name[32];
            (void)snprintf(name, sizeof(name), "n%d-%d.test", round, i);
            (void)ask(i, i % 3 == 0, name);
        }
        for (int i = 0; i < QUERIES; i++) {
            wait_for(&probes[i]);
            ck_assert_int_eq(probes[i].q.status, DNS_NO_DATA);
        }
    }
}
END_TEST

START_TEST(given_up)
{
    struct probe *a = ask(0, true, "mx.test"), *b = ask(1, true, "slow.test"),
                 *c = ask(2, true, "null.test");

    dns_query_finish(&a->q);
    dns_query_finish(&b->q);
    wait_for(c);
    for (int i = 0; i < 5; i++)
        pass();
    ck_assert_uint_eq(a->done + b->done, 0);
    ck_assert_int_eq(ask_mx("mx.test")->q.status, DNS_OK);
}
END_TEST

/* ---- the end -------------------------------------------------------------------------------- */

START_TEST(stopped_while_open)
{
    struct probe *udp = ask(0, true, "slow.test"), *tcp = ask(1, true, "stuck.test"),
                 *finished = ask(2, true, "slow.test"), *late;

    while (dns_server_asked(server) < 3)
        pass();
    dns_query_finish(&finished->q);
    dns_resolver_stop(dns);
    ck_assert_uint_eq(udp->done + tcp->done, 0);
    late = ask(3, true, "mx.test");
    wait_for(udp);
    wait_for(tcp);
    wait_for(late);
    ck_assert_int_eq(udp->q.status, DNS_TEMPORARY);
    ck_assert_int_eq(tcp->q.status, DNS_TEMPORARY);
    ck_assert_int_eq(late->q.status, DNS_TEMPORARY);
    ck_assert_uint_eq(finished->done, 0);
}
END_TEST

/* The server is on this machine, so its word counts, unless somebody says no. */
START_TEST(the_ad_bit)
{
    for (int believed = 1; believed >= 0; believed--) {
        struct probe *tlsa = &probes[1], *txt = &probes[2], *alias = &probes[3];
        dnssec = believed == 1 ? DNS_DNSSEC_AUTO : DNS_DNSSEC_NO;
        end_dns();
        create_dns(3000);
        ck_assert(dns_is_trusted(dns) == (believed == 1));
        ck_assert(ask_mx("signed.test")->q.secure == (believed == 1));
        ck_assert(!ask_mx("mx.test")->q.secure);
        ck_assert(ask_mx("signed.null.test")->q.secure == (believed == 1));
        ck_assert_int_eq(probes[0].q.status, DNS_NO_NAME);
        for (int i = 1; i < 4; i++)
            probes[i].q.done = probe_done;
        dns_query_tlsa(dns, &tlsa->q, SLICE_LITERAL("_25._tcp.signed.test"));
        dns_query_txt(dns, &txt->q, SLICE_LITERAL("signed.test"));
        dns_query_alias(dns, &alias->q, SLICE_LITERAL("signed.test"));
        for (int i = 1; i < 4; i++) {
            wait_for(&probes[i]);
            ck_assert(probes[i].q.secure == (believed == 1));
        }
        ck_assert(slice_equal(tlsa->q.answer->tlsa[0].data, SLICE_LITERAL("abc")));
        ck_assert(slice_equal(txt->q.answer->txt[0], SLICE_LITERAL("abc")));
        ck_assert_str_eq(alias->q.answer->canonical, "mx.test");
        for (int i = 0; i < 4; i++) {
            dns_query_finish(&probes[i].q);
            probes[i].done = 0;
        }
    }
}
END_TEST

static bool trusts(const char *first, const char *second, enum dns_dnssec how, const char *path)
{
    const char *const text[] = {first, second};
    struct io_addr addrs[2];
    struct dns_resolver_options options = {.servers = addrs, .dnssec = how, .resolv_conf = path};
    struct buf error = {0};
    struct dns *d;
    bool trusted;

    for (; options.server_count < 2 && text[options.server_count] != NULL; options.server_count++) {
        struct ip_addr ip;
        ck_assert(ip_parse(slice_str(text[options.server_count]), &ip));
        io_addr_from_ip(&ip, 53, &addrs[options.server_count]);
    }
    d = dns_resolver_create(io, &wheel, &options, &error);
    ck_assert_ptr_nonnull(d);
    trusted = dns_is_trusted(d);
    dns_destroy(d);
    return trusted;
}

START_TEST(who_is_trusted)
{
    char path[] = "/tmp/mailring-resolv-XXXXXX";
    int fd = mkstemp(path);

    ck_assert(fd >= 0 && write(fd, "options edns0 trust-ad\n", 23) == 23 && close(fd) == 0);
    ck_assert(trusts("127.0.0.1", NULL, DNS_DNSSEC_AUTO, NULL));
    ck_assert(trusts("127.1.2.3", "::1", DNS_DNSSEC_AUTO, NULL));
    ck_assert(!trusts("127.0.0.1", "192.0.2.1", DNS_DNSSEC_AUTO, NULL));
    ck_assert(!trusts("192.0.2.1", "127.0.0.1", DNS_DNSSEC_AUTO, NULL));
    ck_assert(!trusts("2001:db8::1", NULL, DNS_DNSSEC_AUTO, NULL));
    ck_assert(trusts("192.0.2.1", NULL, DNS_DNSSEC_YES, NULL));
    ck_assert(!trusts("127.0.0.1", NULL, DNS_DNSSEC_NO, NULL));
    /* What the file says is about its own servers. */
    ck_assert(!trusts("192.0.2.1", NULL, DNS_DNSSEC_AUTO, path));
    ck_assert(trusts(NULL, NULL, DNS_DNSSEC_AUTO, path));
    ck_assert(!trusts(NULL, NULL, DNS_DNSSEC_NO, path));
    ck_assert_int_eq(unlink(path), 0);
}
END_TEST

START_TEST(options_of_the_system)
{
    static const struct {
        const char *text;
        bool trust;
    } rows[] = {
        {"nameserver 192.0.2.1\noptions ndots:1 trust-ad timeout:1\n", true},
        {"options trust-ad", true},
        {"  options\ttrust-ad\nsearch x", true},
        {"options no-trust-ad\n", false},
        {"# options trust-ad\n", false},
        {"options trust-adx\nsearch trust-ad\n", false},
        {"", false},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        ck_assert_msg(dns_trust_said(slice_str(rows[i].text)) == rows[i].trust, "%s", rows[i].text);
}
END_TEST

START_TEST(nobody_there)
{
    struct sockaddr_in *addr = (struct sockaddr_in *)(void *)&server_addr.storage;
    in_port_t port = addr->sin_port;

    addr->sin_port = htons(9); /* discard: refused at once */
    with_timeout(700);
    ck_assert_int_eq(ask_mx("mx.test")->q.status, DNS_TEMPORARY);
    addr->sin_port = port;
}
END_TEST

START_TEST(servers_of_the_system)
{
    struct dns_resolver_options options = {.timeout_ms = 100};
    struct buf error = {0};

    dns_destroy(dns);
    dns = dns_resolver_create(io, &wheel, &options, &error);
    ck_assert_ptr_nonnull(dns);
}
END_TEST

Suite *dns_resolver_suite(void)
{
    Suite *s = suite_create("dns_resolver");
    TCase *tc = tcase_create("dns_resolver");

    tcase_set_timeout(tc, 30);
    tcase_add_checked_fixture(tc, setup, teardown);
    tcase_add_test(tc, mx);
    tcase_add_test(tc, statuses);
    tcase_add_test(tc, addresses);
    tcase_add_test(tc, localhost);
    tcase_add_test(tc, truncated);
    tcase_add_test(tc, hung_up);
    tcase_add_test(tc, one_lost_datagram);
    tcase_add_test(tc, timeouts);
    tcase_add_test(tc, asked_once);
    tcase_add_test(tc, many_at_a_time);
    tcase_add_test(tc, given_up);
    tcase_add_test(tc, stopped_while_open);
    tcase_add_test(tc, the_ad_bit);
    tcase_add_test(tc, who_is_trusted);
    tcase_add_test(tc, options_of_the_system);
    tcase_add_test(tc, nobody_there);
    tcase_add_test(tc, servers_of_the_system);
    suite_add_tcase(s, tc);
    return s;
}
