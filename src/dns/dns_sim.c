/* dns_sim: see the header. Answers are good for half a minute of the simulated time. */
#include "dns_sim.h"

#include "base_mem.h"
#include "dns_priv.h"

enum { TTL_S = 30 };

struct zone_name {
    struct zone_name *next;
    enum dns_status status; /* DNS_OK: what the records say */
    struct buf mx;          /* struct dns_mx */
    struct buf a, aaaa;     /* struct ip_addr */
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

/* ---- answers -------------------------------------------------------------------------------- */

static void look_up(struct dns_sim_zone *z, const struct sim_question *q, struct dns_part *out)
{
    const struct zone_name *n = zone_find(z, q->entry->name);
    const struct buf *records;

    *out = (struct dns_part){.status = DNS_NO_NAME, .ttl_s = TTL_S};
    if (n == NULL)
        return;
    records = q->type == DNS_TYPE_MX ? &n->mx : q->type == DNS_TYPE_A ? &n->a : &n->aaaa;
    out->status = n->status != DNS_OK ? n->status : buf_len(records) == 0 ? DNS_NO_DATA : DNS_OK;
    if (out->status == DNS_OK)
        (void)buf_append_slice(&out->records, buf_slice(records));
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
    s->zone = z;
    s->fail = fail;
    s->latency_max_ms = latency_max_ms;
    list_init(&s->questions);
    rand_seed(&s->rand, seed);
    return &s->dns;
}
