/*
 * report_table: sessions by policy, failures by what they were like. As text: a line each, words between
 * single blanks, everything that is no plain character as %XX, the whole under a checksum.
 */
#include <stdio.h>

#include "base_crc32c.h"
#include "base_mem.h"
#include "report_priv.h"

enum { WORDS_MAX = 9 };

static const char *const result_names[] = {
    [REPORT_SUCCESS] = "success",
    [REPORT_STARTTLS_NOT_SUPPORTED] = "starttls-not-supported",
    [REPORT_CERTIFICATE_HOST_MISMATCH] = "certificate-host-mismatch",
    [REPORT_CERTIFICATE_EXPIRED] = "certificate-expired",
    [REPORT_CERTIFICATE_NOT_TRUSTED] = "certificate-not-trusted",
    [REPORT_VALIDATION_FAILURE] = "validation-failure",
    [REPORT_TLSA_INVALID] = "tlsa-invalid",
    [REPORT_DNSSEC_INVALID] = "dnssec-invalid",
    [REPORT_DANE_REQUIRED] = "dane-required",
    [REPORT_STS_POLICY_FETCH_ERROR] = "sts-policy-fetch-error",
    [REPORT_STS_POLICY_INVALID] = "sts-policy-invalid",
    [REPORT_STS_WEBPKI_INVALID] = "sts-webpki-invalid",
};
_Static_assert(ARRAY_LEN(result_names) == REPORT_RESULT_COUNT, "a name each");

static const char *const type_names[] = {
    [REPORT_NO_POLICY] = "no-policy-found",
    [REPORT_STS] = "sts",
    [REPORT_TLSA] = "tlsa",
};

const char *report_result_name(enum report_result result)
{
    return result_names[result];
}

const char *report_type_name(enum report_policy_type type)
{
    return type_names[type];
}

/* ---- rows ----------------------------------------------------------------------------------- */

struct key {
    enum report_policy_type type;
    struct slice domain, policy, mx;
};

static uint64_t key_hash(const struct key *k)
{
    return hash_bytes_nocase(k->domain) + 3 * hash_bytes(k->policy) + 5 * hash_bytes(k->mx)
           + (uint64_t)k->type;
}

static bool key_matches(const struct hash_node *node, const void *key_of)
{
    const struct report_policy *p = container_of(node, struct report_policy, by_key);
    const struct key *k = key_of;

    return p->type == k->type && slice_equal_nocase(p->domain, k->domain)
           && slice_equal(p->policy, k->policy) && slice_equal(p->mx, k->mx);
}

static struct slice put(uint8_t **at, struct slice s)
{
    struct slice copy = slice_of(*at, s.len);

    if (s.len > 0)
        memcpy(*at, s.data, s.len);
    *at += s.len;
    return copy;
}

/* Whether there is room for one more row of this size; then it is taken. */
static bool take_room(struct report_table *t, size_t size)
{
    if (t->rows >= t->rows_max || size > t->bytes_max - t->bytes) {
        t->dropped++;
        return false;
    }
    t->rows++;
    t->bytes += size;
    return true;
}

static struct report_policy *find_policy(struct report_table *t, const struct key *k)
{
    struct hash_node *node = hash_table_find(&t->policies, key_hash(k), key_matches, k);
    size_t size = sizeof(struct report_policy) + k->domain.len + k->policy.len + k->mx.len;
    struct report_policy *p;
    uint8_t *at;

    if (node != NULL)
        return container_of(node, struct report_policy, by_key);
    if (!take_room(t, size))
        return NULL;
    p = mem_alloc(size);
    *p = (struct report_policy){.type = k->type};
    at = p->text;
    p->domain = put(&at, k->domain);
    for (size_t i = 0; i < p->domain.len; i++) {
        uint8_t c = p->text[i];
        p->text[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + ('a' - 'A')) : c;
    }
    p->policy = put(&at, k->policy);
    p->mx = put(&at, k->mx);
    list_init(&p->failures);
    list_init(&p->node);
    list_push_back(&t->order, &p->node);
    hash_table_insert(&t->policies, &p->by_key, key_hash(k));
    return p;
}

static size_t failure_size(const struct report_failure *f)
{
    return sizeof(*f) + f->mx_host.len + f->helo.len + f->information.len + f->reason.len;
}

