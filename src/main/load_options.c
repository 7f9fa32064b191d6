/* load_options: the table of mailring-load's options, and what their values mean. */
#include "load_options.h"

#include "base_assert.h"
#include "base_codec.h"

enum { RECIPIENTS_MAX = 10000, SIZE_DEFAULT = 4096, TIMEOUT_DEFAULT_MS = 60000 };

static const uint64_t size_max = (uint64_t)1 << 30;

static bool add_size(struct load_options *o, uint64_t size, struct buf *out_error)
{
    if (size > size_max || o->size_count == LOAD_SIZES_MAX) {
        (void)buf_printf(out_error, "at most %d sizes, none above 1G", LOAD_SIZES_MAX);
        return false;
    }
    o->sizes[o->size_count++] = size;
    return true;
}

/* "A-B": sizes from A to B, each a fixed part larger than the one before, so that small and large ones
 * are equally frequent. */
static bool add_range(struct load_options *o, uint64_t low, uint64_t high, struct buf *out_error)
{
    enum { STEPS = 16 };
    uint64_t size = low;

    if (low == 0 || low > high || high > size_max) {
        (void)buf_append_str(out_error, "a range goes from a smaller size to a larger one");
        return false;
    }
    /* The step that multiplies `low` by high / low in STEPS - 1 steps, to a thousandth. */
    uint64_t step = 1000;
    for (uint64_t reached = 0; reached < high; step++) {
        reached = low;
        for (int i = 1; i < STEPS && reached < high; i++)
            reached = reached * (step + 1) / 1000;
    }
    for (int i = 0; i < STEPS; i++) {
        if (!add_size(o, i == STEPS - 1 || size > high ? high : size, out_error))
            return false;
        size = size * step / 1000;
    }
    return true;
}

static bool parse_one_size(struct load_options *o, struct slice text, struct buf *out_error)
{
    struct slice head;
    uint64_t low, high;

    if (tool_split(&text, '-', &head)) {
        if (size_parse(head, &low) && size_parse(text, &high))
            return add_range(o, low, high, out_error);
    } else if (size_parse(text, &low)) {
        return add_size(o, low, out_error);
    }
    (void)buf_append_str(out_error, "a size such as 4096 or 64K, a list 1K,1M, or a range 1K-1M");
    return false;
}

static bool parse_sizes(void *options, struct slice value, struct buf *out_error)
{
    struct load_options *o = options;
    struct slice one;

    o->size_count = 0;
    while (tool_split(&value, ',', &one)) {
        if (!parse_one_size(o, one, out_error))
            return false;
    }
    return parse_one_size(o, value, out_error);
}

static bool parse_file(void *options, struct slice value, struct buf *out_error)
{
    struct load_options *o = options;

    if (o->file_count == LOAD_FILES_MAX) {
        (void)buf_printf(out_error, "at most %d files", LOAD_FILES_MAX);
        return false;
    }
    o->files[o->file_count++] = (const char *)value.data; /* all of a word of argv, with its NUL */
    return true;
}

static bool parse_tls(void *options, struct slice value, struct buf *out_error)
{
    static const char *const names[] = {
        [LOAD_TLS_NONE] = "no", [LOAD_TLS_STARTTLS] = "starttls", [LOAD_TLS_IMPLICIT] = "implicit"};
    struct load_options *o = options;

    for (unsigned i = 0; i < ARRAY_LEN(names); i++) {
        if (slice_equal(value, slice_str(names[i]))) {
            o->tls = (enum load_tls)i;
            return true;
        }
    }
    (void)buf_append_str(out_error, "no, starttls or implicit");
    return false;
}

#define AT(field) .offset = offsetof(struct load_options, field)

