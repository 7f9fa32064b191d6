/* load_tls: see the header. */
#include "load_tls.h"

#include "load_dialog.h"
#include "load_options.h"

struct tls_context *load_tls_context(const struct load_options *o, struct buf *out_error)
{
    struct tls_client_options options = {
        .version_min = TLS_VERSION_1_2,
        .ciphers = slice_str(o->tls_ciphers != NULL ? o->tls_ciphers : ""),
    };

    if (!tls_library_init()) {
        (void)buf_append_str(out_error, "the TLS library does not start");
        return NULL;
    }
    return tls_client_context_create(&options, out_error);
}

static void failed(struct load_session *s)
{
    load_session_break(s, LOAD_ERROR_TLS, 0, slice_str(tls_error(s->tls)));
}

static void shake_hands(struct load_session *s, struct slice *in)
{
    struct load_stats *stats = &s->worker->stats;
    struct tls_facts facts;

    switch (tls_handshake(s->tls, in, &s->wire)) {
    case TLS_WANT_INPUT: return;
    case TLS_CLOSED:
    case TLS_FAILED: failed(s); return;
    case TLS_OK: break;
    }
    s->shaking_hands = false;
    tls_facts(s->tls, &facts);
    stats->handshakes++;
    stats->resumed += facts.resumed;
    tool_histogram_add(&stats->handshake, io_now_ns(s->worker->io) - s->handshake_ns);
    load_dialog_secured(s);
}

void load_tls_begin(struct load_session *s)
{
    const struct tls_connect_options options = {
        .sni = slice_str(s->worker->run->options->tls_name),
        .resume = s->resume,
    };

    s->tls = tls_connect(s->worker->run->tls, &options);
    s->shaking_hands = true;
    s->handshake_ns = io_now_ns(s->worker->io);
    shake_hands(s, &(struct slice){0});
}

void load_tls_input(struct load_session *s, struct slice in)
{
    uint8_t plaintext[16 * 1024];
    size_t count;

    if (s->shaking_hands)
        shake_hands(s, &in);
    while (!s->shaking_hands && s->state != LOAD_CLOSING) {
        switch (tls_read(s->tls, &in, plaintext, sizeof(plaintext), &count, &s->wire)) {
        case TLS_OK: load_dialog_input(s, slice_of(plaintext, count)); break;
        case TLS_WANT_INPUT: return;
        case TLS_CLOSED: load_session_break(s, LOAD_ERROR_CLOSED, 0, SLICE_NULL); return;
        case TLS_FAILED: failed(s); return;
        }
    }
}

void load_tls_write(struct load_session *s, struct slice bytes)
{
    if (!tls_write(s->tls, bytes, &s->wire))
        failed(s);
}

void load_tls_end(struct load_session *s)
{
    struct tls_resumption *next = NULL;

    if (s->tls == NULL)
        return;
    if (s->worker->run->options->tls_resume && !s->shaking_hands)
        next = tls_resumption_take(s->tls);
    if (next != NULL) {
        tls_resumption_unref(s->resume);
        s->resume = next;
    }
    tls_free(s->tls);
    s->tls = NULL;
    s->shaking_hands = false;
}
