/*
 * mail_address_list: the mailboxes that the value of To, Cc or Bcc names (RFC 5322 3.4, and the obsolete
 * forms of 4.4 that people still write): for programs that submit a message and say "to whom it may
 * concern is in the header". Pure.
 *
 *     struct slice left = value;              unfolded or not: CR and LF are blanks
 *     while ((r = mail_address_list_next(&left, &address)) == MAIL_ADDRESS_FOUND) ...
 *
 * Display names, comments, group names and source routes are nothing; an address comes out without the
 * blanks and comments inside it, as local@domain or, as Unix users write it, as a local part alone. A
 * quoted local part keeps its quotes. What comes out is not checked as SMTP would: smtp_address is for that.
 */
#ifndef MAIL_ADDRESS_LIST_H
#define MAIL_ADDRESS_LIST_H

#include "base_buf.h"

enum mail_address_result {
    MAIL_ADDRESS_FOUND,
    MAIL_ADDRESS_END, /* no more of them */
    MAIL_ADDRESS_SYNTAX, /* *left begins with the entry that makes no sense; skip it by mail_address_list_skip() */
};

/* The next address off the front of *left, into *out, which is cleared first. */
enum mail_address_result mail_address_list_next(struct slice *left, struct buf *out);
/* Over the entry at the front of *left, and its comma. */
void mail_address_list_skip(struct slice *left);

#endif
