/*
 * admin: the control socket. A client sends one line and gets an answer: "ok" or "error TEXT" on the
 * first line, the matter after it, then the connection closes. It lives on the first shard and asks the
 * others through shard_call(). docs/admin.md lists the requests.
 *
 *     status [json]
 *     queue VERB ...            admin_request.h
 *     explain ADDRESS | ID [--sender=ADDRESS] [json]
 *     tls-report send
 *     reload
 *
 * A request that begins with the word "marked" gets an answer that ends in a NUL, so that an answer that
 * broke off is not taken for a whole one.
 */
#ifndef ADMIN_H
#define ADMIN_H

#include "shard.h"

struct admin;

/* On the first shard's thread (or before it runs). Takes over `fd`, a listening Unix socket. */
struct admin *admin_create(struct shard *shard, int fd, const char *version);
/* Ends: answers under way are cut off. */
void admin_stop(struct admin *a);
bool admin_idle(const struct admin *a);
void admin_destroy(struct admin *a);

#endif
