/*
 * dns_resolver: c-ares chooses the server, repeats, and goes over to TCP when an answer is cut; we give it
 * sockets and time, make the questions, because c-ares' own do not ask whether the answer is validated
 * (the AD bit, RFC 6840 5.7), and read the replies, because its parsers drop what a cache needs (the TTL
 * of MX, the SOA of an absence).
 *
 * c-ares' tries are chosen so that they end within the time for a question, but a server that comes
 * back over TCP may take longer. So each question has a timer of its own; c-ares, which cannot give up
 * a single question, then ends it when it likes, and nobody listens.
 */
#include "base_log.h"
#include "base_mem.h"
#include "dns_resolver_priv.h"

enum {
    SERVERS_MAX = 16,
    TIMEOUT_DEFAULT_MS = 5000,
    TRY_MIN_MS = 200,
    /* RFC 9715: an answer of this size is not fragmented on its way. */
    UDP_SIZE = 1232,
    HEADER_LEN = 12,
    HEADER_FLAGS = 3,
    FLAG_AD = 0x20,
    RCODE_FORMAT = 1,
};

/* Owned by c-ares until it calls back, always once. */
struct question {
    struct list node;
    struct dns_resolver *resolver;
    struct dns_entry *entry; /* NULL: told already */
    enum dns_type type;
    bool edns;
    struct wheel_timer deadline;
};

static struct dns_resolver *resolver_of(struct dns *d)
{
    return container_of(d, struct dns_resolver, dns);
}

/* ---- time ----------------------------------------------------------------------------------- */

/* c-ares looks through all its questions for the next time, so it is not asked at each of them: a timer
 * that is set is early enough, since a later question's try ends later. */
void dns_resolver_rearm(struct dns_resolver *r)
{
    struct timeval time;
    const struct timeval *next;

    if (wheel_timer_is_set(&r->timer))
        return;
    next = ares_timeout(r->channel, NULL, &time);
    if (next != NULL)
        wheel_set(r->dns.wheel, &r->timer,
                  io_now_ms(r->dns.io) + (uint64_t)next->tv_sec * 1000
                      + (uint64_t)next->tv_usec / 1000 + 1);
}

