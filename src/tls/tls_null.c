/*
 * tls_null: TLS for the simulator: the same calls, states and shapes of traffic, without secrets or
 * randomness. A record is
 *
 *     0xF5 | kind | length, 2 bytes | checksum, 4 bytes | payload
 *
 * with the payload XORed with 0x5A, so that no plaintext is ever seen on the wire, and a CRC32C over kind,
 * number of the record, and plaintext, so that a byte that is lost, repeated, moved, or sent past the filter
 * ends the session.
 */
#include "base_codec.h"
#include "base_crc32c.h"
#include "tls_priv.h"

enum { MARK = 0xF5, HEADER = 8, MASK = 0x5A, PAYLOAD_MAX = TLS_RECORD_SIZE };
enum kind { KIND_CLIENT_HELLO = 1, KIND_SERVER_HELLO, KIND_DATA, KIND_CLOSE, KIND_ALERT };

struct tls_null {
    struct buf record; /* the one that is coming in */
    struct buf clear;  /* what of the last one was not yet taken */
    uint64_t count_in, count_out;
    bool hello_is_out;
};

struct tls_null *tls_null_create(struct tls *t, struct slice sni)
{
    (void)t;
    (void)sni;
    struct tls_null *n = mem_zalloc(sizeof *n);
    buf_init(&n->record, 0);
    buf_init(&n->clear, 0);
    return n;
}

void tls_null_destroy(struct tls_null *n)
{
    if (n == NULL)
        return;
    buf_finish(&n->record);
    buf_finish(&n->clear);
    mem_free(n);
}

/* ---- records ------------------------------------------------------------------------------------------------------ */

static uint32_t record_crc(uint8_t kind, uint64_t number, struct slice plaintext)
{
    uint8_t head[9] = {kind};
    put_le64(head + 1, number);
    return crc32c(crc32c(0, head, sizeof head), plaintext.data, plaintext.len);
}

static bool put_record(struct tls_null *n, enum kind kind, struct slice plaintext, struct buf *out)
{
    ASSERT(plaintext.len <= PAYLOAD_MAX);
    uint8_t *at = buf_reserve(out, HEADER + plaintext.len);
    if (at == NULL)
        return false;
    at[0] = MARK;
    at[1] = (uint8_t)kind;
    put_le16(at + 2, (uint16_t)plaintext.len);
    put_le32(at + 4, record_crc((uint8_t)kind, n->count_out++, plaintext));
    for (size_t i = 0; i < plaintext.len; i++)
        at[HEADER + i] = plaintext.data[i] ^ MASK;
    buf_commit(out, HEADER + plaintext.len);
    return true;
}

enum record_state { RECORD_PARTIAL, RECORD_WHOLE, RECORD_BAD };

/* Takes bytes until a record is whole; its plaintext is then in n->clear. */
static enum record_state take_record(struct tls_null *n, struct slice *in, enum kind *out_kind)
{
    for (;;) {
        struct slice have = buf_slice(&n->record);
        size_t want = HEADER;
        if (have.len > 0 && have.data[0] != MARK)
            return RECORD_BAD;
        if (have.len >= HEADER) {
            size_t len = get_le16(have.data + 2);
            if (len > PAYLOAD_MAX)
                return RECORD_BAD;
            want = HEADER + len;
        }
        if (have.len >= HEADER && have.len == want)
            break;
        size_t count = want - have.len;
        count = count < in->len ? count : in->len;
        if (count == 0)
            return RECORD_PARTIAL;
        (void)buf_append(&n->record, in->data, count);
        slice_advance(in, count);
    }
    struct slice have = buf_slice(&n->record);
    buf_clear(&n->clear);
    for (size_t i = HEADER; i < have.len; i++)
        (void)buf_append_byte(&n->clear, have.data[i] ^ MASK);
    uint8_t kind = have.data[1];
    bool good = record_crc(kind, n->count_in++, buf_slice(&n->clear)) == get_le32(have.data + 4);
    buf_clear(&n->record);
    buf_release(&n->record);
    *out_kind = kind;
    return good ? RECORD_WHOLE : RECORD_BAD;
}

