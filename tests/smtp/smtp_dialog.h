/*
 * smtp_dialog: runs a client's bytes through the server engine and writes down what happened: the
 * replies as they left, and between them, on lines of their own, what the engine handed out:
 *
 *     {a@b>c@d,e@f 8BITMIME SIZE=9|body}   a message taken, with the parameters as they were understood
 *     {void}                               SMTP_RESET
 *     {tls}                                SMTP_STARTTLS was taken; what follows is said under TLS
 *     {auth PLAIN initial} {auth LOGIN}    SMTP_AUTH; an empty initial response is "="
 *     {response} {cancel}                  SMTP_AUTH_RESPONSE, as it came; SMTP_AUTH_CANCEL
 *     {quit} {close}                       the session's end
 *
 * The caller behind the engine accepts all but local parts that say what they want: "no" is refused
 * with 550, "later" with 450, "shut" with 421; the recipient "dataless" makes DATA refused, and
 * "full" makes the body refused while it is read. The HELO name "evil" is refused.
 *
 * STARTTLS is refused with 454 to clients whose HELO name is "later". AUTH succeeds with the response
 * "yes"; "no" is 535, "later" 454, "shut" 421, and anything else is challenged, with nothing first.
 */
#ifndef SMTP_DIALOG_H
#define SMTP_DIALOG_H

#include "smtp_feed.h"
#include "smtp_server.h"

void dialog_run(const struct smtp_server_options *options, struct slice input, struct feed_cut cut,
                struct buf *transcript);

#endif
