#include "tls_priv.h"

/* ---- words ---------------------------------------------------------------------------------------------------- */

const char *tls_status_text(int status)
{
    switch (status) {
    case ASN_AFTER_DATE_E: return "certificate has expired";
    case ASN_BEFORE_DATE_E: return "certificate is not valid yet";
    case RSA_KEY_SIZE_E:
    case ECC_KEY_SIZE_E: return "key is too short";
    case PEER_KEY_ERROR: return "key cannot be read";
    case UNSUPPORTED_SUITE:
    case MATCH_SUITE_ERROR: return "no cipher in common";
    case VERSION_ERROR: return "no version in common";
    case UNKNOWN_RECORD_TYPE:
    case LENGTH_ERROR: return "not a TLS record"; /* plaintext, mostly: its length makes no sense */
    case UNKNOWN_HANDSHAKE_TYPE:
    case OUT_OF_ORDER_E:
    case SANITY_MSG_E:
    case DUPLICATE_MSG_E: return "unexpected message";
    case DECRYPT_ERROR:
    case VERIFY_MAC_ERROR:
    case AES_GCM_AUTH_E: return "a record was altered";
    default: return wolfSSL_ERR_reason_error_string((unsigned long)status);
    }
}

static const char *alert_text(int code)
{
    static const struct {
        int code;
        const char *text;
    } alerts[] = {
        {close_notify, "close_notify"},
        {unexpected_message, "unexpected_message"},
        {bad_record_mac, "bad_record_mac"},
        {record_overflow, "record_overflow"},
        {handshake_failure, "handshake_failure"},
        {bad_certificate, "bad_certificate"},
        {unsupported_certificate, "unsupported_certificate"},
        {certificate_revoked, "certificate_revoked"},
        {certificate_expired, "certificate_expired"},
        {certificate_unknown, "certificate_unknown"},
        {illegal_parameter, "illegal_parameter"},
        {unknown_ca, "unknown_ca"},
        {access_denied, "access_denied"},
        {decode_error, "decode_error"},
        {decrypt_error, "decrypt_error"},
        {wolfssl_alert_protocol_version, "protocol_version"},
        {insufficient_security, "insufficient_security"},
        {internal_error, "internal_error"},
        {inappropriate_fallback, "inappropriate_fallback"},
        {user_canceled, "user_canceled"},
        {missing_extension, "missing_extension"},
        {unsupported_extension, "unsupported_extension"},
        {unrecognized_name, "unrecognized_name"},
        {bad_certificate_status_response, "bad_certificate_status_response"},
        {certificate_required, "certificate_required"},
        {no_application_protocol, "no_application_protocol"},
    };
    for (size_t i = 0; i < ARRAY_LEN(alerts); i++)
        if (alerts[i].code == code)
            return alerts[i].text;
    return "unknown";
}

void tls_fail(struct tls *t, enum tls_failure failure, const char *why)
{
    if (t->error != NULL)
        return;
    t->failure = failure;
    t->error = why;
}

/* wolfSSL gave up. What it was told by the peer says more than its own status. */
static enum tls_result library_failed(struct tls *t, int status)
{
    WOLFSSL_ALERT_HISTORY alerts;
    memset(&alerts, 0, sizeof alerts);
    (void)wolfSSL_get_alert_history(t->ssl, &alerts);
    if (t->error == NULL && alerts.last_rx.level == alert_fatal) {
        snprintf(t->error_text, sizeof t->error_text, "the peer sent the alert %s (%d)",
                 alert_text(alerts.last_rx.code), alerts.last_rx.code);
        tls_fail(t, TLS_FAILURE_HANDSHAKE, t->error_text);
    }
    if (t->no_room)
        tls_fail(t, TLS_FAILURE_HANDSHAKE, "no room for a record");
    tls_fail(t, TLS_FAILURE_HANDSHAKE, tls_status_text(status));
    t->state = TLS_STATE_FAILED;
    return TLS_FAILED;
}

/* ---- wolfSSL's sockets --------------------------------------------------------------------------------------- */

