#include "tls_priv.h"

enum { HEAVY_RSA_BITS = 2048, VERIFY_DEPTH = 9 };

/* ---- the library ------------------------------------------------------------------------------------------ */

static void *library_alloc(size_t size)
{
    return size > 0 ? mem_alloc(size) : NULL;
}

static void library_free(void *memory)
{
    mem_free(memory);
}

static void *library_realloc(void *memory, size_t size)
{
    return mem_realloc(memory, size);
}

bool tls_library_init(void)
{
    static bool done;
    WC_RNG rng;
    uint8_t byte;
    if (done)
        return true;
    if (wolfSSL_SetAllocators(library_alloc, library_free, library_realloc) != 0
        || wolfSSL_Init() != WOLFSSL_SUCCESS || wc_InitRng(&rng) != 0)
        return false;
    done = wc_RNG_GenerateBlock(&rng, &byte, 1) == 0;
    (void)wc_FreeRng(&rng);
    return done;
}

/* ---- a pair ------------------------------------------------------------------------------------------------ */

static bool has_text(struct slice s, const char *text)
{
    return s.len > 0 && memmem(s.data, s.len, text, strlen(text)) != NULL;
}

static struct tls_certificate *read_leaf(const struct tls_pair *pair, struct buf *out_why)
{
    struct slice pem = pair->certificate, der;
    int status;
    if (!tls_pem_next(&pem, &der, &status)) {
        (void)buf_printf(out_why, "%s: %s", pair->certificate_file,
                         status == 0 ? "no certificate in it" : tls_status_text(status));
        return NULL;
    }
    struct tls_certificate *leaf = tls_certificate_parse(der, &status);
    if (leaf == NULL) {
        (void)buf_printf(out_why, "%s: not a certificate that can be read: %s",
                         pair->certificate_file, tls_status_text(status));
        mem_free((void *)der.data);
    }
    return leaf;
}

static void free_leaf(struct tls_certificate *leaf)
{
    if (leaf != NULL)
        mem_free((void *)leaf->der.data);
    tls_certificate_free(leaf);
}

/* Loads both into ctx. */
static bool load_pair(WOLFSSL_CTX *ctx, const struct tls_pair *pair, struct buf *out_why)
{
    int status;
    if (has_text(pair->key, "ENCRYPTED")) {
        (void)buf_printf(out_why,
                         "%s: the key is encrypted, and nobody is there to type its password",
                         pair->key_file);
        return false;
    }
    if (!has_text(pair->key, "PRIVATE KEY-----")) {
        (void)buf_printf(out_why, "%s: no private key in it", pair->key_file);
        return false;
    }
    status = wolfSSL_CTX_use_certificate_chain_buffer(ctx, pair->certificate.data,
                                                      (long)pair->certificate.len);
    if (status != WOLFSSL_SUCCESS) {
        (void)buf_printf(out_why, "%s: %s", pair->certificate_file, tls_status_text(status));
        return false;
    }
    status = wolfSSL_CTX_use_PrivateKey_buffer(ctx, pair->key.data, (long)pair->key.len,
                                               WOLFSSL_FILETYPE_PEM);
    if (status != WOLFSSL_SUCCESS) {
        (void)buf_printf(out_why, "%s: not a private key that can be used: %s", pair->key_file,
                         tls_status_text(status));
        return false;
    }
    if (wolfSSL_CTX_check_private_key(ctx) != WOLFSSL_SUCCESS) {
        (void)buf_printf(out_why, "%s: does not match the key %s", pair->certificate_file,
                         pair->key_file);
        return false;
    }
    return true;
}

bool tls_pair_examine(const struct tls_pair *pair, struct tls_certificate_facts *out,
                      struct buf *out_why)
{
    struct tls_certificate *leaf = read_leaf(pair, out_why);
    if (leaf == NULL)
        return false;
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_server_method());
    ASSERT(ctx != NULL);
    bool good = load_pair(ctx, pair, out_why);
    struct tls_staple *staple = NULL;
    if (good) {
        tls_certificate_facts(leaf, out);
        out->staple_until = 0;
        out->staple_problem = NULL;
        if (pair->ocsp.len > 0)
            staple = tls_staple_attach(ctx, pair, &out->staple_problem);
        if (staple != NULL)
            out->staple_until = tls_staple_until(staple);
    }
    wolfSSL_CTX_free(ctx);
    tls_staple_destroy(staple);
    free_leaf(leaf);
    return good;
}

