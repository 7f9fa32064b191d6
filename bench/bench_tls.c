/*
 * bench_tls: what a TLS session costs: CPU of a handshake on each side, by kind of key, whole and resumed;
 * bulk; and memory of an idle session on each side, with all that belongs to it (counted by the library's
 * allocator). No sockets: two ends and two queues. With --tiny, one round of each.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base_assert.h"
#include "base_mem.h"
#include "tls.h"
#include "tls_certs.h"
#include "tls_link.h"

#ifdef BENCH_JEMALLOC
#include <jemalloc/jemalloc.h>
#endif

static bool tiny;
static unsigned long checksum;
static const struct slice mx = SLICE_INIT("mx.example.org");

static double cpu_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void must(bool good, const char *what)
{
    if (!good) {
        fprintf(stderr, "bench_tls: %s\n", what);
        exit(1);
    }
}

/* ---- handshakes --------------------------------------------------------------------------------------- */

struct sums {
    double client_s, server_s;
};

static enum tls_result timed_step(struct tls *t, enum tls_result before, struct buf *in,
                                  struct buf *out, double *sum)
{
    if (before != TLS_WANT_INPUT)
        return before;
    struct slice all = buf_slice(in), rest = all;
    double start = cpu_s();
    enum tls_result result = tls_handshake(t, &rest, out);
    *sum += cpu_s() - start;
    buf_consume(in, all.len - rest.len);
    return result;
}

/* One session: handshake, a byte each way (tickets come with it), close. */
static void session(struct tls_context *client, struct tls_context *server,
                    const struct tls_connect_options *options, struct sums *sums,
                    struct tls_resumption **out)
{
    struct tls_link l;
    double start = cpu_s(), after_client;
    tls_link_init(&l, client, server, options); /* both: making them is a part of the cost */
    after_client = cpu_s();
    sums->client_s += after_client - start;
    while (l.client_result == TLS_WANT_INPUT || l.server_result == TLS_WANT_INPUT) {
        l.client_result =
            timed_step(l.client, l.client_result, &l.to_client, &l.to_server, &sums->client_s);
        l.server_result =
            timed_step(l.server, l.server_result, &l.to_server, &l.to_client, &sums->server_s);
    }
    must(l.client_result == TLS_OK && l.server_result == TLS_OK, "handshake");
    struct tls_facts facts;
    tls_facts(l.server, &facts);
    must(facts.resumed == (options->resume != NULL), "resumption");
    must(tls_link_carry(&l, false, SLICE_LITERAL("2")), "data");
    must(tls_link_carry(&l, true, SLICE_LITERAL("E")), "data");
    checksum += facts.bits;
    if (out != NULL)
        *out = tls_resumption_take(l.client);
    start = cpu_s();
    tls_free(l.client);
    after_client = cpu_s();
    tls_free(l.server);
    sums->client_s += after_client - start;
    sums->server_s += cpu_s() - after_client;
    l.client = l.server = NULL;
    tls_link_finish(&l);
}

static void bench_handshake(const char *name, struct tls_context *client,
                            struct tls_context *server, bool resumed)
{
    struct tls_connect_options options = {
        .check = TLS_CHECK_NAME, .sni = mx, .names = &mx, .name_count = 1};
    struct sums sums = {0, 0};
    struct tls_resumption *r = NULL;
    if (resumed) {
        session(client, server, &options, &sums, &r);
        must(r != NULL, "no ticket");
        options.resume = r;
        sums = (struct sums){0, 0};
    }
    int rounds = 0;
    do {
        session(client, server, &options, &sums, NULL);
        rounds++;
    } while (!tiny && sums.client_s + sums.server_s < 1);
    printf("%-28s server %7.0f us  client %7.0f us\n", name, sums.server_s / rounds * 1e6,
           sums.client_s / rounds * 1e6);
    tls_resumption_unref(r);
}

/* ---- bulk --------------------------------------------------------------------------------------------- */

enum { MEGABYTE = 1 << 20, PART = 65536 };

static void bench_bulk(struct tls_context *client, struct tls_context *server)
{
    static uint8_t body[PART], got[PART];
    struct tls_connect_options options = {.check = TLS_CHECK_NONE};
    struct tls_link l;
    double write_s = 0, read_s = 0;
    size_t total = 0;

    for (size_t i = 0; i < sizeof body; i++)
        body[i] = (uint8_t)(i % 97);
    tls_link_init(&l, client, server, &options);
    must(tls_link_handshake(&l), "handshake");
    do {
        double start = cpu_s();
        must(tls_write(l.client, slice_of(body, sizeof body), &l.to_server), "write");
        double middle = cpu_s();
        struct slice in = buf_slice(&l.to_server);
        while (in.len > 0) {
            size_t count;
            must(tls_read(l.server, &in, got, sizeof got, &count, &l.to_client) == TLS_OK, "read");
            total += count;
            checksum += got[count - 1];
        }
        write_s += middle - start;
        read_s += cpu_s() - middle;
        buf_clear(&l.to_server);
    } while (!tiny && write_s + read_s < 1);
    struct tls_facts facts;
    tls_facts(l.client, &facts);
    printf("%-28s write %6.0f MB/s  read %6.0f MB/s\n", facts.cipher, (double)total / write_s / 1e6,
           (double)total / read_s / 1e6);
    tls_link_finish(&l);
}

