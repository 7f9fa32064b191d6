/*
 * tool_histogram: how long things took. Buckets of three percent width, so that a percentile is right
 * to that much; no memory but the struct, adding is a few instructions.
 */
#ifndef TOOL_HISTOGRAM_H
#define TOOL_HISTOGRAM_H

#include <stdint.h>

enum { TOOL_HISTOGRAM_BUCKETS = 32 * 36 };

struct tool_histogram {
    uint64_t count;
    uint64_t max_us;
    uint64_t sum_us;
    uint32_t buckets[TOOL_HISTOGRAM_BUCKETS];
};

void tool_histogram_add(struct tool_histogram *h, uint64_t ns);
void tool_histogram_merge(struct tool_histogram *to, const struct tool_histogram *from);
/* The time in µs that `per_mille` of all did not exceed; 0 if there are none. */
uint64_t tool_histogram_percentile(const struct tool_histogram *h, unsigned per_mille);

#endif
