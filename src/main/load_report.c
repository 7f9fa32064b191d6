/* load_report: see the header. */
#include "load_report.h"

#include <inttypes.h>

#include "base_assert.h"
#include "base_codec.h"

static double per(double value, double seconds)
{
    return seconds > 0 ? value / seconds : 0;
}

static double cpu_us(const struct load_report *r, double seconds)
{
    const struct load_stats *s = r->stats;
    double messages = (double)(s->accepted + s->refused + s->unknown);

    return messages > 0 ? seconds * 1e6 / messages : 0;
}

bool load_report_is_good(const struct load_report *r)
{
    const struct load_stats *s = r->stats;

    return s->error_count == 0 && s->refused == 0 && s->unknown == 0 && s->unsent == 0;
}

/* The number that goes with a kind of error, as words. */
static void append_cause(const struct load_error *e, struct buf *out)
{
    if (e->kind == LOAD_ERROR_REPLY)
        (void)buf_printf(out, "%d", e->number);
    else if (e->kind == LOAD_ERROR_SYSTEM)
        (void)buf_append_str(out, strerror(e->number));
    else
        (void)buf_append_str(out, load_error_name(e->kind));
}

/* ---- for people ------------------------------------------------------------------------------- */

static void text_times(const char *name, const struct tool_histogram *h, struct buf *out)
{
    (void)buf_printf(out, "  %-16s p50 %.2f  p90 %.2f  p99 %.2f  max %.2f ms\n", name,
                     (double)tool_histogram_percentile(h, 500) / 1000,
                     (double)tool_histogram_percentile(h, 900) / 1000,
                     (double)tool_histogram_percentile(h, 990) / 1000, (double)h->max_us / 1000);
}

static void text_replies(const struct load_stats *s, struct buf *out)
{
    (void)buf_append_str(out, "  replies         ");
    for (size_t i = 0; i < LOAD_CODES; i++) {
        if (s->replies[i] > 0)
            (void)buf_printf(out, " %zu: %" PRIu64, i, s->replies[i]);
    }
    (void)buf_append_byte(out, '\n');
}

static void text_errors(const struct load_stats *s, struct buf *out)
{
    for (size_t i = 0; i < s->error_kinds; i++) {
        const struct load_error *e = &s->errors[i];
        (void)buf_printf(out, "  error at %-7s %" PRIu64 " x ", load_stage_name(e->stage),
                         e->count);
        append_cause(e, out);
        (void)buf_printf(out, "%s%s\n", e->text[0] != '\0' ? " " : "", e->text);
    }
    if (s->errors_other > 0)
        (void)buf_printf(out, "  errors of other kinds: %" PRIu64 "\n", s->errors_other);
}

void load_report_text(const struct load_report *r, struct buf *out)
{
    const struct load_stats *s = r->stats;

    (void)buf_printf(out,
                     "%" PRIu64 " messages accepted in %.2f s: %.1f messages/s, %.1f sessions/s, "
                     "%.1f MB/s\n",
                     s->accepted, r->seconds, per((double)s->accepted, r->seconds),
                     per((double)s->connections, r->seconds),
                     per((double)s->bytes, r->seconds) / 1e6);
    (void)buf_printf(
        out, "  not accepted     refused %" PRIu64 "  unknown %" PRIu64 "  unsent %" PRIu64 "\n",
        s->refused, s->unknown, s->unsent);
    (void)buf_printf(out, "  recipients       accepted %" PRIu64 "  refused %" PRIu64 "\n",
                     s->recipients, s->recipients_refused);
    text_times("connect to 220", &s->connect, out);
    if (s->handshakes > 0) {
        text_times("TLS handshake", &s->handshake, out);
        (void)buf_printf(out, "  TLS              handshakes %" PRIu64 "  resumed %" PRIu64 "\n",
                         s->handshakes, s->resumed);
    }
    text_times("dot to 250", &s->dot, out);
    text_times("whole message", &s->message, out);
    if (r->options->rate != 0)
        (void)buf_printf(out, "  late             %" PRIu64 "\n", s->late);
    text_replies(s, out);
    text_errors(s, out);
    (void)buf_printf(out, "  own CPU          %.1f us a message (user %.1f, system %.1f)\n",
                     cpu_us(r, r->cpu_user + r->cpu_system), cpu_us(r, r->cpu_user),
                     cpu_us(r, r->cpu_system));
}

