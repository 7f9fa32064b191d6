/*
 * tls_priv: what the files of this layer share. wolfSSL is seen in this layer only.
 */
#ifndef TLS_PRIV_H
#define TLS_PRIV_H

#include <wolfssl/options.h>

#include <wolfssl/error-ssl.h>
#include <wolfssl/ssl.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/asn_public.h>
#include <wolfssl/wolfcrypt/error-crypt.h>
#include <wolfssl/wolfcrypt/random.h>

#include <stdatomic.h>

#include "base_assert.h"
#include "base_buf.h"
#include "base_mem.h"
#include "tls.h"
#include "tls_context.h"
#include "tls_crypto.h"
#include "tls_hello_priv.h"

enum { TLS_RECORD_HEADER = 5, TLS_RECORD_SIZE = 16384 };

/* ---- tls_certificate.c: one certificate, parsed ------------------------------------------------- */

/* wolfSSL's view of a DER certificate. Points into it. */
struct tls_certificate {
    DecodedCert decoded;
    struct slice der;
};
/* NULL: wolfSSL cannot read it, *out_status (may be NULL) is its reason. Freed with tls_certificate_free(). */
struct tls_certificate *tls_certificate_parse(struct slice der, int *out_status);
void tls_certificate_free(struct tls_certificate *c); /* NULL is fine */

enum tls_key_kind { TLS_KEY_OTHER, TLS_KEY_RSA, TLS_KEY_ECDSA, TLS_KEY_ED25519 };
enum tls_key_kind tls_certificate_kind(const struct tls_certificate *c);
unsigned tls_certificate_bits(const struct tls_certificate *c); /* of its key */
void tls_certificate_facts(const struct tls_certificate *c, struct tls_certificate_facts *out);
/* DNS names of subjectAltName; the common name if there are none. */
void tls_certificate_names(const struct tls_certificate *c,
                           void (*visit)(void *context, struct slice name), void *context);
/* SubjectPublicKeyInfo, as it lies in the certificate (RFC 6698 2.1.2). */
bool tls_certificate_spki(const struct tls_certificate *c, struct slice *out);
bool tls_certificate_is_for(const struct tls_certificate *c, struct slice name);
/* May sign other certificates: basicConstraints CA, and keyCertSign if there is a keyUsage. */
bool tls_certificate_is_ca(const struct tls_certificate *c);
struct slice tls_certificate_subject(const struct tls_certificate *c); /* CN, or the first name */
/* RFC 5929 4.1. False: its signature names no single hash. */
bool tls_certificate_end_point(const struct tls_certificate *c, uint8_t out[TLS_BINDING_MAX],
                               size_t *out_len);
/* The next element of DER: its tag, itself and what is in it. Lengths up to 2^24, definite. */
bool tls_der_next(struct slice *s, uint8_t *out_tag, struct slice *out_whole,
                  struct slice *out_content);
/* Unix seconds of a UTCTime or GeneralizedTime with its header; 0 if it is none. */
int64_t tls_date_seconds(const byte *date, int len);
/* Takes the next certificate off the front of *pem. The DER is to be freed with mem_free().
 * False: there is no further one, or *out_status != 0. */
bool tls_pem_next(struct slice *pem, struct slice *out_der, int *out_status);

/* ---- tls_anchors.c: whom to trust ------------------------------------------------------------------ */

struct tls_anchor {
    uint8_t subject[KEYID_SIZE];
    struct slice der;
};
struct tls_anchors {
    struct tls_anchor *list; /* sorted by subject */
    size_t count;
    uint8_t digest[32]; /* of them all */
};
/* Certificates that cannot be read are left out; NULL and *out_why if none is left. */
struct tls_anchors *tls_anchors_create(struct slice pem, struct buf *out_why);
void tls_anchors_destroy(struct tls_anchors *a); /* NULL is fine */
/* A path from certs[0] to an anchor that holds: signatures, dates, CA bits, constraints. 0, or wolfSSL's
 * reason; the leaf's own if it is bad. */
int tls_anchors_verify(const struct tls_anchor *anchors, size_t anchor_count,
                       struct tls_certificate *const *certs, size_t count);

/* ---- tls_staple.c: OCSP responses ---------------------------------------------------------------- */

/* Makes ctx, which has the pair loaded, staple pair->ocsp. NULL and *out_problem (static) if it cannot be;
 * ctx is then of no use. To be destroyed after ctx. */
struct tls_staple *tls_staple_attach(WOLFSSL_CTX *ctx, const struct tls_pair *pair,
                                     const char **out_problem);
bool tls_staple_is_fresh(const struct tls_staple *s); /* false for NULL */
int64_t tls_staple_until(const struct tls_staple *s);
void tls_staple_destroy(struct tls_staple *s); /* NULL is fine */

/* ---- tls_context.c -------------------------------------------------------------------------------- */

