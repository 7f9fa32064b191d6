/* sink_record: see the header. */
#include "sink_record.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

void sink_record_reset(struct sink_session *s)
{
    s->recipient_count = 0;
    buf_clear(&s->recipient_hashes);
    buf_clear(&s->recipients);
}

void sink_record_note_recipient(struct sink_session *s)
{
    const struct sink_options *o = s->worker->run->options;
    uint64_t hash;

    s->hashes_before = buf_len(&s->recipient_hashes);
    s->recipients_before = buf_len(&s->recipients);
    if (o->verify) {
        hash = hash_bytes_nocase(s->smtp.path.text);
        (void)buf_append(&s->recipient_hashes, &hash, sizeof(hash));
    }
    if (o->record != NULL) {
        (void)buf_append_byte(&s->recipients, s->recipient_count == 0 ? ' ' : ',');
        (void)buf_append_slice(&s->recipients, s->smtp.path.text);
    }
}

void sink_record_recipient(struct sink_session *s, enum sink_outcome outcome)
{
    if (outcome == SINK_ACCEPTED) {
        s->recipient_count++;
        return;
    }
    buf_truncate(&s->recipient_hashes, s->hashes_before);
    buf_truncate(&s->recipients, s->recipients_before);
}

/* TIME ID SIZE SUM OUTCOME RECIPIENT,... */
static void append_line(struct sink_session *s, enum sink_outcome outcome)
{
    static const char *const outcomes[] = {
        [SINK_ACCEPTED] = "accepted", [SINK_REFUSED] = "refused", [SINK_DROPPED] = "dropped"};
    struct sink_worker *w = s->worker;
    char date[DATE_TEXT_SIZE];
    char id[TOOL_MARK_ID_SIZE] = "-";

    date_format_iso(io_unix_ms(w->io), date);
    if (s->reader.has_id)
        (void)tool_mark_id(&s->reader.mark, id);
    (void)buf_printf(&w->lines, "%s %s %" PRIu64 " %s %s%.*s\n", date, id, s->size,
                     tool_mark_verdict_name(tool_mark_verdict(&s->reader)), outcomes[outcome],
                     SLICE_ARG(buf_slice(&s->recipients)));
}

/* Plain calls that may wait: a dump is for looking at, not for speed. */
static bool write_file(const char *path, struct slice bytes)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    bool ok = fd >= 0;

    while (ok && bytes.len > 0) {
        ssize_t count = write(fd, bytes.data, bytes.len);

        ok = count > 0;
        if (ok)
            slice_advance(&bytes, (size_t)count);
    }
    return fd >= 0 && close(fd) == 0 && ok;
}

static void dump(struct sink_session *s)
{
    struct sink_run *run = s->worker->run;
    uint64_t number = atomic_fetch_add(&run->dumped, 1) + 1;
    struct buf path;

    buf_init(&path, 0);
    (void)buf_printf(&path, "%s/%06" PRIu64 ".eml", run->options->dump, number);
    (void)buf_append_byte(&path, 0);
    if (s->message.overflow || !write_file((const char *)path.data, buf_slice(&s->message)))
        s->worker->stats.dump_errors++;
    buf_finish(&path);
    buf_clear(&s->message);
    buf_release(&s->message);
}

void sink_record_message(struct sink_session *s, enum sink_outcome outcome)
{
    struct sink_worker *w = s->worker;
    struct sink_run *run = w->run;
    const struct sink_options *o = run->options;

    if (o->record != NULL)
        append_line(s, outcome);
    if (outcome != SINK_ACCEPTED)
        return;
    w->stats.accepted++;
    w->stats.recipients += s->recipient_count;
    w->stats.bytes += s->size;
    if (o->verify)
        sink_verify_add(&w->verify, &s->reader, (const uint64_t *)(void *)s->recipient_hashes.data,
                        buf_len(&s->recipient_hashes) / sizeof(uint64_t));
    if (o->dump != NULL)
        dump(s);
    if (o->messages != 0
        && atomic_fetch_add_explicit(&run->accepted, 1, memory_order_relaxed) + 1 == o->messages)
        run->enough(run);
}
