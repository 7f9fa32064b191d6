/* auth_dovecot_line: see the header. */
#include "auth_dovecot_line_priv.h"

static struct slice next_field(struct slice *rest)
{
    ptrdiff_t tab = slice_find(*rest, '\t');
    struct slice field = tab < 0 ? *rest : slice_head(*rest, (size_t)tab);

    slice_advance(rest, tab < 0 ? rest->len : field.len + 1);
    return field;
}

/* Not for mail: who anybody is, what is not a login, and what binds to a channel of which only we know. EXTERNAL
 * is ours: Dovecot does not see the certificate. */
static bool wanted(struct slice name, struct slice parameters)
{
    static const struct slice plus = SLICE_INIT("-PLUS");

    while (parameters.len > 0) {
        struct slice p = next_field(&parameters);

        if (slice_equal(p, SLICE_LITERAL("anonymous")) || slice_equal(p, SLICE_LITERAL("private")))
            return false;
    }
    if (name.len == 0 || name.len >= DOVECOT_NAME_MAX
        || slice_equal_nocase(name, SLICE_LITERAL("EXTERNAL"))
        || (name.len > plus.len
            && slice_equal_nocase(slice_of(name.data + name.len - plus.len, plus.len), plus)))
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];

        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-'
              || c == '_'))
            return false;
    }
    return true;
}

static void add_mechanism(struct dovecot_greeting *g, struct slice name)
{
    uint8_t *to = g->names[g->mechanism_count++];

    for (size_t i = 0; i < name.len; i++)
        to[i] = name.data[i] >= 'a' && name.data[i] <= 'z' ? (uint8_t)(name.data[i] - 'a' + 'A')
                                                           : name.data[i];
    to[name.len] = '\0';
}

enum dovecot_greeting_result dovecot_greeting_take(struct dovecot_greeting *g, struct slice line)
{
    struct slice verb = next_field(&line), field;

    if (slice_equal(verb, SLICE_LITERAL("VERSION"))) {
        g->version_seen = slice_equal(next_field(&line), SLICE_LITERAL("1"));
        return g->version_seen ? DOVECOT_GREETING_MORE : DOVECOT_GREETING_BAD;
    }
    if (!g->version_seen) /* it comes first */
        return DOVECOT_GREETING_BAD;
    if (slice_equal(verb, SLICE_LITERAL("MECH"))) {
        field = next_field(&line);
        if (g->mechanism_count < AUTH_DOVECOT_MECHANISMS_MAX && wanted(field, line))
            add_mechanism(g, field);
    }
    return slice_equal(verb, SLICE_LITERAL("DONE")) ? DOVECOT_GREETING_DONE : DOVECOT_GREETING_MORE;
}

/* Values are escaped: ^A and a digit or letter. False: too long, or no escape of theirs. */
static bool unescape(struct slice in, uint8_t out[256], size_t *out_len)
{
    size_t len = 0;

    while (in.len > 0) {
        uint8_t c = in.data[0];

        slice_advance(&in, 1);
        if (c == 1) {
            if (in.len == 0)
                return false;
            switch (in.data[0]) {
            case '0': c = '\0'; break;
            case '1': c = 1; break;
            case 't': c = '\t'; break;
            case 'r': c = '\r'; break;
            case 'n': c = '\n'; break;
            default: return false;
            }
            slice_advance(&in, 1);
        }
        if (len == 255)
            return false;
        out[len++] = c;
    }
    *out_len = len;
    return true;
}

/* "user=name", "temp", "code=temp_fail" */
static bool take_parameter(struct slice p, struct dovecot_answer *a)
{
    static const struct slice user = SLICE_INIT("user=");
    size_t len;

    if (slice_equal(p, SLICE_LITERAL("temp")) || slice_equal(p, SLICE_LITERAL("code=temp_fail"))) {
        if (a->what == AUTH_DOVECOT_FAILED)
            a->what = AUTH_DOVECOT_TEMPORARY;
    } else if (p.len > user.len && slice_equal(slice_head(p, user.len), user)) {
        slice_advance(&p, user.len);
        if (!unescape(p, a->name, &len))
            return false;
        a->data = slice_of(a->name, len);
    }
    return true;
}

bool dovecot_answer_parse(struct slice line, struct dovecot_answer *out)
{
    struct slice verb = next_field(&line);
    uint64_t id;

    out->id = 0;
    out->data = SLICE_NULL;
    if (slice_equal(verb, SLICE_LITERAL("OK")))
        out->what = AUTH_DOVECOT_OK;
    else if (slice_equal(verb, SLICE_LITERAL("FAIL")))
        out->what = AUTH_DOVECOT_FAILED;
    else if (slice_equal(verb, SLICE_LITERAL("CONT")))
        out->what = AUTH_DOVECOT_CHALLENGE;
    else
        return true;
    if (!slice_to_u64(next_field(&line), &id) || id == 0 || id > UINT32_MAX)
        return false;
    out->id = (uint32_t)id;
    if (out->what == AUTH_DOVECOT_CHALLENGE) {
        out->data = next_field(&line);
        return true;
    }
    while (line.len > 0)
        if (!take_parameter(next_field(&line), out))
            return false;
    return out->what != AUTH_DOVECOT_OK || out->data.len > 0;
}

static void put_ip(struct buf *out, const char *key, const struct ip_addr *ip)
{
    char text[IP_TEXT_SIZE];

    ip_format(ip, text);
    (void)buf_printf(out, "\t%s=%s", key, text);
}

void dovecot_request_format(uint32_t id, const struct auth_dovecot_facts *facts, struct buf *out)
{
    char session[ID_TEXT_SIZE];

    id_to_text(facts->session, session);
    (void)buf_printf(out, "AUTH\t%u\t%.*s\tservice=smtp\tnologin", (unsigned)id,
                     SLICE_ARG(facts->mechanism));
    if (facts->secured)
        (void)buf_append_str(out, "\tsecured");
    put_ip(out, "lip", &facts->local_ip);
    put_ip(out, "rip", &facts->ip);
    (void)buf_printf(out, "\tlport=%u\trport=%u\tsession=%s", facts->local_port, facts->port,
                     session);
    if (facts->has_response) { /* the last one, always */
        (void)buf_append_str(out, "\tresp=");
        (void)buf_append_slice(out, facts->response);
    }
    (void)buf_append_byte(out, '\n');
}
