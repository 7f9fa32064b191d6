/* report_compose: RFC 8460 4.4 (JSON), 5.3 (mail). On a helper thread: compressing takes its time. */
#include <stdio.h>
#include <zlib.h>

#include "base_mem.h"
#include "report_priv.h"

enum { GZIP_WINDOW = 15 + 16, GZIP_MEMORY = 8, BASE64_LINE = 57 };

/* ---- JSON ----------------------------------------------------------------------------------- */

static void append_time(struct buf *out, uint64_t unix_s)
{
    char text[DATE_TEXT_SIZE];

    date_format_iso(unix_s * 1000, text);
    (void)buf_printf(out, "\"%.19sZ\"", text); /* without its milliseconds */
}

static void append_member(struct buf *out, const char *name, struct slice value)
{
    if (value.len == 0)
        return;
    (void)buf_printf(out, "\"%s\":", name);
    (void)json_append_string(out, value);
    (void)buf_append_byte(out, ',');
}

static void append_lines(struct buf *out, const char *name, struct slice lines)
{
    (void)buf_printf(out, "\"%s\":[", name);
    for (bool first = true; lines.len > 0; first = false) {
        ptrdiff_t end = slice_find(lines, '\n');
        struct slice line = slice_head(lines, end < 0 ? lines.len : (size_t)end);
        slice_advance(&lines, line.len + (end >= 0));
        if (!first)
            (void)buf_append_byte(out, ',');
        (void)json_append_string(out, line);
    }
    (void)buf_append_str(out, "],");
}

static void append_ip(struct buf *out, const char *name, bool has, const struct ip_addr *ip)
{
    char text[IP_TEXT_SIZE];

    if (!has)
        return;
    ip_format(ip, text);
    append_member(out, name, slice_str(text));
}

static void append_failure(struct buf *out, const struct report_failure *f)
{
    (void)buf_printf(out, "{\"result-type\":\"%s\",", report_result_name(f->result));
    append_ip(out, "sending-mta-ip", f->has_sending, &f->sending);
    append_member(out, "receiving-mx-hostname", f->mx_host);
    append_member(out, "receiving-mx-helo", f->helo);
    append_ip(out, "receiving-ip", f->has_receiving, &f->receiving);
    append_member(out, "additional-information", f->information);
    append_member(out, "failure-reason-code", f->reason);
    (void)buf_printf(out, "\"failed-session-count\":%llu}", (unsigned long long)f->count);
}

static void append_policy(struct buf *out, const struct report_policy *p)
{
    bool first = true;

    (void)buf_printf(out, "{\"policy\":{\"policy-type\":\"%s\",", report_type_name(p->type));
    if (p->type != REPORT_NO_POLICY && p->policy.len > 0)
        append_lines(out, "policy-string", p->policy);
    if (p->mx.len > 0)
        append_lines(out, "mx-host", p->mx);
    (void)buf_append_str(out, "\"policy-domain\":");
    (void)json_append_string(out, p->domain);
    (void)buf_printf(out,
                     "},\"summary\":{\"total-successful-session-count\":%llu,"
                     "\"total-failure-session-count\":%llu}",
                     (unsigned long long)p->successful, (unsigned long long)p->failed);
    LIST_EACH(&p->failures, node)
    {
        (void)buf_append_str(out, first ? ",\"failure-details\":[" : ",");
        first = false;
        append_failure(out, container_of(node, struct report_failure, node));
    }
    (void)buf_append_str(out, first ? "}" : "]}");
}

/* The same for the same report, should it be sent twice. */
void report_compose_id(const struct report_facts *f, struct buf *out)
{
    (void)buf_printf(out, "%llu.%llu.%016llx@%.*s", (unsigned long long)f->start_s,
                     (unsigned long long)f->end_s, (unsigned long long)hash_stable(f->domain),
                     SLICE_ARG(f->hostname));
}

void report_compose_json(const struct report_facts *f, struct buf *out)
{
    struct buf id;

    buf_init(&id, 0);
    report_compose_id(f, &id);
    (void)buf_append_byte(out, '{');
    append_member(out, "organization-name", f->organization);
    (void)buf_append_str(out, "\"date-range\":{\"start-datetime\":");
    append_time(out, f->start_s);
    (void)buf_append_str(out, ",\"end-datetime\":");
    append_time(out, f->end_s);
    (void)buf_append_str(out, "},");
    append_member(out, "contact-info", f->contact);
    append_member(out, "report-id", buf_slice(&id));
    (void)buf_append_str(out, "\"policies\":[");
    for (size_t i = 0; i < f->policy_count; i++) {
        if (i > 0)
            (void)buf_append_byte(out, ',');
        append_policy(out, f->policies[i]);
    }
    (void)buf_append_str(out, "]}\n");
    buf_finish(&id);
}

