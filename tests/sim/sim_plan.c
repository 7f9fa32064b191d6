/*
 * sim_plan: what a seed chooses before anything happens. Each seed leaves most things plain and makes
 * a few silly: a world in which everything is silly only shows that silly is slow.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_mem.h"
#include "sim_days.h"
#include "smtp_command.h"

enum {
    KIB = 1024,
    BYTES_PLAIN = 192 * KIB, /* of all bodies, where bytes are cheap */
    BYTES_TINY = 1500,       /* where each is an event */
    TINY = 64,
};

#define SECOND         UINT64_C(1000)
#define MINUTE         (60 * SECOND)
#define HOUR           (60 * MINUTE)
#define EXPIRE_BOUNCES (48 * HOUR) /* where nothing is said */

static uint64_t pick(struct rand *r, const uint64_t *values, size_t count)
{
    return values[rand_below(r, count)];
}
#define PICK(r, ...)                           \
    pick((r), (const uint64_t[]){__VA_ARGS__}, \
         sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

/* ---- bodies -------------------------------------------------------------------------------- */

static void add_line(struct rand *r, struct buf *body, size_t len)
{
    unsigned kind = (unsigned)rand_below(r, 8);

    if (kind == 0)
        (void)buf_append_byte(body, '.');
    if (kind == 1)
        (void)buf_append_str(body, "..");
    for (size_t i = 0; i < len; i++) {
        uint8_t c = (uint8_t)(' ' + rand_below(r, 95));
        if (kind == 2)
            c = (uint8_t)(0x80 + rand_below(r, 128));
        (void)buf_append_byte(body, c);
    }
    (void)buf_append_str(body, "\r\n");
}

static void make_body(struct rand *r, struct message *m, size_t size)
{
    buf_init(&m->body, 0);
    if (rand_chance(r, 3, 4) && size > 0) {
        (void)buf_printf(&m->body, "From: <%s>\r\nSubject: %u\r\n", m->sender, m->number);
        if (rand_chance(r, 3, 4))
            (void)buf_append_str(&m->body, "\r\n");
    }
    while (buf_len(&m->body) < size) {
        size_t left = size - buf_len(&m->body);
        size_t len = rand_chance(r, 1, 16) ? rand_below(r, 4000) : rand_below(r, 80);
        add_line(r, &m->body, len < left ? len : left);
    }
}

static void make_wire(struct message *m)
{
    struct slice body = buf_slice(&m->body);
    bool line_start = true;

    buf_init(&m->wire, 0);
    for (size_t i = 0; i < body.len; i++) {
        if (line_start && body.data[i] == '.')
            (void)buf_append_byte(&m->wire, '.');
        (void)buf_append_byte(&m->wire, body.data[i]);
        line_start = body.data[i] == '\n';
    }
    (void)buf_append_str(&m->wire, ".\r\n");
}

static size_t choose_size(struct rand *r, size_t left, bool tiny)
{
    size_t size;

    switch (rand_below(r, 8)) {
    case 0: size = 0; break;
    case 1:
    case 2: size = rand_below(r, 20000); break;
    case 3: size = rand_chance(r, 1, 4) ? rand_below(r, BYTES_PLAIN) : 300; break;
    default: size = rand_below(r, 2000); break;
    }
    if (tiny)
        size %= 200;
    return size < left ? size : left;
}

/* ---- messages ------------------------------------------------------------------------------ */

static const char *domain_for(struct rand *r, enum fate fate)
{
    static const char *const sinks[] = {"a.test", "b.test", "one.mx.test", "two.mx.test",
                                        "bare.mx.test"};
    static const char *const nowhere[] = {"gone.mx.test", "null.mx.test"};
    static const char *const silent[] = {"sick.mx.test", "dead.mx.test"};

    switch (fate) {
    case FATE_TAKE:
    case FATE_LATER:
    case FATE_REFUSE:
    case FATE_NEVER: return sinks[rand_below(r, ARRAY_LEN(sinks))];
    case FATE_MAILDIR: return "box.test";
    case FATE_DISCARD: return "void.test";
    case FATE_NOWHERE: return nowhere[rand_below(r, ARRAY_LEN(nowhere))];
    case FATE_SILENT: return silent[rand_below(r, ARRAY_LEN(silent))];
    case FATE_REJECT: return "no.test";
    case FATE_COUNT: break;
    }
    UNREACHABLE();
}

static enum fate choose_fate(struct rand *r)
{
    static const enum fate common[] = {FATE_TAKE, FATE_TAKE, FATE_TAKE, FATE_LATER, FATE_MAILDIR};

    if (rand_chance(r, 2, 3))
        return common[rand_below(r, ARRAY_LEN(common))];
    return (enum fate)rand_below(r, FATE_COUNT);
}

/* ---- what the client calls them --------------------------------------------------------------- */

static struct name *add_name(struct message *m, const char *address, unsigned set)
{
    struct name *n = &m->names[m->name_count++];
    size_t len = strlen(address);

    ASSERT(m->name_count <= NAMES_MAX && len < sizeof(n->address));
    memcpy(n->address, address, len + 1);
    n->set = (uint8_t)set;
    return n;
}

/* The same mailbox, in other letters. */
static void add_once_more(struct message *m, uint32_t rcpt)
{
    struct name *n = add_name(m, m->rcpts[rcpt].address, 1u << rcpt);

    for (char *c = strchr(n->address, '@'); *c != '\0'; c++)
        *c = (char)(*c >= 'a' && *c <= 'z' ? *c & ~0x20 : *c);
}

static void write_targets(const struct message *m, unsigned set, const char *first, int file)
{
    const char *comma = first[0] != '\0' ? ", " : "";

    (void)dprintf(file, "%s", first);
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        if (set & 1u << i) {
            (void)dprintf(file, "%s%s", comma, m->rcpts[i].address);
            comma = ", ";
        }
    }
    (void)dprintf(file, "\n");
}