static int take_input(WOLFSSL *ssl, char *data, int size, void *context)
{
    struct tls *t = context;
    (void)ssl;
    size_t count = buf_len(&t->hello);
    if (count > 0) {
        count = count < (size_t)size ? count : (size_t)size;
        memcpy(data, buf_slice(&t->hello).data, count);
        buf_consume(&t->hello, count);
        buf_release(&t->hello);
        return (int)count;
    }
    count = t->in.len < (size_t)size ? t->in.len : (size_t)size;
    if (count == 0)
        return WOLFSSL_CBIO_ERR_WANT_READ;
    memcpy(data, t->in.data, count);
    slice_advance(&t->in, count);
    return (int)count;
}

static int give_output(WOLFSSL *ssl, char *data, int size, void *context)
{
    struct tls *t = context;
    (void)ssl;
    if (t->out == NULL || !buf_append(t->out, data, (size_t)size)) {
        t->no_room = true;
        return WOLFSSL_CBIO_ERR_GENERAL;
    }
    return size;
}

/* ---- making and freeing --------------------------------------------------------------------------------------- */

static struct tls *tls_create(struct tls_context *context)
{
    struct tls *t = mem_zalloc(sizeof *t);
    t->context = tls_context_ref(context);
    buf_init(&t->hello, 0);
    buf_init(&t->sni, 0);
    return t;
}

static void open_session(struct tls *t, WOLFSSL_CTX *ctx)
{
    t->ssl = wolfSSL_new(ctx);
    ASSERT(t->ssl != NULL); /* fails for lack of memory or randomness only */
    wolfSSL_SSLSetIORecv(t->ssl, take_input);
    wolfSSL_SSLSetIOSend(t->ssl, give_output);
    wolfSSL_SetIOReadCtx(t->ssl, t);
    wolfSSL_SetIOWriteCtx(t->ssl, t);
    wolfSSL_SetCertCbCtx(t->ssl, t);
    (void)wolfSSL_set_SessionTicket_cb(t->ssl, tls_resumption_ticket_came,
                                       t); /* only a client's is called */
    wolfSSL_KeepArrays(t->ssl);            /* until the exporter has been asked */
}

struct tls *tls_accept(struct tls_context *context)
{
    ASSERT(context->is_server);
    struct tls *t = tls_create(context);
    t->state = TLS_STATE_HELLO;
    if (context->null)
        t->null = tls_null_create(t, SLICE_NULL);
    return t;
}

struct tls *tls_connect(struct tls_context *context, const struct tls_connect_options *options)
{
    ASSERT(!context->is_server);
    struct tls *t = tls_create(context);
    t->state = TLS_STATE_HANDSHAKE;
    t->plan = tls_check_plan_create(options, context);
    (void)buf_append_slice(&t->sni, options->sni);
    if (context->null) {
        t->null = tls_null_create(t, options->sni);
        return t;
    }
    open_session(t, context->client);
    if (options->sni.len > 0 && options->sni.len <= 253)
        (void)wolfSSL_UseSNI(t->ssl, WOLFSSL_SNI_HOST_NAME, options->sni.data,
                             (unsigned short)options->sni.len);
    if (options->resume != NULL)
        tls_resumption_offer(options->resume, t);
    return t;
}

void tls_free(struct tls *t)
{
    if (t == NULL)
        return;
    wolfSSL_free(t->ssl);
    tls_null_destroy(t->null);
    tls_check_plan_destroy(t->plan);
    buf_finish(&t->hello);
    buf_finish(&t->sni);
    tls_context_unref(t->context);
    mem_wipe(t->exporter, sizeof t->exporter);
    mem_free(t);
}

/* ---- handshake ---------------------------------------------------------------------------------------------------- */

/* The library meets the client once its ClientHello is there as a whole: only then is it known which
 * certificate is wanted, and until then a connection that stays silent costs nothing. */
static bool gather_hello(struct tls *t, struct slice *in)
{
    for (;;) {
        size_t missing = tls_hello_missing(buf_slice(&t->hello));
        if (missing == 0)
            return true;
        if (in->len == 0)
            return false;
        size_t count = in->len < missing ? in->len : missing;
        (void)buf_append(&t->hello, in->data, count);
        slice_advance(in, count);
    }
}

