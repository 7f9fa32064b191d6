/*
 * sink_record: what mailring-sink keeps of a message: for --verify, --record and --dump.
 */
#ifndef SINK_RECORD_H
#define SINK_RECORD_H

#include "sink_session.h"

enum sink_outcome {
    SINK_ACCEPTED,
    SINK_REFUSED,
    SINK_DROPPED, /* the client got no answer */
};

void sink_record_reset(struct sink_session *s); /* a new transaction */
/* The recipient that the engine asks about, while its text is there; then what was answered. */
void sink_record_note_recipient(struct sink_session *s);
void sink_record_recipient(struct sink_session *s, enum sink_outcome outcome);
void sink_record_message(struct sink_session *s, enum sink_outcome outcome);

#endif
