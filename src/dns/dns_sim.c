/* dns_sim: see the header. Answers are good for half a minute of the simulated time. */
#include "dns_sim.h"

#include "base_mem.h"
#include "dns_priv.h"

enum { TTL_S = 30, ALIASES_MAX = 8 };

struct zone_name {
    struct zone_name *next;
    enum dns_status status;    /* DNS_OK: what the records say */
    struct buf mx;             /* struct dns_mx */
    struct buf a, aaaa;        /* struct ip_addr */
    struct dns_part tlsa, txt; /* their records */
    bool secure;
    char alias[DNS_NAME_MAX]; /* a CNAME to there; "": none */
    char name[DNS_NAME_MAX];
};

struct dns_sim_zone {
    struct zone_name *names;
};

struct dns_sim {
    struct dns dns;
    struct dns_sim_zone *zone;
    struct rand rand;
    unsigned fail;
    uint64_t latency_max_ms;
    struct list questions;
};

struct sim_question {
    struct list node;
    struct dns_sim *sim;
    struct dns_entry *entry;
    enum dns_type type;
    struct wheel_timer answer;
};

/* ---- the zone ------------------------------------------------------------------------------- */

struct dns_sim_zone *dns_sim_zone_create(void)
{
    return mem_zalloc(sizeof(struct dns_sim_zone));
}

void dns_sim_zone_destroy(struct dns_sim_zone *z)
{
    if (z == NULL)
        return;
    while (z->names != NULL) {
        struct zone_name *n = z->names;
        z->names = n->next;
        buf_finish(&n->mx);
        buf_finish(&n->a);
        buf_finish(&n->aaaa);
        dns_part_finish(&n->tlsa);
        dns_part_finish(&n->txt);
        mem_free(n);
    }
    mem_free(z);
}

static struct zone_name *zone_find(struct dns_sim_zone *z, const char *name)
{
    struct zone_name *n = z->names;

    while (n != NULL && strcmp(n->name, name) != 0)
        n = n->next;
    return n;
}

static struct zone_name *zone_name(struct dns_sim_zone *z, const char *text)
{
    struct zone_name *n;
    char name[DNS_NAME_MAX];

    ASSERT(dns_name_clean(slice_str(text), name));
    n = zone_find(z, name);
    if (n != NULL)
        return n;
    n = mem_zalloc(sizeof(*n));
    memcpy(n->name, name, sizeof(name));
    n->next = z->names;
    z->names = n;
    return n;
}

void dns_sim_zone_add_mx(struct dns_sim_zone *z, const char *domain, uint16_t preference,
                         const char *host)
{
    struct dns_mx mx = {.preference = preference};

    if (host[0] != '\0')
        ASSERT(dns_name_clean(slice_str(host), mx.host));
    (void)buf_append(&zone_name(z, domain)->mx, &mx, sizeof(mx));
}

void dns_sim_zone_add_address(struct dns_sim_zone *z, const char *host, const char *ip)
{
    struct zone_name *n = zone_name(z, host);
    struct ip_addr addr;

    ASSERT(ip_parse(slice_str(ip), &addr));
    (void)buf_append(ip_is_v4(&addr) ? &n->a : &n->aaaa, &addr, sizeof(addr));
}

void dns_sim_zone_set_status(struct dns_sim_zone *z, const char *name, enum dns_status status)
{
    zone_name(z, name)->status = status;
}

void dns_sim_zone_add_alias(struct dns_sim_zone *z, const char *name, const char *target)
{
    ASSERT(dns_name_clean(slice_str(target), zone_name(z, name)->alias));
}

void dns_sim_zone_add_tlsa(struct dns_sim_zone *z, const char *name, uint8_t usage,
                           uint8_t selector, uint8_t matching, struct slice data)
{
    struct buf record = {0};

    (void)buf_append_byte(&record, usage);
    (void)buf_append_byte(&record, selector);
    (void)buf_append_byte(&record, matching);
    (void)buf_append_slice(&record, data);
    ASSERT(dns_part_add_text(&zone_name(z, name)->tlsa, buf_slice(&record)));
    buf_finish(&record);
}

void dns_sim_zone_add_txt(struct dns_sim_zone *z, const char *name, const char *text)
{
    ASSERT(dns_part_add_text(&zone_name(z, name)->txt, slice_str(text)));
}

void dns_sim_zone_clear(struct dns_sim_zone *z, const char *name)
{
    struct zone_name *n = zone_name(z, name);

    buf_clear(&n->mx);
    buf_clear(&n->a);
    buf_clear(&n->aaaa);
    dns_part_finish(&n->tlsa);
    dns_part_finish(&n->txt);
    n->alias[0] = '\0';
}