static void meet_client(struct tls *t)
{
    struct tls_hello hello;
    (void)tls_hello_parse(buf_slice(&t->hello),
                          &hello); /* unreadable: the library says what is wrong */
    t->pair = tls_context_choose(t->context, &hello);
    t->extended_master_secret = hello.extended_master_secret;
    (void)buf_append_slice(&t->sni, buf_slice(&hello.sni));
    tls_hello_finish(&hello);
    open_session(t, tls_staple_is_fresh(t->pair->staple) ? t->pair->stapling : t->pair->ctx);
    t->state = TLS_STATE_HANDSHAKE;
}

/* What only the memory of the handshake can tell; then that memory goes. */
static void keep_exporter(struct tls *t)
{
    static const char label[] = "EXPORTER-Channel-Binding"; /* RFC 9266 */
    bool unique = wolfSSL_version(t->ssl) == TLS1_3_VERSION || t->extended_master_secret;
    t->have_exporter = unique
                       && wolfSSL_export_keying_material(t->ssl, t->exporter, sizeof t->exporter,
                                                         label, sizeof label - 1, NULL, 0, 0)
                              == WOLFSSL_SUCCESS;
    wolfSSL_FreeArrays(t->ssl);
}

static enum tls_result handshake_done(struct tls *t)
{
    t->resumed = wolfSSL_session_reused(t->ssl) != 0;
    keep_exporter(t);
    if (!t->context->is_server) {
        if (t->resumed)
            t->peer = t->resumption_peer;
        /* Belt and braces: no way around the callback is known. */
        if (t->plan->check != TLS_CHECK_NONE && !t->peer.verified) {
            tls_fail(t, TLS_FAILURE_UNTRUSTED, "certificate was not verified");
            t->state = TLS_STATE_FAILED;
            return TLS_FAILED;
        }
    }
    t->state = TLS_STATE_OPEN;
    return TLS_OK;
}

static enum tls_result handshake_step(struct tls *t)
{
    int status = t->context->is_server ? wolfSSL_accept(t->ssl) : wolfSSL_connect(t->ssl);
    if (status == WOLFSSL_SUCCESS)
        return handshake_done(t);
    status = wolfSSL_get_error(t->ssl, status);
    if (status == WOLFSSL_ERROR_WANT_READ)
        return TLS_WANT_INPUT;
    return library_failed(t, status);
}

enum tls_result tls_handshake(struct tls *t, struct slice *in, struct buf *out)
{
    ASSERT(t->state != TLS_STATE_PEER_CLOSED);
    if (t->state == TLS_STATE_FAILED)
        return TLS_FAILED;
    if (t->state == TLS_STATE_OPEN)
        return TLS_OK;
    if (t->null != NULL)
        return tls_null_handshake(t, in, out);
    if (t->state == TLS_STATE_HELLO) {
        if (!gather_hello(t, in))
            return TLS_WANT_INPUT;
        meet_client(t);
    }
    t->in = *in;
    t->out = out;
    enum tls_result result = handshake_step(t);
    *in = t->in;
    t->out = NULL;
    return result;
}

/* ---- data ----------------------------------------------------------------------------------------------------------- */

/* Everything that is whole, up to `size`. */
static enum tls_result read_records(struct tls *t, uint8_t *data, size_t size, size_t *out_count)
{
    while (*out_count < size) {
        size_t room = size - *out_count;
        int count =
            wolfSSL_read(t->ssl, data + *out_count, room < INT32_MAX ? (int)room : INT32_MAX);
        if (count > 0) {
            *out_count += (size_t)count;
            continue;
        }
        int status = wolfSSL_get_error(t->ssl, count);
        if (status == WOLFSSL_ERROR_WANT_READ)
            return TLS_WANT_INPUT;
        if (status == WOLFSSL_ERROR_ZERO_RETURN) {
            t->state = TLS_STATE_PEER_CLOSED;
            return TLS_CLOSED;
        }
        return library_failed(t, status);
    }
    return TLS_OK;
}

enum tls_result tls_read(struct tls *t, struct slice *in, void *data, size_t size,
                         size_t *out_count, struct buf *out)
{
    *out_count = 0;
    if (t->state == TLS_STATE_PEER_CLOSED)
        return TLS_CLOSED;
    if (t->state == TLS_STATE_FAILED)
        return TLS_FAILED;
    ASSERT(t->state == TLS_STATE_OPEN && size > 0);
    if (t->null != NULL)
        return tls_null_read(t, in, data, size, out_count);
    t->in = *in;
    t->out = out;
    enum tls_result result = read_records(t, data, size, out_count);
    *in = t->in;
    t->out = NULL;
    return *out_count > 0 ? TLS_OK : result; /* why there is no more is said the next time */
}

