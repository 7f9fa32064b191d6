/*
 * smtp_capability: the service extensions we know, in one table for both ends: what EHLO announces,
 * what a peer's EHLO reply means, which parameters and verbs exist because of them.
 */
#ifndef SMTP_CAPABILITY_H
#define SMTP_CAPABILITY_H

#include "base_buf.h"
#include "base_slice.h"

enum smtp_extension {
    SMTP_EXT_PIPELINING = 1 << 0, /* RFC 2920 */
    SMTP_EXT_SIZE = 1 << 1,       /* RFC 1870 */
    SMTP_EXT_8BITMIME = 1 << 2,   /* RFC 6152 */
    SMTP_EXT_ENHANCED = 1 << 3,   /* ENHANCEDSTATUSCODES, RFC 2034 */
    SMTP_EXT_STARTTLS = 1 << 4,   /* RFC 3207 */
    SMTP_EXT_AUTH = 1 << 5,       /* RFC 4954 */
    SMTP_EXT_CHUNKING = 1 << 6,   /* RFC 3030; not spoken yet, nor is the next */
    SMTP_EXT_SMTPUTF8 = 1 << 7,   /* RFC 6531 */
    SMTP_EXT_DSN = 1 << 8,        /* RFC 3461 */
    SMTP_EXT_REQUIRETLS = 1 << 9, /* RFC 8689 */
};
/* What the server engine speaks whatever the listener: no TLS, nobody logs in. */
#define SMTP_EXT_SERVER \
    (SMTP_EXT_PIPELINING | SMTP_EXT_SIZE | SMTP_EXT_8BITMIME | SMTP_EXT_ENHANCED)
/* What it speaks besides, where there is somebody behind it who does the work. */
#define SMTP_EXT_SERVER_SECURE (SMTP_EXT_STARTTLS | SMTP_EXT_AUTH | SMTP_EXT_REQUIRETLS)
/* And where what MAIL and RCPT say beside the addresses is kept with the message. */
#define SMTP_EXT_SERVER_KEPT   SMTP_EXT_DSN

/* SASL mechanisms that AUTH may name and that we know. */
enum smtp_mechanism {
    SMTP_MECHANISM_PLAIN = 1 << 0,         /* RFC 4616 */
    SMTP_MECHANISM_LOGIN = 1 << 1,         /* never a standard, and everywhere */
    SMTP_MECHANISM_SCRAM_SHA_1 = 1 << 2,   /* RFC 5802 */
    SMTP_MECHANISM_SCRAM_SHA_256 = 1 << 3, /* RFC 7677 */
    SMTP_MECHANISM_SCRAM_SHA_1_PLUS = 1 << 4,
    SMTP_MECHANISM_SCRAM_SHA_256_PLUS = 1 << 5,
    SMTP_MECHANISM_XOAUTH2 = 1 << 6,
    SMTP_MECHANISM_OAUTHBEARER = 1 << 7, /* RFC 7628 */
    SMTP_MECHANISM_EXTERNAL = 1 << 8,
};

struct smtp_capabilities {
    uint32_t extensions; /* a set of enum smtp_extension */
    uint32_t mechanisms; /* a set of enum smtp_mechanism: what a peer's AUTH offers of them */
    uint64_t size_max;   /* SIZE's number; 0: none given (RFC 1870 4: no fixed limit) */
};

/* Appends the EHLO reply: the first line with `hostname`, then one line an extension. `mechanisms` is
 * what stands behind AUTH: "PLAIN LOGIN". */
bool smtp_capabilities_format(const struct smtp_capabilities *c, struct slice hostname,
                              struct slice mechanisms, struct buf *out);
/* Takes one line of a peer's EHLO reply, without code and line end. Unknown ones are nothing. */
void smtp_capabilities_parse_line(struct smtp_capabilities *c, struct slice line);

#endif