/* For the recipients of the set; behind another alias if `nested`. */
static void add_alias(struct message *m, unsigned set, bool nested, int file)
{
    char inner[ADDRESS_SIZE] = "", address[ADDRESS_SIZE];

    (void)snprintf(address, sizeof(address), "x%u.%u@alias.test", m->number, m->name_count);
    if (nested) { /* and some of them are named twice */
        (void)snprintf(inner, sizeof(inner), "y%u.%u", m->number, m->name_count);
        (void)dprintf(file, "%s: ", inner);
        write_targets(m, set, "", file);
    }
    (void)dprintf(file, "x%u.%u: ", m->number, m->name_count);
    write_targets(m, nested ? set & 0x15 : set, inner, file);
    (void)add_name(m, address, set);
}

static bool is_rejected(const struct message *m)
{
    for (uint32_t i = 0; i < m->rcpt_count; i++)
        if (m->rcpts[i].fate == FATE_REJECT)
            return true;
    return false;
}

static void choose_notify(struct rand *r, struct name *n)
{
    static const uint8_t some[] = {SMTP_NOTIFY_NEVER,
                                   SMTP_NOTIFY_FAILURE,
                                   SMTP_NOTIFY_DELAY,
                                   SMTP_NOTIFY_SUCCESS,
                                   SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE,
                                   SMTP_NOTIFY_FAILURE | SMTP_NOTIFY_DELAY};

    n->notify = some[rand_below(r, ARRAY_LEN(some))];
}

/* Mostly by their names; some behind aliases, some twice. (One who is refused in the session would be
 * bounced behind an alias for several.) */
static void choose_names(struct rand *r, struct message *m, int file)
{
    unsigned all = (1u << m->rcpt_count) - 1, named = 0;
    bool plain = rand_chance(r, 1, 2);

    for (unsigned k = 0; !plain && !is_rejected(m) && k < 2; k++) {
        unsigned set = 1 + (unsigned)rand_below(r, all);
        add_alias(m, set, rand_chance(r, 1, 3), file);
        named |= set;
    }
    for (uint32_t i = 0; i < m->rcpt_count; i++)
        if ((named & 1u << i) == 0 || rand_chance(r, 1, 3))
            (void)add_name(m, m->rcpts[i].address, 1u << i);
    if (!plain && m->name_count < NAMES_MAX)
        add_once_more(m, (uint32_t)rand_below(r, m->rcpt_count));
    for (uint32_t i = 0; i < m->name_count; i++)
        if (rand_chance(r, 1, 4))
            choose_notify(r, &m->names[i]);
}

