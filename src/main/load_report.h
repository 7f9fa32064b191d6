/* load_report: what mailring-load says at the end, for people or as JSON. */
#ifndef LOAD_REPORT_H
#define LOAD_REPORT_H

#include "load_options.h"
#include "load_stats.h"

struct load_report {
    const struct load_options *options;
    const struct load_stats *stats;
    uint32_t run;
    double seconds;
    double cpu_user, cpu_system; /* seconds, of all threads while they ran */
};

void load_report_text(const struct load_report *r, struct buf *out);
void load_report_json(const struct load_report *r, struct buf *out);
/* Every message was taken for every recipient. */
bool load_report_is_good(const struct load_report *r);

#endif
