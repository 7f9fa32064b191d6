/*
 * http: one HTTPS request by libcurl, from beginning to end, on the thread that calls it. That blocks, so
 * it is called on helper threads (work.h, a pool that waits for the network) and never on a shard's.
 *
 * The name in the URL is not looked up unless that is said: the caller says which addresses it has, as dns
 * told him. The
 * server's certificate must be for that name and from a trusted authority. No redirect is followed, no
 * proxy and no .netrc of the environment is used, nothing is kept from one request to the next.
 */
#ifndef HTTP_H
#define HTTP_H

#include <stdatomic.h>

#include "base_buf.h"
#include "base_codec.h"

struct http_request {
    const char *url;                 /* https://name[:port]/...; http:// only with `plain` */
    bool plain;                      /* for peers on this machine */
    const struct ip_addr *addresses; /* of the URL's name, in the order in which they are tried */
    size_t address_count;
    bool
        look_up; /* instead of `addresses`: the system's resolver is asked, which may take its time */
    const char *ca;           /* PEM bundle; NULL: the system's */
    const char *content_type; /* of `body`; NULL: GET */
    struct slice body;
    const char *user_password;  /* "user:password" (RFC 7617); NULL: none. Never logged */
    size_t response_max;        /* octets of the response's body */
    uint64_t timeout_ms;        /* for all of it */
    const _Atomic bool *cancel; /* set: ends within a second or so. NULL: never */
};

enum http_result {
    HTTP_OK,        /* a response came: look at its status */
    HTTP_UNREACHED, /* no address, no connection, cut off, timed out, not HTTP */
    HTTP_UNTRUSTED, /* the certificate: expired, another name, unknown authority */
    HTTP_TOO_BIG,   /* more than response_max */
    HTTP_CANCELLED,
};

struct http_response {
    enum http_result result;
    unsigned status;        /* "200"; 0 without a response */
    char content_type[128]; /* as it came, without what does not fit; empty: none */
    char error[256];        /* words for the log; empty with HTTP_OK */
    struct buf body;        /* init before, finish after: the caller's */
};

/* The parts of a URL that its caller needs before: whose addresses to ask for. Pure. */
struct http_url {
    bool secure;    /* https */
    char host[256]; /* a name, or an address (IPv6 in brackets), in lower case */
    uint16_t port;
};
/* False: not an absolute http or https URL, or one with a user in it. */
bool http_url_parse(const char *text, struct http_url *out);

/* Once, on the main thread, before there are others. */
void http_setup(void);
void http_fetch(const struct http_request *request, struct http_response *out);

#endif
