/*
 * dns_cache: entries are found by kind and name from the moment they are asked for, so that equal
 * questions meet, until they are the longest unused of too many. An entry that has expired is replaced
 * when it is asked for again; whoever still holds it keeps its answer.
 */
#include "base_mem.h"
#include "dns_priv.h"

void dns_part_finish(struct dns_part *p)
{
    buf_finish(&p->records);
    mem_free(p->canonical);
    p->canonical = NULL;
}

bool dns_part_add_text(struct dns_part *p, struct slice data)
{
    uint16_t len = (uint16_t)data.len;

    ASSERT(data.len <= UINT16_MAX);
    if (buf_len(&p->records) + sizeof(len) + data.len > DNS_TEXTS_SIZE_MAX)
        return false;
    return buf_append(&p->records, &len, sizeof(len)) && buf_append_slice(&p->records, data);
}

static uint64_t key_hash(enum dns_kind kind, const char *name)
{
    return hash_bytes(slice_str(name)) + (uint64_t)kind;
}

struct key {
    enum dns_kind kind;
    const char *name;
};

static bool key_matches(const struct hash_node *node, const void *key_of)
{
    const struct dns_entry *e = container_of(node, struct dns_entry, by_name);
    const struct key *key = key_of;

    return e->kind == key->kind && strcmp(e->name, key->name) == 0;
}

struct dns_entry *dns_entry_find(struct dns *d, enum dns_kind kind, const char *name)
{
    struct key key = {kind, name};
    struct hash_node *node = hash_table_find(&d->table, key_hash(kind, name), key_matches, &key);

    return node != NULL ? container_of(node, struct dns_entry, by_name) : NULL;
}

struct dns_entry *dns_entry_create(struct dns *d, enum dns_kind kind, const char *name)
{
    size_t size = strlen(name) + 1;
    struct dns_entry *e = mem_zalloc(sizeof(*e) + size);

    e->dns = d;
    e->kind = (uint8_t)kind;
    memcpy(e->name, name, size);
    e->answer.canonical = e->name;
    list_init(&e->by_use);
    list_init(&e->queries);
    return e;
}

static void entry_free(struct dns_entry *e)
{
    mem_free((void *)(uintptr_t)e->answer.mx);
    mem_free((void *)(uintptr_t)e->answer.addresses);
    mem_free((void *)(uintptr_t)e->answer.tlsa);
    mem_free((void *)(uintptr_t)e->answer.txt);
    if (e->answer.canonical != e->name)
        mem_free((void *)(uintptr_t)e->answer.canonical);
    dns_part_finish(&e->parts[0]);
    dns_part_finish(&e->parts[1]);
    mem_free(e);
}

void dns_entry_hold(struct dns_entry *e)
{
    e->references++;
}

void dns_entry_drop(struct dns_entry *e)
{
    ASSERT(e->references > 0);
    e->references--;
    if (e->references == 0) {
        ASSERT(!e->tabled && e->parts_left == 0);
        entry_free(e);
    }
}

void dns_entry_table(struct dns_entry *e)
{
    e->tabled = true;
    dns_entry_hold(e);
    hash_table_insert(&e->dns->table, &e->by_name, key_hash((enum dns_kind)e->kind, e->name));
}

void dns_entry_forget(struct dns_entry *e)
{
    ASSERT(e->tabled && e->parts_left == 0);
    e->tabled = false;
    hash_table_remove(&e->dns->table, &e->by_name);
    if (list_linked(&e->by_use)) {
        list_remove(&e->by_use);
        e->dns->cached--;
    }
    dns_entry_drop(e);
}

void dns_entry_used(struct dns_entry *e)
{
    if (!list_linked(&e->by_use))
        return; /* fixed */
    list_remove(&e->by_use);
    list_push_back(&e->dns->by_use, &e->by_use);
}

/* ---- an answer out of its parts ------------------------------------------------------------- */

static size_t records(const struct dns_part *p, size_t size, size_t max)
{
    size_t count = buf_len(&p->records) / size;

    return count < max ? count : max;
}

