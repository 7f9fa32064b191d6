/* sink_options: the table of mailring-sink's options, and what their values mean. */
#include "sink_options.h"

#include "base_assert.h"
#include "base_codec.h"

const char *sink_stage_name(enum sink_stage stage)
{
    static const char *const names[SINK_STAGE_COUNT] = {
        [SINK_CONNECT] = "connect", [SINK_EHLO] = "ehlo", [SINK_MAIL] = "mail",
        [SINK_RCPT] = "rcpt",       [SINK_DATA] = "data", [SINK_DOT] = "dot",
    };

    return names[stage];
}

/* Takes "STAGE=" off the value. */
static struct sink_fault *take_stage(struct sink_options *o, struct slice *value,
                                     struct buf *out_error)
{
    struct slice name;

    if (tool_split(value, '=', &name)) {
        for (size_t i = 0; i < SINK_STAGE_COUNT; i++) {
            if (slice_equal(name, slice_str(sink_stage_name((enum sink_stage)i))))
                return &o->faults[i];
        }
    }
    (void)buf_append_str(out_error, "STAGE= is one of connect, ehlo, mail, rcpt, data and dot");
    return NULL;
}

static bool parse_fail(void *options, struct slice value, struct buf *out_error)
{
    struct sink_options *o = options;
    struct sink_fault *fault = take_stage(o, &value, out_error);
    struct slice percent;
    uint64_t code;
    unsigned chance;

    if (fault == NULL)
        return false;
    if (!tool_split(&value, ':', &percent) || !tool_percent_parse(percent, &chance)
        || !slice_to_u64(value, &code) || code < 400 || code > 599) {
        (void)buf_append_str(out_error, "the form is STAGE=PERCENT:CODE, CODE from 400 to 599");
        return false;
    }
    if (fault == &o->faults[SINK_CONNECT] && code != 421 && code != 554) {
        (void)buf_append_str(out_error, "a connection is refused with 421 or 554 (RFC 5321 3.1)");
        return false;
    }
    fault->fail = chance;
    fault->code = (uint16_t)code;
    return true;
}

static bool parse_drop(void *options, struct slice value, struct buf *out_error)
{
    struct sink_fault *fault = take_stage(options, &value, out_error);

    if (fault == NULL)
        return false;
    if (tool_percent_parse(value, &fault->drop))
        return true;
    (void)buf_append_str(out_error, "the form is STAGE=PERCENT");
    return false;
}

static bool parse_delay(void *options, struct slice value, struct buf *out_error)
{
    struct sink_fault *fault = take_stage(options, &value, out_error);

    if (fault == NULL)
        return false;
    if (duration_parse(value, &fault->delay_ms))
        return true;
    (void)buf_append_str(out_error, "the form is STAGE=TIME, TIME such as 50ms or 2s");
    return false;
}

static bool parse_size(void *options, struct slice value, struct buf *out_error)
{
    struct sink_options *o = options;

    if (size_parse(value, &o->size_max))
        return true;
    (void)buf_append_str(out_error, "a size such as 50M is needed");
    return false;
}

static bool parse_tls(void *options, struct slice value, struct buf *out_error)
{
    struct sink_options *o = options;

    if (slice_equal(value, SLICE_LITERAL("starttls")))
        o->tls = SINK_TLS_STARTTLS;
    else if (slice_equal(value, SLICE_LITERAL("implicit")))
        o->tls = SINK_TLS_IMPLICIT;
    else
        (void)buf_append_str(out_error, "starttls or implicit");
    return o->tls != SINK_TLS_NONE;
}

#define AT(field) .offset = offsetof(struct sink_options, field)

static const struct tool_option table[] = {
    {"fail", "STAGE=PERCENT:CODE", "answer with CODE: rcpt=10:450, dot=0.5:554", TOOL_CALL, 0, 0, 0,
     parse_fail},
    {"drop", "STAGE=PERCENT", "close the connection in place of an answer: dot=1", TOOL_CALL, 0, 0,
     0, parse_drop},
    {"delay", "STAGE=TIME", "answer so much later: dot=50ms", TOOL_CALL, 0, 0, 0, parse_delay},
    {"limit-rate", "N", "accept at most N messages a second", TOOL_COUNT, AT(rate), 1, 100000000,
     NULL},
    {"size", "SIZE", "refuse larger messages (no limit)", TOOL_CALL, 0, 0, 0, parse_size},
    {"pipelining", "yes|no", "offer PIPELINING (yes)", TOOL_YES_NO, AT(pipelining), 0, 0, NULL},
    {"hostname", "NAME", "the name in the greeting (sink.test)", TOOL_TEXT, AT(hostname), 0, 0,
     NULL},
    {"verify", NULL, "check what mailring-load marked: altered, duplicate, missing", TOOL_FLAG,
     AT(verify), 0, 0, NULL},
    {"expect", "FILE", "at the end, compare with the --record of mailring-load", TOOL_TEXT,
     AT(expect), 0, 0, NULL},
    {"record", "FILE", "a line for each message", TOOL_TEXT, AT(record), 0, 0, NULL},
    {"dump", "DIRECTORY", "a file for each message", TOOL_TEXT, AT(dump), 0, 0, NULL},
    {"tls-certificate", "FILE", "offer TLS with this certificate (PEM)", TOOL_TEXT,
     AT(tls_certificate), 0, 0, NULL},
    {"tls-key", "FILE", "its key (PEM)", TOOL_TEXT, AT(tls_key), 0, 0, NULL},
    {"tls", "HOW", "starttls or implicit (starttls, with a certificate)", TOOL_CALL, 0, 0, 0,
     parse_tls},
    {"messages", "N", "end after N messages", TOOL_COUNT, AT(messages), 1, UINT64_MAX, NULL},
    {"threads", "N", "threads to share the connections (1)", TOOL_COUNT, AT(threads), 1,
     SINK_THREADS_MAX, NULL},
    {"seed", "N", "of what --fail and --drop leave to chance", TOOL_COUNT, AT(seed), 0, UINT64_MAX,
     NULL},
    {"json", NULL, "the report as JSON", TOOL_FLAG, AT(json), 0, 0, NULL},
};

const struct tool_program sink_program = {
    .name = "mailring-sink",
    .what = "Takes mail by SMTP, throws it away, and says what came.",
    .url = "smtp://HOST[:PORT]",
    .options = table,
    .option_count = ARRAY_LEN(table),
};

void sink_options_init(struct sink_options *o)
{
    *o =
        (struct sink_options){.threads = 1, .hostname = "sink.test", .pipelining = true, .seed = 1};
}

bool sink_options_check(struct sink_options *o, struct buf *out_error)
{
    if ((o->tls_certificate == NULL) != (o->tls_key == NULL)
        || (o->tls != SINK_TLS_NONE && o->tls_key == NULL)) {
        (void)buf_append_str(out_error, "TLS takes --tls-certificate and --tls-key");
        return false;
    }
    if (o->tls == SINK_TLS_NONE && o->tls_key != NULL)
        o->tls = SINK_TLS_STARTTLS;
    return true;
}