void dns_sim_zone_set_secure(struct dns_sim_zone *z, const char *name, bool secure)
{
    zone_name(z, name)->secure = secure;
}

/* ---- answers -------------------------------------------------------------------------------- */

static const struct buf *zone_records(const struct zone_name *n, enum dns_type type)
{
    switch (type) {
    case DNS_TYPE_A: return &n->a;
    case DNS_TYPE_AAAA: return &n->aaaa;
    case DNS_TYPE_MX: return &n->mx;
    case DNS_TYPE_TLSA: return &n->tlsa.records;
    case DNS_TYPE_TXT: return &n->txt.records;
    case DNS_TYPE_CNAME: return NULL;
    }
    ASSERT(false);
    return NULL;
}

/* Along the aliases, each of which has to be secure for the whole to be. */
static void look_up(struct dns_sim_zone *z, const struct sim_question *q, struct dns_part *out)
{
    const struct zone_name *n = zone_find(z, q->entry->name);
    bool secure = n != NULL && n->secure;
    const struct buf *records;
    const char *name = NULL;

    for (int steps = 0; n != NULL && n->status == DNS_OK && n->alias[0] != '\0'
                        && q->type != DNS_TYPE_CNAME && steps < ALIASES_MAX;
         steps++) {
        name = n->alias;
        n = zone_find(z, name);
        secure = secure && n != NULL && n->secure;
    }
    *out = (struct dns_part){.status = DNS_NO_NAME, .ttl_s = TTL_S, .secure = secure};
    if (n == NULL)
        return;
    records = zone_records(n, q->type);
    out->status = n->status != DNS_OK         ? n->status
                  : q->type == DNS_TYPE_CNAME ? n->alias[0] != '\0' ? DNS_OK : DNS_NO_DATA
                  : buf_len(records) == 0     ? DNS_NO_DATA
                                              : DNS_OK;
    if (out->status == DNS_OK && q->type != DNS_TYPE_CNAME)
        (void)buf_append_slice(&out->records, buf_slice(records));
    if (q->type == DNS_TYPE_CNAME)
        name = n->alias;
    if (out->status == DNS_OK && name != NULL)
        out->canonical = mem_dup(name, strlen(name) + 1);
}

static void question_free(struct sim_question *q)
{
    wheel_cancel(q->sim->dns.wheel, &q->answer);
    list_remove(&q->node);
    mem_free(q);
}

static void answer(struct wheel_timer *timer)
{
    struct sim_question *q = container_of(timer, struct sim_question, answer);
    struct dns_sim *s = q->sim;
    struct dns_entry *e = q->entry;
    enum dns_type type = q->type;
    struct dns_part part;

    look_up(s->zone, q, &part);
    question_free(q);
    if (s->fail > 0 && rand_chance(&s->rand, s->fail, 10000)) {
        dns_part_finish(&part);
        dns_answered_nothing(e, type, DNS_TEMPORARY);
    } else {
        dns_answered(e, type, &part);
    }
}

static void sim_ask(struct dns *d, struct dns_entry *e, enum dns_type type)
{
    struct dns_sim *s = container_of(d, struct dns_sim, dns);
    struct sim_question *q = mem_zalloc(sizeof(*q));

    q->sim = s;
    q->entry = e;
    q->type = type;
    list_push_back(&s->questions, &q->node);
    wheel_timer_init(&q->answer, answer);
    wheel_set(d->wheel, &q->answer,
              io_now_ms(d->io) + rand_between(&s->rand, 0, s->latency_max_ms));
}

/* Open questions are no reason to stop: a simulated crash leaves some. */
static void sim_destroy(struct dns *d)
{
    struct dns_sim *s = container_of(d, struct dns_sim, dns);

    LIST_EACH_SAFE(&s->questions, node)
    question_free(container_of(node, struct sim_question, node));
    mem_free(s);
}

struct dns *dns_sim_create(struct dns_sim_zone *z, struct io *io, struct wheel *wheel,
                           uint64_t seed, unsigned fail, uint64_t latency_max_ms)
{
    static const struct dns_vtable vtable = {.ask = sim_ask, .destroy = sim_destroy};
    struct dns_sim *s = mem_zalloc(sizeof(*s));

    dns_front_init(&s->dns, &vtable, io, wheel, 0);
    s->dns.trusted = true;
    s->zone = z;
    s->fail = fail;
    s->latency_max_ms = latency_max_ms;
    list_init(&s->questions);
    rand_seed(&s->rand, seed);
    return &s->dns;
}
