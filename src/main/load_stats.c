/* load_stats: see the header. */
#include "load_stats.h"

#include "base_assert.h"

static struct load_error *find_error(struct load_stats *s, enum load_error_kind kind,
                                     enum load_stage stage, int number)
{
    struct load_error *e;

    for (size_t i = 0; i < s->error_kinds; i++) {
        e = &s->errors[i];
        if (e->kind == kind && e->stage == stage && e->number == number)
            return e;
    }
    if (s->error_kinds == LOAD_ERRORS_MAX)
        return NULL;
    e = &s->errors[s->error_kinds++];
    *e = (struct load_error){.kind = kind, .stage = stage, .number = number};
    return e;
}

static void add_error(struct load_stats *s, enum load_error_kind kind, enum load_stage stage,
                      int number, uint64_t count, struct slice text)
{
    struct load_error *e = find_error(s, kind, stage, number);

    s->error_count += count;
    if (e == NULL) {
        s->errors_other += count;
        return;
    }
    if (e->count == 0) {
        text = slice_head(text, sizeof(e->text) - 1);
        for (size_t i = 0; i < text.len; i++)
            e->text[i] = text.data[i] >= ' ' && text.data[i] < 127 ? (char)text.data[i] : ' ';
    }
    e->count += count;
}

void load_stats_error(struct load_stats *s, enum load_error_kind kind, enum load_stage stage,
                      int number, struct slice text)
{
    add_error(s, kind, stage, number, 1, text);
}

void load_stats_merge(struct load_stats *to, const struct load_stats *from)
{
    to->accepted += from->accepted;
    to->refused += from->refused;
    to->unknown += from->unknown;
    to->unsent += from->unsent;
    to->recipients += from->recipients;
    to->recipients_refused += from->recipients_refused;
    to->connections += from->connections;
    to->handshakes += from->handshakes;
    to->resumed += from->resumed;
    to->bytes += from->bytes;
    to->late += from->late;
    for (size_t i = 0; i < LOAD_CODES; i++)
        to->replies[i] += from->replies[i];
    for (size_t i = 0; i < from->error_kinds; i++) {
        const struct load_error *e = &from->errors[i];
        add_error(to, e->kind, e->stage, e->number, e->count, slice_str(e->text));
    }
    to->error_count += from->errors_other;
    to->errors_other += from->errors_other;
    tool_histogram_merge(&to->connect, &from->connect);
    tool_histogram_merge(&to->handshake, &from->handshake);
    tool_histogram_merge(&to->dot, &from->dot);
    tool_histogram_merge(&to->message, &from->message);
}

const char *load_stage_name(enum load_stage stage)
{
    static const char *const names[] = {
        [LOAD_STAGE_CONNECT] = "connect",   [LOAD_STAGE_GREETING] = "greeting",
        [LOAD_STAGE_EHLO] = "ehlo",         [LOAD_STAGE_MAIL] = "mail",
        [LOAD_STAGE_RCPT] = "rcpt",         [LOAD_STAGE_DATA] = "data",
        [LOAD_STAGE_DOT] = "dot",           [LOAD_STAGE_RSET] = "rset",
        [LOAD_STAGE_STARTTLS] = "starttls", [LOAD_STAGE_TLS] = "tls",
        [LOAD_STAGE_QUIT] = "quit",         [LOAD_STAGE_NONE] = "idle",
    };

    return names[stage];
}

const char *load_error_name(enum load_error_kind kind)
{
    static const char *const names[] = {
        [LOAD_ERROR_REPLY] = "reply",
        [LOAD_ERROR_SYSTEM] = "system",
        [LOAD_ERROR_CLOSED] = "closed",
        [LOAD_ERROR_TIMEOUT] = "timeout",
        [LOAD_ERROR_TLS] = "tls",
        [LOAD_ERROR_PROTOCOL] = "protocol",
        [LOAD_ERROR_UNFINISHED] = "unfinished",
    };

    return names[kind];
}
