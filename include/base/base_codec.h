/*
 * base_codec: numbers, units and identifiers as text and as bytes.
 */
#ifndef BASE_CODEC_H
#define BASE_CODEC_H

#include "base_buf.h"
#include "base_slice.h"

/* Little-endian, unaligned. */
static inline uint16_t get_le16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}
static inline uint32_t get_le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}
static inline uint64_t get_le64(const uint8_t *p)
{
    return (uint64_t)get_le32(p) | (uint64_t)get_le32(p + 4) << 32;
}
static inline void put_le16(uint8_t *p, uint16_t v)
{
    p[0] = (uint8_t)v;
    p[1] = (uint8_t)(v >> 8);
}
static inline void put_le32(uint8_t *p, uint32_t v)
{
    put_le16(p, (uint16_t)v);
    put_le16(p + 2, (uint16_t)(v >> 16));
}
static inline void put_le64(uint8_t *p, uint64_t v)
{
    put_le32(p, (uint32_t)v);
    put_le32(p + 4, (uint32_t)(v >> 32));
}

/* Decimal digits, without NUL; answers how many. */
enum { U64_TEXT_SIZE = 20 };
size_t u64_to_text(uint64_t value, char out[U64_TEXT_SIZE]);

enum { ID_TEXT_SIZE = 14 }; /* 13 characters and NUL */

/* A 64-bit id as 13 characters of Crockford's base 32, in upper case; sorts as the number does. */
void id_to_text(uint64_t id, char out[ID_TEXT_SIZE]);
/* Also takes what people type: lower case, O for 0, I and L for 1. */
bool id_from_text(struct slice text, uint64_t *out);

/* "250ms", "90s", "5m", "4h", "5d", or a bare number of seconds -> milliseconds. */
bool duration_parse(struct slice text, uint64_t *out_ms);
void duration_format(uint64_t ms, struct buf *out); /* the largest unit that divides it: "5m" */
/* "50M", "1K", or a bare number of bytes. K M G are powers of 1024. */
bool size_parse(struct slice text, uint64_t *out);
void size_format(uint64_t bytes, struct buf *out);

/* RFC 5322 3.3 date-time in UTC, "Sat, 21 Nov 2026 22:19:50 +0000". Pure: no time zone database.
 * What lies beyond year 9999 is written as its last second, here and below. */
enum { DATE_TEXT_SIZE = 32 };
void date_format(uint64_t unix_seconds, char out[DATE_TEXT_SIZE]);
/* RFC 3339, "2026-11-21T22:19:50.123Z", from milliseconds. */
void date_format_iso(uint64_t unix_ms, char out[DATE_TEXT_SIZE]);
/* The same back, without its fraction: "2026-11-21T22:19:50Z", seconds may be left out; in UTC only. */
bool date_parse_iso(struct slice text, uint64_t *out_unix_s);

/* Bytes of the UTF-8 character at the start of `s`; *valid is false for a byte or a cut character
 * that is none (Unicode 3.9, table 3-7: no surrogates, no long forms). `s` is not empty. */
size_t utf8_length(struct slice s, bool *valid);
bool utf8_is_valid(struct slice s); /* the empty one is */

/* Appends `s` as a JSON string with its quotes. Bytes that are not UTF-8 become U+FFFD. */
bool json_append_string(struct buf *out, struct slice s);
/* Appends `s` for a terminal: control characters, line ends too, and what is not UTF-8 are each a question
 * mark. */
bool text_append_printable(struct buf *out, struct slice s);

/* Base64 with padding, one line (RFC 4648 4). False: `out` is full. */
bool base64_encode(struct slice s, struct buf *out);
/* The only form there is of some bytes, and nothing else: no line ends, padding whole, unused bits zero.
 * Writes at most base64_decoded_max(text.len) bytes; false: none that counts. */
static inline size_t base64_decoded_max(size_t len)
{
    return len / 4 * 3;
}
bool base64_decode(struct slice text, uint8_t *out, size_t *out_len);

/* A network address as peers and log lines need it: IPv4 as ::ffff:a.b.c.d within 16 bytes. */
struct ip_addr {
    uint8_t bytes[16];
};
bool ip_is_v4(const struct ip_addr *ip);
bool ip_parse(struct slice text, struct ip_addr *out); /* dotted quad or RFC 4291 text, no zone */
enum { IP_TEXT_SIZE = 46 };
void ip_format(const struct ip_addr *ip, char out[IP_TEXT_SIZE]); /* RFC 5952 */
struct ip_net {
    struct ip_addr addr;
    uint8_t prefix_len; /* in the 128-bit form: an IPv4 /8 is 104 */
};
/* "127.0.0.0/8", "::1/128", "10.1.2.3" (one host). Bits beyond the prefix are cleared. */
bool ip_net_parse(struct slice text, struct ip_net *out);
bool ip_net_contains(const struct ip_net *net, const struct ip_addr *ip);

#endif
