/* http: see the header. Each request has a libcurl handle of its own, so nothing is shared by threads. */
#include "http.h"

#include <curl/curl.h>
#include <stdio.h>

#include "base_assert.h"
#include "base_mem.h"

enum { CONNECT_MAX_MS = 20 * 1000 };

struct transfer {
    const struct http_request *request;
    struct http_response *response;
    CURL *curl;
    struct curl_slist *hosts, *headers;
    bool too_big;
    bool cancelled;
    char error[CURL_ERROR_SIZE];
};

void http_setup(void)
{
    CURLcode code = curl_global_init(CURL_GLOBAL_DEFAULT);

    ASSERT(code == CURLE_OK);
}

/* ---- URLs ----------------------------------------------------------------------------------- */

static bool get_part(CURLU *url, CURLUPart part, unsigned flags, char *out, size_t size)
{
    char *text = NULL;
    bool ok =
        curl_url_get(url, part, &text, flags) == CURLUE_OK && text != NULL && strlen(text) < size;

    if (ok)
        memcpy(out, text, strlen(text) + 1);
    curl_free(text);
    return ok;
}

bool http_url_parse(const char *text, struct http_url *out)
{
    CURLU *url = curl_url();
    struct http_url u = {0};
    char scheme[16], port[8];
    uint64_t number = 0;
    bool ok;

    ASSERT(url != NULL);
    ok = curl_url_set(url, CURLUPART_URL, text, CURLU_DISALLOW_USER) == CURLUE_OK
         && get_part(url, CURLUPART_SCHEME, 0, scheme, sizeof(scheme))
         && get_part(url, CURLUPART_HOST, 0, u.host, sizeof(u.host))
         && get_part(url, CURLUPART_PORT, CURLU_DEFAULT_PORT, port, sizeof(port))
         && slice_to_u64(slice_str(port), &number) && number > 0 && number <= UINT16_MAX
         && u.host[0] != '\0';
    curl_url_cleanup(url);
    if (!ok)
        return false;
    for (char *c = u.host; *c != '\0'; c++)
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + ('a' - 'A') : *c);
    u.secure = strcmp(scheme, "https") == 0;
    if (!u.secure && strcmp(scheme, "http") != 0)
        return false;
    u.port = (uint16_t)number;
    *out = u;
    return true;
}

/* ---- what libcurl tells meanwhile ----------------------------------------------------------- */

static size_t take_body(char *data, size_t size, size_t count, void *context)
{
    struct transfer *t = context;
    size_t len = size * count;

    if (len > t->request->response_max - buf_len(&t->response->body)) {
        t->too_big = true;
        return 0; /* ends it */
    }
    (void)buf_append(&t->response->body, data, len);
    return len;
}

static int look_up(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    struct transfer *t = context;

    (void)a, (void)b, (void)c, (void)d;
    t->cancelled = t->request->cancel != NULL && atomic_load(t->request->cancel);
    return t->cancelled; /* not 0 ends it */
}

/* ---- a request ------------------------------------------------------------------------------ */

#define SET(curl, option, value)                                         \
    do {                                                                 \
        CURLcode set_code = curl_easy_setopt((curl), (option), (value)); \
        ASSERT(set_code == CURLE_OK);                                    \
    } while (0)

/* "host:port:address,address": libcurl asks nobody for this host. */
static void set_addresses(struct transfer *t, const struct http_url *url)
{
    struct buf text;

    buf_init(&text, 0);
    (void)buf_printf(&text, "%s:%u:", url->host, (unsigned)url->port);
    for (size_t i = 0; i < t->request->address_count; i++) {
        const struct ip_addr *ip = &t->request->addresses[i];
        char ip_text[IP_TEXT_SIZE];
        ip_format(ip, ip_text);
        (void)buf_printf(&text, ip_is_v4(ip) ? "%s%s" : "%s[%s]", i > 0 ? "," : "", ip_text);
    }
    (void)buf_append_byte(&text, 0);
    t->hosts = curl_slist_append(NULL, (const char *)buf_slice(&text).data);
    ASSERT(t->hosts != NULL);
    buf_finish(&text);
    SET(t->curl, CURLOPT_RESOLVE, t->hosts);
}

