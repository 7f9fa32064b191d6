/*
 * smtp_dsn: the values of the parameters of the DSN extension (RFC 3461 4), and the internationalized
 * addresses that may stand in ORCPT (RFC 6533 3). Pure; what is valid is safe to put on a command line
 * as it is, and what it decodes to holds no control character.
 */
#ifndef SMTP_DSN_H
#define SMTP_DSN_H

#include "smtp_command.h"

/* RFC 3461 4.4 and 4.2, in octets of the value. */
enum { SMTP_ENVID_MAX = 100, SMTP_ORCPT_MAX = 500 };

/* NOTIFY's value as a set of enum smtp_notify, and back: "NEVER", "SUCCESS,FAILURE". */
bool smtp_notify_parse(struct slice value, uint8_t *out);
bool smtp_notify_format(uint8_t notify, struct buf *out);

/* ENVID's value: xtext of printable ASCII. */
bool smtp_envid_valid(struct slice value);

/* ORCPT's value: an atom, a semicolon, and an address: of the type "utf-8" a mailbox in the form
 * utf-8-addr-xtext (7 bits; always allowed), or with SMTP_PATH_UTF8 in the form utf-8-addr-unitext; of
 * any other type xtext of printable ASCII. */
bool smtp_orcpt_valid(struct slice value, unsigned flags);
/* Takes a valid one apart: *type is a slice of it, the address is appended, decoded. */
bool smtp_orcpt_decode(struct slice value, struct slice *type, struct buf *address);
/* Appends a valid one in 7 bits. */
bool smtp_orcpt_append_7bit(struct slice value, struct buf *out);

#endif
