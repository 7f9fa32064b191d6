/* See the header. */
#include "dns_reply.h"

#include <check.h>
#include <string.h>

#include "base_codec.h"

static void put16(struct buf *b, unsigned value)
{
    (void)buf_append_byte(b, (uint8_t)(value >> 8));
    (void)buf_append_byte(b, (uint8_t)value);
}

static void put32(struct buf *b, uint32_t value)
{
    put16(b, value >> 16);
    put16(b, value & 0xffff);
}

static void put_name(struct buf *b, const char *name)
{
    if (strcmp(name, "@") == 0) {
        put16(b, 0xc00c);
        return;
    }
    while (*name != '\0') {
        size_t len = strcspn(name, ".");

        (void)buf_append_byte(b, (uint8_t)len);
        (void)buf_append(b, name, len);
        name += len + (name[len] == '.');
    }
    (void)buf_append_byte(b, 0);
}

static void count_up(struct buf *b, size_t at)
{
    uint8_t *p = b->data + b->head + at;
    unsigned count = (unsigned)(p[0] << 8 | p[1]) + 1;

    p[0] = (uint8_t)(count >> 8);
    p[1] = (uint8_t)count;
}

void reply_begin(struct buf *b, uint16_t id, unsigned rcode, const char *name, uint16_t type)
{
    put16(b, id);
    put16(b, 0x8180 | rcode); /* a reply; recursion was desired and is available */
    put16(b, 1);
    put16(b, 0);
    put16(b, 0);
    put16(b, 0);
    put_name(b, name);
    put16(b, type);
    put16(b, 1);
}

void reply_truncated(struct buf *b)
{
    b->data[b->head + 2] |= 2;
}

void reply_secure(struct buf *b)
{
    b->data[b->head + 3] |= 0x20;
}

void reply_record(struct buf *b, int section, const char *owner, uint16_t type, uint32_t ttl,
                  struct slice data)
{
    put_name(b, owner);
    put16(b, type);
    put16(b, 1);
    put32(b, ttl);
    put16(b, (unsigned)data.len);
    (void)buf_append_slice(b, data);
    count_up(b, section == 0 ? 6 : 8);
}

void reply_mx(struct buf *b, const char *owner, uint32_t ttl, uint16_t preference, const char *host)
{
    struct buf data = {0};

    put16(&data, preference);
    put_name(&data, host);
    reply_record(b, 0, owner, REPLY_MX, ttl, buf_slice(&data));
    buf_finish(&data);
}

void reply_address(struct buf *b, const char *owner, uint32_t ttl, const char *text)
{
    struct ip_addr ip;

    ck_assert(ip_parse(slice_str(text), &ip));
    if (ip_is_v4(&ip))
        reply_record(b, 0, owner, REPLY_A, ttl, slice_of(ip.bytes + 12, 4));
    else
        reply_record(b, 0, owner, REPLY_AAAA, ttl, slice_of(ip.bytes, 16));
}

static void name_record(struct buf *b, int section, const char *owner, uint16_t type, uint32_t ttl,
                        const char *name)
{
    struct buf data = {0};

    put_name(&data, name);
    reply_record(b, section, owner, type, ttl, buf_slice(&data));
    buf_finish(&data);
}

void reply_cname(struct buf *b, const char *owner, uint32_t ttl, const char *target)
{
    name_record(b, 0, owner, REPLY_CNAME, ttl, target);
}

void reply_ns(struct buf *b, const char *owner, uint32_t ttl, const char *host)
{
    name_record(b, 1, owner, REPLY_NS, ttl, host);
}

void reply_soa(struct buf *b, const char *owner, uint32_t ttl, uint32_t minimum)
{
    struct buf data = {0};

    put_name(&data, "ns.test");
    put_name(&data, "hostmaster.test");
    for (uint32_t i = 1; i <= 4; i++)
        put32(&data, i);
    put32(&data, minimum);
    reply_record(b, 1, owner, REPLY_SOA, ttl, buf_slice(&data));
    buf_finish(&data);
}
