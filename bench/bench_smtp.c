/*
 * bench_smtp: what the protocol costs in user space. A message of 4 KiB through the server engine on
 * an open session, whole and in lock step, the same through the client engine, and dots undone and
 * applied, beside memchr() over the same bytes. The best of five runs, and a checksum of all results.
 * With --tiny each runs a few rounds, among the tests.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base_assert.h"
#include "base_mem.h"
#include "smtp_client.h"
#include "smtp_server.h"

enum { BODY_SIZE = 4096, BIG_SIZE = 1 << 20, RUNS = 5 };

static uint64_t checksum;
static struct slice envelope; /* MAIL, RCPT, DATA */
static struct slice body;     /* dot-stuffed, with its end */
static struct slice big;      /* the same, a MiB of it */
static struct smtp_server server;
static struct buf replies;

static void take(struct slice in)
{
    static const struct smtp_reply taken = SMTP_REPLY_INIT(250, 2, 0, 0, "Taken");

    for (;;) {
        switch (smtp_server_next(&server, &in, &replies)) {
        case SMTP_NEED_INPUT: return;
        case SMTP_CHECK_HELO:
        case SMTP_CHECK_MAIL:
        case SMTP_CHECK_RCPT:
        case SMTP_BEGIN_DATA: smtp_server_answer(&server, NULL, &replies); break;
        case SMTP_END_DATA:
            checksum += server.data_size;
            smtp_server_answer(&server, &taken, &replies);
            break;
        case SMTP_BODY: checksum += server.body.len; break;
        case SMTP_REPLIED:
        case SMTP_RESET:
        case SMTP_STARTTLS:
        case SMTP_AUTH:
        case SMTP_AUTH_RESPONSE:
        case SMTP_AUTH_CANCEL:
        case SMTP_QUIT:
        case SMTP_CLOSE: UNREACHABLE();
        }
    }
}

static void server_message(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        take(envelope);
        take(body);
        checksum += buf_len(&replies);
        buf_clear(&replies);
    }
}

static void client_message(uint64_t rounds)
{
    const struct smtp_client_options options = {.hostname = SLICE_LITERAL("client.example")};
    struct smtp_client_rcpt rcpt = {.address = SLICE_LITERAL("recipient@example.org")};
    struct smtp_transaction t = {.sender = SLICE_LITERAL("sender@example.com"),
                                 .rcpts = &rcpt,
                                 .rcpt_count = 1,
                                 .size = BODY_SIZE};
    struct slice hello = SLICE_LITERAL("220 mx\r\n"), offers = SLICE_LITERAL("250-mx\r\n"
                                                                             "250-PIPELINING\r\n"
                                                                             "250 SIZE 99999\r\n");
    struct smtp_client c;
    char text[512];

    smtp_client_init(&c, &options, text, sizeof(text));
    ASSERT(smtp_client_next(&c, &hello, &replies) == SMTP_CLIENT_NEED_INPUT);
    ASSERT(smtp_client_next(&c, &offers, &replies) == SMTP_CLIENT_READY);
    for (uint64_t i = 0; i < rounds; i++) {
        struct slice go = SLICE_LITERAL("250 2.1.0 Ok\r\n250 2.1.5 Ok\r\n354 Go ahead\r\n");
        struct slice taken = SLICE_LITERAL("250 2.0.0 Ok: queued as 0123456789ABC\r\n");

        smtp_client_begin(&c, &t, &replies);
        ASSERT(smtp_client_next(&c, &go, &replies) == SMTP_CLIENT_SEND_BODY);
        smtp_client_body_sent(&c);
        ASSERT(smtp_client_next(&c, &taken, &replies) == SMTP_CLIENT_RCPT_RESULT);
        ASSERT(smtp_client_next(&c, &taken, &replies) == SMTP_CLIENT_DONE);
        ASSERT(smtp_client_next(&c, &taken, &replies) == SMTP_CLIENT_READY);
        checksum += buf_len(&replies);
        buf_clear(&replies);
    }
}