void tls_pair_names(const struct tls_pair *pair, void (*visit)(void *context, struct slice name),
                    void *context)
{
    struct buf ignored;
    buf_init(&ignored, 0);
    struct tls_certificate *leaf = read_leaf(pair, &ignored);
    if (leaf != NULL)
        tls_certificate_names(leaf, visit, context);
    free_leaf(leaf);
    buf_finish(&ignored);
}

/* ---- what both sides set ------------------------------------------------------------------------------------ */

static bool set_common(WOLFSSL_CTX *ctx, bool server, enum tls_version version_min,
                       struct slice ciphers, struct buf *out_why)
{
    /* X25519 and P-256 cost the same here; others offer the former first. P-521 is for those who insist. */
    static int groups[] = {WOLFSSL_ECC_X25519, WOLFSSL_ECC_SECP256R1, WOLFSSL_ECC_SECP384R1,
                           WOLFSSL_ECC_SECP521R1};
    struct buf list;
    buf_init(&list, 0);
    bool good = tls_cipher_list(ciphers, server, &list, out_why);
    if (good
        && wolfSSL_CTX_set_cipher_list(ctx, (const char *)buf_slice(&list).data)
               != WOLFSSL_SUCCESS) {
        (void)buf_append_str(out_why, "these ciphers cannot be had");
        good = false;
    }
    buf_finish(&list);
    if (!good)
        return false;
    int floor = version_min == TLS_VERSION_1_3 ? WOLFSSL_TLSV1_3 : WOLFSSL_TLSV1_2;
    if (wolfSSL_CTX_SetMinVersion(ctx, floor) != WOLFSSL_SUCCESS
        || wolfSSL_CTX_set_groups(ctx, groups, (int)ARRAY_LEN(groups)) != WOLFSSL_SUCCESS) {
        (void)buf_append_str(out_why, "the TLS library cannot do this version");
        return false;
    }
    return true;
}

/* ---- server -------------------------------------------------------------------------------------------------- */

static void add_name(void *context, struct slice name)
{
    struct buf *names = context;
    if (slice_find(name, 0) >= 0)
        return;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        (void)buf_append_byte(names, c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c);
    }
    (void)buf_append_byte(names, 0);
}

static WOLFSSL_CTX *create_server_ctx(const struct tls_server_options *o,
                                      const struct tls_pair *pair, struct buf *out_why)
{
    WOLFSSL_CTX *ctx = wolfSSL_CTX_new(wolfSSLv23_server_method());
    ASSERT(ctx != NULL); /* memory only */
    if (!set_common(ctx, true, o->version_min, o->ciphers, out_why)
        || !load_pair(ctx, pair, out_why)) {
        wolfSSL_CTX_free(ctx);
        return NULL;
    }
    /* Sessions are in tickets, with keys for all threads; the library's own cache has locks. */
    (void)wolfSSL_CTX_set_session_cache_mode(ctx, WOLFSSL_SESS_CACHE_OFF);
    /* A ticket does not hold the client's certificate, so who is asked for one shows it each time. */
    struct tls_tickets *tickets = o->ask_certificate ? NULL : o->tickets;
    (void)wolfSSL_CTX_set_TicketEncCb(ctx, tls_tickets_crypt);
    (void)wolfSSL_CTX_set_TicketEncCtx(ctx, tickets);
    if (tickets == NULL) {
        (void)wolfSSL_CTX_NoTicketTLSv12(ctx);
        (void)wolfSSL_CTX_no_ticket_TLSv13(ctx);
    } else {
        (void)wolfSSL_CTX_set_timeout(ctx, tls_tickets_lifetime_s(tickets));
        (void)wolfSSL_CTX_set_TicketHint(ctx, (int)tls_tickets_lifetime_s(tickets));
    }
    wolfSSL_CTX_set_verify(ctx, o->ask_certificate ? WOLFSSL_VERIFY_PEER : WOLFSSL_VERIFY_NONE,
                           tls_verify_peer);
    return ctx;
}

