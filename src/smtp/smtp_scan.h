/*
 * smtp_scan: the inner loop of smtp_dot: skims over well-formed lines, a block of bytes at a time.
 */
#ifndef SMTP_SCAN_H
#define SMTP_SCAN_H

#include "base_slice.h"

/* What smtp_scan_clean() saw in the bytes that it passed. */
enum { SMTP_SCAN_8BIT = 1 << 0, SMTP_SCAN_NUL = 1 << 1 };

/* How many bytes from the front of `s` hold nothing that a decoder has to look at: every CR is
 * followed by LF and every LF preceded by CR (but for one in front, which the caller knows about),
 * and no LF is followed by a dot. The byte behind them is within `s`. Stops short of the first block
 * that is otherwise; may be zero. Adds to *seen. */
size_t smtp_scan_clean(struct slice s, unsigned *seen);

/* The same for an encoder: bytes without an LF that a dot follows. */
size_t smtp_scan_undotted(struct slice s);

#endif
