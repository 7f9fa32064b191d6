/*
 * fake_dovecot: the server's side of Dovecot's protocol for clients, on the simulated machine, as well or as
 * badly as a test wants. Users ann and bob have the password "secret", "temp" is in trouble; CRAM-MD5 asks
 * once and takes "good" for the answer of ann.
 */
#ifndef FAKE_DOVECOT_H
#define FAKE_DOVECOT_H

#include "auth_world.h"

#define FAKE_DOVECOT_PATH "/run/dovecot.sock"

enum fake_mood {
    FAKE_GOOD,
    FAKE_SILENT,     /* takes connections and says nothing */
    FAKE_OTHER,      /* another version */
    FAKE_BABBLE,     /* a line without end */
    FAKE_POOR,       /* only what is not for us */
    FAKE_STALL,      /* greets, and answers nothing */
    FAKE_DIE,        /* hangs up when it is asked */
    FAKE_NONSENSE,   /* answers to a number that is none */
    FAKE_BAD_NAME,   /* OK with a name that is none */
    FAKE_BAD_BASE64, /* a challenge that is none */
};

struct fake_dovecot {
    enum fake_mood mood;
    int listener, fd;
    struct io_op accept, recv, send, close, close_listener;
    struct buf in, out, sending;
    struct buf heard; /* all lines */
    unsigned connections;
    bool closing;
};

extern struct fake_dovecot fake;

void fake_dovecot_start(enum fake_mood mood); /* after auth_world_open() */
void fake_dovecot_hang_up(void);
void fake_dovecot_say(const char *lines); /* unasked */
void fake_dovecot_stop(void);
/* "MECH\tPLAIN\tplaintext\n..." as it says them; NULL: the usual ones. */
void fake_dovecot_mechanisms(const char *lines);

#endif