/* A response that is of no use does not stop anything: tls_pair_examine() tells. */
static void create_stapling(const struct tls_server_options *o, const struct tls_pair *pair,
                            struct tls_server_pair *out)
{
    const char *problem;
    struct buf ignored;
    buf_init(&ignored, 0);
    out->stapling = create_server_ctx(o, pair, &ignored);
    ASSERT(out->stapling != NULL); /* the same has just been made */
    out->staple = tls_staple_attach(out->stapling, pair, &problem);
    if (out->staple == NULL) {
        wolfSSL_CTX_free(out->stapling);
        out->stapling = NULL;
    }
    buf_finish(&ignored);
}

static bool create_pair(const struct tls_server_options *o, const struct tls_pair *pair,
                        struct tls_server_pair *out, bool *io_heavy, struct buf *out_why)
{
    struct tls_certificate *leaf = read_leaf(pair, out_why);
    if (leaf == NULL)
        return false;
    out->ctx = create_server_ctx(o, pair, out_why);
    out->kind = tls_certificate_kind(leaf);
    if (out->kind == TLS_KEY_RSA && tls_certificate_bits(leaf) > HEAVY_RSA_BITS)
        *io_heavy = true;
    buf_init(&out->names, 0);
    tls_certificate_names(leaf, add_name, &out->names);
    if (!tls_certificate_end_point(leaf, out->end_point, &out->end_point_len))
        out->end_point_len = 0;
    free_leaf(leaf);
    if (out->ctx != NULL && pair->ocsp.len > 0)
        create_stapling(o, pair, out);
    return out->ctx != NULL;
}

static void destroy_pair(struct tls_server_pair *pair)
{
    wolfSSL_CTX_free(pair->ctx);
    wolfSSL_CTX_free(pair->stapling);
    tls_staple_destroy(pair->staple);
    buf_finish(&pair->names);
}

static bool load_anchors(struct tls_context *c, struct slice pem, const char *what,
                         struct buf *out_why)
{
    if (pem.len == 0)
        return true;
    struct buf why;
    buf_init(&why, 0);
    c->anchors = tls_anchors_create(pem, &why);
    if (c->anchors == NULL)
        (void)buf_printf(out_why, "%s: %.*s", what, SLICE_ARG(buf_slice(&why)));
    buf_finish(&why);
    return c->anchors != NULL;
}

struct tls_context *tls_server_context_create(const struct tls_server_options *options,
                                              struct buf *out_why)
{
    struct tls_context *c = mem_zalloc(sizeof *c);
    atomic_init(&c->references, 1);
    c->is_server = true;
    c->null = options->null;
    c->ask_certificate = options->ask_certificate;
    if (c->null)
        return c;

    ASSERT(options->pair_count >= 1);
    c->pairs = mem_calloc(options->pair_count, sizeof *c->pairs);
    bool good = load_anchors(c, options->client_ca, "client_ca", out_why);
    while (good && c->pair_count < options->pair_count) {
        good = create_pair(options, &options->pairs[c->pair_count], &c->pairs[c->pair_count],
                           &c->heavy, out_why);
        c->pair_count++;
    }
    if (!good) {
        tls_context_unref(c);
        return NULL;
    }
    if (options->tickets != NULL)
        c->tickets = tls_tickets_ref(options->tickets);
    return c;
}

/* ---- client -------------------------------------------------------------------------------------------------- */

struct tls_context *tls_client_context_create(const struct tls_client_options *options,
                                              struct buf *out_why)
{
    struct tls_context *c = mem_zalloc(sizeof *c);
    atomic_init(&c->references, 1);
    c->null = options->null;
    if (c->null)
        return c;