void plan_write_message(struct world *w, struct message *m, size_t size)
{
    make_body(&w->rand, m, size);
    make_wire(m);
    choose_names(&w->rand, m, w->plan.aliases);
}

static void make_message(struct rand *r, struct message *m, uint32_t number, size_t size)
{
    static const enum fate senders[] = {FATE_TAKE, FATE_TAKE, FATE_TAKE, FATE_LATER, FATE_REFUSE};

    m->number = number;
    m->null_sender = rand_chance(r, 1, 8);
    m->sender_fate = (uint8_t)senders[rand_below(r, ARRAY_LEN(senders))];
    m->sender_later = (uint8_t)(1 + rand_below(r, 2));
    if (!m->null_sender)
        (void)snprintf(m->sender, sizeof(m->sender), "s%u@back.test", number);
    m->rcpt_count = rand_chance(r, 1, 2) ? 1 : 1 + (uint32_t)rand_below(r, RCPTS_MAX);
    for (uint32_t i = 0; i < m->rcpt_count; i++) {
        struct rcpt *rcpt = &m->rcpts[i];
        rcpt->fate = (uint8_t)choose_fate(r);
        rcpt->later = (uint8_t)(1 + rand_below(r, 3));
        (void)snprintf(rcpt->address, sizeof(rcpt->address), "r%u.%u@%s", number, i,
                       domain_for(r, (enum fate)rcpt->fate));
    }
    make_body(r, m, size);
    make_wire(m);
}

static void choose_messages(struct world *w, bool tiny)
{
    struct plan *p = &w->plan;
    struct rand *r = &w->rand;
    size_t left = tiny ? BYTES_TINY : BYTES_PLAIN;

    p->client_count = 1 + (uint32_t)rand_below(r, CLIENTS_MAX);
    for (uint32_t i = 0; i < p->client_count; i++) {
        struct client_plan *c = &p->clients[i];
        uint32_t most = rand_chance(r, 1, 8) ? 20 : 5;
        c->first = w->model.message_count;
        c->count = 1 + (uint32_t)rand_below(r, most);
        if (c->count > MESSAGES_MAX - c->first)
            c->count = MESSAGES_MAX - c->first;
        c->pipelined = rand_chance(r, 1, 2);
        c->helo = rand_chance(r, 1, 8);
        c->tls = p->tls == SIM_TLS_OFF ? CLIENT_CLEAR : (uint8_t)rand_below(r, 3);
        if (c->helo && c->tls == CLIENT_STARTTLS)
            c->tls = CLIENT_CLEAR;
        if (p->requires && c->tls == CLIENT_CLEAR)
            c->tls = CLIENT_IMPLICIT;
        c->inject = rand_chance(r, 1, 4) ? 5000 : 0;
        c->chunk = (uint32_t)PICK(r, 1 + rand_below(r, 100), 4096, 60000);
        c->vanish = rand_chance(r, 1, 4) ? 3000 : 0;
        c->stall = rand_chance(r, 1, 6) ? 2000 : 0;
        c->start_ms = rand_chance(r, 1, 2) ? 0 : rand_below(r, 20 * SECOND);
        for (uint32_t k = 0; k < c->count; k++) {
            struct message *m = &w->model.messages[w->model.message_count];
            make_message(r, m, w->model.message_count, choose_size(r, left, tiny));
            choose_names(r, m, p->aliases);
            left -= buf_len(&m->body) < left ? buf_len(&m->body) : left;
            w->model.message_count++;
        }
    }
}

/* ---- weather ------------------------------------------------------------------------------- */

/* A chance that is mostly low. */
static unsigned some(struct rand *r, unsigned most)
{
    return 1 + (unsigned)rand_below(r, most >> rand_below(r, 4));
}

