/* admin_actions: what an operator does to messages. */
#include <inttypes.h>

#include "admin_job_priv.h"
#include "base_mem.h"

enum { REASON_MAX = 400 };

static bool never(const struct admin_job *j, const struct spool_message *m)
{
    (void)j;
    (void)m;
    return false;
}

/* ---- deeds ---------------------------------------------------------------------------------- */

bool admin_act_hold(struct admin_job *j, const struct spool_message *m, uint32_t until_s,
                    struct slice reason)
{
    struct buf text;
    bool found;

    buf_init(&text, 0);
    (void)buf_append_str(&text, "held by the operator");
    if (reason.len > 0) {
        (void)buf_append_str(&text, ": ");
        (void)text_append_printable(&text, slice_head(reason, REASON_MAX));
    }
    found = queue_hold_because(shard_queue(j->on), m->id, until_s, buf_slice(&text));
    buf_finish(&text);
    return found;
}

static uint64_t now_s(const struct admin_job *j)
{
    return queue_now_s(shard_queue(j->on));
}

static bool hold(struct admin_job *j, const struct spool_message *m)
{
    uint32_t until_s = admin_time_s(&j->request.until, now_s(j), SPOOL_DUE_NEVER, SPOOL_DUE_NEVER);

    return admin_act_hold(j, m, until_s, j->request.note);
}

static bool set(struct admin_job *j, const struct spool_message *m)
{
    const struct admin_request *r = &j->request;
    struct spool_terms terms = m->terms;
    bool found = true;

    if (r->set_priority)
        terms.priority = r->priority;
    terms.deliver_by_s = admin_time_s(&r->deliver_by, now_s(j), terms.deliver_by_s, 0);
    if (r->set_priority || r->deliver_by.kind != ADMIN_TIME_UNSET)
        found = queue_revise(shard_queue(j->on), m->id, &terms);
    if (found && r->until.kind != ADMIN_TIME_UNSET)
        found = hold(j, m);
    return found;
}

/* Those of the waiting recipients that the filter names. */
static uint32_t *choose(struct admin_job *j, const struct spool_message *m,
                        const struct admin_envelope *e, uint32_t *out_count)
{
    uint32_t *chosen = mem_calloc(m->recipients_left, sizeof(*chosen));

    *out_count = 0;
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING
            && admin_filter_recipient(&j->request.filter, shard_queue(j->on)->conf, e->sender,
                                      e->recipients[i]))
            chosen[(*out_count)++] = i;
    }
    return chosen;
}

/* What ends recipients ends those that are meant, and no others of the same message. */
static bool end(struct admin_job *j, const struct spool_message *m, const struct admin_envelope *e)
{
    struct queue *queue = shard_queue(j->on);
    uint32_t count = m->recipients_left;
    uint32_t *chosen = NULL;
    bool ended;

    if (e != NULL && admin_filter_by_recipient(&j->request.filter))
        chosen = choose(j, m, e, &count);
    if (count == m->recipients_left)
        ended = j->request.verb == ADMIN_DELETE ? queue_delete(queue, m->id)
                                                : queue_bounce(queue, m->id, j->request.note);
    else
        ended = j->request.verb == ADMIN_DELETE && queue_delete_some(queue, m->id, chosen, count);
    if (!ended)
        j->left++;
    mem_free(chosen);
    return ended;
}

static bool act(struct admin_job *j, const struct spool_message *m, const struct admin_envelope *e)
{
    struct queue *queue = shard_queue(j->on);

    switch (j->request.verb) {
    case ADMIN_RETRY: return queue_retry(queue, m->id);
    case ADMIN_HOLD: return hold(j, m);
    case ADMIN_RELEASE: return queue_release(queue, m->id);
    case ADMIN_DELETE:
    case ADMIN_BOUNCE: return end(j, m, e);
    case ADMIN_SET: return set(j, m);
    case ADMIN_LIST:
    case ADMIN_SHOW:
    case ADMIN_SUMMARY:
    case ADMIN_HOLDS:
    case ADMIN_EXPORT:
    case ADMIN_IMPORT:
    case ADMIN_VERB_COUNT: break;
    }
    UNREACHABLE();
}

static void take(struct admin_job *j, struct spool_message *m, const struct admin_envelope *e)
{
    if (!act(j, m, e))
        j->matched--;
}

/* ---- what is told --------------------------------------------------------------------------- */

static const char *done_to(enum admin_verb verb)
{
    switch (verb) {
    case ADMIN_RETRY: return "due now";
    case ADMIN_HOLD: return "held";
    case ADMIN_RELEASE: return "released";
    case ADMIN_DELETE: return "deleted";
    case ADMIN_BOUNCE: return "bounced";
    case ADMIN_SET: return "changed";
    case ADMIN_LIST:
    case ADMIN_SHOW:
    case ADMIN_SUMMARY:
    case ADMIN_HOLDS:
    case ADMIN_EXPORT:
    case ADMIN_IMPORT:
    case ADMIN_VERB_COUNT: break;
    }
    UNREACHABLE();
}

static void finish(struct admin_job *j, struct buf *out)
{
    const char *s = j->matched == 1 ? "" : "s";

    if (j->request.json) {
        (void)buf_printf(out, "{\"messages\":%" PRIu64, j->matched);
        if (j->left > 0)
            (void)buf_printf(out, ",\"left\":%" PRIu64, j->left);
        (void)buf_append_str(out, "}\n");
        return;
    }
    (void)buf_printf(out, "%" PRIu64 " message%s %s\n", j->matched, s, done_to(j->request.verb));
    if (j->left > 0)
        (void)buf_printf(out,
                         "%" PRIu64 " with other recipients besides %s left alone: name them by id "
                         "or sender\n",
                         j->left, j->left == 1 ? "was" : "were");
}

const struct admin_job_kind admin_actions_kind = {
    .wants_envelope = never, .take = take, .finish = finish};
