/*
 * send_drop: messages that wait in the drop directory for a server that is not there. One file a message:
 *
 *     mailring-drop 1
 *     sender ann@a.example             empty: the null sender
 *     recipient bob@b.example          one line each
 *     notify success,failure           as in NOTIFY=; and ret, envid: only if they were said
 *     size 1234                        octets behind the empty line
 *                                      (an empty line)
 *     the message, lines ending in CRLF
 *
 * It is written under a name that begins with a dot, synced, and renamed to one that does not. The name
 * cannot be guessed, and the directory cannot be listed by others than the server: that is what keeps a file
 * that the server has to be able to read from being read by anybody else.
 */
#ifndef SEND_DROP_H
#define SEND_DROP_H

#include "send_smtp.h"

/* Writes the message; it is on stable storage when this answers 0. Else -errno, and nothing is left. */
int send_drop_write(const char *directory, struct send_mail *mail);

/* What a file says. `memory` holds its head, and what the rest points to. */
struct send_drop {
    struct buf memory;
    struct send_mail mail; /* `body` is `content`, which is the whole message */
    struct send_body content;
    uint32_t owner; /* user id */
    bool too_large; /* it says so itself: `content` was not read */
};

enum send_drop_result {
    SEND_DROP_OK,
    SEND_DROP_GONE, /* no such file any more */
    SEND_DROP_STRANGE, /* not a regular file with one name, or not for us to read, or not of this format */
    SEND_DROP_FAILED, /* cannot be read now: *error */
};
/* Reads the file `name` of a directory that is open. OK: send_drop_finish() is due. */
enum send_drop_result send_drop_read(int directory_fd, const char *name, uint64_t size_max,
                                     struct send_drop *out, int *error);
void send_drop_finish(struct send_drop *d);

#endif
