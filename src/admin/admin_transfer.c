/* admin_transfer: envelopes as JSON, written and read back. See the header. */
#include "admin_transfer_priv.h"

#include <inttypes.h>
#include <jansson.h>

#include "base_mem.h"
#include "smtp_address.h"

enum { ARENA_MAX = 64 * 1024 * 1024, XTEXT_MAX = 2048, FACTS_MAX = 16 * 1024 };

static const struct {
    const char *name;
    uint16_t flag;
} flags[] = {
    {"notification", SPOOL_IS_BOUNCE},
    {"require_tls", SPOOL_REQUIRE_TLS},
    {"tls_optional", SPOOL_TLS_OPTIONAL},
    {"ret_full", SPOOL_RET_FULL},
    {"ret_hdrs", SPOOL_RET_HDRS},
    {"report", SPOOL_IS_REPORT},
    {"utf8", SPOOL_IS_UTF8},
    {"to_postmaster", SPOOL_TO_POSTMASTER},
};
static const struct {
    const char *name;
    uint8_t notify;
} notify[] = {
    {"never", SPOOL_NOTIFY_NEVER},
    {"success", SPOOL_NOTIFY_SUCCESS},
    {"failure", SPOOL_NOTIFY_FAILURE},
    {"delay", SPOOL_NOTIFY_DELAY},
};
/* Those that an envelope can bring back are WAITING; the others are told for people. */
static const char *const states[] = {
    [SPOOL_RECIPIENT_WAITING] = "waiting",
    [SPOOL_RECIPIENT_DELIVERED] = "delivered",
    [SPOOL_RECIPIENT_BOUNCED] = "bounced",
    [SPOOL_RECIPIENT_DELETED] = "deleted",
};

/* ---- writing -------------------------------------------------------------------------------- */

static void put_text(struct buf *out, const char *key, struct slice text)
{
    (void)buf_printf(out, ",\"%s\":", key);
    (void)json_append_string(out, text);
}

bool admin_transfer_waits(const struct spool_recipient *r)
{
    const unsigned has_it = SPOOL_RECIPIENT_DELIVERED_UNTOLD | SPOOL_RECIPIENT_RELAYED_UNTOLD;

    return r->state == SPOOL_RECIPIENT_WAITING && (r->flags & has_it) == 0;
}

/* Who has the message, and only his sender is to be told yet, must not get it from another server again. */
static const char *state_of(const struct spool_recipient *r)
{
    bool has_it = r->state == SPOOL_RECIPIENT_WAITING && !admin_transfer_waits(r);

    return states[has_it ? SPOOL_RECIPIENT_DELIVERED : r->state];
}

static void put_recipient(struct buf *out, const struct spool_recipient *r, struct slice address,
                          const struct spool_dsn *dsn)
{
    const char *before = ",\"notify\":[";

    (void)buf_append_str(out, "{\"address\":");
    (void)json_append_string(out, address);
    (void)buf_printf(out, ",\"state\":\"%s\",\"attempts\":%u", state_of(r), (unsigned)r->attempts);
    if (r->flags & SPOOL_RECIPIENT_EXPANDED)
        (void)buf_append_str(out, ",\"expanded\":true");
    if (r->flags & SPOOL_RECIPIENT_WARNED)
        (void)buf_append_str(out, ",\"warned\":true");
    if (dsn->orcpt.len > 0)
        put_text(out, "orcpt", dsn->orcpt);
    for (size_t i = 0; i < ARRAY_LEN(notify); i++) {
        if (!(dsn->notify & notify[i].notify))
            continue;
        (void)buf_printf(out, "%s\"%s\"", before, notify[i].name);
        before = ",";
    }
    (void)buf_append_str(out, dsn->notify != 0 ? "]}" : "}");
}

