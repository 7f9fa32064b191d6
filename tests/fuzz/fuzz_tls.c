/*
 * What a peer, or a file, may hand to the layer `tls`: the first byte chooses to whom, the second into what
 * pieces it is cut, the rest are its bytes. Nothing may be given out that was not sent under the session's
 * keys, a failure stays one, and everything taken is accounted for.
 */
#include "tls_certs.h"
#include "tls_link.h"
#include "tls_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum target {
    TARGET_HELLO,  /* the reader of ClientHellos */
    TARGET_SERVER, /* a handshake, wolfSSL's */
    TARGET_CLIENT,
    TARGET_SERVER_DATA, /* an open session */
    TARGET_CLIENT_DATA,
    TARGET_NULL_SERVER, /* the same of tls_null */
    TARGET_NULL_CLIENT,
    TARGET_NULL_DATA,
    TARGET_CERTIFICATE, /* DER */
    TARGET_PEM,
    TARGET_STAPLE,
    TARGET_COUNT
};

static struct tls_context *server, *client, *null_server, *null_client;

static void prepare(void)
{
    if (server != NULL)
        return;
    struct buf why;
    buf_init(&why, 0);
    bool ready = tls_library_init();
    ASSERT(ready);
    struct tls_pair pairs[] = {tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa),
                               tls_link_pair(cert_other, cert_middle, key_other)};
    server = tls_link_server(pairs, ARRAY_LEN(pairs), NULL);
    client = tls_link_client(cert_root);
    struct tls_server_options server_options = {.null = true};
    struct tls_client_options client_options = {.null = true};
    null_server = tls_server_context_create(&server_options, &why);
    null_client = tls_client_context_create(&client_options, &why);
}

/* ---- sessions ------------------------------------------------------------------------------------- */

static void feed_handshake(struct tls *t, struct slice bytes, size_t piece)
{
    struct buf out;
    buf_init(&out, 1 << 20);
    enum tls_result result = TLS_WANT_INPUT;
    while (bytes.len > 0 && result == TLS_WANT_INPUT) {
        struct slice part = slice_head(bytes, piece), rest = part;
        result = tls_handshake(t, &rest, &out);
        ASSERT(rest.len <= part.len && (result != TLS_WANT_INPUT || rest.len == 0));
        slice_advance(&bytes, part.len - rest.len);
    }
    ASSERT(result != TLS_CLOSED);
    if (result == TLS_FAILED) {
        ASSERT(tls_error(t)[0] != 0);
        ASSERT(tls_handshake(t, &bytes, &out) == TLS_FAILED);
        ASSERT(!tls_write(t, SLICE_LITERAL("x"), &out));
    }
    buf_finish(&out);
    tls_free(t);
}

static void feed_data(struct tls_link *l, bool at_client, struct slice bytes, size_t piece)
{
    struct buf *back = at_client ? &l->to_server : &l->to_client;
    struct tls *t = at_client ? l->client : l->server;
    bool done = false;
    while (bytes.len > 0 && !done) {
        struct slice part = slice_head(bytes, piece), rest = part;
        uint8_t plain[300];
        size_t count;
        enum tls_result result = tls_read(t, &rest, plain, sizeof plain, &count, back);
        ASSERT((result == TLS_OK) == (count > 0) && count <= sizeof plain);
        ASSERT(t->null != NULL || count == 0); /* nobody knows the keys */
        done = result == TLS_FAILED || result == TLS_CLOSED;
        ASSERT(done || count > 0 || rest.len == 0);
        slice_advance(&bytes, part.len - rest.len);
    }
}

static void with_session(struct tls_context *c, struct tls_context *s, bool at_client,
                         struct slice bytes, size_t piece)
{
    struct tls_link l;
    tls_link_init(&l, c, s, NULL);
    bool open = tls_link_handshake(&l);
    ASSERT(open);
    feed_data(&l, at_client, bytes, piece);
    tls_link_finish(&l);
}

/* ---- files and messages ---------------------------------------------------------------------------- */