/* Equal preferences stay in the server's order, which may be meant to spread the load. */
static void settle_mx(struct dns_entry *e)
{
    const struct dns_mx *found = (const void *)buf_slice(&e->parts[0].records).data;
    size_t count = records(&e->parts[0], sizeof(*found), DNS_RECORDS_MAX);
    uint16_t order[DNS_RECORDS_MAX];
    struct dns_mx *mx;

    e->status = e->parts[0].status;
    if (e->status != DNS_OK)
        return;
    for (size_t i = 0; i < count; i++) {
        size_t at = i;
        for (; at > 0 && found[order[at - 1]].preference > found[i].preference; at--)
            order[at] = order[at - 1];
        order[at] = (uint16_t)i;
    }
    if (count > DNS_MX_MAX)
        count = DNS_MX_MAX;
    mx = mem_calloc(count, sizeof(*mx));
    for (size_t i = 0; i < count; i++)
        mx[i] = found[order[i]];
    e->answer.mx = mx;
    e->answer.mx_count = (uint32_t)count;
}

static enum dns_status addresses_status(const struct dns_part *a, const struct dns_part *b)
{
    if (a->status == DNS_OK || b->status == DNS_OK)
        return DNS_OK;
    if (a->status == DNS_TEMPORARY || b->status == DNS_TEMPORARY)
        return DNS_TEMPORARY;
    return a->status == b->status ? a->status : DNS_NO_DATA;
}

static void settle_addresses(struct dns_entry *e)
{
    struct ip_addr *addresses;
    size_t count = 0;

    e->status = addresses_status(&e->parts[0], &e->parts[1]);
    if (e->status != DNS_OK)
        return;
    addresses = mem_calloc(2 * (size_t)DNS_ADDRESSES_MAX, sizeof(*addresses));
    for (int p = 1; p >= 0; p--) { /* IPv6 first */
        size_t more = records(&e->parts[p], sizeof(*addresses), DNS_ADDRESSES_MAX);
        if (e->parts[p].status == DNS_OK && more > 0)
            memcpy(addresses + count, buf_slice(&e->parts[p].records).data,
                   more * sizeof(*addresses));
        count += e->parts[p].status == DNS_OK ? more : 0;
    }
    e->answer.addresses = mem_realloc(addresses, count * sizeof(*addresses));
    e->answer.address_count = (uint32_t)count;
}

/* Takes the next record's data off the front of what dns_part_add_text() wrote. */
static bool next_text(struct slice *records, struct slice *out)
{
    uint16_t len;

    if (records->len == 0)
        return false;
    ASSERT(records->len >= sizeof(len));
    memcpy(&len, records->data, sizeof(len));
    slice_advance(records, sizeof(len));
    ASSERT(records->len >= len);
    *out = slice_head(*records, len);
    slice_advance(records, len);
    return true;
}

/* One piece of memory: the array, and behind it the data. */
static void *settle_texts(struct dns_entry *e, size_t item_size, uint32_t *out_count,
                          void (*put)(void *item, struct slice data))
{
    struct slice records = buf_slice(&e->parts[0].records), data;
    uint32_t count = 0;
    uint8_t *items, *bytes;

    while (count < DNS_TEXTS_MAX && next_text(&records, &data))
        count++;
    items = mem_zalloc(count * item_size + buf_len(&e->parts[0].records));
    bytes = items + count * item_size;
    records = buf_slice(&e->parts[0].records);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(next_text(&records, &data));
        if (data.len > 0)
            memcpy(bytes, data.data, data.len);
        put(items + i * item_size, slice_of(bytes, data.len));
        bytes += data.len;
    }
    *out_count = count;
    return items;
}

static void put_txt(void *item, struct slice data)
{
    *(struct slice *)item = data;
}

static void put_tlsa(void *item, struct slice data)
{
    ASSERT(data.len >= 3);
    *(struct dns_tlsa *)item = (struct dns_tlsa){.usage = data.data[0],
                                                 .selector = data.data[1],
                                                 .matching = data.data[2],
                                                 .data = slice_of(data.data + 3, data.len - 3)};
}

static void settle_part(struct dns_entry *e)
{
    e->status = e->parts[0].status;
    if (e->status != DNS_OK)
        return;
    if (e->kind == DNS_KIND_TLSA)
        e->answer.tlsa = settle_texts(e, sizeof(struct dns_tlsa), &e->answer.tlsa_count, put_tlsa);
    else if (e->kind == DNS_KIND_TXT)
        e->answer.txt = settle_texts(e, sizeof(struct slice), &e->answer.txt_count, put_txt);
}

/* All that the answer is made of is validated. Of addresses, what one family's absence was worth counts
 * only where there is nothing else. */
static bool entry_secure(const struct dns_entry *e, uint32_t count)
{
    if (e->status == DNS_TEMPORARY)
        return false;
    for (uint32_t p = 0; p < count; p++) {
        if ((e->status != DNS_OK || e->parts[p].status == DNS_OK) && !e->parts[p].secure)
            return false;
    }
    return true;
}