/* Each record: header, explicit nonce, tag, padding, or what a CBC suite has instead. */
enum { RECORD_EXTRA = 128 };

size_t tls_wire_size(size_t plaintext)
{
    return plaintext + (plaintext / TLS_RECORD_SIZE + 2) * RECORD_EXTRA;
}

bool tls_write(struct tls *t, struct slice plaintext, struct buf *out)
{
    if ((t->state != TLS_STATE_OPEN && t->state != TLS_STATE_PEER_CLOSED) || t->closing)
        return false;
    if (plaintext.len == 0)
        return true;
    if (buf_reserve(out, tls_wire_size(plaintext.len)) == NULL)
        return false;
    if (t->null != NULL)
        return tls_null_write(t, plaintext, out);
    t->out = out;
    t->in = SLICE_NULL;
    bool good = true;
    while (good && plaintext.len > 0) {
        int count = wolfSSL_write(t->ssl, plaintext.data,
                                  plaintext.len < INT32_MAX ? (int)plaintext.len : INT32_MAX);
        good = count > 0;
        if (good)
            slice_advance(&plaintext, (size_t)count);
        else
            (void)library_failed(t, wolfSSL_get_error(t->ssl, count));
    }
    t->out = NULL;
    return good;
}

void tls_close(struct tls *t, struct buf *out)
{
    if ((t->state != TLS_STATE_OPEN && t->state != TLS_STATE_PEER_CLOSED) || t->closing)
        return;
    t->closing = true;
    if (t->null != NULL) {
        tls_null_close(t, out);
        return;
    }
    t->out = out;
    t->in = SLICE_NULL;
    (void)wolfSSL_shutdown(
        t->ssl); /* without room for it the peer sees a cut, which it has to bear */
    t->out = NULL;
}

/* ---- what there is to know ------------------------------------------------------------------------------------------ */

bool tls_truncated(const struct tls *t)
{
    return t->state == TLS_STATE_OPEN;
}

const char *tls_error(const struct tls *t)
{
    return t->error != NULL ? t->error : "";
}

enum tls_failure tls_failure_of(const struct tls *t)
{
    return t->state == TLS_STATE_FAILED ? t->failure : t->peer.failure;
}

void tls_facts(const struct tls *t, struct tls_facts *out)
{
    memset(out, 0, sizeof *out);
    out->version = out->cipher = out->group = "";
    out->sni = buf_slice(&t->sni);
    out->resumed = t->resumed;
    out->verified = t->peer.verified;
    out->peer_certificate = t->peer.certificate;
    memcpy(out->peer_sha256, t->peer.sha256, sizeof out->peer_sha256);
    out->peer_name = slice_str(t->peer.name);
    if (t->null != NULL) {
        out->version = "TLSnull";
        out->cipher = "TLS_NULL";
        return;
    }
    if (t->ssl == NULL)
        return;
    const struct tls_cipher *cipher = tls_cipher_find(wolfSSL_get_current_cipher_suite(t->ssl));
    const char *group = wolfSSL_get_curve_name(t->ssl);
    out->version = wolfSSL_get_version(t->ssl);
    out->cipher = cipher != NULL ? cipher->iana : "";
    out->bits = cipher != NULL ? cipher->bits : 0;
    out->group = group != NULL ? group : "";
}

bool tls_binding(struct tls *t, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX],
                 size_t *out_len)
{
    if (t->state != TLS_STATE_OPEN && t->state != TLS_STATE_PEER_CLOSED)
        return false;
    const uint8_t *value = t->exporter;
    size_t len = t->have_exporter ? sizeof t->exporter : 0;
    if (kind == TLS_BINDING_SERVER_END_POINT && t->context->is_server) {
        value = t->pair != NULL ? t->pair->end_point : NULL;
        len = t->pair != NULL ? t->pair->end_point_len : 0;
    } else if (kind == TLS_BINDING_SERVER_END_POINT) {
        value = t->peer.end_point;
        len = t->peer.end_point_len;
    }
    if (len == 0)
        return false;
    memcpy(out, value, len);
    *out_len = len;
    return true;
}