static void choose_sinks(struct rand *r, struct sink_weather *s)
{
    if (rand_chance(r, 1, 3))
        s->outage = some(r, 3000);
    if (rand_chance(r, 1, 3))
        s->drop = some(r, 1000);
    if (rand_chance(r, 1, 4))
        s->stall = some(r, 500);
    if (rand_chance(r, 1, 3))
        s->slow = some(r, 2000);
    if (rand_chance(r, 1, 3))
        s->temporary = some(r, 2000);
    if (rand_chance(r, 1, 4))
        s->permanent = some(r, 1000);
    if (rand_chance(r, 1, 4))
        s->lost = some(r, 2000);
    if (rand_chance(r, 1, 3))
        s->tls = some(r, 4000);
}

static void choose_weather(struct world *w)
{
    struct plan *p = &w->plan;
    struct rand *r = &w->rand;

    p->calm = rand_chance(r, 1, 4);
    if (p->calm) {
        p->weather = sim_options_default();
        p->weather.lent_strict = true;
        p->weather.latency_max_us = PICK(r, 8, 400, 20000);
        return;
    }
    p->weather = sim_options_from_seed(w->seed);
    if (rand_chance(r, 1, 8))
        p->weather.disk_bytes = rand_between(r, 2, 8) * KIB * KIB;
    if (rand_chance(r, 1, 10))
        p->weather.write_error = some(r, 3000);
    if (rand_chance(r, 1, 8))
        p->weather.fds_max = (unsigned)PICK(r, 16, 24, 40);
    if (rand_chance(r, 2, 3))
        choose_sinks(r, &p->sinks);
    if (rand_chance(r, 1, 4))
        p->dns_fail = some(r, 3000);
}

static void choose_incidents(struct plan *p, struct rand *r)
{
    if (rand_chance(r, 1, 5))
        return;
    p->incident_kinds = 1 + (unsigned)rand_below(r, (1u << INCIDENT_COUNT) - 1);
    p->incident_count = 1 + (uint32_t)rand_below(r, rand_chance(r, 1, 4) ? INCIDENTS_MAX : 3);
    /* Mostly soon after the one before, when everything is under way; sometimes much later. */
    for (uint32_t i = 0; i < p->incident_count; i++)
        p->incident_steps[i] = rand_below(r, (uint64_t)16 << rand_below(r, 10));
}

/* ---- configuration ------------------------------------------------------------------------- */

static void write_retry(struct plan *p, struct rand *r, struct buf *out)
{
    static const uint64_t units[] = {SECOND, 5 * SECOND, MINUTE, 10 * MINUTE, HOUR};
    uint64_t unit = units[rand_below(r, ARRAY_LEN(units))];
    unsigned count = 1 + (unsigned)rand_below(r, 3);

    /* A clock that has gone back by hours makes as much more of them. */
    if (p->weather.clock_jump > 0 && unit < 10 * MINUTE)
        unit = 10 * MINUTE;
    (void)buf_append_str(out, "retry { intervals = {");
    for (unsigned i = 0; i < count; i++) {
        uint64_t interval_ms = unit * (1 + rand_below(r, 4)) * (i + 1);
        p->interval_max_ms = interval_ms > p->interval_max_ms ? interval_ms : p->interval_max_ms;
        (void)buf_printf(out, "%s\"%llus\"", i > 0 ? ", " : "",
                         (unsigned long long)(interval_ms / SECOND));
    }
    p->expire_ms = p->interval_max_ms * (1 + rand_below(r, 12));
    p->expire_bounces_ms = p->expire_ms < EXPIRE_BOUNCES ? p->expire_ms : EXPIRE_BOUNCES;
    (void)buf_printf(out, "}  expire = \"%llus\"  jitter = %u }\n",
                     (unsigned long long)(p->expire_ms / SECOND), (unsigned)PICK(r, 0, 10, 50));
}

