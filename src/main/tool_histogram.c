/* tool_histogram: buckets by powers of two, each cut into 32. */
#include "tool_histogram.h"

#include <stddef.h>

enum { CUT_BITS = 5, CUTS = 1 << CUT_BITS };

static size_t bucket_of(uint64_t us)
{
    unsigned shift;
    size_t bucket;

    if (us < CUTS)
        return (size_t)us;
    shift = 63 - (unsigned)__builtin_clzll(us) - CUT_BITS;
    bucket = (size_t)(shift + 1) * CUTS + (size_t)(us >> shift) - CUTS;
    return bucket < TOOL_HISTOGRAM_BUCKETS ? bucket : TOOL_HISTOGRAM_BUCKETS - 1;
}

/* The largest time of a bucket. */
static uint64_t bucket_limit(size_t bucket)
{
    unsigned shift;

    if (bucket < CUTS)
        return bucket;
    shift = (unsigned)(bucket / CUTS - 1);
    return (((uint64_t)(bucket % CUTS) + CUTS + 1) << shift) - 1;
}

void tool_histogram_add(struct tool_histogram *h, uint64_t ns)
{
    uint64_t us = ns / 1000;

    h->count++;
    h->sum_us += us;
    if (us > h->max_us)
        h->max_us = us;
    h->buckets[bucket_of(us)]++;
}

void tool_histogram_merge(struct tool_histogram *to, const struct tool_histogram *from)
{
    to->count += from->count;
    to->sum_us += from->sum_us;
    if (from->max_us > to->max_us)
        to->max_us = from->max_us;
    for (size_t i = 0; i < TOOL_HISTOGRAM_BUCKETS; i++)
        to->buckets[i] += from->buckets[i];
}

uint64_t tool_histogram_percentile(const struct tool_histogram *h, unsigned per_mille)
{
    uint64_t rank = (h->count * per_mille + 999) / 1000;
    uint64_t seen = 0;

    for (size_t i = 0; h->count > 0 && i < TOOL_HISTOGRAM_BUCKETS; i++) {
        seen += h->buckets[i];
        if (seen >= rank && seen > 0)
            return bucket_limit(i) < h->max_us ? bucket_limit(i) : h->max_us;
    }
    return h->max_us;
}
