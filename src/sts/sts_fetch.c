/* sts_fetch: GET of a policy (RFC 8461 3.3), on a helper thread. */
#include <stdio.h>

#include "http.h"
#include "sts_priv.h"

/* text/plain, with or without parameters (3.2). */
static bool is_plain_text(const char *content_type)
{
    struct slice type = slice_str(content_type);
    ptrdiff_t end = slice_find(type, ';');

    return slice_equal_nocase(slice_trim(slice_head(type, end < 0 ? type.len : (size_t)end)),
                              SLICE_LITERAL("text/plain"));
}

static void fail(struct sts_fetch *f, enum sts_problem problem, const char *reason)
{
    f->problem = problem;
    (void)snprintf(f->reason, sizeof(f->reason), "%.*s", (int)sizeof(f->reason) - 1, reason);
}

static void take_response(struct sts_fetch *f, const struct http_response *r)
{
    char text[64];
    const char *why;

    if (r->status != 200) { /* also where it redirects: 3.3 */
        (void)snprintf(text, sizeof(text), "HTTP status %u", r->status);
        fail(f, STS_PROBLEM_FETCH, text);
    } else if (!is_plain_text(r->content_type)) {
        fail(f, STS_PROBLEM_INVALID, "the policy is not served as text/plain");
    } else {
        f->policy = sts_policy_parse(buf_slice(&r->body), &why);
        if (f->policy == NULL)
            fail(f, STS_PROBLEM_INVALID, why);
    }
}

void sts_fetch_https(void *context, struct sts_fetch *f)
{
    char url[DNS_NAME_MAX + 64], port[8] = "";
    struct http_request request = {.url = url,
                                   .addresses = f->addresses,
                                   .address_count = f->address_count,
                                   .ca = f->ca,
                                   .response_max = STS_POLICY_MAX,
                                   .timeout_ms = STS_FETCH_TIMEOUT_MS,
                                   .cancel = f->cancel};
    struct http_response response = {0};

    (void)context;
    if (f->port != 443)
        (void)snprintf(port, sizeof(port), ":%u", (unsigned)f->port);
    (void)snprintf(url, sizeof(url), "https://%s%s/.well-known/mta-sts.txt", f->host, port);
    buf_init(&response.body, STS_POLICY_MAX);
    http_fetch(&request, &response);
    switch (response.result) {
    case HTTP_OK: take_response(f, &response); break;
    case HTTP_UNTRUSTED: fail(f, STS_PROBLEM_WEBPKI, response.error); break;
    case HTTP_TOO_BIG: fail(f, STS_PROBLEM_INVALID, "the policy is too large"); break;
    case HTTP_UNREACHED:
    case HTTP_CANCELLED: fail(f, STS_PROBLEM_FETCH, response.error); break;
    }
    buf_finish(&response.body);
}