void admin_transfer_envelope(struct buf *out, struct slice hostname, const struct spool_message *m,
                             const struct admin_envelope *e)
{
    char id[ID_TEXT_SIZE];

    id_to_text(m->id, id);
    (void)buf_printf(out, "{\"id\":\"%s\"", id);
    put_text(out, "host", hostname);
    put_text(out, "sender", e->sender);
    (void)buf_printf(out, ",\"arrived\":%" PRIu32, m->arrived_s);
    if (m->terms.priority != 0)
        (void)buf_printf(out, ",\"priority\":%d", m->terms.priority);
    if (m->terms.deliver_by_s != 0)
        (void)buf_printf(out, ",\"deliver_by\":%" PRIu32, m->terms.deliver_by_s);
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (m->flags & flags[i].flag)
            (void)buf_printf(out, ",\"%s\":true", flags[i].name);
    }
    if (e->envid.len > 0)
        put_text(out, "envid", e->envid);
    put_text(out, "facts", e->facts);
    (void)buf_append_str(out, ",\"recipients\":[");
    for (uint32_t i = 0; i < m->recipient_count; i++) {
        (void)buf_append_str(out, i > 0 ? "," : "");
        put_recipient(out, &m->recipients[i], e->recipients[i], &e->dsn[i]);
    }
    (void)buf_append_str(out, "]}");
}

/* ---- reading -------------------------------------------------------------------------------- */

static struct slice text_of(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);

    return json_is_string(value) ? slice_of(json_string_value(value), json_string_length(value))
                                 : SLICE_NULL;
}

/* A number between these; `fallback` if there is none. */
static bool number_of(const json_t *object, const char *key, int64_t min, int64_t max,
                      int64_t fallback, int64_t *out)
{
    const json_t *value = json_object_get(object, key);

    *out = value == NULL ? fallback : json_integer_value(value);
    return (value == NULL || json_is_integer(value)) && *out >= min && *out <= max;
}

static bool is_address(struct slice text)
{
    struct smtp_address address;

    return smtp_address_parse(text, SMTP_PATH_UTF8, &address) == SMTP_ADDRESS_OK;
}

/* xtext, or the type and xtext (RFC 3461 4): nothing that could end a command's parameter. */
static bool is_parameter(struct slice text)
{
    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] == 0x7F)
            return false;
    }
    return text.len <= XTEXT_MAX;
}

static bool read_notify(const json_t *list, uint8_t *out)
{
    for (size_t i = 0; i < json_array_size(list); i++) {
        const char *name = json_string_value(json_array_get(list, i));
        uint8_t found = 0;
        for (size_t n = 0; name != NULL && n < ARRAY_LEN(notify); n++) {
            if (strcmp(name, notify[n].name) == 0)
                found = notify[n].notify;
        }
        if (found == 0)
            return false;
        *out |= found;
    }
    return true;
}

/* One that still waits, to the end of what is there. NULL, or what is wrong with it. */
static const char *read_recipient(struct admin_record *r, const json_t *object)
{
    struct slice address = text_of(object, "address"), state = text_of(object, "state");
    struct slice orcpt = text_of(object, "orcpt");
    uint32_t i = r->envelope.recipient_count;
    int64_t attempts;

    if (!json_is_object(object) || !is_address(address))
        return "a recipient is no address";
    if (!number_of(object, "attempts", 0, UINT16_MAX, 0, &attempts))
        return "a number of attempts is none";
    if (state.len > 0 && !slice_equal(state, slice_str(states[SPOOL_RECIPIENT_WAITING])))
        return NULL; /* has been served */
    if (!is_parameter(orcpt) || !read_notify(json_object_get(object, "notify"), &r->dsn[i].notify))
        return "a recipient's orcpt or notify is none";
    r->recipients[i] = arena_dup(&r->arena, address);
    r->dsn[i].orcpt = arena_dup(&r->arena, orcpt);
    if (json_is_true(json_object_get(object, "expanded")))
        r->dsn[i].flags = SPOOL_RECIPIENT_EXPANDED;
    r->attempts[i] = (uint16_t)attempts;
    r->envelope.recipient_count++;
    return NULL;
}

static const char *read_recipients(struct admin_record *r, const json_t *list)
{
    size_t count = json_array_size(list);

    if (count == 0)
        return "there are no recipients";
    r->recipients = arena_alloc(&r->arena, count * sizeof(*r->recipients));
    r->dsn = arena_alloc(&r->arena, count * sizeof(*r->dsn));
    r->attempts = arena_alloc(&r->arena, count * sizeof(*r->attempts));
    if (r->recipients == NULL || r->dsn == NULL || r->attempts == NULL)
        return "there are too many recipients";
    for (size_t i = 0; i < count; i++) {
        const char *fault = read_recipient(r, json_array_get(list, i));
        if (fault != NULL)
            return fault;
    }
    return r->envelope.recipient_count > 0 ? NULL : "no recipient waits any more";
}

