/* admin_filter: messages against the criteria of a request; and what is told of them. */
#ifndef ADMIN_FILTER_PRIV_H
#define ADMIN_FILTER_PRIV_H

#include "admin_request.h"
#include "queue.h"

enum admin_match { ADMIN_MATCH_NO, ADMIN_MATCH_YES, ADMIN_MATCH_MAYBE };

/* By what memory knows; MAYBE: admin_filter_confirm() knows. Ids are the walk's business. The message has
 * an owner. */
enum admin_match admin_filter_match(const struct admin_filter *f, const struct spool_message *m,
                                    uint32_t now_s);
bool admin_filter_confirm(const struct admin_filter *f, const struct conf *conf,
                          const struct spool_message *m, struct slice sender,
                          const struct slice *recipients);
/* Whether what is said about recipients holds of this one. */
bool admin_filter_recipient(const struct admin_filter *f, const struct conf *conf,
                            struct slice sender, struct slice recipient);

enum admin_state admin_message_state(const struct spool_message *m);
/* What --route compares with: the pattern of the route that a recipient's mail takes, or "domain NAME". */
void admin_route_name(const struct conf *conf, struct slice sender, struct slice recipient,
                      struct buf *out);
bool admin_contains(struct slice text, struct slice part); /* without regard to case */

#endif