/* ---- gzip ----------------------------------------------------------------------------------- */

static void *z_alloc(void *context, unsigned count, unsigned size)
{
    (void)context;
    return mem_calloc(count, size);
}

static void z_free(void *context, void *memory)
{
    (void)context;
    mem_free(memory);
}

void report_compose_gzip(struct slice plain, struct buf *out)
{
    z_stream z = {.zalloc = z_alloc, .zfree = z_free};
    unsigned long bound;
    int code;

    code = deflateInit2(&z, Z_BEST_COMPRESSION, Z_DEFLATED, GZIP_WINDOW, GZIP_MEMORY,
                        Z_DEFAULT_STRATEGY);
    ASSERT(code == Z_OK);
    bound = deflateBound(&z, (unsigned long)plain.len);
    z.next_in = (unsigned char *)(uintptr_t)plain.data;
    z.avail_in = (unsigned)plain.len;
    z.next_out = buf_reserve(out, bound);
    z.avail_out = (unsigned)bound;
    ASSERT(z.next_out != NULL && plain.len < UINT32_MAX / 2);
    code = deflate(&z, Z_FINISH);
    ASSERT(code == Z_STREAM_END);
    buf_commit(out, (size_t)z.total_out);
    (void)deflateEnd(&z);
}

/* ---- mail ----------------------------------------------------------------------------------- */

static void append_header(const struct report_facts *f, struct slice to, struct slice message_id,
                          struct slice report_id, uint64_t now_s, struct buf *out)
{
    char date[DATE_TEXT_SIZE];

    date_format(now_s, date);
    (void)buf_printf(out, "Date: %s\r\nFrom: <%.*s>\r\nTo: <%.*s>\r\n", date, SLICE_ARG(f->from),
                     SLICE_ARG(to));
    (void)buf_printf(out,
                     "Subject: Report Domain: %.*s\r\n Submitter: %.*s\r\n Report-ID: <%.*s>\r\n",
                     SLICE_ARG(f->domain), SLICE_ARG(f->hostname), SLICE_ARG(report_id));
    (void)buf_printf(out,
                     "Message-ID: <%.*s@%.*s>\r\n"
                     "TLS-Report-Domain: %.*s\r\n"
                     "TLS-Report-Submitter: %.*s\r\n",
                     SLICE_ARG(message_id), SLICE_ARG(f->hostname), SLICE_ARG(f->domain),
                     SLICE_ARG(f->hostname));
    /* 3: it goes where TLS is broken, too (RFC 8689 5). */
    (void)buf_append_str(out, "TLS-Required: No\r\nAuto-Submitted: auto-generated\r\n");
    (void)buf_printf(out,
                     "MIME-Version: 1.0\r\n"
                     "Content-Type: multipart/report; report-type=\"tlsrpt\";\r\n"
                     "\tboundary=\"=_mailring_%.*s\"\r\n\r\n",
                     SLICE_ARG(message_id));
}

static void append_base64(struct slice bytes, struct buf *out)
{
    while (bytes.len > 0) {
        struct slice line = slice_head(bytes, BASE64_LINE);
        slice_advance(&bytes, line.len);
        (void)base64_encode(line, out);
        (void)buf_append_str(out, "\r\n");
    }
}

void report_compose_mail(const struct report_facts *f, struct slice gzip, struct slice to,
                         struct slice message_id, uint64_t now_s, struct buf *out)
{
    struct buf id;

    buf_init(&id, 0);
    report_compose_id(f, &id);
    append_header(f, to, message_id, buf_slice(&id), now_s, out);
    (void)buf_printf(out,
                     "--=_mailring_%.*s\r\n"
                     "Content-Type: text/plain; charset=us-ascii\r\n\r\n"
                     "This is an aggregate TLS report from %.*s\r\nabout %.*s (RFC 8460).\r\n"
                     "\r\n--=_mailring_%.*s\r\n"
                     "Content-Type: application/tlsrpt+gzip\r\n"
                     "Content-Transfer-Encoding: base64\r\n"
                     "Content-Disposition: attachment;\r\n"
                     "\tfilename=\"%.*s!%.*s!%llu!%llu.json.gz\"\r\n\r\n",
                     SLICE_ARG(message_id), SLICE_ARG(f->hostname), SLICE_ARG(f->domain),
                     SLICE_ARG(message_id), SLICE_ARG(f->hostname), SLICE_ARG(f->domain),
                     (unsigned long long)f->start_s, (unsigned long long)f->end_s);
    append_base64(gzip, out);
    (void)buf_printf(out, "--=_mailring_%.*s--\r\n", SLICE_ARG(message_id));
    buf_finish(&id);
}