static void try_over(struct wheel_timer *timer)
{
    struct dns_resolver *r = container_of(timer, struct dns_resolver, timer);

    ares_process_fd(r->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    dns_resolver_rearm(r);
}

/* ---- questions ------------------------------------------------------------------------------ */

static void question_tell(struct question *q, struct dns_part *part)
{
    struct dns_entry *e = q->entry;

    if (e == NULL) {
        dns_part_finish(part);
        return;
    }
    q->entry = NULL;
    wheel_cancel(q->resolver->dns.wheel, &q->deadline);
    dns_answered(e, q->type, part);
}

static void question_late(struct wheel_timer *timer)
{
    struct dns_part part = {.status = DNS_TEMPORARY};

    question_tell(container_of(timer, struct question, deadline), &part);
}

static void question_send(struct question *q);

/* A server that does not know EDNS (RFC 6891 7). c-ares asks the first such without it by itself, and then
 * expects no more of them on this channel. */
static bool is_format_error(const struct question *q, struct slice reply)
{
    return q->edns && reply.len >= HEADER_LEN && (reply.data[HEADER_FLAGS] & 0x0f) == RCODE_FORMAT;
}

static void question_answered(void *context, int status, int timeouts, unsigned char *reply,
                              int reply_len)
{
    struct question *q = context;
    struct dns_part part = {.status = DNS_TEMPORARY};

    (void)timeouts;
    if (q->entry != NULL && !q->resolver->stopping && status == ARES_SUCCESS
        && is_format_error(q, slice_of(reply, (size_t)reply_len))) {
        q->edns = false;
        question_send(q);
        return;
    }
    if (q->entry != NULL
        && (status == ARES_SUCCESS || status == ARES_ENODATA || status == ARES_ENOTFOUND)
        && reply != NULL && reply_len > 0)
        dns_message_parse(slice_of(reply, (size_t)reply_len), q->type, q->entry->name, &part);
    else if (status == ARES_EBADNAME || status == ARES_ENOTFOUND)
        part = (struct dns_part){.status = DNS_NO_NAME, .ttl_s = DNS_TTL_NEGATIVE_S};
    question_tell(q, &part);
    list_remove(&q->node);
    mem_free(q);
}

static void question_send(struct question *q)
{
    enum { CLASS_IN = 1, RECURSION = 1 };
    struct dns_resolver *r = q->resolver;
    unsigned char *bytes = NULL;
    uint16_t id;
    int len = 0, status;

    io_entropy(r->dns.io, &id, sizeof(id));
    status = ares_create_query(q->entry->name, CLASS_IN, (int)q->type, id, RECURSION, &bytes, &len,
                               q->edns ? UDP_SIZE : 0);
    if (status != ARES_SUCCESS) {
        question_answered(q, status, 0, NULL, 0);
        return;
    }
    ASSERT(len > HEADER_LEN);
    bytes[HEADER_FLAGS] |= FLAG_AD;
    ares_send(r->channel, bytes, len, question_answered, q); /* copies; q may be gone then */
    ares_free_string(bytes);
}

static void resolver_ask(struct dns *d, struct dns_entry *e, enum dns_type type)
{
    struct dns_resolver *r = resolver_of(d);
    struct question *q;

    if (r->stopping) {
        dns_answered_nothing(e, type, DNS_TEMPORARY);
        return;
    }
    q = mem_zalloc(sizeof(*q));
    q->resolver = r;
    q->entry = e;
    q->type = type;
    q->edns = true;
    list_push_back(&r->questions, &q->node);
    wheel_timer_init(&q->deadline, question_late);
    wheel_set(d->wheel, &q->deadline, io_now_ms(d->io) + r->timeout_ms);
    question_send(q);
    dns_resolver_rearm(r);
}

/* ---- life ----------------------------------------------------------------------------------- */

void dns_resolver_stop(struct dns *d)
{
    struct dns_resolver *r = resolver_of(d);

    r->stopping = true;
    ares_cancel(r->channel); /* each question is answered; with the last, the sockets go */
    wheel_cancel(d->wheel, &r->timer);
    ASSERT(list_empty(&r->questions));
}

bool dns_resolver_idle(const struct dns *d)
{
    const struct dns_resolver *r = container_of(d, const struct dns_resolver, dns);

    return list_empty(&r->questions) && list_empty(&r->sockets) && list_empty(&d->ready);
}

static void resolver_destroy(struct dns *d)
{
    struct dns_resolver *r = resolver_of(d);

    ASSERT(list_empty(&r->questions) && list_empty(&r->sockets));
    ares_destroy(r->channel);
    mem_free(r);
}

static int set_servers(struct dns_resolver *r, const struct dns_resolver_options *options)
{
    struct ares_addr_port_node nodes[SERVERS_MAX];
    size_t count = options->server_count < SERVERS_MAX ? options->server_count : SERVERS_MAX;

    for (size_t i = 0; i < count; i++) {
        struct ip_addr ip;
        uint16_t port;
        if (!io_addr_to_ip(&options->servers[i], &ip, &port))
            return ARES_EBADSTR;
        nodes[i] = (struct ares_addr_port_node){.next = i + 1 < count ? &nodes[i + 1] : NULL,
                                                .family = ip_is_v4(&ip) ? AF_INET : AF_INET6,
                                                .udp_port = port,
                                                .tcp_port = port};
        if (ip_is_v4(&ip))
            memcpy(&nodes[i].addr.addr4, ip.bytes + 12, 4);
        else
            memcpy(&nodes[i].addr.addr6, ip.bytes, 16);
    }
    return count > 0 ? ares_set_servers_ports(r->channel, nodes) : ARES_SUCCESS;
}

/* ---- the channel ----------------------------------------------------------------------------- */

static size_t count_servers(struct dns_resolver *r)
{
    struct ares_addr_port_node *first = NULL;
    size_t count = 0;

    if (ares_get_servers_ports(r->channel, &first) == ARES_SUCCESS) {
        for (struct ares_addr_port_node *n = first; n != NULL; n = n->next)
            count++;
        ares_free_data(first);
    }
    return count > 0 ? count : 1;
}

/* Each server is tried twice, the second time for twice as long, so that all of it takes the time that
 * there is; an answer that comes to an earlier try counts all the same. How many servers there are is
 * only known once the channel is there, hence the second one. */
static int open_channel(struct dns_resolver *r, const struct dns_resolver_options *options,
                        uint64_t try_ms)
{
    struct ares_options o = {.flags = ARES_FLAG_EDNS | ARES_FLAG_NOSEARCH | ARES_FLAG_NOALIASES,
                             .timeout = (int)try_ms,
                             .tries = 2,
                             .ndots = 0,
                             .ednspsz = UDP_SIZE,
                             .sock_state_cb = dns_socket_state,
                             .sock_state_cb_data = r};
    int mask = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS
               | ARES_OPT_EDNSPSZ | ARES_OPT_DOMAINS | ARES_OPT_NOROTATE | ARES_OPT_SOCK_STATE_CB;
    int status = ares_init_options(&r->channel, &o, mask);

    if (status != ARES_SUCCESS)
        return status;
    ares_set_socket_functions(r->channel, &dns_socket_functions, r);
    status = set_servers(r, options);
    if (status != ARES_SUCCESS)
        ares_destroy(r->channel);
    return status;
}

static int open_with_time(struct dns_resolver *r, const struct dns_resolver_options *options)
{
    int status = open_channel(r, options, TRY_MIN_MS);
    uint64_t try_ms;

    if (status != ARES_SUCCESS)
        return status;
    try_ms = r->timeout_ms / (3 * count_servers(r));
    ares_destroy(r->channel);
    return open_channel(r, options, try_ms > TRY_MIN_MS ? try_ms : TRY_MIN_MS);
}

/* (ares_library_init() is for Windows, and for other allocators: it would only add a counter that the
 * shards race for.) */
struct dns *dns_resolver_create(struct io *io, struct wheel *wheel,
                                const struct dns_resolver_options *options, struct buf *out_error)
{
    static const struct dns_vtable vtable = {.ask = resolver_ask, .destroy = resolver_destroy};
    struct dns_resolver *r = mem_zalloc(sizeof(*r));
    int status;

    dns_front_init(&r->dns, &vtable, io, wheel, options->cache_max);
    r->timeout_ms = options->timeout_ms != 0 ? options->timeout_ms : TIMEOUT_DEFAULT_MS;
    wheel_timer_init(&r->timer, try_over);
    list_init(&r->questions);
    list_init(&r->sockets);
    status = open_with_time(r, options);
    if (status != ARES_SUCCESS) {
        (void)buf_printf(out_error, "the DNS resolver cannot start: %s", ares_strerror(status));
        dns_cache_finish(&r->dns);
        mem_free(r);
        return NULL;
    }
    r->dns.trusted = dns_trust(r, options);
    dns_hosts_read(&r->dns, "/etc/hosts");
    return &r->dns;
}
