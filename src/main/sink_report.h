/* sink_report: what mailring-sink says at the end, for people or as JSON. */
#ifndef SINK_REPORT_H
#define SINK_REPORT_H

#include "sink_worker.h"

struct sink_report {
    const struct sink_options *options;
    const struct sink_stats *stats;
    const struct sink_verify *verify; /* NULL: nothing was verified */
    double seconds;
    double cpu_user, cpu_system;
};

void sink_report_text(const struct sink_report *r, struct buf *out);
void sink_report_json(const struct sink_report *r, struct buf *out);

#endif