static bool same_failure(const struct report_failure *a, const struct report_failure *b)
{
    return a->result == b->result && a->has_sending == b->has_sending
           && a->has_receiving == b->has_receiving
           && memcmp(&a->sending, &b->sending, sizeof(a->sending)) == 0
           && memcmp(&a->receiving, &b->receiving, sizeof(a->receiving)) == 0
           && slice_equal(a->mx_host, b->mx_host) && slice_equal(a->helo, b->helo)
           && slice_equal(a->information, b->information) && slice_equal(a->reason, b->reason);
}

/* `like` is a row whose texts are somebody else's. */
static void add_failure(struct report_table *t, struct report_policy *p,
                        const struct report_failure *like)
{
    struct report_failure *f;
    uint8_t *at;

    LIST_EACH(&p->failures, node)
    {
        f = container_of(node, struct report_failure, node);
        if (same_failure(f, like)) {
            f->count += like->count;
            return;
        }
    }
    if (p->failure_count >= REPORT_FAILURES_MAX) {
        t->dropped++;
        return;
    }
    if (!take_room(t, failure_size(like)))
        return;
    f = mem_alloc(failure_size(like));
    *f = *like;
    at = f->text;
    f->mx_host = put(&at, like->mx_host);
    f->helo = put(&at, like->helo);
    f->information = put(&at, like->information);
    f->reason = put(&at, like->reason);
    list_init(&f->node);
    list_push_back(&p->failures, &f->node);
    p->failure_count++;
}

/* As many whole lines as fit. */
static struct slice cut_lines(struct slice s)
{
    while (s.len > 0 && s.data[s.len - 1] == '\n')
        s.len--;
    if (s.len <= REPORT_POLICY_MAX)
        return s;
    s.len = REPORT_POLICY_MAX;
    while (s.len > 0 && s.data[s.len] != '\n')
        s.len--;
    return s;
}

/* What a report, its mail and the name of its file can hold. */
static bool is_domain(struct slice s)
{
    for (size_t i = 0; i < s.len; i++) {
        uint8_t c = s.data[i];
        if (!(c >= '0' && c <= '9') && !(c >= 'a' && c <= 'z') && !(c >= 'A' && c <= 'Z')
            && c != '-' && c != '_' && c != '.')
            return false;
    }
    return s.len > 0 && s.len < DNS_NAME_MAX - sizeof("_smtp._tls.");
}

void report_table_add(struct report_table *t, const struct report_session *session)
{
    struct report_failure like = {.result = session->result,
                                  .count = 1,
                                  .mx_host = slice_head(session->mx_host, REPORT_TEXT_MAX),
                                  .helo = slice_head(session->helo, REPORT_TEXT_MAX),
                                  .information = slice_head(session->information, REPORT_TEXT_MAX),
                                  .reason = slice_head(session->reason, REPORT_TEXT_MAX)};
    struct report_policy *p;
    struct buf mx;

    ASSERT(session->result < REPORT_RESULT_COUNT);
    if (!is_domain(session->domain))
        return;
    buf_init(&mx, 0);
    for (size_t i = 0; i < session->mx_count && buf_len(&mx) < REPORT_POLICY_MAX; i++)
        (void)buf_printf(&mx, "%s%.*s", i > 0 ? "\n" : "", SLICE_ARG(session->mx[i]));
    p = find_policy(t, &(struct key){session->type, session->domain, cut_lines(session->policy),
                                     cut_lines(buf_slice(&mx))});
    buf_finish(&mx);
    if (p == NULL)
        return;
    if (session->result == REPORT_SUCCESS) {
        p->successful++;
        return;
    }
    p->failed++;
    if (session->sending_ip != NULL) {
        like.has_sending = true;
        like.sending = *session->sending_ip;
    }
    if (session->receiving_ip != NULL) {
        like.has_receiving = true;
        like.receiving = *session->receiving_ip;
    }
    add_failure(t, p, &like);
}

/* ---- the table ------------------------------------------------------------------------------ */

void report_table_init(struct report_table *t, uint32_t rows_max, uint64_t bytes_max)
{
    *t = (struct report_table){.rows_max = rows_max, .bytes_max = bytes_max};
    hash_table_init(&t->policies);
    list_init(&t->order);
}