static void settle_canonical(struct dns_entry *e, uint32_t count)
{
    for (uint32_t p = 0; p < count && e->status == DNS_OK; p++) {
        if (e->parts[p].status != DNS_OK || e->parts[p].canonical == NULL)
            continue;
        e->answer.canonical = e->parts[p].canonical;
        e->parts[p].canonical = NULL;
        return;
    }
}

static uint32_t part_count(const struct dns_entry *e)
{
    return e->kind == DNS_KIND_ADDRESSES ? 2 : 1;
}

static uint32_t part_ttl_s(const struct dns_part *p)
{
    uint32_t max = p->status == DNS_OK          ? DNS_TTL_MAX_S
                   : p->status == DNS_TEMPORARY ? DNS_TTL_TEMPORARY_S
                                                : DNS_TTL_NEGATIVE_MAX_S;
    uint32_t ttl_s = p->ttl_s < DNS_TTL_MIN_S ? DNS_TTL_MIN_S : p->ttl_s;

    return ttl_s < max ? ttl_s : max;
}

/* As long as all of it is good. Of addresses, that one family has none counts for nothing beside those
 * of the other; but if that is only not known, it is asked again before long. */
static uint32_t entry_ttl_s(const struct dns_entry *e)
{
    uint32_t count = part_count(e), least = DNS_TTL_MAX_S;
    bool half = false;

    for (uint32_t p = 0; p < count; p++) {
        uint32_t ttl_s = part_ttl_s(&e->parts[p]);
        half |= e->status == DNS_OK && e->parts[p].status == DNS_TEMPORARY;
        if ((e->status != DNS_OK || e->parts[p].status == DNS_OK) && ttl_s < least)
            least = ttl_s;
    }
    return half && least > DNS_TTL_HALF_S ? DNS_TTL_HALF_S : least;
}

void dns_entry_settle(struct dns_entry *e)
{
    struct dns *d = e->dns;

    ASSERT(e->parts_left == 0 && e->tabled);
    if (e->kind == DNS_KIND_MX)
        settle_mx(e);
    else if (e->kind == DNS_KIND_ADDRESSES)
        settle_addresses(e);
    else
        settle_part(e);
    e->secure = d->trusted && entry_secure(e, part_count(e));
    settle_canonical(e, part_count(e));
    ASSERT(e->status != DNS_OK || e->kind == DNS_KIND_ALIAS
           || e->answer.mx_count + e->answer.address_count + e->answer.tlsa_count
                      + e->answer.txt_count
                  > 0);
    e->expires_ms = io_now_ms(d->io) + (uint64_t)entry_ttl_s(e) * 1000;
    dns_part_finish(&e->parts[0]);
    dns_part_finish(&e->parts[1]);
    list_push_back(&d->by_use, &e->by_use);
    d->cached++;
    while (d->cached > d->cache_max)
        dns_entry_forget(container_of(d->by_use.next, struct dns_entry, by_use));
}

void dns_entry_fix(struct dns *d, const char *name, const struct ip_addr *ip)
{
    struct dns_entry *e = dns_entry_find(d, DNS_KIND_ADDRESSES, name);
    struct ip_addr *all;
    uint32_t at = 0;

    if (e == NULL) {
        e = dns_entry_create(d, DNS_KIND_ADDRESSES, name);
        e->expires_ms = UINT64_MAX;
        dns_entry_table(e);
    }
    if (e->answer.address_count == DNS_ADDRESSES_MAX)
        return;
    all = mem_realloc((void *)(uintptr_t)e->answer.addresses,
                      (e->answer.address_count + 1) * sizeof(*all));
    while (at < e->answer.address_count && (ip_is_v4(ip) || !ip_is_v4(&all[at])))
        at++;
    memmove(all + at + 1, all + at, (e->answer.address_count - at) * sizeof(*all));
    all[at] = *ip;
    e->answer.addresses = all;
    e->answer.address_count++;
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool free_node(struct hash_node *node, void *context)
{
    struct dns_entry *e = container_of(node, struct dns_entry, by_name);

    (void)context;
    hash_table_remove(&e->dns->table, node);
    entry_free(e);
    return true;
}

void dns_cache_finish(struct dns *d)
{
    hash_table_each(&d->table, free_node, NULL);
    hash_table_finish(&d->table);
}