/* tls NULL: as it comes. */
static void write_route(const struct plan *p, struct rand *r, struct buf *out, const char *pattern,
                        const char *to, const char *tls)
{
    (void)buf_printf(out, "route \"%s\" { to = %s", pattern, to);
    if (tls != NULL)
        (void)buf_printf(out, "  tls = %s", tls);
    if (rand_chance(r, 1, 3))
        (void)buf_printf(out, "  connections = %u", (unsigned)PICK(r, 1, 2, 5));
    if (rand_chance(r, 1, 4))
        (void)buf_printf(out, "  messages_per_connection = %u", (unsigned)PICK(r, 1, 2, 10));
    if (rand_chance(r, 1, 4))
        (void)buf_printf(out, "  recipients_per_message = %u", (unsigned)PICK(r, 1, 2, 3));
    if (rand_chance(r, 1, 8))
        (void)buf_printf(out, "  messages_per_minute = %u", (unsigned)PICK(r, 1, 10, 100));
    (void)buf_printf(out,
                     "  timeout { connect = \"%us\" response = \"%us\" data = \"%llus\" "
                     "idle = \"%us\" } }\n",
                     (unsigned)PICK(r, 5, 30, 30), (unsigned)PICK(r, 10, 60, 300),
                     (unsigned long long)(p->data_timeout_ms / SECOND),
                     (unsigned)PICK(r, 1, 5, 60));
}

static void write_limits(const struct plan *p, struct rand *r, struct buf *out, bool tiny)
{
    (void)buf_append_str(out, "limits { connections = 64\n");
    if (!p->calm && rand_chance(r, 1, 8))
        (void)buf_printf(out, "  connections_per_client = %u\n", (unsigned)PICK(r, 1, 2, 5));
    if (rand_chance(r, 1, 8))
        (void)buf_printf(out, "  messages_per_connection = %u\n", (unsigned)PICK(r, 1, 2, 5));
    if (rand_chance(r, 1, 8))
        (void)buf_printf(out, "  queue = \"%uM\"\n", (unsigned)PICK(r, 3, 4, 6));
    if (rand_chance(r, 1, 3) && !tiny)
        (void)buf_printf(out, "  timeout { greeting = \"%us\" command = \"%us\" data = \"%us\" }\n",
                         (unsigned)PICK(r, 5, 60, 300), (unsigned)PICK(r, 5, 60, 300),
                         (unsigned)PICK(r, 5, 60, 600));
    (void)buf_append_str(out, "}\n");
}

static const char with_tls[] =
    "tls { certificate = {\"/etc/certificate\"}  key = {\"/etc/key\"} }\n"
    "listener \"mxs\" { address = {\"10.0.0.1:465\"} role = mx  tls = implicit }\n";

void plan_write_head(const struct plan *p, struct buf *out)
{
    static const char fixed[] = "hostname = \"mx.sim.test\"\n"
                                "spool = \"/spool\"\n"
                                "control = \"/run/control\"\n"
                                "relay_from = {\"10.0.2.0/24\"}\n"
                                "domain \"box.test\" { to = \"maildir:/mail/%d/%u\" }\n"
                                "domain \"void.test\" { to = \"discard\" }\n"
                                "domain \"no.test\" { to = \"reject:nobody here\" }\n";

    (void)buf_append_str(out, fixed);
    (void)buf_printf(out,
                     "domain \"alias.test\" { to = \"reject:not expanded\" "
                     "aliases = \"/proc/self/fd/%d\" }\n",
                     p->aliases);
    (void)buf_printf(out, "verify { recipient_domain = %s }\n", p->verifies ? "yes" : "no");
    (void)buf_printf(out, "spool_segment = \"%lluK\"\n", (unsigned long long)(p->segment / KIB));
    (void)buf_printf(out, "listener \"mx\" { address = {\"10.0.0.1:25\"} role = mx%s }\n",
                     p->requires ? "  tls = required" : "");
    if (p->tls != SIM_TLS_OFF)
        (void)buf_append_str(out, with_tls);
}

static void write_routes(const struct plan *p, struct rand *r, struct buf *out)
{
    write_route(p, r, out, "a.test", "\"smtp://10.0.1.1:2525\"", p->encrypts ? "encrypt" : NULL);
    write_route(p, r, out, "b.test", "{\"smtp://10.0.1.9:2525\", \"smtp://10.0.1.2:2525\"}",
                rand_chance(r, 1, 4) ? "none" : NULL);
    if (p->tls != SIM_TLS_OFF && rand_chance(r, 1, 3))
        write_route(p, r, out, "back.test", "\"smtp://10.0.1.3:465\"",
                    "encrypt  tls_implicit = yes");
    else
        write_route(p, r, out, "back.test", "\"smtp://10.0.1.3:2525\"",
                    rand_chance(r, 1, 4) ? "opportunistic" : NULL);
    write_route(p, r, out, "*", "\"mx\"", NULL);
}

