/* dns_reply: writes DNS replies for tests, good ones and, where a test alters them, bad ones. */
#ifndef DNS_REPLY_H
#define DNS_REPLY_H

#include "base_buf.h"

enum {
    REPLY_A = 1,
    REPLY_NS = 2,
    REPLY_CNAME = 5,
    REPLY_SOA = 6,
    REPLY_MX = 15,
    REPLY_TXT = 16,
    REPLY_AAAA = 28,
    REPLY_TLSA = 52,
};

/* Begins a reply to one question. Answers are to be added before the authority section. */
void reply_begin(struct buf *b, uint16_t id, unsigned rcode, const char *name, uint16_t type);
void reply_truncated(struct buf *b); /* sets TC */
void reply_secure(struct buf *b);    /* sets AD */
/* An owner of "" is the root; "@" is a pointer to the question's name. */
void reply_mx(struct buf *b, const char *owner, uint32_t ttl, uint16_t preference,
              const char *host);
void reply_address(struct buf *b, const char *owner, uint32_t ttl, const char *ip);
void reply_cname(struct buf *b, const char *owner, uint32_t ttl, const char *target);
void reply_soa(struct buf *b, const char *owner, uint32_t ttl, uint32_t minimum);
void reply_ns(struct buf *b, const char *owner, uint32_t ttl, const char *host);
/* A record of any bytes; section 0: answers, 1: authority. */
void reply_record(struct buf *b, int section, const char *owner, uint16_t type, uint32_t ttl,
                  struct slice data);

#endif
