/*
 * A server's OCSP response for its certificate, sent along with it (RFC 6066 8). wolfSSL means to fetch it
 * itself and to keep what it has verified. So it is asked once, before any client is there: then it comes to us
 * for the response, and has it from then on. It would come again when the time of the response is over; sessions
 * are made from a context without stapling then (tls_staple_is_fresh()), since that second time it could mix up
 * the sessions of two threads.
 */
#include "tls_priv.h"

struct tls_staple {
    struct slice response; /* owned */
    int64_t until;
    int asked; /* by wolfSSL, while it is tried out */
};

/* ---- when it ends ----------------------------------------------------------------------------------------- */

/* Into the next element, which has to have this tag. */
static bool enter(struct slice *s, uint8_t tag, struct slice *out_content)
{
    uint8_t found;
    struct slice whole;
    return tls_der_next(s, &found, &whole, out_content) && found == tag;
}

enum {
    SEQUENCE = 0x30,
    OBJECT = 0x06,
    OCTETS = 0x04,
    ENUMERATED = 0x0A,
    TIME = 0x18,
    CONTEXT_0 = 0xA0
};

/* The nextUpdate of its first single response (RFC 6960 4.2.1). */
static bool find_next_update(struct slice s, int64_t *out)
{
    struct slice in, data, ignored;
    uint8_t tag;
    /* OCSPResponse { status, [0] { ResponseBytes { type, OCTET STRING { BasicOCSPResponse */
    if (!enter(&s, SEQUENCE, &in) || !enter(&in, ENUMERATED, &ignored) || !enter(&in, CONTEXT_0, &s)
        || !enter(&s, SEQUENCE, &in) || !enter(&in, OBJECT, &ignored) || !enter(&in, OCTETS, &s)
        || !enter(&s, SEQUENCE, &in))
        return false;
    /* { ResponseData { [0] version, responderID, producedAt, responses { SingleResponse */
    if (!enter(&in, SEQUENCE, &data))
        return false;
    for (int i = 0; i < 3; i++) {
        if (!tls_der_next(&data, &tag, &ignored, &s))
            return false;
        if (tag == TIME)
            break;
    }
    if (!enter(&data, SEQUENCE, &s) || !enter(&s, SEQUENCE, &in))
        return false;
    /* { certID, certStatus, thisUpdate, [0] nextUpdate */
    if (!enter(&in, SEQUENCE, &ignored) || !tls_der_next(&in, &tag, &ignored, &s)
        || !enter(&in, TIME, &ignored) || !enter(&in, CONTEXT_0, &s))
        return false;
    *out = tls_date_seconds(s.data, (int)s.len);
    return *out > 0;
}

bool tls_staple_is_fresh(const struct tls_staple *s)
{
    return s != NULL && wc_Time(NULL) < s->until;
}

int64_t tls_staple_until(const struct tls_staple *s)
{
    return s->until;
}

/* ---- wolfSSL asks ------------------------------------------------------------------------------------------ */

static int give_response(void *context, const char *url, int url_len, unsigned char *request,
                         int request_len, unsigned char **out)
{
    struct tls_staple *s = context;
    (void)url;
    (void)url_len;
    (void)request;
    (void)request_len;
    s->asked++;
    *out = (unsigned char *)s->response.data;
    return (int)s->response.len;
}

static void response_stays_ours(void *context, unsigned char *response)
{
    (void)context;
    (void)response;
}

/* ---- a trial: what a server answers to one who asks for the status ------------------------------------------- */

