/*
 * admin_explain: what would be done with mail for an address, now; and what a message waits for: where it
 * stands, and then the same for its recipients.
 *
 * Delivery says it (delivery_explain.h): on the first shard what the configuration and the DNS know, and then
 * the shards that own the sites are asked what they know.
 */
#include "admin_job_priv.h"
#include "base_mem.h"
#include "delivery_explain.h"
#include "smtp_address.h"

enum { WAYS_MAX = 5 /* of a message, one a domain */, ANSWER_MAX = 16 * 1024 * 1024 };

struct look {
    struct shard_call call;
    struct admin_client *client;
    struct delivery_explain_site *site;
};

struct explainer {
    struct admin_client *client;
    struct delivery_explain *x; /* NULL: nothing is asked */
    bool known;                 /* hosts and addresses are; owners are asked */
    struct look *looks;
};

/* ---- one address ---------------------------------------------------------------------------- */

static void look_run(struct shard *on, struct shard_call *call)
{
    delivery_explain_look(shard_delivery(on), container_of(call, struct look, call)->site);
    shard_answer(on, call);
}

static void look_done(struct shard *on, struct shard_call *call)
{
    (void)on;
    admin_call_over(container_of(call, struct look, call)->client);
}

static void explained(struct delivery_explain *x, void *context)
{
    struct explainer *e = context;
    struct admin_client *c = e->client;
    uint32_t count = delivery_explain_site_count(x);

    e->known = true;
    e->looks = mem_calloc(count, sizeof(*e->looks));
    for (uint32_t i = 0; i < count; i++) {
        struct look *l = &e->looks[i];
        l->call = (struct shard_call){.run = look_run, .done = look_done};
        l->client = c;
        l->site = delivery_explain_site(x, i);
        c->calls++;
        shard_call(c->admin->shard, l->site->shard, &l->call);
    }
    if (count == 0 && c->step != NULL)
        c->step(c);
}

static void explainer_end(struct explainer *e)
{
    if (e->x != NULL)
        delivery_explain_end(e->x);
    mem_free(e->looks);
    *e = (struct explainer){.client = e->client};
}

static void explainer_begin(struct explainer *e, struct admin_client *c, struct slice sender,
                            struct slice address)
{
    *e = (struct explainer){.client = c};
    e->x = delivery_explain_begin(shard_delivery(c->admin->shard), sender, address, explained, e);
}

/* ---- of an address -------------------------------------------------------------------------- */

struct address_job {
    struct explainer explainer;
    uint8_t *line;
    bool json;
};

static void address_step(struct admin_client *c)
{
    struct address_job *j = c->job;
    struct buf *out = net_conn_out(&c->conn);

    if (!j->explainer.known || c->calls > 0)
        return;
    (void)buf_append_str(out, "ok\n");
    delivery_explain_write(j->explainer.x, j->json, out);
    admin_answered(c);
}

static void address_release(struct admin_client *c)
{
    struct address_job *j = c->job;

    explainer_end(&j->explainer);
    mem_free(j->line);
    mem_free(j);
}

static void explain_address(struct admin_client *c, struct slice sender, struct slice address,
                            bool json, uint8_t *line)
{
    struct address_job *j = mem_zalloc(sizeof(*j));

    j->json = json;
    j->line = line;
    c->job = j;
    c->release = address_release;
    c->step = address_step;
    c->conn.out.limit = c->conn.sending.limit = ANSWER_MAX;
    explainer_begin(&j->explainer, c, sender, address);
}

/* ---- of a message ----------------------------------------------------------------------------- */

/* The sender and the recipients whose ways are to be told. */
struct ways {
    struct explainer explainer;
    struct slice sender, recipients[WAYS_MAX]; /* copies */
    unsigned count, next;
};

static bool always(const struct admin_job *j, const struct spool_message *m)
{
    (void)j;
    (void)m;
    return true;
}

static struct slice copy(struct slice text)
{
    return slice_of(mem_dup(text.data, text.len), text.len);
}

static void note_way(struct ways *w, struct slice recipient)
{
    for (unsigned i = 0; i < w->count; i++) {
        if (slice_equal_nocase(admin_domain_of(w->recipients[i]), admin_domain_of(recipient)))
            return;
    }
    if (w->count < WAYS_MAX)
        w->recipients[w->count++] = copy(recipient);
}

static void forget_ways(struct ways *w)
{
    mem_free((void *)(uintptr_t)w->sender.data);
    for (unsigned i = 0; i < w->count; i++)
        mem_free((void *)(uintptr_t)w->recipients[i].data);
    w->count = w->next = 0;
    w->sender = SLICE_NULL;
}

