/* sink_report: see the header. */
#include "sink_report.h"

#include <inttypes.h>

#include "base_assert.h"

static double cpu_us(const struct sink_report *r)
{
    uint64_t messages = r->stats->accepted;

    return messages > 0 ? (r->cpu_user + r->cpu_system) * 1e6 / (double)messages : 0;
}

/* ---- for people ------------------------------------------------------------------------------- */

static void text_stages(const char *name, const uint64_t *counts, struct buf *out)
{
    bool any = false;

    for (size_t i = 0; i < SINK_STAGE_COUNT; i++) {
        if (counts[i] == 0)
            continue;
        if (!any)
            (void)buf_printf(out, "  %-11s", name);
        (void)buf_printf(out, " %s %" PRIu64, sink_stage_name((enum sink_stage)i), counts[i]);
        any = true;
    }
    if (any)
        (void)buf_append_byte(out, '\n');
}

static void text_wrong(const char *name, uint64_t count, const char *example, struct buf *out)
{
    (void)buf_printf(out, "  %-11s %" PRIu64, name, count);
    if (example != NULL && example[0] != '\0')
        (void)buf_printf(out, " (%s%s)", example, count > 1 ? ", ..." : "");
    (void)buf_append_byte(out, '\n');
}

static void text_verify(const struct sink_report *r, struct buf *out)
{
    const struct sink_verify *v = r->verify;
    const struct sink_counts *c = &v->counts;

    (void)buf_printf(out, "  marked      %" PRIu64 ", unmarked %" PRIu64 "\n", c->marked,
                     c->unmarked);
    text_wrong("altered", c->altered, v->example[SINK_ALTERED], out);
    text_wrong("duplicates", c->duplicates, v->example[SINK_DUPLICATE], out);
    text_wrong("missing", c->missing, NULL, out);
    if (r->options->expect != NULL) {
        (void)buf_printf(out, "  expected    %" PRIu64 "\n", c->expected);
        text_wrong("lost", c->lost, v->example[SINK_LOST], out);
    }
}

void sink_report_text(const struct sink_report *r, struct buf *out)
{
    const struct sink_stats *s = r->stats;

    (void)buf_printf(out,
                     "%" PRIu64 " messages, %" PRIu64 " recipients, %" PRIu64 " octets in %" PRIu64
                     " sessions\n",
                     s->accepted, s->recipients, s->bytes, s->connections);
    if (r->options->tls != SINK_TLS_NONE)
        (void)buf_printf(
            out, "  TLS         %" PRIu64 " handshakes, %" PRIu64 " resumed, %" PRIu64 " failed\n",
            s->handshakes, s->resumed, s->handshakes_failed);
    text_stages("refused", s->failed, out);
    text_stages("dropped", s->dropped, out);
    if (s->cut > 0)
        (void)buf_printf(out, "  cut         %" PRIu64 " messages, by the client\n", s->cut);
    if (s->dump_errors > 0)
        (void)buf_printf(out, "  not dumped  %" PRIu64 "\n", s->dump_errors);
    if (r->verify != NULL)
        text_verify(r, out);
    (void)buf_printf(out, "  own CPU     %.1f us a message\n", cpu_us(r));
}

/* ---- as JSON ---------------------------------------------------------------------------------- */

static void json_stages(const char *name, const uint64_t *counts, struct buf *out)
{
    (void)buf_printf(out, ",\"%s\":{", name);
    for (size_t i = 0; i < SINK_STAGE_COUNT; i++)
        (void)buf_printf(out, "%s\"%s\":%" PRIu64, i > 0 ? "," : "",
                         sink_stage_name((enum sink_stage)i), counts[i]);
    (void)buf_append_byte(out, '}');
}

static void json_verify(const struct sink_verify *v, struct buf *out)
{
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"marked", v->counts.marked},   {"unmarked", v->counts.unmarked},
        {"altered", v->counts.altered}, {"duplicates", v->counts.duplicates},
        {"missing", v->counts.missing}, {"expected", v->counts.expected},
        {"lost", v->counts.lost},
    };

    (void)buf_printf(out, ",\"verify\":{\"good\":%s", sink_verify_is_good(v) ? "true" : "false");
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        (void)buf_printf(out, ",\"%s\":%" PRIu64, counts[i].name, counts[i].value);
    (void)buf_append_byte(out, '}');
}

void sink_report_json(const struct sink_report *r, struct buf *out)
{
    const struct sink_stats *s = r->stats;

    (void)buf_printf(out,
                     "{\"messages\":%" PRIu64 ",\"recipients\":%" PRIu64 ",\"bytes\":%" PRIu64
                     ",\"sessions\":%" PRIu64 ",\"cut\":%" PRIu64 ",\"dump_errors\":%" PRIu64
                     ",\"seconds\":%.3f",
                     s->accepted, s->recipients, s->bytes, s->connections, s->cut, s->dump_errors,
                     r->seconds);
    (void)buf_printf(
        out, ",\"handshakes\":%" PRIu64 ",\"resumed\":%" PRIu64 ",\"handshakes_failed\":%" PRIu64,
        s->handshakes, s->resumed, s->handshakes_failed);
    json_stages("refused", s->failed, out);
    json_stages("dropped", s->dropped, out);
    (void)buf_printf(out, ",\"cpu_us_per_message\":%.3f,\"cpu_user_s\":%.6f,\"cpu_system_s\":%.6f",
                     cpu_us(r), r->cpu_user, r->cpu_system);
    if (r->verify != NULL)
        json_verify(r->verify, out);
    (void)buf_append_str(out, "}\n");
}
