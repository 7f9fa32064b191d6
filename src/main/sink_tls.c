/* sink_tls: see the header. */
#include "sink_tls.h"

#include <string.h>
#include <time.h>

#include "tool_file.h"
#include "tool_process.h"

enum { TICKET_LIFETIME_S = 7200 };

/* One set of keys: a sink does not live long enough to change them. */
static struct tls_tickets *make_tickets(void)
{
    struct tls_tickets *tickets = tls_tickets_create(TICKET_LIFETIME_S);
    uint32_t words[12];

    for (size_t i = 0; i < sizeof(words) / sizeof(*words); i++)
        words[i] = tool_process_random();
    tls_tickets_rotate(tickets, (const uint8_t *)words, (const uint8_t *)(words + 4),
                       (uint64_t)time(NULL));
    return tickets;
}

struct tls_context *sink_tls_context(const struct sink_options *o, struct buf *out_error)
{
    struct tls_pair pair = {.certificate_file = o->tls_certificate, .key_file = o->tls_key};
    struct tls_server_options options = {.pairs = &pair, .pair_count = 1};
    struct tls_context *context = NULL;
    struct buf certificate, key;

    if (!tls_library_init()) {
        (void)buf_append_str(out_error, "the TLS library does not start");
        return NULL;
    }
    buf_init(&certificate, 0);
    buf_init(&key, 0);
    if (tool_file_read("--tls-certificate", o->tls_certificate, &certificate, out_error)
        && tool_file_read("--tls-key", o->tls_key, &key, out_error)) {
        pair.certificate = buf_slice(&certificate);
        pair.key = buf_slice(&key);
        options.tickets = make_tickets();
        context = tls_server_context_create(&options, out_error);
        tls_tickets_unref(options.tickets);
    }
    buf_finish(&certificate);
    buf_finish(&key);
    return context;
}