static void decode(struct slice in)
{
    struct smtp_dot dot;
    struct slice part;

    smtp_dot_init(&dot, false);
    while (smtp_dot_decode(&dot, &in, &part) == SMTP_DOT_MORE)
        checksum += part.len;
    checksum += part.len + dot.facts;
}

static void encode(struct slice in)
{
    struct smtp_dot_encoder e;

    smtp_dot_encoder_init(&e);
    while (in.len > 0)
        checksum += smtp_dot_encode(&e, &in).len;
    checksum += smtp_dot_encode_end(&e).len;
}

static void decode_small(uint64_t rounds)
{
    while (rounds-- > 0)
        decode(body);
}

static void decode_big(uint64_t rounds)
{
    while (rounds-- > 0)
        decode(big);
}

static void encode_small(uint64_t rounds)
{
    while (rounds-- > 0)
        encode(slice_head(body, body.len - 3));
}

static void encode_big(uint64_t rounds)
{
    while (rounds-- > 0)
        encode(slice_head(big, big.len - 3));
}

static void memchr_big(uint64_t rounds)
{
    while (rounds-- > 0)
        checksum += memchr(big.data, 0, big.len) == NULL;
}

static double now_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t); /* cannot fail */
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

static void measure(const char *name, void (*run)(uint64_t rounds), uint64_t rounds, size_t bytes,
                    bool tiny)
{
    double best = 0;

    if (tiny)
        rounds = 3;
    for (int i = 0; i < (tiny ? 1 : RUNS); i++) {
        double start = now_ns(), took;

        run(rounds);
        took = (now_ns() - start) / (double)rounds;
        if (i == 0 || took < best)
            best = took;
    }
    printf("%-36s %12.1f ns", name, best);
    if (bytes > 0)
        printf(" %8.2f GB/s", (double)bytes / best);
    printf("\n");
}

/* Lines of ordinary length, none of which starts with a dot, and the end. */
static struct slice make_body(size_t size)
{
    static const char line[] =
        "The quick brown fox jumps over the lazy dog. Pack my box with jugs.\r\n";
    uint8_t *text = mem_alloc(size);

    for (size_t i = 0; i < size; i++)
        text[i] = (uint8_t)line[i % (sizeof(line) - 1)];
    memcpy(text + size - 5, "\r\n.\r\n", 5);
    return slice_of(text, size);
}

int main(int argc, char **argv)
{
    bool tiny = argc > 1 && strcmp(argv[1], "--tiny") == 0;
    const struct smtp_server_options options = {.hostname = SLICE_LITERAL("mx.example.org"),
                                                .extensions = SMTP_EXT_SERVER,
                                                .message_size_max = 50 << 20};

    envelope = SLICE_LITERAL("MAIL FROM:<sender@example.com> SIZE=4096 BODY=8BITMIME\r\n"
                             "RCPT TO:<recipient@example.org>\r\nDATA\r\n");
    body = make_body(BODY_SIZE);
    big = make_body(BIG_SIZE);
    buf_init(&replies, 1 << 16);
    smtp_server_init(&server, &options);
    take(SLICE_LITERAL("EHLO client.example.com\r\n"));
    buf_clear(&replies);

    measure("server: a message of 4 KiB", server_message, 300000, 0, tiny);
    measure("client: a transaction", client_message, 300000, 0, tiny);
    measure("dot: decode 4 KiB", decode_small, 1000000, BODY_SIZE, tiny);
    measure("dot: decode 1 MiB", decode_big, 3000, BIG_SIZE, tiny);
    measure("dot: encode 4 KiB", encode_small, 1000000, BODY_SIZE, tiny);
    measure("dot: encode 1 MiB", encode_big, 3000, BIG_SIZE, tiny);
    measure("memchr over 1 MiB", memchr_big, 3000, BIG_SIZE, tiny);
    printf("checksum %016" PRIx64 "\n", checksum);
    mem_free((void *)(uintptr_t)body.data);
    mem_free((void *)(uintptr_t)big.data);
    buf_finish(&replies);
    return 0;
}
