/*
 * delivery_verify: would the next hop take mail for this address? A call-out: MAIL, RCPT, RSET over the
 * ordinary connections of the site that mail for the address goes to, ahead of the mail that waits there.
 *
 * The request is embedded in whoever asks and stands still until `done` or delivery_verify_cancel(). What
 * is asked, and whom, is said by the configuration that the delivery goes by; the sender is
 * conf.verify.callout.sender.
 *
 *     v->address = address;  v->timeout_ms = 20000;  v->done = answered;
 *     if (delivery_verify(d, v)) wait for `done`;  else v->result stands already
 *
 * An answer is worth what the next hop's word is: EXISTS means that it would take the address now.
 * Where nothing has to be asked (a maildir, discard) it EXISTS; a site that is down, too many questions
 * under way, shutdown and reload are TEMPORARY at once.
 */
#ifndef DELIVERY_VERIFY_H
#define DELIVERY_VERIFY_H

#include "delivery.h"

enum delivery_verify_result {
    DELIVERY_VERIFY_EXISTS,
    DELIVERY_VERIFY_UNKNOWN,   /* 5yz to its RCPT: code, enhanced and text are the next hop's */
    DELIVERY_VERIFY_TEMPORARY, /* nobody knows now; code is 0 where no reply says why */
};

struct delivery_probe;

struct delivery_verify {
    /* The caller's. */
    struct slice address;                    /* well formed, of a domain of ours; copied */
    uint64_t timeout_ms;                     /* then TEMPORARY; at least 1 */
    void (*done)(struct delivery_verify *v); /* never within delivery_verify() */

    /* The answer. `text` is cleaned of control characters, and good until `done` has returned (or, where it
     * is not called, for as long as the configuration). */
    enum delivery_verify_result result;
    uint16_t code;
    uint16_t enhanced[3]; /* class 0: none */
    struct slice text;

    struct delivery_probe *probe; /* the delivery's; NULL: nothing is under way */
};

/* True: `done` will be called. False: it will not, the answer is there. `v` need not be zeroed. */
bool delivery_verify(struct delivery *d, struct delivery_verify *v);
/* `done` is not called any more; what was asked is asked all the same. Fine if nothing is under way. */
void delivery_verify_cancel(struct delivery_verify *v);

#endif
