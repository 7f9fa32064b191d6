/*
 * smtp_address: mailboxes and paths of the SMTP envelope (RFC 5321 4.1.2, 4.1.3, 4.5.3.1).
 *
 * Pure; keeps no pointers. What it finds are slices of what it was given, so an address is good as
 * long as the bytes behind it. A mailbox may have a quoted local part, and a domain or an address
 * literal. Source routes are taken and forgotten (RFC 5321 appendix C). Comments, folding and
 * the obsolete forms of RFC 5322 belong to message headers and are refused here.
 */
#ifndef SMTP_ADDRESS_H
#define SMTP_ADDRESS_H

#include "base_buf.h"
#include "base_slice.h"

/* RFC 5321 4.5.3.1, in octets. A path counts its angle brackets, but not its source route. */
enum { SMTP_LOCAL_MAX = 64, SMTP_DOMAIN_MAX = 255, SMTP_PATH_MAX = 256 };

enum smtp_domain_kind {
    SMTP_DOMAIN_NONE, /* the null path, or <postmaster> */
    SMTP_DOMAIN_NAME,
    SMTP_DOMAIN_IPV4,    /* [192.0.2.1] */
    SMTP_DOMAIN_IPV6,    /* [IPv6:2001:db8::1] */
    SMTP_DOMAIN_GENERAL, /* [tag:content], RFC 5321 4.1.3: well formed, but nobody knows any */
};

struct smtp_address {
    struct slice text;   /* local@domain as it came; empty: the null path */
    struct slice local;  /* as it came, with its quotes */
    struct slice domain; /* as it came; a literal with its brackets */
    enum smtp_domain_kind kind;
    bool quoted; /* the local part is a quoted string */
};

enum smtp_address_result {
    SMTP_ADDRESS_OK,
    SMTP_ADDRESS_SYNTAX,
    SMTP_ADDRESS_TOO_LONG,
    SMTP_ADDRESS_UTF8, /* would be fine if SMTPUTF8 (RFC 6531) were in force */
};

/* What may stand in a path. */
enum {
    SMTP_PATH_NULL = 1 << 0,       /* <>: reverse-paths */
    SMTP_PATH_POSTMASTER = 1 << 1, /* <postmaster> without a domain: forward-paths */
    SMTP_PATH_UTF8 = 1 << 2,       /* RFC 6531 */
};

/* All of `text` as local@domain. Of the flags only SMTP_PATH_UTF8 counts. */
enum smtp_address_result smtp_address_parse(struct slice text, unsigned flags,
                                            struct smtp_address *out);

/* A path with its angle brackets at the start of *in, which is moved behind it. */
enum smtp_address_result smtp_path_parse(struct slice *in, unsigned flags,
                                         struct smtp_address *out);

/* A domain name alone (RFC 5321 Domain), no literal; no dot at the end. */
bool smtp_domain_valid(struct slice text, unsigned flags);
/* [192.0.2.1], [IPv6:...] or [tag:content]; SMTP_DOMAIN_NONE if it is none of them. */
enum smtp_domain_kind smtp_literal_kind(struct slice text);

/* The same mailbox: domains without regard to case, local parts octet by octet (RFC 5321 2.4),
 * except that a quoted local part equals what it quotes, and "postmaster" any case of it. */
bool smtp_address_equal(const struct smtp_address *a, const struct smtp_address *b);
/* The form under which equal addresses are one key: unquoted local part, '@', folded domain. */
bool smtp_address_canonical(const struct smtp_address *a, struct buf *out);
/* Safe to put on the wire or in a header as it is: no control character and no blank outside
 * quotes. What smtp_address_parse() took is safe. */
bool smtp_address_safe(struct slice text);

#endif
