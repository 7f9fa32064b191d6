#include "tls_hello_priv.h"

#include "base_assert.h"

enum { RECORD_HEADER = 5, RECORD_HANDSHAKE = 22, MESSAGE_HEADER = 4, MESSAGE_CLIENT_HELLO = 1 };
enum { RECORD_SIZE_MAX = 16384, NAME_SIZE_MAX = 253 };

enum extension {
    EXTENSION_SERVER_NAME = 0,
    EXTENSION_SIGNATURE_ALGORITHMS = 13,
    EXTENSION_EXTENDED_MASTER_SECRET = 23,
    EXTENSION_SUPPORTED_VERSIONS = 43,
};

/* ---- gathering --------------------------------------------------------------------------------------- */

/* Takes `count` bytes off the front; false, and *s untouched, if there are fewer. */
static bool take(struct slice *s, size_t count, struct slice *out)
{
    if (s->len < count)
        return false;
    *out = slice_head(*s, count);
    slice_advance(s, count);
    return true;
}

static bool take_number(struct slice *s, size_t width, size_t *out)
{
    struct slice bytes;
    if (!take(s, width, &bytes))
        return false;
    size_t value = 0;
    for (size_t i = 0; i < width; i++)
        value = value << 8 | bytes.data[i];
    *out = value;
    return true;
}

/* A vector with its length before it. */
static bool take_vector(struct slice *s, size_t width, struct slice *out)
{
    size_t len;
    return take_number(s, width, &len) && take(s, len, out);
}

static bool is_handshake_record(struct slice header)
{
    size_t len = (size_t)header.data[3] << 8 | header.data[4];
    return header.data[0] == RECORD_HANDSHAKE && header.data[1] == 3 && len > 0
           && len <= RECORD_SIZE_MAX;
}

/* The size of the message that begins with these bytes, header included; 0: not known yet. */
static size_t message_size(const uint8_t head[MESSAGE_HEADER], size_t have)
{
    if (have < MESSAGE_HEADER)
        return 0;
    return MESSAGE_HEADER + ((size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3]);
}

size_t tls_hello_missing(struct slice stream)
{
    uint8_t head[MESSAGE_HEADER];
    size_t have = 0; /* bytes of the message */
    for (;;) {
        struct slice header, body;
        if (!take(&stream, RECORD_HEADER, &header))
            return RECORD_HEADER - stream.len;
        if (!is_handshake_record(header))
            return 0;
        size_t len = (size_t)header.data[3] << 8 | header.data[4];
        if (!take(&stream, len, &body))
            return len - stream.len;
        for (size_t i = 0; have + i < MESSAGE_HEADER && i < len; i++)
            head[have + i] = body.data[i];
        have += len;
        size_t size = message_size(head, have);
        if ((have > 0 && head[0] != MESSAGE_CLIENT_HELLO) || size > TLS_HELLO_SIZE_MAX
            || (size > 0 && have >= size))
            return 0;
    }
}

/* The message without its header, put together from the records it lies in. */
static bool message_body(struct slice stream, struct buf *out)
{
    struct slice header, body;
    while (take(&stream, RECORD_HEADER, &header) && is_handshake_record(header)
           && take(&stream, (size_t)header.data[3] << 8 | header.data[4], &body))
        (void)buf_append_slice(out, body); /* no more than the caller gathered */
    size_t size = buf_len(out) > 0 ? message_size(buf_slice(out).data, buf_len(out)) : 0;
    if (size == 0 || size > TLS_HELLO_SIZE_MAX || buf_len(out) < size
        || buf_slice(out).data[0] != MESSAGE_CLIENT_HELLO)
        return false;
    buf_truncate(out, size);
    buf_consume(out, MESSAGE_HEADER);
    return true;
}

/* ---- reading ------------------------------------------------------------------------------------------ */

static bool is_host_byte(uint8_t c)
{
    return c > ' ' && c < 0x7F;
}

/* A name that no certificate can be for is like none. */
static void take_host_name(struct slice name, struct buf *out)
{
    if (name.len > 0 && name.data[name.len - 1] == '.')
        name.len--;
    if (name.len > NAME_SIZE_MAX)
        return;
    for (size_t i = 0; i < name.len; i++)
        if (!is_host_byte(name.data[i]))
            return;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        (void)buf_append_byte(out, c >= 'A' && c <= 'Z' ? (uint8_t)(c + 32) : c);
    }
}