/* ---- memory ------------------------------------------------------------------------------------------- */

#ifdef BENCH_JEMALLOC
static size_t allocated(void)
{
    uint64_t epoch = 1;
    size_t value = 0, size = sizeof value;
    mallctl("epoch", NULL, NULL, &epoch, sizeof epoch);
    must(mallctl("stats.allocated", &value, &size, NULL, 0) == 0, "no figures of the allocator");
    return value;
}

static void bench_memory(const char *name, struct tls_context *client, struct tls_context *server,
                         size_t body_size)
{
    enum { COUNT = 200 };
    static struct tls_link links[COUNT];
    static uint8_t body[MEGABYTE];
    struct tls_connect_options options = {
        .check = TLS_CHECK_NAME, .sni = mx, .names = &mx, .name_count = 1};
    size_t count = tiny ? 1 : COUNT;
    for (size_t i = 0; i < count; i++) {
        struct tls_link *l = &links[i];
        tls_link_init(l, client, server, &options);
        must(tls_link_handshake(l), "handshake");
        must(tls_link_carry(l, false, SLICE_LITERAL("220 hello\r\n")), "data");
        must(tls_link_carry(l, true, SLICE_LITERAL("EHLO there\r\n")), "data");
        if (body_size > 0) {
            must(tls_link_carry(l, true, slice_of(body, body_size)), "data");
            must(tls_link_carry(l, false, slice_of(body, body_size)), "data");
        }
        buf_finish(&l->to_server);
        buf_finish(&l->to_client);
    }
    size_t before = allocated();
    for (size_t i = 0; i < count; i++)
        tls_free(links[i].server);
    size_t middle = allocated();
    for (size_t i = 0; i < count; i++)
        tls_free(links[i].client);
    size_t after = allocated();
    printf("%-28s server %7zu B   client %7zu B\n", name, (before - middle) / count,
           (middle - after) / count);
}
#endif

int main(int argc, char **argv)
{
    tiny = argc > 1 && strcmp(argv[1], "--tiny") == 0;
    must(tls_library_init(), "the library does not start");
    struct tls_tickets *tickets = tls_tickets_create(3600);
    struct tls_context *client = tls_link_client(cert_root);
    struct tls_context *client_12 = tls_link_client_12(cert_root, NULL);
    struct {
        const char *name, *resumed;
        struct tls_pair pair;
    } keys[] = {
        {"P-256", "P-256 resumed", tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa)},
        {"RSA-2048", "RSA-2048 resumed", tls_link_pair(cert_mx_rsa, cert_middle, key_mx_rsa)},
        {"RSA-4096", "RSA-4096 resumed",
         tls_link_pair(cert_mx_rsa4096, cert_middle, key_mx_rsa4096)},
        {"Ed25519", "Ed25519 resumed", tls_link_pair(cert_mx_ed25519, NULL, key_mx_ed25519)},
    };
    struct tls_context *servers[4];
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        servers[i] = tls_link_server(&keys[i].pair, 1, tickets);

    printf("CPU of a handshake, TLS 1.3\n");
    for (size_t i = 0; i < ARRAY_LEN(keys); i++) {
        bench_handshake(keys[i].name, client, servers[i], false);
        bench_handshake(keys[i].resumed, client, servers[i], true);
    }
    printf("TLS 1.2\n");
    for (size_t i = 0; i < 2; i++) {
        bench_handshake(keys[i].name, client_12, servers[i], false);
        bench_handshake(keys[i].resumed, client_12, servers[i], true);
    }
    printf("bulk\n");
    bench_bulk(client, servers[0]);
    bench_bulk(client_12, servers[0]);
#ifdef BENCH_JEMALLOC
    printf("memory of an idle session\n");
    bench_memory("TLS 1.3", client, servers[0], 0);
    bench_memory("TLS 1.3, RSA-2048", client, servers[1], 0);
    bench_memory("TLS 1.3, after 1 MiB", client, servers[0], MEGABYTE);
    bench_memory("TLS 1.2", client_12, servers[0], 0);
    bench_memory("TLS 1.2, after 1 MiB", client_12, servers[0], MEGABYTE);
#endif
    for (size_t i = 0; i < ARRAY_LEN(keys); i++)
        tls_context_unref(servers[i]);
    tls_context_unref(client);
    tls_context_unref(client_12);
    tls_tickets_unref(tickets);
    printf("checksum %lu\n", checksum);
    return 0;
}