/* Other ways. (a.test keeps the host that may be told nothing in the clear.) */
static void write_other_routes(const struct plan *p, struct rand *r, struct buf *out)
{
    write_route(p, r, out, "a.test", "{\"smtp://10.0.1.9:2525\", \"smtp://10.0.1.1:2525\"}",
                p->encrypts ? "encrypt" : NULL);
    write_route(p, r, out, "b.test", "\"smtp://10.0.1.3:2525\"", NULL);
    write_route(p, r, out, "back.test", "\"smtp://10.0.1.2:2525\"", NULL);
    write_route(p, r, out, "one.mx.test", "\"smtp://10.0.1.2:2525\"", NULL);
    write_route(p, r, out, "*", "\"mx\"", NULL);
}

static void write_conf(struct plan *p, struct rand *r, bool tiny)
{
    struct buf tail = {0};

    p->data_timeout_ms = PICK(r, 30, 60, 600) * SECOND;
    plan_write_head(p, &p->conf);
    plan_write_head(p, &p->other_conf);
    write_routes(p, r, &p->conf);
    write_retry(p, r, &tail);
    write_limits(p, r, &tail, tiny);
    write_other_routes(p, r, &p->other_conf);
    (void)buf_append_slice(&p->conf, buf_slice(&tail));
    (void)buf_append_slice(&p->other_conf, buf_slice(&tail));
    buf_finish(&tail);
}

static void open_aliases(struct plan *p)
{
    p->aliases = memfd_create("aliases", 0);
    bool ok = p->aliases >= 0 && fchmod(p->aliases, 0600) == 0; /* or it would not be trusted */
    ASSERT(ok);
}

void plan_make(struct world *w)
{
    struct plan *p = &w->plan;
    struct rand *r = &w->rand;
    bool tiny;

    buf_init(&p->conf, 0);
    buf_init(&p->other_conf, 0);
    open_aliases(p);
    if (days_wanted(w->seed)) {
        days_plan(w);
        return;
    }
    choose_weather(w);
    if (rand_chance(r, 1, 2))
        p->tls = SIM_TLS_NULL;
    if (w->seed % 25 == 0) /* they are slow */
        p->tls = w->seed % 50 == 0 ? SIM_TLS_HEAVY : SIM_TLS_REAL;
    p->requires = p->tls != SIM_TLS_OFF && rand_chance(r, 1, 4);
    p->encrypts = p->tls != SIM_TLS_OFF && rand_chance(r, 1, 3);
    p->verifies = rand_chance(r, 1, 3);
    tiny = p->weather.recv_buffer_len < TINY || p->weather.link_buffer_len < TINY;
    p->shards = 1 + (unsigned)rand_below(r, SHARDS_MAX);
    p->segment = PICK(r, 256, 256, 512, 1024) * KIB;
    p->staging.batch_slots = (uint32_t)PICK(r, 4, 8, 32);
    p->staging.batch_slot_len = (uint32_t)PICK(r, 32, 64, 128) * KIB;
    p->staging.extent_slots = (uint32_t)PICK(r, 2, 4, 16);
    p->staging.extent_slot_len = (uint32_t)PICK(r, 16, 64) * KIB;
    p->staging.writer_memory_max = rand_chance(r, 1, 4) ? 256 * KIB : 0;
    p->staging.checkpoint_bytes = PICK(r, 0, 8, 64) * KIB;
    p->staging.spares = (unsigned)PICK(r, 0, 1, 4);
    p->reopen = rand_chance(r, 1, 3);
    write_conf(p, r, tiny);
    choose_incidents(p, r);
    choose_messages(w, tiny);
}

/* ---- a scenario for the exhaustive mode ---------------------------------------------------- */

