/*
 * sasl_server: the server's side of a SASL exchange (RFC 4422) as a pure engine: decoded messages in, what
 * has to be checked and challenges out. It knows no users and takes no decision: where one is needed it
 * stops, and is told.
 *
 *     step = sasl_server_begin(&s, mechanism, &options);       the client gave an initial response, or
 *     step = sasl_server_respond(&s, bytes)                    this one at once
 *
 *     SASL_CHALLENGE:         send s.out, s.out_len bytes, then sasl_server_respond()
 *     SASL_CHECK_PASSWORD:    s.user, s.password; then sasl_server_verdict()
 *     SASL_CHECK_TOKEN:       s.user, which may be empty, s.token; then sasl_server_verdict()
 *     SASL_CHECK_CERTIFICATE: s.user, which may be empty; then sasl_server_verdict()
 *     SASL_NEED_VERIFIER:     s.user; then sasl_server_verifier()
 *     SASL_OK, SASL_REJECTED, SASL_MALFORMED: over
 *
 * Names are UTF-8 without control characters, at most SASL_USER_MAX octets; beyond ASCII they are taken as
 * they come (of SASLprep, RFC 4013, only what is prohibited by kind is). Who logs in may not act as
 * somebody else: an authorization identity is empty, or the name itself.
 *
 * SCRAM's last message of the server is a challenge, since SMTP's 235 carries no data (RFC 4422 5); the
 * client answers it with nothing.
 */
#ifndef SASL_SERVER_H
#define SASL_SERVER_H

#include "sasl_scram.h"
#include "tls.h"

enum sasl_mechanism {
    SASL_SCRAM_SHA_256_PLUS, /* in the order in which they are offered */
    SASL_SCRAM_SHA_1_PLUS,
    SASL_SCRAM_SHA_256,
    SASL_SCRAM_SHA_1,
    SASL_EXTERNAL,
    SASL_OAUTHBEARER,
    SASL_XOAUTH2,
    SASL_PLAIN,
    SASL_LOGIN,
    SASL_MECHANISM_COUNT
};

struct sasl_mechanism_facts {
    struct slice name;
    bool scram;
    bool plus; /* with channel binding */
    bool token;
    bool password; /* the server sees the password */
    enum tls_hash hash;
};
extern const struct sasl_mechanism_facts sasl_mechanisms[SASL_MECHANISM_COUNT];
/* Any case. False: none of ours. */
bool sasl_mechanism_find(struct slice name, enum sasl_mechanism *out);

enum {
    SASL_USER_MAX = 255,
    SASL_PASSWORD_MAX = 511, /* what crypt(3) takes */
    SASL_MESSAGE_MAX = 9216, /* decoded: of a base64 line of 12288 (RFC 4954 4) */
    SASL_NONCE_MAX = 256,
    SASL_SCRAM_FIRST_MAX = 1536,
    SASL_OUT_MAX = 512,
};

enum sasl_step {
    SASL_CHALLENGE,
    SASL_CHECK_PASSWORD,
    SASL_CHECK_TOKEN,
    SASL_CHECK_CERTIFICATE,
    SASL_NEED_VERIFIER,
    SASL_OK,
    SASL_REJECTED,
    SASL_MALFORMED,
};

struct sasl_server_options {
    /* SCRAM: our part of the nonce, printable and without commas, 18 characters or more, new each time. */
    struct slice nonce;
    /* SCRAM: -PLUS was offered to this client. One who says that it was not has been deceived. */
    bool plus_offered;
    /* -PLUS: the channel's binding data; false: none of this kind. NULL: there is no channel. */
    bool (*binding)(void *context, enum tls_binding kind, uint8_t out[TLS_BINDING_MAX],
                    size_t *out_len);
    void *context;
};

struct sasl_server {
    struct slice user; /* in `name`; may be empty for tokens and certificates */
    struct slice password;
    struct slice token; /* within what was given to sasl_server_respond() */
    uint8_t out[SASL_OUT_MAX];
    size_t out_len;

    /* The rest is the engine's own. */
    enum sasl_mechanism mechanism;
    uint8_t state;
    bool known; /* the verifier is a real one */
    struct sasl_server_options options;
    struct sasl_verifier verifier;
    uint8_t name[SASL_USER_MAX + 1];
    uint8_t secret[SASL_PASSWORD_MAX + 1];
    uint8_t first[SASL_SCRAM_FIRST_MAX]; /* client-first-message */
    size_t first_len, header_len;        /* its GS2 header */
    size_t nonce_len; /* the whole nonce, at out + 2 while server-first is there */
    uint8_t binding[TLS_BINDING_MAX];
    size_t binding_len;
};

/* Challenges the client for its first message. options->nonce is copied to nowhere: it stays until the
 * verifier was given. */
enum sasl_step sasl_server_begin(struct sasl_server *s, enum sasl_mechanism mechanism,
                                 const struct sasl_server_options *options);
enum sasl_step sasl_server_respond(struct sasl_server *s, struct slice message);
enum sasl_step sasl_server_verdict(struct sasl_server *s, bool good);
/* `known` false: a fake one, for a name that is not there; it will be rejected, but only at the end. */
enum sasl_step sasl_server_verifier(struct sasl_server *s, const struct sasl_verifier *verifier,
                                    bool known);
/* Overwrites everything secret in it. */
void sasl_server_wipe(struct sasl_server *s);

/* A name that may be one's: not empty, not too long, UTF-8, no control characters. */
bool sasl_user_valid(struct slice user);
bool sasl_password_valid(
    struct slice password); /* no control characters, not empty, not too long */

#endif