static void take(struct admin_job *j, struct spool_message *m, const struct admin_envelope *e)
{
    struct ways *w = j->matter;

    if (j->request.json)
        (void)buf_append_str(&j->rows, "{\"message\":");
    admin_row(j, m, e);
    w->sender = copy(e->sender);
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        if (m->recipients[i].state == SPOOL_RECIPIENT_WAITING)
            note_way(w, e->recipients[i]);
    }
}

static void tell_row(struct admin_job *j)
{
    struct buf *out = net_conn_out(&j->client->conn);

    (void)buf_append_slice(out, buf_slice(&j->rows));
    buf_clear(&j->rows);
    (void)buf_append_str(out, j->request.json ? ",\"ways\":[" : "  its ways now:\n");
}

static bool send_ways(struct admin_job *j)
{
    struct ways *w = j->matter;
    struct explainer *e = &w->explainer;
    struct buf *out = net_conn_out(&j->client->conn);

    if (w->count == 0)
        return true;
    if (buf_len(&j->rows) > 0)
        tell_row(j);
    if (e->x == NULL) {
        explainer_begin(e, j->client, w->sender, w->recipients[w->next]);
        return false;
    }
    if (!e->known)
        return false;
    if (j->request.json && w->next > 0)
        (void)buf_append_str(out, ",");
    delivery_explain_write(e->x, j->request.json, out);
    explainer_end(e);
    if (++w->next < w->count) {
        explainer_begin(e, j->client, w->sender, w->recipients[w->next]);
        return false;
    }
    forget_ways(w);
    if (j->request.json)
        (void)buf_append_str(out, "]}");
    return true;
}

static void start(struct admin_job *j)
{
    j->matter = mem_zalloc(sizeof(struct ways));
    j->client->conn.out.limit = j->client->conn.sending.limit = ANSWER_MAX;
}

static void finish(struct admin_job *j, struct buf *out)
{
    if (j->request.json)
        (void)buf_append_str(out, "\n");
}

static void halt(struct admin_job *j)
{
    struct ways *w = j->matter;

    explainer_end(&w->explainer);
}

static void release(struct admin_job *j)
{
    struct ways *w = j->matter;

    explainer_end(&w->explainer);
    forget_ways(w);
    mem_free(w);
}

const struct admin_job_kind admin_explain_kind = {.start = start,
                                                  .wants_envelope = always,
                                                  .take = take,
                                                  .halt = halt,
                                                  .send = send_ways,
                                                  .finish = finish,
                                                  .release = release};

/* ---- the request ---------------------------------------------------------------------------- */

static bool is_address(struct slice text)
{
    struct smtp_address address;

    return smtp_address_parse(text, SMTP_PATH_UTF8, &address) == SMTP_ADDRESS_OK;
}

static void explain_message(struct admin_client *c, uint64_t id, bool json, uint8_t *line)
{
    struct admin_request request = {
        .verb = ADMIN_SHOW,
        .json = json,
        .filter = {.younger_s = UINT64_MAX, .size_max = UINT64_MAX, .limit = UINT64_MAX}};

    request.filter.ids = mem_dup(&id, sizeof(id));
    request.filter.id_count = 1;
    admin_job_begin(c, &request, line, &admin_explain_kind);
}

void admin_explain(struct admin_client *c, const struct slice *words, size_t count, uint8_t *line)
{
    struct slice sender = SLICE_NULL, what = SLICE_NULL;
    bool json = false, bad = false;
    uint64_t id;

    for (size_t i = 0; i < count; i++) {
        struct slice word = words[i];
        if (slice_equal(word, SLICE_LITERAL("json")) || slice_equal(word, SLICE_LITERAL("--json")))
            json = true;
        else if (slice_starts_nocase(word, SLICE_LITERAL("--sender=")))
            sender = slice_of(word.data + 9, word.len - 9);
        else if (what.len == 0)
            what = word;
        else
            bad = true;
    }
    if (slice_equal(sender, SLICE_LITERAL("<>")))
        sender = SLICE_NULL;
    if (!bad && (sender.len == 0 || is_address(sender)) && is_address(what)) {
        explain_address(c, sender, what, json, line);
        return;
    }
    if (!bad && id_from_text(what, &id)) {
        explain_message(c, id, json, line);
        return;
    }
    admin_error(c, "explain an address (local@domain, with --sender=ADDRESS or not) or the id of a "
                   "message");
    mem_free(line);
}