static void read_hello(struct slice bytes)
{
    struct tls_hello hello;
    size_t missing = tls_hello_missing(bytes);
    bool good = tls_hello_parse(bytes, &hello);
    ASSERT(missing <= 5 + 16384);
    ASSERT(!good || missing == 0);
    ASSERT(buf_len(&hello.sni) <= 253);
    for (size_t i = 0; i < buf_len(&hello.sni); i++)
        ASSERT(buf_slice(&hello.sni).data[i] > ' ' && buf_slice(&hello.sni).data[i] < 0x7F);
    ASSERT(tls_context_choose(server, &hello) != NULL);
    tls_hello_finish(&hello);
}

static void see_name(void *context, struct slice name)
{
    size_t *count = context;
    *count += name.len;
    (void)tls_name_matches(name, SLICE_LITERAL("a.example.org"));
}

static void read_certificate(struct slice der)
{
    struct tls_certificate *c = tls_certificate_parse(der, NULL);
    if (c == NULL)
        return;
    struct tls_certificate_facts facts = {0};
    struct slice spki;
    uint8_t end_point[TLS_BINDING_MAX];
    size_t len = 0;
    tls_certificate_facts(c, &facts);
    tls_certificate_names(c, see_name, &len);
    (void)tls_certificate_subject(c);
    (void)tls_certificate_is_ca(c);
    (void)tls_certificate_end_point(c, end_point, &len);
    if (tls_certificate_spki(c, &spki))
        ASSERT(spki.data > der.data && spki.data + spki.len < der.data + der.len);
    /* It is its own chain, and nobody's. */
    (void)tls_anchors_verify(client->anchors->list, client->anchors->count, &c, 1);
    tls_certificate_free(c);
}

static void read_pem(struct slice bytes)
{
    struct buf why;
    struct tls_certificate_facts facts;
    struct tls_pair pair = {
        .certificate_file = "c", .key_file = "k", .certificate = bytes, .key = bytes};
    buf_init(&why, 0);
    bool good = tls_pair_examine(&pair, &facts, &why);
    ASSERT(good == (buf_len(&why) == 0));
    buf_clear(&why);
    struct tls_anchors *anchors = tls_anchors_create(bytes, &why);
    ASSERT((anchors != NULL) == (buf_len(&why) == 0));
    tls_anchors_destroy(anchors);
    buf_finish(&why);
}

static void read_staple(struct slice bytes)
{
    struct tls_pair pair = tls_link_pair(cert_mx_ecdsa, cert_middle, key_mx_ecdsa);
    struct tls_certificate_facts facts;
    struct buf why;
    pair.ocsp = bytes;
    buf_init(&why, 0);
    bool good = tls_pair_examine(&pair, &facts, &why);
    ASSERT(good && (bytes.len == 0 || (facts.staple_problem == NULL) == (facts.staple_until > 0)));
    buf_finish(&why);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct tls_connect_options none = {.check = TLS_CHECK_NONE};
    if (size < 2)
        return 0;
    prepare();
    struct slice bytes = slice_of(data + 2, size - 2);
    size_t piece = data[1] == 0 ? SIZE_MAX : data[1];
    switch ((enum target)(data[0] % TARGET_COUNT)) {
    case TARGET_HELLO: read_hello(bytes); break;
    case TARGET_SERVER: feed_handshake(tls_accept(server), bytes, piece); break;
    case TARGET_CLIENT: feed_handshake(tls_connect(client, &none), bytes, piece); break;
    case TARGET_SERVER_DATA: with_session(client, server, false, bytes, piece); break;
    case TARGET_CLIENT_DATA: with_session(client, server, true, bytes, piece); break;
    case TARGET_NULL_SERVER: feed_handshake(tls_accept(null_server), bytes, piece); break;
    case TARGET_NULL_CLIENT: feed_handshake(tls_connect(null_client, &none), bytes, piece); break;
    case TARGET_NULL_DATA: with_session(null_client, null_server, true, bytes, piece); break;
    case TARGET_CERTIFICATE: read_certificate(bytes); break;
    case TARGET_PEM: read_pem(bytes); break;
    case TARGET_STAPLE: read_staple(bytes); break;
    case TARGET_COUNT: break;
    }
    return 0;
}