static const struct tool_option table[] = {
    {"sessions", "N", "sessions in parallel (10)", TOOL_COUNT, AT(sessions), 1, LOAD_SESSIONS_MAX,
     NULL},
    {"messages", "N", "messages in all (1, unless there is a --time)", TOOL_COUNT, AT(messages), 1,
     UINT64_MAX, NULL},
    {"time", "TIME", "begin new messages for so long: 30s, 5m", TOOL_DURATION, AT(time_ms), 0, 0,
     NULL},
    {"messages-per-session", "N", "messages a connection (1); 0: keep it to the end", TOOL_COUNT,
     AT(per_session), 0, UINT64_MAX, NULL},
    {"rate", "N", "messages a second, whether or not the server keeps up", TOOL_COUNT, AT(rate), 1,
     100000000, NULL},
    {"size", "SIZES", "octets of body (4K): a number, a list 1K,1M, a range 1K-1M", TOOL_CALL, 0, 0,
     0, parse_sizes},
    {"file", "FILE", "send this message; may be given several times", TOOL_CALL, 0, 0, 0,
     parse_file},
    {"recipients", "N", "recipients a message (1)", TOOL_COUNT, AT(recipients), 1, RECIPIENTS_MAX,
     NULL},
    {"from", "ADDRESS", "sender; %d is a counter; <> the null sender (load@load.test)", TOOL_TEXT,
     AT(from), 0, 0, NULL},
    {"to", "ADDRESS", "recipient; %d is a counter (user%d@sink.test)", TOOL_TEXT, AT(to), 0, 0,
     NULL},
    {"addresses", "N", "the counters begin again after N (0: never)", TOOL_COUNT, AT(addresses), 0,
     UINT64_MAX, NULL},
    {"helo", "NAME", "the name in EHLO (load.test)", TOOL_TEXT, AT(helo), 0, 0, NULL},
    {"pipeline", "yes|no", "pipeline where the server offers it (yes)", TOOL_YES_NO, AT(pipeline),
     0, 0, NULL},
    {"tls", "HOW", "no, starttls or implicit (no); certificates are not verified", TOOL_CALL, 0, 0,
     0, parse_tls},
    {"tls-name", "NAME", "the server's name in the handshake (none)", TOOL_TEXT, AT(tls_name), 0, 0,
     NULL},
    {"tls-resume", "yes|no", "resume the session of the connection before (no)", TOOL_YES_NO,
     AT(tls_resume), 0, 0, NULL},
    {"tls-ciphers", "LIST", "cipher suites to offer, which also says which versions (the usual)",
     TOOL_TEXT, AT(tls_ciphers), 0, 0, NULL},
    {"8bit", NULL, "bodies in UTF-8, with BODY=8BITMIME", TOOL_FLAG, AT(eight_bit), 0, 0, NULL},
    {"dots", NULL, "bodies in which every eighth line begins with a dot", TOOL_FLAG, AT(dots), 0, 0,
     NULL},
    {"timeout", "TIME", "how long to wait for a reply (60s)", TOOL_DURATION, AT(timeout_ms), 0, 0,
     NULL},
    {"threads", "N", "threads to share the sessions (1)", TOOL_COUNT, AT(threads), 1,
     LOAD_THREADS_MAX, NULL},
    {"record", "FILE", "a line for each message: its id, and accepted, refused or unknown",
     TOOL_TEXT, AT(record), 0, 0, NULL},
    {"progress", NULL, "a line a second on standard error", TOOL_FLAG, AT(progress), 0, 0, NULL},
    {"json", NULL, "the report as JSON", TOOL_FLAG, AT(json), 0, 0, NULL},
};

const struct tool_program load_program = {
    .name = "mailring-load",
    .what = "Sends mail to an SMTP server and measures how it takes it.",
    .url = "smtp://HOST[:PORT]",
    .options = table,
    .option_count = ARRAY_LEN(table),
};

void load_options_init(struct load_options *o)
{
    *o = (struct load_options){
        .sessions = 10,
        .per_session = 1,
        .threads = 1,
        .recipients = 1,
        .timeout_ms = TIMEOUT_DEFAULT_MS,
        .sizes = {SIZE_DEFAULT},
        .size_count = 1,
        .from = "load@load.test",
        .to = "user%d@sink.test",
        .helo = "load.test",
        .tls_name = "",
        .pipeline = true,
    };
}

bool load_options_check(struct load_options *o, struct buf *out_error)
{
    if (o->messages == 0 && o->time_ms == 0)
        o->messages = 1;
    if (o->timeout_ms == 0) {
        (void)buf_append_str(out_error, "--timeout 0: a reply needs some time");
        return false;
    }
    if (o->file_count > 0 && (o->eight_bit || o->dots)) {
        (void)buf_append_str(out_error, "--file goes as it is: --8bit and --dots change nothing");
        return false;
    }
    if (o->messages != 0 && o->sessions > o->messages)
        o->sessions = o->messages;
    if (o->threads > o->sessions)
        o->threads = o->sessions;
    return true;
}