    c->client = wolfSSL_CTX_new(wolfSSLv23_client_method());
    ASSERT(c->client != NULL);
    const struct tls_pair pair = {.certificate_file = "certificate",
                                  .key_file = "key",
                                  .certificate = options->certificate,
                                  .key = options->key};
    if (!set_common(c->client, false, options->version_min, options->ciphers, out_why)
        || !load_anchors(c, options->ca, "ca", out_why)
        || (pair.certificate.len > 0 && !load_pair(c->client, &pair, out_why))) {
        tls_context_unref(c);
        return NULL;
    }
    /* No tickets of TLS 1.2 (wolfSSL_CTX_UseSessionTicket()): when a server that was restarted no longer
     * knows one, which is its right (RFC 5077 3.1), wolfSSL gives up instead of starting afresh. Session ids
     * are as good where the server has them, and TLS 1.3 is not concerned. */
    wolfSSL_CTX_set_verify(c->client, WOLFSSL_VERIFY_PEER, tls_verify_peer);
    return c;
}

/* ---- both ---------------------------------------------------------------------------------------------------- */

struct tls_context *tls_context_ref(struct tls_context *c)
{
    (void)atomic_fetch_add(&c->references, 1);
    return c;
}

void tls_context_unref(struct tls_context *c)
{
    if (c == NULL || atomic_fetch_sub(&c->references, 1) > 1)
        return;
    for (size_t i = 0; i < c->pair_count; i++)
        destroy_pair(&c->pairs[i]);
    mem_free(c->pairs);
    wolfSSL_CTX_free(c->client);
    tls_tickets_unref(c->tickets);
    tls_anchors_destroy(c->anchors);
    mem_free(c);
}

bool tls_context_is_heavy(const struct tls_context *c)
{
    return c->heavy;
}

/* ---- which certificate --------------------------------------------------------------------------------------- */

static bool pair_is_for(const struct tls_server_pair *pair, struct slice name)
{
    struct slice names = buf_slice(&pair->names);
    while (names.len > 0) {
        struct slice pattern = slice_head(names, (size_t)slice_find(names, 0));
        if (tls_name_matches(pattern, name))
            return true;
        slice_advance(&names, pattern.len + 1);
    }
    return false;
}

static bool names_include(struct slice names, struct slice some)
{
    while (some.len > 0) {
        struct slice name = slice_head(some, (size_t)slice_find(some, 0) + 1), rest = names;
        bool found = false;
        while (rest.len > 0 && !found) {
            struct slice other = slice_head(rest, (size_t)slice_find(rest, 0) + 1);
            found = slice_equal(other, name);
            slice_advance(&rest, other.len);
        }
        if (!found)
            return false;
        slice_advance(&some, name.len);
    }
    return true;
}

static bool have_same_names(const struct tls_server_pair *a, const struct tls_server_pair *b)
{
    return names_include(buf_slice(&a->names), buf_slice(&b->names))
           && names_include(buf_slice(&b->names), buf_slice(&a->names));
}

/* What an ECDSA certificate costs is a tenth of RSA's: 3 is best, 0 cannot be. */
static int worth(const struct tls_server_pair *pair, const struct tls_hello *hello)
{
    switch (pair->kind) {
    case TLS_KEY_ECDSA: return hello->ecdsa ? 3 : 0;
    case TLS_KEY_ED25519: return hello->ed25519 ? 2 : 0;
    case TLS_KEY_RSA: return hello->rsa ? 1 : 0;
    case TLS_KEY_OTHER: break;
    }
    return 0;
}

struct tls_server_pair *tls_context_choose(struct tls_context *c, const struct tls_hello *hello)
{
    struct slice name = buf_slice(&hello->sni);
    struct tls_server_pair *first = NULL, *best = NULL;
    for (size_t i = 0; name.len > 0 && i < c->pair_count; i++) {
        struct tls_server_pair *pair = &c->pairs[i];
        if (!pair_is_for(pair, name))
            continue;
        if (first == NULL)
            first = pair;
        if (worth(pair, hello) > (best == NULL ? 0 : worth(best, hello)))
            best = pair;
    }
    if (best != NULL)
        return best;
    /* No certificate for the name, or none that the client could check: the default, and those of other
     * kinds for the same names. */
    if (first == NULL)
        first = &c->pairs[0];
    best = first;
    for (size_t i = 0; i < c->pair_count; i++)
        if (have_same_names(&c->pairs[i], first) && worth(&c->pairs[i], hello) > worth(best, hello))
            best = &c->pairs[i];
    return best;
}
