/*
 * sink_session: one connection to mailring-sink. The SMTP engine says what the client wants; the answer
 * is yes, unless the options say otherwise.
 */
#ifndef SINK_SESSION_H
#define SINK_SESSION_H

#include "net_conn.h"
#include "sink_worker.h"

struct sink_session {
    struct sink_worker *worker;
    struct list node;
    struct net_conn conn;
    struct smtp_server smtp;
    struct wheel_timer timer; /* of a delayed answer, then of the close */
    bool waiting;             /* for the timer, with an answer to `stage` */
    bool closing;
    bool shaking_hands;
    bool in_message;
    uint8_t stage; /* enum sink_stage */
    uint32_t recipient_count;
    uint64_t size; /* of the message, when nobody reads it */
    struct tool_mark_reader reader;
    struct buf recipient_hashes;             /* uint64_t each; with --verify */
    struct buf recipients;                   /* with --record: as text */
    size_t hashes_before, recipients_before; /* without the one that was noted last */
    struct buf message;                      /* with --dump */
};

void sink_session_start(struct sink_worker *w, int fd);
void sink_session_abort(struct sink_session *s);

#endif
