/*
 * verify_callout: the next hop is asked whether it would take a recipient.
 *
 *   IDLE --> LINE --> ASKING --> IDLE       LINE: the domain's; its pace is that of its slowest wish
 *
 * Those who wait have conf.verify.callout.timeout from the moment in which the first of them came; the
 * question goes on without them, and its answer is kept.
 */
#include <stdio.h>

#include "base_mem.h"
#include "verify_priv.h"

static void go_on(struct verify_site *site);

/* ---- domains -------------------------------------------------------------------------------- */

static bool has_name(const struct hash_node *node, const void *key)
{
    const struct verify_site *s = container_of(node, struct verify_site, node);

    return slice_equal(slice_of(s->name, s->name_len), *(const struct slice *)key);
}

static void timer_fired(struct wheel_timer *timer)
{
    go_on(container_of(timer, struct verify_site, timer));
}

void verify_site_free(struct verify_site *site)
{
    hash_table_remove(&site->v->sites, &site->node);
    list_remove(&site->all);
    wheel_cancel(site->v->o.wheel, &site->timer);
    mem_free(site);
}

/* There are no more than the configurations had domains; those of former ones go when nothing is known of
 * them any more. */
static struct verify_site *site_get(struct verify *v, struct slice name)
{
    struct hash_node *node = hash_table_find(&v->sites, hash_bytes(name), has_name, &name);
    struct verify_site *site;

    if (node != NULL)
        return container_of(node, struct verify_site, node);
    LIST_EACH_SAFE(&v->all_sites, other)
    {
        site = container_of(other, struct verify_site, all);
        if (site->entries == 0 && site->probed_until_ms < verify_now_ms(v))
            verify_site_free(site);
    }
    site = mem_zalloc(sizeof(*site) + name.len);
    site->v = v;
    site->name_len = (uint16_t)name.len;
    memcpy(site->name, name.data, name.len);
    list_init(&site->line);
    wheel_timer_init(&site->timer, timer_fired);
    list_push_back(&v->all_sites, &site->all);
    hash_table_insert(&v->sites, &site->node, hash_bytes(name));
    return site;
}

static void log_catch_all(const struct verify_site *site, bool takes_any)
{
    struct log_record r;

    log_begin(&r, takes_any ? LOG_WARNING : LOG_INFO, "callout-probe");
    log_slice(&r, "domain", slice_of(site->name, site->name_len));
    log_str(&r, "next_hop", takes_any ? "takes any recipient" : "knows its recipients");
    log_str(&r, "callout", takes_any ? "off for an hour" : "on");
    log_end(&r);
}

/* ---- answers -------------------------------------------------------------------------------- */

/* One line, short enough, and nothing in it that could be more than words. */
static char *keep_words(const struct verify_ask *a)
{
    struct slice text = slice_head(a->text, VERIFY_WORDS_MAX - 64);
    char *words = mem_zalloc(4 + text.len + 1);
    size_t len = (size_t)snprintf(words, 5, "%u ", a->code % 1000u);

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];
        words[len++] = c >= ' ' && c < 127 ? (char)c : c == '\n' ? ' ' : '?';
    }
    return words;
}

static void keep(struct verify_entry *e, enum verify_verdict verdict, uint64_t ttl_ms)
{
    uint64_t now_ms = verify_now_ms(e->v);

    e->verdict = (uint8_t)verdict;
    e->expires_ms = now_ms + ttl_ms;
    e->refresh_ms = now_ms + (verdict == VERIFY_GOOD ? ttl_ms - ttl_ms / 4 : ttl_ms);
}

static enum verify_verdict no_answer(const struct conf *conf)
{
    return conf->verify.callout.defer_unknown ? VERIFY_SILENT : VERIFY_NO_ANSWER;
}

static void took_probe(struct verify_site *site, enum verify_answer answer)
{
    uint64_t now_ms = verify_now_ms(site->v);

    site->probing = false;
    switch (answer) {
    case VERIFY_ANSWER_YES:
        site->probed_until_ms = site->catch_all_until_ms = now_ms + VERIFY_CATCH_ALL_MS;
        log_catch_all(site, true);
        return;
    case VERIFY_ANSWER_NO:
        site->probed_until_ms = now_ms + VERIFY_SELECTIVE_MS;
        log_catch_all(site, false);
        return;
    case VERIFY_ANSWER_LATER:
    case VERIFY_ANSWER_NONE: site->probed_until_ms = now_ms + VERIFY_PROBE_AGAIN_MS; return;
    }
    UNREACHABLE();
}