static enum tls_result failed(struct tls *t, const char *why, struct buf *out)
{
    if (out != NULL)
        (void)put_record(t->null, KIND_ALERT, SLICE_NULL, out);
    tls_fail(t, TLS_FAILURE_HANDSHAKE, why);
    t->state = TLS_STATE_FAILED;
    return TLS_FAILED;
}

/* ---- the calls ------------------------------------------------------------------------------------------------------ */

enum tls_result tls_null_handshake(struct tls *t, struct slice *in, struct buf *out)
{
    struct tls_null *n = t->null;
    bool server = t->context->is_server;
    enum kind kind;
    if (!server && !n->hello_is_out) {
        n->hello_is_out = true;
        if (!put_record(n, KIND_CLIENT_HELLO, slice_head(buf_slice(&t->sni), 255), out))
            return failed(t, "no room for a record", NULL);
    }
    switch (take_record(n, in, &kind)) {
    case RECORD_PARTIAL: return TLS_WANT_INPUT;
    case RECORD_BAD: return failed(t, "not a TLS record", out);
    case RECORD_WHOLE: break;
    }
    if (kind == KIND_ALERT)
        return failed(t, "the peer sent an alert", NULL);
    if (kind != (server ? KIND_CLIENT_HELLO : KIND_SERVER_HELLO))
        return failed(t, "unexpected message", out);
    if (server) {
        (void)buf_append_slice(&t->sni, buf_slice(&n->clear));
        if (!put_record(n, KIND_SERVER_HELLO, SLICE_NULL, out))
            return failed(t, "no room for a record", NULL);
    } else {
        t->peer.certificate = true;
        t->peer.verified = t->plan->check != TLS_CHECK_NONE;
    }
    buf_clear(&n->clear);
    buf_release(&n->clear);
    t->state = TLS_STATE_OPEN;
    return TLS_OK;
}

static bool give_clear(struct tls_null *n, uint8_t *data, size_t size, size_t *out_count)
{
    struct slice have = slice_head(buf_slice(&n->clear), size - *out_count);
    if (have.len > 0)
        memcpy(data + *out_count, have.data, have.len);
    *out_count += have.len;
    buf_consume(&n->clear, have.len);
    buf_release(&n->clear);
    return *out_count < size;
}

enum tls_result tls_null_read(struct tls *t, struct slice *in, void *data, size_t size,
                              size_t *out_count)
{
    struct tls_null *n = t->null;
    enum kind kind;
    while (give_clear(n, data, size, out_count)) {
        enum record_state state = take_record(n, in, &kind);
        if (state == RECORD_PARTIAL)
            return *out_count > 0 ? TLS_OK : TLS_WANT_INPUT;
        if (state == RECORD_WHOLE && kind == KIND_CLOSE) {
            t->state = TLS_STATE_PEER_CLOSED;
            return *out_count > 0 ? TLS_OK : TLS_CLOSED;
        }
        if (state == RECORD_BAD || kind != KIND_DATA) {
            (void)failed(t,
                         kind == KIND_ALERT && state == RECORD_WHOLE ? "the peer sent an alert"
                                                                     : "a record was altered",
                         NULL);
            return *out_count > 0 ? TLS_OK : TLS_FAILED;
        }
    }
    return TLS_OK;
}

bool tls_null_write(struct tls *t, struct slice plaintext, struct buf *out)
{
    while (plaintext.len > 0) {
        struct slice part = slice_head(plaintext, PAYLOAD_MAX);
        if (!put_record(t->null, KIND_DATA, part, out))
            return false;
        slice_advance(&plaintext, part.len);
    }
    return true;
}

void tls_null_close(struct tls *t, struct buf *out)
{
    (void)put_record(t->null, KIND_CLOSE, SLICE_NULL, out);
}
