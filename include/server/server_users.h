/*
 * server_users: what each user has sent lately, over all shards: messages and recipients in a minute, an
 * hour and a day, and sessions open now. A fixed table of atomic words, so that it needs no lock; touched at
 * login, MAIL and RCPT.
 *
 * A span slides, approximated by two fixed windows: what was counted in this minute, and of what was
 * counted in the last one the share that the sliding minute still covers, as if it had come evenly. It takes
 * one word. What it promises: never more than the limit at once, around a full hour neither; and behind
 * such a burst no faster than the limit's pace. (So a burst at the end of a fixed window and steady sending
 * behind it can come near twice the limit within one span, as with a bucket that fills at that pace.)
 *
 * The clock is the wall's, since counts outlive the process. When it is set back, counts stay as they are
 * and age from there; when it is set forward, they age at once.
 *
 * A message is counted at MAIL and a recipient at RCPT, and given back if the message is not taken in the
 * end: so parallel sessions cannot pass a limit together, and refused mail costs nothing.
 *
 * Users are known by 48 bits of a hash of their names in lower case. The table has room for a million who have sent
 * something within the last two days; when there is no room near a user's place he is let through
 * uncounted. Its memory is used as it fills, 60 octets a user.
 */
#ifndef SERVER_USERS_H
#define SERVER_USERS_H

#include "base_buf.h"
#include "conf.h"

enum server_users_kind { SERVER_USERS_MESSAGES, SERVER_USERS_RECIPIENTS, SERVER_USERS_KINDS };
enum server_users_span {
    SERVER_USERS_MINUTE,
    SERVER_USERS_HOUR,
    SERVER_USERS_DAY,
    SERVER_USERS_SPANS
};

struct server_users;

/* A power of two. */
enum { SERVER_USERS_SIZE = 1 << 20 };
struct server_users *server_users_create(uint32_t size);
void server_users_destroy(struct server_users *u); /* NULL is fine */

/* None of his: not counted. */
#define SERVER_USERS_NOBODY UINT32_MAX

/* One more session of this user, unless he has `max` (0: no limit). *out_slot is for the rest;
 * SERVER_USERS_NOBODY if there is no room. */
bool server_users_enter(struct server_users *u, struct slice user, uint64_t max, uint64_t now_ms,
                        uint32_t *out_slot);
void server_users_leave(struct server_users *u, uint32_t slot);

/* Which limit was reached, and when there will be room for one more. */
struct server_users_refusal {
    enum server_users_kind kind;
    enum server_users_span span;
    uint64_t limit;
    uint64_t wait_ms;
};
/* Counts one more message or recipient; or, if that is over a limit, nothing. */
bool server_users_take(struct server_users *u, uint32_t slot, enum server_users_kind kind,
                       const struct conf_user_limits *limits, uint64_t now_ms,
                       struct server_users_refusal *out_refusal);
/* What was counted, under the same limits and from `taken_ms` on, is given back, as far as it has not aged. */
void server_users_give_back(struct server_users *u, uint32_t slot, enum server_users_kind kind,
                            const struct conf_user_limits *limits, uint32_t count,
                            uint64_t taken_ms, uint64_t now_ms);

/* ---- over a restart: on a thread that may wait, while the shards run ---------------------------- */

/* Something was counted since the last save began. */
bool server_users_changed(const struct server_users *u);
/* The file is made piece by piece: *cursor starts at 0, and each call appends some more to *out. False:
 * that was all of it. Users of whom nothing counts any more are left out. */
struct server_users_save {
    uint32_t next;
    uint32_t crc;
    uint64_t saved; /* users */
};
bool server_users_save(struct server_users *u, struct server_users_save *save, uint64_t now_ms,
                       struct buf *out);
/* Takes a whole file; before the shards run. False: it is none, or damaged; then nothing was taken. */
bool server_users_load(struct server_users *u, struct slice file, uint64_t now_ms);

#endif