static void took_answer(struct verify_entry *e)
{
    const struct verify_ask *a = &e->ask;
    bool was_good = e->verdict == VERIFY_GOOD;
    uint64_t again_ms = VERIFY_LATER_MS;

    switch (a->answer) {
    case VERIFY_ANSWER_YES: keep(e, VERIFY_GOOD, a->conf->verify.callout.positive); return;
    case VERIFY_ANSWER_NO:
        mem_free(e->words);
        e->words = keep_words(a);
        memcpy(e->enhanced, a->enhanced, sizeof(e->enhanced));
        keep(e, VERIFY_UNKNOWN, a->conf->verify.callout.negative);
        if (!was_good)
            verify_client_was_wrong(e->v, &e->client);
        return;
    case VERIFY_ANSWER_NONE:
        e->site->down_until_ms = verify_now_ms(e->v) + VERIFY_DOWN_MS;
        again_ms = VERIFY_DOWN_MS;
        break;
    case VERIFY_ANSWER_LATER: break;
    }
    e->v->counters.callouts_unanswered++;
    keep(e, was_good ? VERIFY_GOOD : no_answer(a->conf), again_ms);
}

static void probe(struct verify_site *site, const struct conf *conf);

static void ask_done(struct verify_ask *a)
{
    struct verify_entry *e = container_of(a, struct verify_entry, ask);
    struct verify *v = e->v;
    struct verify_site *site = e->site;
    const struct conf *conf = a->conf;
    bool probed = e->kind == VERIFY_KIND_PROBE;
    bool means_something;

    ASSERT(e->state == VERIFY_ASKING && v->asks > 0 && site->asking > 0);
    v->asks--;
    site->asking--;
    e->state = VERIFY_IDLE;
    wheel_cancel(v->o.wheel, &e->timer);
    if (probed)
        took_probe(site, a->answer);
    else
        took_answer(e);
    means_something = a->answer == VERIFY_ANSWER_YES && !probed;
    a->conf = NULL;
    site->entries++; /* it stays, whatever those who are told do */
    if (probed)
        verify_entry_free(e);
    else
        verify_tell(e, (enum verify_verdict)e->verdict);
    if (means_something && !v->stopping)
        probe(site, conf);
    site->entries--;
    if (!v->stopping)
        go_on(site);
    conf_free(conf);
}

/* ---- questions ------------------------------------------------------------------------------ */

static void ask(struct verify_entry *e)
{
    struct verify *v = e->v;

    ASSERT(e->state == VERIFY_LINE);
    e->state = VERIFY_ASKING;
    list_remove(&e->line);
    e->site->waiting--;
    e->site->asking++;
    v->asks++;
    v->counters.callouts++;
    verify_bucket_take(&e->site->pace, VERIFY_SITE_EACH_MS, verify_now_ms(v));
    if (v->o.ask(v->o.context, &e->ask))
        return;
    /* Who waits is told in the next pass, not from within somebody else's question. */
    list_push_back(&v->ready, &e->line);
    if (!wheel_timer_is_set(&v->flush))
        wheel_set(v->o.wheel, &v->flush, verify_now_ms(v));
}

void verify_callout_flush(struct wheel_timer *timer)
{
    struct verify *v = container_of(timer, struct verify, flush);
    struct list now;

    list_init(&now);
    list_splice_back(&now, &v->ready);
    for (struct list *node; (node = list_pop_front(&now)) != NULL;)
        ask_done(&container_of(node, struct verify_entry, line)->ask);
}

/* Whose turn it is may ask. */
static void go_on(struct verify_site *site)
{
    struct verify *v = site->v;

    while (!list_empty(&site->line) && site->asking < VERIFY_SITE_ASKS_MAX) {
        uint64_t ready_ms =
            verify_bucket_ready_ms(&site->pace, VERIFY_SITE_BURST, VERIFY_SITE_EACH_MS);

        if (ready_ms > verify_now_ms(v)) {
            wheel_set(v->o.wheel, &site->timer, ready_ms);
            return;
        }
        ask(container_of(site->line.next, struct verify_entry, line));
    }
}

static void get_in_line(struct verify_entry *e, const struct conf *conf)
{
    struct verify_site *site = e->site;

    ASSERT(e->state == VERIFY_IDLE);
    e->state = VERIFY_LINE;
    e->generation = conf->generation;
    e->ask = (struct verify_ask){.conf = conf_ref(conf),
                                 .sender = conf->verify.callout.sender,
                                 .recipient = verify_text(e),
                                 .timeout_ms = conf->verify.callout.timeout,
                                 .done = ask_done};
    list_push_back(&site->line, &e->line);
    site->waiting++;
    go_on(site);
}

void verify_callout_stop(struct verify_entry *e)
{
    ASSERT(e->state == VERIFY_LINE);
    list_remove(&e->line);
    e->site->waiting--;
    e->state = VERIFY_IDLE;
    conf_free(e->ask.conf);
    e->ask.conf = NULL;
    wheel_cancel(e->v->o.wheel, &e->timer);
}

/* Who waits has waited long enough. */
static void patience_over(struct wheel_timer *timer)
{
    struct verify_entry *e = container_of(timer, struct verify_entry, timer);
    enum verify_verdict verdict = VERIFY_TOO_MANY;

    if (e->state == VERIFY_LINE) {
        verify_callout_stop(e);
    } else if (!list_empty(&e->queries)) {
        e->site->down_until_ms = verify_now_ms(e->v) + VERIFY_DOWN_MS;
        verdict = e->verdict == VERIFY_GOOD ? VERIFY_GOOD : no_answer(e->ask.conf);
    }
    verify_tell(e, verdict);
}