static void add_fixed(struct world *w, size_t size, const enum fate *fates, uint32_t count)
{
    struct message *m = &w->model.messages[w->model.message_count];

    m->rcpt_count = count;
    for (uint32_t i = 0; i < count; i++) {
        m->rcpts[i].fate = (uint8_t)fates[i];
        m->rcpts[i].later = 1;
        (void)snprintf(m->rcpts[i].address, ADDRESS_SIZE, "r%u.%u@%s", w->model.message_count, i,
                       domain_for(&w->rand, fates[i]));
    }
    m->number = w->model.message_count++;
    m->sender_fate = FATE_TAKE;
    (void)snprintf(m->sender, ADDRESS_SIZE, "s%u@back.test", m->number);
    for (uint32_t i = 0; i < count; i++)
        (void)add_name(m, m->rcpts[i].address, 1u << i);
    make_body(&w->rand, m, size);
    make_wire(m);
}

void plan_make_fixed(struct world *w)
{
    static const char conf[] =
        "hostname = \"mx.sim.test\"  spool = \"/spool\"  spool_segment = \"256K\"\n"
        "control = \"/run/control\"  relay_from = {\"10.0.2.0/24\"}\n"
        "verify { recipient_domain = no }\n"
        "listener \"mx\" { address = {\"10.0.0.1:25\"} }\n"
        "domain \"box.test\" { to = \"maildir:/mail/%%d/%%u\" }\n"
        "domain \"void.test\" { to = \"discard\" }\n"
        "domain \"alias.test\" { to = \"reject:not expanded\" aliases = \"/proc/self/fd/%d\" }\n"
        "route \"a.test\" { to = \"smtp://10.0.1.1:2525\" tls = encrypt }\n"
        "route \"b.test\" { to = {\"smtp://10.0.1.9:2525\", \"smtp://10.0.1.2:2525\"} }\n"
        "route \"back.test\" { to = \"smtp://10.0.1.3:2525\" }\n"
        "retry { intervals = {\"5s\"}  expire = \"20s\"  jitter = 0 }\n"
        "limits { connections = 64 }\n";
    struct plan *p = &w->plan;

    *p = (struct plan){.shards = 2,
                       .segment = 256 * KIB,
                       .tls = SIM_TLS_NULL,
                       .encrypts = true,
                       .calm = true,
                       .expire_ms = 20 * SECOND,
                       .interval_max_ms = 5 * SECOND,
                       .data_timeout_ms = 600 * SECOND,
                       .weather = sim_options_default(),
                       .reopen = true,
                       .client_count = 2};
    p->weather.lent_strict = true;
    p->staging = (struct spool_options){.batch_slots = 4,
                                        .batch_slot_len = 64 * KIB,
                                        .extent_slots = 2,
                                        .extent_slot_len = 16 * KIB};
    open_aliases(p);
    (void)buf_printf(&p->conf, conf, p->aliases);
    (void)buf_append_str(&p->conf, with_tls);
    (void)buf_append_slice(&p->other_conf, buf_slice(&p->conf));
    add_fixed(w, 600, (enum fate[]){FATE_TAKE, FATE_MAILDIR}, 2);
    add_fixed(w, 0, (enum fate[]){FATE_LATER, FATE_REFUSE}, 2);
    add_fixed(w, 90 * KIB, (enum fate[]){FATE_TAKE, FATE_NOWHERE, FATE_MAILDIR}, 3);
    add_fixed(w, 300, (enum fate[]){FATE_NEVER, FATE_DISCARD}, 2);
    /* The first is named by an alias for both, whose expansion is to be told, and one of them once more. */
    w->model.messages[0].name_count = 0;
    add_alias(&w->model.messages[0], 3, false, p->aliases);
    w->model.messages[0].names[0].notify = SMTP_NOTIFY_SUCCESS | SMTP_NOTIFY_FAILURE;
    add_once_more(&w->model.messages[0], 1);
    p->clients[0] = (struct client_plan){.first = 0, .count = 2, .pipelined = true, .chunk = 4096};
    p->clients[1] =
        (struct client_plan){.first = 2, .count = 2, .chunk = 60000, .tls = CLIENT_STARTTLS};
}

void plan_finish(struct plan *p)
{
    buf_finish(&p->conf);
    buf_finish(&p->other_conf);
    (void)close(p->aliases);
}
