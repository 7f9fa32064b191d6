/*
 * tool_mark: what mailring-load writes into each message and mailring-sink checks: who it is, and what
 * its body was.
 *
 *     X-Load-Id: 5f0c1a2b-17-42       run, session, number of the message within the session
 *     X-Load-Sum: 9ae0daaf-4096       CRC-32C (in hexadecimal) and octets of the body
 *
 * The body is what follows the empty line, to the final dot, before dot-stuffing: a relay may add
 * header fields, but may change nothing there.
 */
#ifndef TOOL_MARK_H
#define TOOL_MARK_H

#include "base_buf.h"

struct tool_mark {
    uint32_t run;
    uint32_t session;
    uint64_t number;
    uint32_t body_crc;
    uint64_t body_len;
};

enum { TOOL_MARK_ID_SIZE = 48 };

/* "5f0c1a2b-17-42", with NUL; answers the length. */
size_t tool_mark_id(const struct tool_mark *mark, char out[TOOL_MARK_ID_SIZE]);
bool tool_mark_id_parse(struct slice text, struct tool_mark *out);
/* One number for run, session and number, to find it again by. */
uint64_t tool_mark_hash(const struct tool_mark *mark);
/* Both header fields, with their line ends. */
void tool_mark_append(const struct tool_mark *mark, struct buf *out);

enum { TOOL_MARK_LINE_MAX = 80 };

/* Reads a message in any cuts. */
struct tool_mark_reader {
    struct tool_mark mark; /* what the header says */
    bool has_id;
    bool has_sum;
    bool in_body;
    bool line_cut; /* longer than what is kept: none of ours */
    uint8_t line_len;
    char line[TOOL_MARK_LINE_MAX]; /* of the header, without LF */
    uint32_t body_crc;             /* of what came */
    uint64_t body_len;
    uint64_t size; /* header and body */
};

enum tool_mark_verdict { TOOL_MARK_NONE, TOOL_MARK_GOOD, TOOL_MARK_ALTERED };

void tool_mark_reader_init(struct tool_mark_reader *r);
void tool_mark_read(struct tool_mark_reader *r, struct slice bytes);
/* NONE: there is no id or no checksum. */
enum tool_mark_verdict tool_mark_verdict(const struct tool_mark_reader *r);
const char *tool_mark_verdict_name(enum tool_mark_verdict verdict);

#endif