/* Whether the next hop takes an address that nobody has: then its yes means nothing. */
static void probe(struct verify_site *site, const struct conf *conf)
{
    struct verify *v = site->v;
    struct slice domain = slice_of(site->name, site->name_len);
    char text[1 + 32 + SMTP_DOMAIN_MAX];
    uint8_t chance[10];
    struct verify_entry *e;
    int len;

    if (site->probing || site->probed_until_ms > verify_now_ms(v))
        return;
    io_entropy(v->o.io, chance, sizeof(chance));
    len = snprintf(text, sizeof(text), "pno-such-");
    for (size_t i = 0; i < sizeof(chance); i++)
        text[len++] = (char)('a' + chance[i] % 26);
    len += snprintf(text + len, sizeof(text) - (size_t)len, "@%.*s", SLICE_ARG(domain));
    e = verify_entry_create(v, VERIFY_KIND_PROBE, slice_of(text, (size_t)len),
                            slice_of(text + 1, (size_t)len - 1));
    if (e == NULL)
        return;
    site->probing = true;
    e->site = site;
    site->entries++;
    wheel_timer_init(&e->timer, patience_over);
    get_in_line(e, conf);
}

/* ---- the face ------------------------------------------------------------------------------- */

/* As the domain is ours, the case of its local parts is of no meaning. */
static bool key_of(const struct smtp_address *recipient, uint8_t *out, size_t size, size_t *out_len)
{
    struct buf canonical;
    struct slice text;
    bool ok;

    buf_init(&canonical, size - 1);
    ok = smtp_address_canonical(recipient, &canonical);
    text = buf_slice(&canonical);
    out[0] = 'r';
    for (size_t i = 0; ok && i < text.len; i++) {
        uint8_t c = text.data[i];
        out[1 + i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    *out_len = 1 + text.len;
    buf_finish(&canonical);
    return ok;
}

/* NULL: there is no room for it. */
static struct verify_entry *entry_of(struct verify_site *site, struct slice key, struct slice text)
{
    struct verify_entry *e = verify_entry_get(site->v, VERIFY_KIND_RECIPIENT, key, text);

    if (e != NULL && e->site == NULL) {
        wheel_timer_init(&e->timer, patience_over);
        e->site = site;
        site->entries++;
    }
    return e;
}

/* What is known; VERIFY_WAIT: nothing. */
static enum verify_verdict known(struct verify_entry *e, const struct conf *conf)
{
    uint64_t now_ms = verify_now_ms(e->v);

    if (verify_entry_valid(e, conf)) {
        if (e->state == VERIFY_IDLE && now_ms >= e->refresh_ms && e->verdict == VERIFY_GOOD
            && e->site->waiting < VERIFY_SITE_LINE_MAX)
            get_in_line(e, conf);
        return (enum verify_verdict)e->verdict;
    }
    if (now_ms < e->site->down_until_ms && e->state != VERIFY_LINE)
        return e->verdict == VERIFY_GOOD ? VERIFY_GOOD : no_answer(conf);
    return VERIFY_WAIT;
}

enum verify_verdict verify_callout(struct verify *v, struct verify_query *q,
                                   const struct verify_question *question)
{
    const struct conf *conf = question->conf;
    const struct smtp_address *recipient = question->recipient;
    uint8_t key[1 + SMTP_PATH_MAX];
    enum verify_verdict verdict;
    struct verify_entry *e;
    struct verify_site *site;
    size_t len;

    v->counters.recipients++;
    if (v->stopping || !key_of(recipient, key, sizeof(key), &len))
        return verify_answer_now(v, q, NULL, VERIFY_TOO_MANY);
    site = site_get(v, slice_of(key + len - recipient->domain.len, recipient->domain.len));
    if (verify_now_ms(v) < site->catch_all_until_ms) {
        v->counters.catch_all++;
        return verify_answer_now(v, q, NULL, VERIFY_GOOD);
    }
    e = entry_of(site, slice_of(key, len), recipient->text);
    if (e == NULL)
        return verify_answer_now(v, q, NULL, VERIFY_TOO_MANY);
    verdict = known(e, conf);
    if (verdict != VERIFY_WAIT) {
        v->counters.recipients_cached++;
        return verify_answer_now(v, q, e, verdict);
    }
    if (e->state == VERIFY_IDLE) {
        if (site->waiting >= VERIFY_SITE_LINE_MAX || !verify_client_may_ask(v, &question->client))
            return verify_answer_now(v, q, e, VERIFY_TOO_MANY);
        e->client = question->client;
        get_in_line(e, conf);
    }
    if (list_empty(&e->queries))
        wheel_set(v->o.wheel, &e->timer, verify_now_ms(v) + conf->verify.callout.timeout);
    return verify_wait_for(e, q);
}
