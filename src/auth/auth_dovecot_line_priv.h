/* auth_dovecot_line: the lines of Dovecot's protocol, as pure functions. */
#ifndef AUTH_DOVECOT_LINE_PRIV_H
#define AUTH_DOVECOT_LINE_PRIV_H

#include "auth_dovecot_priv.h"

enum { DOVECOT_NAME_MAX = 32 };

/* What the server says first: VERSION, MECH..., DONE. */
struct dovecot_greeting {
    bool version_seen;
    size_t mechanism_count;
    uint8_t names[AUTH_DOVECOT_MECHANISMS_MAX]
                 [DOVECOT_NAME_MAX]; /* upper case, each with its NUL */
};
enum dovecot_greeting_result { DOVECOT_GREETING_MORE, DOVECOT_GREETING_DONE, DOVECOT_GREETING_BAD };
enum dovecot_greeting_result dovecot_greeting_take(struct dovecot_greeting *g, struct slice line);

struct dovecot_answer {
    uint32_t id; /* 0: a line that is not about a request */
    enum auth_dovecot_answer what;
    struct slice data; /* in the line, or in `name` */
    uint8_t name[256];
};
/* False: an OK, FAIL or CONT that cannot be read. */
bool dovecot_answer_parse(struct slice line, struct dovecot_answer *out);

void dovecot_request_format(uint32_t id, const struct auth_dovecot_facts *facts, struct buf *out);

#endif