/* Only what the request names: libcurl's own directory of authorities would stand beside `ca`. */
static void set_trust(struct transfer *t)
{
    SET(t->curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    SET(t->curl, CURLOPT_SSL_VERIFYPEER, 1L);
    SET(t->curl, CURLOPT_SSL_VERIFYHOST, 2L);
    if (t->request->ca != NULL) {
        SET(t->curl, CURLOPT_CAINFO, t->request->ca);
        /* Not known to all its builds; those have no default that would have to go. */
        (void)curl_easy_setopt(t->curl, CURLOPT_CAPATH, NULL);
    }
}

static void set_method(struct transfer *t)
{
    const struct http_request *r = t->request;
    struct buf type;

    if (r->user_password != NULL) {
        SET(t->curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        SET(t->curl, CURLOPT_USERPWD, r->user_password);
    }
    if (r->content_type == NULL)
        return;
    buf_init(&type, 0);
    (void)buf_printf(&type, "Content-Type: %s", r->content_type);
    (void)buf_append_byte(&type, 0);
    t->headers = curl_slist_append(NULL, (const char *)buf_slice(&type).data);
    /* Not asked for whether the body may come: it is small, and many servers do not answer that. */
    t->headers = curl_slist_append(t->headers, "Expect:");
    ASSERT(t->headers != NULL);
    buf_finish(&type);
    SET(t->curl, CURLOPT_HTTPHEADER, t->headers);
    SET(t->curl, CURLOPT_POST, 1L);
    SET(t->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body.len);
    SET(t->curl, CURLOPT_POSTFIELDS, r->body.len > 0 ? (const char *)r->body.data : "");
}

static void set_all(struct transfer *t, const struct http_url *url)
{
    const struct http_request *r = t->request;
    CURL *curl = t->curl;

    SET(curl, CURLOPT_URL, r->url);
    SET(curl, CURLOPT_PROTOCOLS_STR, r->plain ? "http,https" : "https");
    SET(curl, CURLOPT_FOLLOWLOCATION, 0L);
    SET(curl, CURLOPT_PROXY, "");
    SET(curl, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    SET(curl, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    SET(curl, CURLOPT_USERAGENT, "mailring/" MAILRING_VERSION);
    SET(curl, CURLOPT_NOSIGNAL, 1L);
    SET(curl, CURLOPT_ERRORBUFFER, t->error);
    SET(curl, CURLOPT_TIMEOUT_MS, (long)r->timeout_ms);
    SET(curl, CURLOPT_CONNECTTIMEOUT_MS,
        (long)(r->timeout_ms < CONNECT_MAX_MS ? r->timeout_ms : CONNECT_MAX_MS));
    SET(curl, CURLOPT_MAXFILESIZE_LARGE, (curl_off_t)r->response_max);
    SET(curl, CURLOPT_WRITEFUNCTION, take_body);
    SET(curl, CURLOPT_WRITEDATA, t);
    SET(curl, CURLOPT_NOPROGRESS, 0L);
    SET(curl, CURLOPT_XFERINFOFUNCTION, look_up);
    SET(curl, CURLOPT_XFERINFODATA, t);
    set_trust(t);
    set_method(t);
    if (!r->look_up)
        set_addresses(t, url);
}

static enum http_result result_of(const struct transfer *t, CURLcode code)
{
    if (code == CURLE_OK)
        return HTTP_OK;
    if (t->cancelled)
        return HTTP_CANCELLED;
    if (t->too_big || code == CURLE_FILESIZE_EXCEEDED)
        return HTTP_TOO_BIG;
    if (code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_ISSUER_ERROR
        || code == CURLE_SSL_CERTPROBLEM || code == CURLE_SSL_INVALIDCERTSTATUS)
        return HTTP_UNTRUSTED;
    return HTTP_UNREACHED;
}

static void perform(struct transfer *t)
{
    struct http_response *out = t->response;
    CURLcode code = curl_easy_perform(t->curl);
    const char *type = NULL;
    long status = 0;

    out->result = result_of(t, code);
    if (code != CURLE_OK) {
        buf_clear(&out->body); /* half of something */
        (void)snprintf(out->error, sizeof(out->error), "%s",
                       t->error[0] != '\0' ? t->error : curl_easy_strerror(code));
        return;
    }
    (void)curl_easy_getinfo(t->curl, CURLINFO_RESPONSE_CODE, &status);
    out->status = (unsigned)status;
    if (curl_easy_getinfo(t->curl, CURLINFO_CONTENT_TYPE, &type) == CURLE_OK && type != NULL)
        (void)snprintf(out->content_type, sizeof(out->content_type), "%s", type);
}

static void refuse(struct http_response *out, const char *why)
{
    out->result = HTTP_UNREACHED;
    (void)snprintf(out->error, sizeof(out->error), "%s", why);
}

void http_fetch(const struct http_request *request, struct http_response *out)
{
    struct transfer t = {.request = request, .response = out};
    struct http_url url;

    out->status = 0;
    out->content_type[0] = out->error[0] = '\0';
    buf_clear(&out->body);
    if (!http_url_parse(request->url, &url) || (!url.secure && !request->plain)) {
        refuse(out, "not a URL that may be asked for");
        return;
    }
    if (request->address_count == 0 && !request->look_up) {
        refuse(out, "the host has no address");
        return;
    }
    t.curl = curl_easy_init();
    ASSERT(t.curl != NULL);
    set_all(&t, &url);
    perform(&t);
    curl_easy_cleanup(t.curl);
    curl_slist_free_all(t.headers);
    curl_slist_free_all(t.hosts);
}
