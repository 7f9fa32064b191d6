/*
 * main_drop: empties the drop directory into the queue: a thread of its own, since it waits for files, and for
 * the server, to which it is a client like any other. A file is removed when the server has said 250, so a
 * crash in between sends it twice and never loses it. What is no message of ours is set aside under a name
 * that begins with a dot, and goes after a week; what a writer has begun and left, after a day.
 */
#ifndef MAIN_DROP_H
#define MAIN_DROP_H

#include <pthread.h>

#include "conf.h"
#include "main_privileges.h"

struct main_drop {
    const struct conf *conf; /* of the start */
    bool usable;             /* the directory is there, and ours */
    bool running;
    pthread_t thread;
    int directory; /* for its files; -1: none */
    int wake;      /* an eventfd: stop */
    int notify;    /* an inotify descriptor; -1: we only look now and then */
};

/* As root still: makes the directory and gives it to the user. If it cannot be used that is said, and the
 * server goes without it. */
void main_drop_prepare(struct main_drop *d, const struct conf *conf, const struct main_user *user);
void main_drop_start(struct main_drop *d);
/* Cuts off what is under way; its file stays. */
void main_drop_stop(struct main_drop *d);

#endif
