/*
 * tls_context: what TLS connections have in common: certificates and keys, trusted CAs, versions and
 * ciphers, ticket keys. Made at start and at reload from bytes that others have read; immutable but for
 * the ticket keys; counted references, so that connections of before a reload keep theirs.
 *
 * Server: each certificate is for the names in it (subjectAltName DNS names, wildcards of one label;
 * the common name if there are none). SNI chooses; a name may have an RSA and an ECDSA certificate, of
 * which the client's signature algorithms choose; no match, or no SNI: the first pair, and its sibling of
 * the other kind with the same names.
 */
#ifndef TLS_CONTEXT_H
#define TLS_CONTEXT_H

#include "base_buf.h"
#include "base_slice.h"

struct tls_context;
struct tls_tickets;

enum tls_version { TLS_VERSION_1_2, TLS_VERSION_1_3 };

struct tls_pair {
    const char *certificate_file, *key_file; /* for messages */
    struct slice certificate;                /* PEM: the leaf first, then intermediates */
    struct slice key;                        /* PEM, unencrypted */
    struct slice ocsp;                       /* DER response to staple; empty: none. One that is
                                              * of no use is left out: tls_pair_examine() */
};

struct tls_server_options {
    const struct tls_pair *pairs; /* at least one */
    size_t pair_count;
    enum tls_version version_min;
    struct slice
        ciphers; /* colon-separated IANA or OpenSSL-style names, TLS 1.2 and 1.3; empty: ours */
    struct slice client_ca;      /* PEM; empty: none */
    bool ask_certificate;        /* from the client; never required by TLS itself */
    struct tls_tickets *tickets; /* NULL: no resumption. Referenced */
    bool null;                   /* tls_null, for the simulator */
};
struct tls_client_options {
    struct slice ca; /* PEM bundle for TLS_CHECK_NAME; empty: nothing is trusted */
    enum tls_version version_min;
    struct slice ciphers;
    struct slice certificate, key; /* PEM: ours, for servers that ask; empty: none */
    bool null;
};

/* NULL: *out_why (appended) says what and in which file: "/etc/x.pem: does not match the key /etc/x.key". */
struct tls_context *tls_server_context_create(const struct tls_server_options *options,
                                              struct buf *out_why);
struct tls_context *tls_client_context_create(const struct tls_client_options *options,
                                              struct buf *out_why);
struct tls_context *tls_context_ref(struct tls_context *c);
void tls_context_unref(struct tls_context *c); /* NULL is fine */

/* A handshake with one of these keys stalls the thread for more than a millisecond (RSA above 2048 bits):
 * let a helper do it. */
bool tls_context_is_heavy(const struct tls_context *c);

/* Start of process, before any thread; sets up the library and its randomness. False: cannot. */
bool tls_library_init(void);

/* ---- what is in a certificate, for `mailring check` and status --------------------------------- */

struct tls_certificate_facts {
    int64_t not_before, not_after; /* Unix seconds */
    const char *kind;              /* "RSA-2048", "ECDSA-P256", "Ed25519" */
    uint8_t sha256[32];
    int64_t staple_until;       /* its OCSP response is sent along until then; 0: none */
    const char *staple_problem; /* static; why a given response is not; NULL: no problem */
};
/* False and *out_why: not a certificate; not its key; unreadable, encrypted. Both are examined. */
bool tls_pair_examine(const struct tls_pair *pair, struct tls_certificate_facts *out,
                      struct buf *out_why);
/* Calls `visit` for each DNS name that the certificate is for. */
void tls_pair_names(const struct tls_pair *pair, void (*visit)(void *context, struct slice name),
                    void *context);
bool tls_name_matches(struct slice pattern, struct slice name); /* RFC 6125 6.4.3 */

/* ---- session tickets (RFC 5077, RFC 8446 4.6.1) ------------------------------------------------- */

/* Keys that all contexts and threads share: the newest encrypts, older ones decrypt until they are
 * `lifetime_s` old twice. Rotation is by whoever calls; safe while others use them. */
struct tls_tickets *tls_tickets_create(uint32_t lifetime_s);
void tls_tickets_rotate(struct tls_tickets *t, const uint8_t key_name[16], const uint8_t secret[32],
                        uint64_t now_s);
void tls_tickets_unref(struct tls_tickets *t);

#endif
