/* smtp_server_priv: what the parts of the server engine share. */
#ifndef SMTP_SERVER_PRIV_H
#define SMTP_SERVER_PRIV_H

#include "smtp_server.h"

enum smtp_server_state {
    SERVER_COMMAND,
    SERVER_DATA,
    SERVER_AUTH,     /* the next line answers a challenge */
    SERVER_SECURING, /* 220 to STARTTLS was said; nothing is, until TLS is active */
    SERVER_QUIT,
    SERVER_CLOSED,
};

/* Appends a reply and counts it if it is an error. */
void smtp_server_say(struct smtp_server *s, const struct smtp_reply *reply, struct buf *out);
#define SAY(s, out, ...) smtp_server_say((s), &SMTP_REPLY(__VA_ARGS__), (out))

/* The last words: appends the reply, and there is nothing but SMTP_CLOSE from now on. */
enum smtp_intent smtp_server_hang_up(struct smtp_server *s, const struct smtp_reply *reply,
                                     struct buf *out);
#define HANG_UP(s, out, ...) smtp_server_hang_up((s), &SMTP_REPLY(__VA_ARGS__), (out))

/* Waits for the caller's answer. */
enum smtp_intent smtp_server_ask(struct smtp_server *s, enum smtp_intent intent);
void smtp_server_reset(struct smtp_server *s);

/* A set of enum smtp_extension: what EHLO announces in the present state. */
uint32_t smtp_server_offers(const struct smtp_server *s);

enum smtp_intent smtp_server_on_starttls(struct smtp_server *s, struct slice argument,
                                         struct buf *out);
enum smtp_intent smtp_server_on_auth(struct smtp_server *s, struct slice argument, struct buf *out);
/* A whole line that answers a challenge, without its CRLF. */
enum smtp_intent smtp_server_auth_line(struct smtp_server *s, struct slice line);
/* Says the reply, and that ends the exchange. */
enum smtp_intent smtp_server_auth_void(struct smtp_server *s, const struct smtp_reply *reply,
                                       struct buf *out);

/* One whole command line, without its CRLF. */
enum smtp_intent smtp_server_command(struct smtp_server *s, struct slice line, struct buf *out);

void smtp_server_begin_data(struct smtp_server *s);
enum smtp_intent smtp_server_data(struct smtp_server *s, struct slice *in, struct buf *out);

static inline uint32_t smtp_or(uint32_t value, uint32_t otherwise)
{
    return value != 0 ? value : otherwise;
}

#endif