static int trial_receive(WOLFSSL *ssl, char *data, int size, void *context)
{
    struct buf *in = context;
    size_t count = buf_len(in) < (size_t)size ? buf_len(in) : (size_t)size;
    (void)ssl;
    if (count == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    memcpy(data, buf_slice(in).data, count);
    buf_consume(in, count);
    return (int)count;
}

static int trial_send(WOLFSSL *ssl, char *data, int size, void *context)
{
    (void)ssl;
    return buf_append(context, data, (size_t)size) ? size : WOLFSSL_CBIO_ERR_GENERAL;
}

static WOLFSSL *trial_end(WOLFSSL_CTX *ctx, struct buf *in, struct buf *out)
{
    WOLFSSL *ssl = wolfSSL_new(ctx);
    ASSERT(ssl != NULL);
    wolfSSL_SSLSetIORecv(ssl, trial_receive);
    wolfSSL_SSLSetIOSend(ssl, trial_send);
    wolfSSL_SetIOReadCtx(ssl, in);
    wolfSSL_SetIOWriteCtx(ssl, out);
    return ssl;
}

/* One ClientHello and the answer to it. */
static void try_once(WOLFSSL_CTX *server_ctx)
{
    struct buf to_server, to_client;
    buf_init(&to_server, 0);
    buf_init(&to_client, 0);
    WOLFSSL_CTX *client_ctx = wolfSSL_CTX_new(wolfSSLv23_client_method());
    ASSERT(client_ctx != NULL);
    (void)wolfSSL_CTX_EnableOCSPStapling(client_ctx);
    (void)wolfSSL_CTX_UseOCSPStapling(client_ctx, WOLFSSL_CSR_OCSP, 0);
    WOLFSSL *client = trial_end(client_ctx, &to_client, &to_server);
    WOLFSSL *server = trial_end(server_ctx, &to_server, &to_client);
    (void)wolfSSL_connect(client);
    (void)wolfSSL_accept(server);
    wolfSSL_free(client);
    wolfSSL_free(server);
    wolfSSL_CTX_free(client_ctx);
    buf_finish(&to_server);
    buf_finish(&to_client);
}

/* ---- a context that staples ------------------------------------------------------------------------------------ */

/* wolfSSL verifies the certificate and the response by the issuers that stand behind it in its file. */
static void load_issuers(WOLFSSL_CTX *ctx, struct slice pem)
{
    struct slice der;
    int status;
    for (int i = 0; tls_pem_next(&pem, &der, &status); i++) {
        if (i > 0)
            (void)wolfSSL_CTX_load_verify_buffer(ctx, der.data, (long)der.len,
                                                 WOLFSSL_FILETYPE_ASN1);
        mem_free((void *)der.data);
    }
}

struct tls_staple *tls_staple_attach(WOLFSSL_CTX *ctx, const struct tls_pair *pair,
                                     const char **out_problem)
{
    struct tls_staple *s = mem_zalloc(sizeof *s);
    s->response = slice_of(mem_dup(pair->ocsp.data, pair->ocsp.len), pair->ocsp.len);
    *out_problem = NULL;
#ifndef MAILRING_WOLFSSL_STAPLES
    *out_problem = "this build of wolfSSL would lose memory with each response";
#endif
    if (*out_problem == NULL && !find_next_update(pair->ocsp, &s->until))
        *out_problem = "it is not an OCSP response with a time until which it holds";
    else if (*out_problem == NULL && !tls_staple_is_fresh(s))
        *out_problem = "its time is over";
    if (*out_problem == NULL) {
        load_issuers(ctx, pair->certificate);
        (void)wolfSSL_CTX_EnableOCSP(ctx, WOLFSSL_OCSP_URL_OVERRIDE | WOLFSSL_OCSP_NO_NONCE);
        (void)wolfSSL_CTX_DisableOCSP(ctx); /* that would be for certificates of clients */
        (void)wolfSSL_CTX_EnableOCSPStapling(ctx);
        (void)wolfSSL_CTX_SetOCSP_OverrideURL(ctx, "http://in.a.file.invalid/");
        (void)wolfSSL_CTX_SetOCSP_Cb(ctx, give_response, response_stays_ours, s);
        try_once(ctx);
        try_once(ctx);
        if (s->asked == 0)
            *out_problem = "the issuer's certificate is not in the certificate's file";
        else if (s->asked > 1) /* the first time was not to its liking */
            *out_problem = "it is for another certificate, not signed by its issuer, or not good";
    }
    if (*out_problem == NULL)
        return s;
    tls_staple_destroy(s);
    return NULL;
}

void tls_staple_destroy(struct tls_staple *s)
{
    if (s == NULL)
        return;
    mem_free((void *)s->response.data);
    mem_free(s);
}