/* ---- as JSON ---------------------------------------------------------------------------------- */

static void json_times(const char *comma, const char *name, const struct tool_histogram *h,
                       struct buf *out)
{
    (void)buf_printf(out,
                     "%s\"%s\":{\"count\":%" PRIu64 ",\"mean\":%" PRIu64 ",\"p50\":%" PRIu64
                     ",\"p90\":%" PRIu64 ",\"p99\":%" PRIu64 ",\"max\":%" PRIu64 "}",
                     comma, name, h->count, h->count > 0 ? h->sum_us / h->count : 0,
                     tool_histogram_percentile(h, 500), tool_histogram_percentile(h, 900),
                     tool_histogram_percentile(h, 990), h->max_us);
}

static void json_replies(const struct load_stats *s, struct buf *out)
{
    const char *comma = "";

    (void)buf_append_str(out, ",\"replies\":{");
    for (size_t i = 0; i < LOAD_CODES; i++) {
        if (s->replies[i] == 0)
            continue;
        (void)buf_printf(out, "%s\"%zu\":%" PRIu64, comma, i, s->replies[i]);
        comma = ",";
    }
    (void)buf_append_byte(out, '}');
}

static void json_errors(const struct load_stats *s, struct buf *out)
{
    (void)buf_append_str(out, ",\"errors\":[");
    for (size_t i = 0; i < s->error_kinds; i++) {
        const struct load_error *e = &s->errors[i];
        (void)buf_printf(out,
                         "%s{\"kind\":\"%s\",\"stage\":\"%s\",\"number\":%d,\"count\":%" PRIu64,
                         i > 0 ? "," : "", load_error_name(e->kind), load_stage_name(e->stage),
                         e->number, e->count);
        (void)buf_append_str(out, ",\"text\":");
        (void)json_append_string(
            out, slice_str(e->kind == LOAD_ERROR_SYSTEM ? strerror(e->number) : e->text));
        (void)buf_append_byte(out, '}');
    }
    (void)buf_printf(out, "],\"errors_other\":%" PRIu64, s->errors_other);
}

void load_report_json(const struct load_report *r, struct buf *out)
{
    const struct load_stats *s = r->stats;
    const struct {
        const char *name;
        uint64_t value;
    } counts[] = {
        {"accepted", s->accepted},
        {"refused", s->refused},
        {"unknown", s->unknown},
        {"unsent", s->unsent},
        {"recipients_accepted", s->recipients},
        {"recipients_refused", s->recipients_refused},
        {"sessions", s->connections},
        {"handshakes", s->handshakes},
        {"resumed", s->resumed},
        {"bytes", s->bytes},
        {"late", s->late},
    };

    (void)buf_printf(out, "{\"run\":\"%08" PRIx32 "\",\"good\":%s,\"seconds\":%.6f", r->run,
                     load_report_is_good(r) ? "true" : "false", r->seconds);
    for (size_t i = 0; i < ARRAY_LEN(counts); i++)
        (void)buf_printf(out, ",\"%s\":%" PRIu64, counts[i].name, counts[i].value);
    (void)buf_printf(out, ",\"messages_per_second\":%.2f,\"sessions_per_second\":%.2f",
                     per((double)s->accepted, r->seconds), per((double)s->connections, r->seconds));
    (void)buf_printf(out, ",\"cpu_us_per_message\":%.3f,\"cpu_user_s\":%.6f,\"cpu_system_s\":%.6f",
                     cpu_us(r, r->cpu_user + r->cpu_system), r->cpu_user, r->cpu_system);
    (void)buf_append_str(out, ",\"times_us\":{");
    json_times("", "connect", &s->connect, out);
    json_times(",", "handshake", &s->handshake, out);
    json_times(",", "dot", &s->dot, out);
    json_times(",", "message", &s->message, out);
    (void)buf_append_byte(out, '}');
    json_replies(s, out);
    json_errors(s, out);
    (void)buf_append_str(out, "}\n");
}