static bool read_server_name(struct slice data, struct buf *out)
{
    struct slice list, name;
    size_t type;
    if (!take_vector(&data, 2, &list))
        return false;
    while (list.len > 0) {
        if (!take_number(&list, 1, &type) || !take_vector(&list, 2, &name))
            return false;
        if (type == 0 && buf_len(out) == 0)
            take_host_name(name, out);
    }
    return true;
}

static bool read_signature_algorithms(struct slice data, struct tls_hello *h)
{
    struct slice list;
    size_t scheme;
    if (!take_vector(&data, 2, &list))
        return false;
    while (take_number(&list, 2, &scheme)) {
        switch (scheme) {
        case 0x0401: /* rsa_pkcs1 */
        case 0x0501:
        case 0x0601:
        case 0x0804: /* rsa_pss_rsae */
        case 0x0805:
        case 0x0806: h->rsa = true; break;
        case 0x0403: /* ecdsa */
        case 0x0503:
        case 0x0603: h->ecdsa = true; break;
        case 0x0807: h->ed25519 = true; break;
        default: break;
        }
    }
    return true;
}

static bool read_versions(struct slice data, struct tls_hello *h)
{
    struct slice list;
    size_t version;
    if (!take_vector(&data, 1, &list))
        return false;
    while (take_number(&list, 2, &version))
        if (version == 0x0304)
            h->tls13 = true;
    return true;
}

/* TLS 1.2 suites name the kind of signature. */
static void read_suites(struct slice list, bool *rsa, bool *ecdsa)
{
    size_t suite;
    while (take_number(&list, 2, &suite)) {
        switch (suite) {
        case 0xC02B: /* ECDHE_ECDSA: AES-GCM, ChaCha20, AES-CBC */
        case 0xC02C:
        case 0xCCA9:
        case 0xC009:
        case 0xC00A:
        case 0xC023:
        case 0xC024: *ecdsa = true; break;
        case 0xC02F: /* ECDHE_RSA */
        case 0xC030:
        case 0xCCA8:
        case 0xC013:
        case 0xC014:
        case 0xC027:
        case 0xC028: *rsa = true; break;
        default: break;
        }
    }
}

static bool read_hello(struct slice body, struct tls_hello *h)
{
    struct slice ignored, suites, data, extensions = SLICE_NULL;
    size_t type;
    bool said_algorithms = false, suite_rsa = false, suite_ecdsa = false;

    if (!take(&body, 2 + 32, &ignored) || !take_vector(&body, 1, &ignored)
        || !take_vector(&body, 2, &suites) || !take_vector(&body, 1, &ignored))
        return false;
    read_suites(suites, &suite_rsa, &suite_ecdsa);
    if (body.len > 0 && !take_vector(&body, 2, &extensions))
        return false;
    if (body.len > 0)
        return false;
    while (extensions.len > 0) {
        if (!take_number(&extensions, 2, &type) || !take_vector(&extensions, 2, &data))
            return false;
        bool good = true;
        if (type == EXTENSION_SERVER_NAME) {
            good = read_server_name(data, &h->sni);
        } else if (type == EXTENSION_SIGNATURE_ALGORITHMS) {
            said_algorithms = true;
            good = read_signature_algorithms(data, h);
        } else if (type == EXTENSION_SUPPORTED_VERSIONS) {
            good = read_versions(data, h);
        } else if (type == EXTENSION_EXTENDED_MASTER_SECRET) {
            h->extended_master_secret = true;
        }
        if (!good)
            return false;
    }
    if (!said_algorithms) /* RFC 5246 7.4.1.4.1: then SHA-1, which is not to be had here */
        h->rsa = true;
    if (!h->tls13) {
        h->rsa = h->rsa && suite_rsa;
        h->ecdsa = h->ecdsa && suite_ecdsa;
        h->ed25519 = h->ed25519 && suite_ecdsa;
    }
    return true;
}

bool tls_hello_parse(struct slice stream, struct tls_hello *out)
{
    struct buf body;
    *out = (struct tls_hello){0};
    buf_init(&out->sni, 256);
    buf_init(&body, 0);
    bool good = message_body(stream, &body) && read_hello(buf_slice(&body), out);
    if (!good) {
        buf_finish(&out->sni);
        *out = (struct tls_hello){0};
    }
    buf_finish(&body);
    return good;
}

void tls_hello_finish(struct tls_hello *h)
{
    buf_finish(&h->sni);
    *h = (struct tls_hello){0};
}