void report_table_remove(struct report_table *t, struct report_policy *p)
{
    struct list *node;

    while ((node = list_pop_front(&p->failures)) != NULL) {
        struct report_failure *f = container_of(node, struct report_failure, node);
        t->rows--;
        t->bytes -= failure_size(f);
        mem_free(f);
    }
    t->rows--;
    t->bytes -= sizeof(*p) + p->domain.len + p->policy.len + p->mx.len;
    hash_table_remove(&t->policies, &p->by_key);
    list_remove(&p->node);
    mem_free(p);
}

void report_table_clear(struct report_table *t)
{
    while (!list_empty(&t->order))
        report_table_remove(t, container_of(t->order.next, struct report_policy, node));
    ASSERT(t->rows == 0 && t->bytes == 0);
}

void report_table_finish(struct report_table *t)
{
    report_table_clear(t);
    hash_table_finish(&t->policies);
}

/* ---- as text -------------------------------------------------------------------------------- */

#define MAGIC "mailring-tls-results 1 crc32c="

static void write_word(struct buf *out, struct slice word)
{
    (void)buf_append_byte(out, ' ');
    if (word.len == 0)
        (void)buf_append_byte(out, '-');
    for (size_t i = 0; i < word.len; i++) {
        uint8_t c = word.data[i];
        if (c <= ' ' || c >= 0x7f || c == '%' || (c == '-' && word.len == 1))
            (void)buf_printf(out, "%%%02X", c);
        else
            (void)buf_append_byte(out, c);
    }
}

static void write_ip(struct buf *out, bool has, const struct ip_addr *ip)
{
    char text[IP_TEXT_SIZE] = "";

    if (has)
        ip_format(ip, text);
    write_word(out, slice_str(text));
}

static void write_policy(struct buf *out, const struct report_policy *p)
{
    (void)buf_printf(out, "policy %s %llu %llu", report_type_name(p->type),
                     (unsigned long long)p->successful, (unsigned long long)p->failed);
    write_word(out, p->domain);
    write_word(out, p->policy);
    write_word(out, p->mx);
    (void)buf_append_byte(out, '\n');
    LIST_EACH(&p->failures, node)
    {
        const struct report_failure *f = container_of(node, struct report_failure, node);
        (void)buf_printf(out, "failure %s %llu", report_result_name(f->result),
                         (unsigned long long)f->count);
        write_ip(out, f->has_sending, &f->sending);
        write_ip(out, f->has_receiving, &f->receiving);
        write_word(out, f->mx_host);
        write_word(out, f->helo);
        write_word(out, f->information);
        write_word(out, f->reason);
        (void)buf_append_byte(out, '\n');
    }
}

void report_table_write(const struct report_table *t, struct buf *out)
{
    struct buf rest;

    buf_init(&rest, 0);
    (void)buf_printf(&rest, "period %llu %llu\n", (unsigned long long)t->start_s,
                     (unsigned long long)t->end_s);
    LIST_EACH(&t->order, node)
    write_policy(&rest, container_of(node, struct report_policy, node));
    (void)buf_printf(out, MAGIC "%08x\n",
                     (unsigned)crc32c(0, buf_slice(&rest).data, buf_len(&rest)));
    (void)buf_append_slice(out, buf_slice(&rest));
    buf_finish(&rest);
}

/* ---- and back ------------------------------------------------------------------------------- */

/* A file being read: words of the line, undone in place. */
struct reading {
    struct report_table *table;
    struct report_policy *policy; /* of the last policy line; NULL: no room for it */
    uint8_t *bytes;
    struct slice words[WORDS_MAX];
    size_t count;
};

