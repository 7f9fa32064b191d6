/*
 * tls: one TLS connection as a filter between byte queues: ciphertext in, plaintext out, and back. No
 * sockets, no clock but tls_now(), no files.
 *
 *     struct tls *t = tls_accept(context);                  or tls_connect(context, &options)
 *     tls_handshake(t, &in, &out)     until TLS_OK          `in`: what the peer sent; `out`: to be sent
 *     tls_read(t, &in, data, ...)     plaintext
 *     tls_write(t, plaintext, &out)   records
 *     tls_close(t, &out)              close_notify; the peer's own shows as TLS_CLOSED
 *
 * `in` is advanced over what was taken; what is left (a part of a record is taken and kept inside: at
 * most one record, 16 KiB) is shown again with more behind it. A peer that hangs up without close_notify
 * was cut off (tls_truncated()): SMTP's own end of data says whether a message is whole, so that matters
 * to nobody but the one who counts (RFC 8446 6.1, RFC 7817).
 *
 * A struct tls belongs to one thread at a time; it may be handed to a helper for the expensive part of a
 * handshake (tls_context_is_heavy()). Contexts are shared by all threads.
 *
 * tls_null, for the simulator: the same calls and states, no secrets. A context made with
 * `null = true` makes sessions whose handshake is one message each way and whose records are marked and
 * checksummed plaintext, so that a byte that skips the filter on either side is noticed.
 */
#ifndef TLS_H
#define TLS_H

#include "base_buf.h"
#include "base_slice.h"
#include "tls_context.h"

struct tls;

enum tls_result {
    TLS_OK,
    TLS_WANT_INPUT, /* more of the peer's bytes are needed (what is in `out` is to be sent) */
    TLS_CLOSED,     /* the peer said close_notify */
    TLS_FAILED,     /* tls_error() says why; an alert may be in `out`: send it, then close */
};

enum tls_check {                 /* what the client asks of the server's certificate */
                 TLS_CHECK_NONE, /* anything goes (opportunistic); what was wrong is noted all the same */
                 TLS_CHECK_NAME, /* a chain to a trusted CA, and one of `names` in it (RFC 6125; RFC 8461 4.1) */
                 TLS_CHECK_DANE, /* `tlsa` decides (RFC 7672) */
};

/* A usable TLSA record (RFC 6698 2.1). `data` as in DNS. */
struct tls_tlsa {
    uint8_t usage, selector, matching;
    struct slice data;
};

struct tls_connect_options {
    enum tls_check check;
    struct slice sni; /* empty: none is sent */
    const struct slice
        *names; /* reference identifiers; "*" patterns are not: those are the certificate's */
    size_t name_count;
    const struct tls_tlsa *tlsa; /* copied */
    size_t tlsa_count;
    struct tls_resumption
        *resume; /* from an earlier session with this host; NULL: none. Not consumed */
};

struct tls *tls_accept(struct tls_context *context);
struct tls *tls_connect(struct tls_context *context, const struct tls_connect_options *options);
void tls_free(struct tls *t); /* NULL is fine */

enum tls_result tls_handshake(struct tls *t, struct slice *in, struct buf *out);
/* Decrypts up to `size` bytes to `data`. TLS_OK with *out_count > 0, or why there are none. */
enum tls_result tls_read(struct tls *t, struct slice *in, void *data, size_t size,
                         size_t *out_count, struct buf *out);
/* Appends records. False: the session is of no more use, or `out` is full (give it room for
 * tls_wire_size(plaintext.len)). */
bool tls_write(struct tls *t, struct slice plaintext, struct buf *out);
size_t tls_wire_size(size_t plaintext); /* an upper bound */
void tls_close(struct tls *t, struct buf *out);
/* For one who hears that the peer hung up: no close_notify had come. */
bool tls_truncated(const struct tls *t);

/* Why the last call failed, in words for a log or a reply: "certificate has expired". Static, or t's. */
const char *tls_error(const struct tls *t);
/* The kind of the failure, for TLS reports (RFC 8460 4.3) and for policy. */
enum tls_failure {
    TLS_FAILURE_NONE,
    TLS_FAILURE_HANDSHAKE, /* "validation-failure" in reports if nothing better is known */
    TLS_FAILURE_EXPIRED,   /* "certificate-expired" */
    TLS_FAILURE_NAME,      /* "certificate-host-mismatch" */
    TLS_FAILURE_UNTRUSTED, /* "certificate-not-trusted" */
    TLS_FAILURE_TLSA,      /* "tlsa-invalid" or "validation-failure": no record matches */
};
enum tls_failure tls_failure_of(const struct tls *t);

/* Facts, once the handshake is done. Slices are good as long as t. */
struct tls_facts {
    const char *version; /* "TLSv1.3" */
    const char *cipher;  /* IANA name: "TLS_AES_128_GCM_SHA256" */
    const char *group;   /* "X25519"; "" if not known */
    unsigned
        bits; /* of the symmetric key, for Received (RFC 8314 4.3: cipher, and RFC 3848 type) */
    bool resumed;
    bool verified;    /* client: the check asked for (not NONE) passed. server: the client's
                                 certificate chains to client_ca */
    struct slice sni; /* server: what the client asked for; may be empty */
    bool peer_certificate;
    uint8_t peer_sha256[32]; /* of the peer's certificate, whole (DER) */
    struct slice peer_name;  /* its subject, or first name, for logs */
};
void tls_facts(const struct tls *t, struct tls_facts *out);

/* Channel bindings for SCRAM-PLUS. False: not to be had in this session (RFC 9266: TLS 1.3, or 1.2 with
 * extended master secret). */
enum { TLS_BINDING_MAX = 64 };
enum tls_binding { TLS_BINDING_EXPORTER, TLS_BINDING_SERVER_END_POINT };
bool tls_binding(struct tls *t, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX],
                 size_t *out_len);

/* What a later connection to the same host may resume with; counted references, any thread.
 * NULL: the server gave nothing. TLS 1.3 tickets come after the handshake: ask when the session ends. */
struct tls_resumption;
struct tls_resumption *tls_resumption_take(struct tls *t);
void tls_resumption_unref(struct tls_resumption *r);

#endif