/* Facts are for people; the last of them is where the message was before. */
static void read_facts(struct admin_record *r, const json_t *root)
{
    struct slice facts = text_of(root, "facts"), host = text_of(root, "host");
    struct slice id = text_of(root, "id");
    struct buf text;

    buf_init(&text, FACTS_MAX);
    for (size_t i = 0; i < facts.len && i < FACTS_MAX / 2; i++) {
        uint8_t c = facts.data[i];
        (void)buf_append_byte(&text, (c < ' ' && c != '\n') || c == 0x7F ? '?' : c);
    }
    if (facts.len > 0 && facts.data[facts.len - 1] != '\n')
        (void)buf_append_byte(&text, '\n');
    (void)buf_append_str(&text, "imported_from=");
    (void)text_append_printable(&text, slice_head(host, 255));
    (void)buf_append_byte(&text, '/');
    (void)text_append_printable(&text, slice_head(id, ID_TEXT_SIZE - 1));
    (void)buf_append_byte(&text, '\n');
    r->envelope.facts = arena_dup(&r->arena, buf_slice(&text));
    buf_clear(&text);
    (void)text_append_printable(&text, slice_head(host, 255));
    (void)buf_append_byte(&text, '/');
    (void)text_append_printable(&text, slice_head(id, ID_TEXT_SIZE - 1));
    r->origin = arena_dup(&r->arena, buf_slice(&text));
    buf_finish(&text);
}

static const char *read_envelope(struct admin_record *r, const json_t *root)
{
    struct slice sender = text_of(root, "sender"), envid = text_of(root, "envid");
    int64_t arrived, priority, deliver_by;

    if (!json_is_string(json_object_get(root, "sender")) || (sender.len > 0 && !is_address(sender)))
        return "the sender is no address";
    if (!number_of(root, "arrived", 1, UINT32_MAX - 1, 0, &arrived))
        return "the time of arrival is none";
    if (!number_of(root, "priority", -9, 9, 0, &priority)
        || !number_of(root, "deliver_by", 0, UINT32_MAX - 1, 0, &deliver_by))
        return "priority or deliver_by is out of range";
    if (!is_parameter(envid))
        return "the envid is none";
    for (size_t i = 0; i < ARRAY_LEN(flags); i++) {
        if (json_is_true(json_object_get(root, flags[i].name)))
            r->envelope.flags |= flags[i].flag;
    }
    if ((r->envelope.flags & SPOOL_IS_BOUNCE) && sender.len > 0)
        return "a notification has the null sender";
    r->envelope.sender = arena_dup(&r->arena, sender);
    r->envelope.envid = arena_dup(&r->arena, envid);
    r->envelope.arrived_s = (uint32_t)arrived;
    r->envelope.terms =
        (struct spool_terms){.deliver_by_s = (uint32_t)deliver_by, .priority = (int8_t)priority};
    read_facts(r, root);
    return read_recipients(r, json_object_get(root, "recipients"));
}

bool admin_record_parse(struct admin_record *r, struct slice json, struct buf *out_error)
{
    json_t *root = json_loadb((const char *)json.data, json.len, JSON_REJECT_DUPLICATES, NULL);
    const char *fault = "the envelope is no JSON";

    *r = (struct admin_record){0};
    arena_init(&r->arena, ARENA_MAX);
    if (root != NULL)
        fault = read_envelope(r, root);
    json_decref(root);
    if (fault != NULL) {
        (void)buf_append_str(out_error, fault);
        admin_record_finish(r);
        return false;
    }
    r->envelope.recipients = r->recipients;
    r->envelope.dsn = r->dsn;
    r->envelope.attempts = r->attempts;
    return true;
}

void admin_record_finish(struct admin_record *r)
{
    arena_reset(&r->arena);
    *r = (struct admin_record){0};
}

/* ---- bodies --------------------------------------------------------------------------------- */

void admin_body_scan(struct admin_body *b, struct slice piece)
{
    for (size_t i = 0; i < piece.len; i++) {
        uint8_t c = piece.data[i];
        b->bare |= (c == '\n') != (b->last == '\r');
        b->dot_lines |= c == '.' && (b->last == '\n' || b->last == 0);
        b->eight_bit |= c >= 0x80;
        b->last = c == 0 ? 1 : c; /* 0: nothing so far */
    }
}

void admin_body_end(struct admin_body *b)
{
    b->bare |= b->last == '\r';
}