static int hex(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Shorter than before, so it fits where it was. False: not what write_word() writes. */
static bool undo_word(uint8_t *word, size_t len, struct slice *out)
{
    size_t to = 0;

    if (len == 1 && word[0] == '-') {
        *out = SLICE_NULL;
        return true;
    }
    for (size_t i = 0; i < len; i++) {
        if (word[i] != '%') {
            word[to++] = word[i];
            continue;
        }
        if (len - i < 3 || hex(word[i + 1]) < 0 || hex(word[i + 2]) < 0)
            return false;
        word[to++] = (uint8_t)(hex(word[i + 1]) << 4 | hex(word[i + 2]));
        i += 2;
    }
    *out = slice_of(word, to);
    return len > 0;
}

static bool split(struct reading *r, uint8_t *line, size_t len)
{
    size_t begin = 0;

    r->count = 0;
    for (size_t i = 0; i <= len; i++) {
        if (i < len && line[i] != ' ')
            continue;
        if (r->count == WORDS_MAX || !undo_word(line + begin, i - begin, &r->words[r->count++]))
            return false;
        begin = i + 1;
    }
    return true;
}

static bool find_name(struct slice word, const char *const *names, size_t count, unsigned *out)
{
    for (size_t i = 0; i < count; i++) {
        if (slice_equal(word, slice_str(names[i]))) {
            *out = (unsigned)i;
            return true;
        }
    }
    return false;
}

static bool read_ip(struct slice word, bool *out_has, struct ip_addr *out)
{
    *out_has = word.len > 0;
    return word.len == 0 || ip_parse(word, out);
}

static bool read_period(struct reading *r)
{
    uint64_t start_s, end_s;

    if (r->count != 3 || !slice_to_u64(r->words[1], &start_s) || !slice_to_u64(r->words[2], &end_s))
        return false;
    if (r->table->start_s == 0 || start_s < r->table->start_s)
        r->table->start_s = start_s;
    if (end_s > r->table->end_s)
        r->table->end_s = end_s;
    return true;
}

static bool read_policy(struct reading *r)
{
    uint64_t successful, failed;
    unsigned type;
    struct key k;

    if (r->count != 7 || !find_name(r->words[1], type_names, ARRAY_LEN(type_names), &type)
        || !slice_to_u64(r->words[2], &successful) || !slice_to_u64(r->words[3], &failed)
        || !is_domain(r->words[4]) || r->words[5].len > REPORT_POLICY_MAX
        || r->words[6].len > REPORT_POLICY_MAX)
        return false;
    k = (struct key){(enum report_policy_type)type, r->words[4], r->words[5], r->words[6]};
    r->policy = find_policy(r->table, &k);
    if (r->policy != NULL) {
        r->policy->successful += successful;
        r->policy->failed += failed;
    }
    return true;
}

static bool read_failure(struct reading *r)
{
    struct report_failure like = {.mx_host = r->words[5],
                                  .helo = r->words[6],
                                  .information = r->words[7],
                                  .reason = r->words[8]};
    unsigned result;

    if (r->count != 9 || !find_name(r->words[1], result_names, ARRAY_LEN(result_names), &result)
        || !slice_to_u64(r->words[2], &like.count)
        || !read_ip(r->words[3], &like.has_sending, &like.sending)
        || !read_ip(r->words[4], &like.has_receiving, &like.receiving))
        return false;
    for (size_t i = 5; i < 9; i++) {
        if (r->words[i].len > REPORT_TEXT_MAX)
            return false;
    }
    like.result = (enum report_result)result;
    if (r->policy != NULL)
        add_failure(r->table, r->policy, &like);
    return true;
}

static bool read_line(struct reading *r)
{
    struct slice verb = r->words[0];

    if (slice_equal(verb, SLICE_LITERAL("policy")))
        return read_policy(r);
    if (slice_equal(verb, SLICE_LITERAL("failure")))
        return read_failure(r);
    return slice_equal(verb, SLICE_LITERAL("period")) && read_period(r);
}

bool report_table_read(struct report_table *t, struct slice text)
{
    struct reading r = {.table = t};
    char head[sizeof(MAGIC) + 8];
    ptrdiff_t end = slice_find(text, '\n');
    struct slice rest = text, first;
    bool good = true;

    if (end < 0)
        return false;
    first = slice_head(text, (size_t)end);
    slice_advance(&rest, (size_t)end + 1);
    (void)snprintf(head, sizeof(head), MAGIC "%08x", (unsigned)crc32c(0, rest.data, rest.len));
    if (!slice_equal(first, slice_str(head)))
        return false; /* from here on it is what we wrote, or somebody who can count */
    r.bytes = mem_dup(rest.data, rest.len);
    for (uint8_t *at = r.bytes; good && at < r.bytes + rest.len;) {
        size_t left = rest.len - (size_t)(at - r.bytes);
        uint8_t *stop = memchr(at, '\n', left);
        good = stop != NULL && split(&r, at, (size_t)(stop - at)) && read_line(&r);
        at = stop != NULL ? stop + 1 : at;
    }
    mem_free(r.bytes);
    return good;
}