struct tls_server_pair {
    WOLFSSL_CTX *ctx;
    WOLFSSL_CTX *stapling; /* the same with an OCSP response; NULL: none */
    struct tls_staple *staple;
    enum tls_key_kind kind;
    struct buf names; /* lower-case patterns, each with NUL behind it */
    uint8_t end_point[TLS_BINDING_MAX];
    size_t end_point_len; /* 0: none */
};
struct tls_context {
    _Atomic uint32_t references;
    bool is_server, null, heavy, ask_certificate;
    struct tls_tickets *tickets;   /* server */
    struct tls_server_pair *pairs; /* server */
    size_t pair_count;
    WOLFSSL_CTX *client;
    struct tls_anchors *anchors; /* client: the servers'; server: the clients'. May be NULL */
};
/* The pair for this client (docs/tls.md, "Which certificate"). */
struct tls_server_pair *tls_context_choose(struct tls_context *c, const struct tls_hello *hello);

/* ---- tls_tickets.c -------------------------------------------------------------------------------- */

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t);
uint32_t tls_tickets_lifetime_s(const struct tls_tickets *t);
/* wolfSSL's SessionTicketEncCb; `context` is the struct tls_tickets, NULL refuses all. */
int tls_tickets_crypt(WOLFSSL *ssl, byte key_name[WOLFSSL_TICKET_NAME_SZ],
                      byte iv[WOLFSSL_TICKET_IV_SZ], byte mac[WOLFSSL_TICKET_MAC_SZ], int encrypt,
                      byte *ticket, int len, int *out_len, void *context);

/* ---- tls_cipher.c ---------------------------------------------------------------------------------- */

struct tls_cipher {
    uint16_t suite;
    uint16_t bits;
    const char *iana, *openssl, *wolfssl;
    bool is_aead;
};
const struct tls_cipher *tls_cipher_find(int suite); /* NULL: not one that we would offer */
/* wolfSSL's list for `names` (ours if empty). False and *out_why: "unknown cipher X". */
bool tls_cipher_list(struct slice names, bool server, struct buf *out, struct buf *out_why);

/* ---- tls.c ------------------------------------------------------------------------------------------ */

enum tls_state {
    TLS_STATE_HELLO, /* server: gathers the ClientHello, which chooses the certificate */
    TLS_STATE_HANDSHAKE,
    TLS_STATE_OPEN,
    TLS_STATE_PEER_CLOSED, /* close_notify came; we may still write */
    TLS_STATE_FAILED,
};

/* What a client keeps of the server's certificate, also for sessions that resume this one. */
struct tls_peer {
    bool certificate, verified;
    uint8_t sha256[32];
    uint8_t end_point[TLS_BINDING_MAX];
    uint8_t end_point_len;
    enum tls_failure failure; /* what was wrong, even where nobody minds */
    char name[64];            /* for logs; cut */
};

struct tls {
    struct tls_context *context;
    WOLFSSL *ssl;
    struct tls_null *null; /* instead of ssl */
    enum tls_state state;
    bool closing; /* our close_notify is out */
    bool resumed;
    bool has_ticket; /* client: one came in this session */
    bool have_exporter;
    bool extended_master_secret;
    /* During a call. */
    struct slice in;
    struct buf *out;
    bool no_room; /* a record did not fit into *out */

    struct buf hello; /* what was taken before wolfSSL was there to take it */
    struct buf sni;
    struct tls_server_pair *pair;
    struct tls_peer peer;
    struct tls_peer resumption_peer; /* of the session that we asked to resume */
    struct tls_check_plan *plan;     /* client */
    uint8_t exporter[32];
    enum tls_failure failure;
    const char *error;
    char error_text[96];
};
/* Notes why, once; the first reason is the one. */
void tls_fail(struct tls *t, enum tls_failure failure, const char *why);
const char *tls_status_text(int status); /* of a wolfSSL error */

/* ---- tls_verify.c: what a client asks of the server's certificate -------------------------------- */

struct tls_check_plan {
    enum tls_check check;
    struct buf names; /* each with NUL behind it */
    size_t name_count;
    struct tls_tlsa *tlsa; /* data owned, by the same block */
    size_t tlsa_count;
    uint8_t digest[32]; /* of all this and the anchors: what a resumed session was checked for */
};
struct tls_check_plan *tls_check_plan_create(const struct tls_connect_options *options,
                                             const struct tls_context *context);
void tls_check_plan_destroy(struct tls_check_plan *p);
/* wolfSSL's VerifyCallback for both sides. */
int tls_verify_peer(int good, WOLFSSL_X509_STORE_CTX *store);

/* ---- tls_resume.c ----------------------------------------------------------------------------------- */

/* wolfSSL's CallbackSessionTicket; `context` is the struct tls. */
int tls_resumption_ticket_came(WOLFSSL *ssl, const unsigned char *ticket, int size, void *context);

/* Gives ssl the session to resume if it was checked for the same. Facts of the peer go to t->peer. */
void tls_resumption_offer(struct tls_resumption *r, struct tls *t);

/* ---- tls_null.c -------------------------------------------------------------------------------------- */

struct tls_null *tls_null_create(struct tls *t, struct slice sni);
void tls_null_destroy(struct tls_null *n);
enum tls_result tls_null_handshake(struct tls *t, struct slice *in, struct buf *out);
enum tls_result tls_null_read(struct tls *t, struct slice *in, void *data, size_t size,
                              size_t *out_count);
bool tls_null_write(struct tls *t, struct slice plaintext, struct buf *out);
void tls_null_close(struct tls *t, struct buf *out);

#endif
