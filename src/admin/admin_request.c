/* admin_request: requests about the queue: verbs, options, ids. See the header. */
#include "admin_request.h"

#include <inttypes.h>

#include "base_codec.h"
#include "base_mem.h"

#define BIT(verb) (1u << (verb))
enum {
    ACTS = BIT(ADMIN_RETRY) | BIT(ADMIN_HOLD) | BIT(ADMIN_RELEASE) | BIT(ADMIN_DELETE)
           | BIT(ADMIN_BOUNCE) | BIT(ADMIN_SET),
    FILTERED = BIT(ADMIN_LIST) | BIT(ADMIN_SHOW) | BIT(ADMIN_SUMMARY) | BIT(ADMIN_EXPORT) | ACTS,
    NOTED = BIT(ADMIN_HOLD), /* where --reason is a note, and --why the criterion */
};

static const struct {
    const char *name;
    bool words;       /* takes ids or "all" */
    bool needs_words; /* or something else that says which are meant */
    const char *help;
} verbs[] = {
    [ADMIN_LIST] = {"list", true, false, "messages, a few lines each"},
    [ADMIN_SHOW] = {"show", true, true, "all about messages, with recipients that are done"},
    [ADMIN_SUMMARY] = {"summary", true, false,
                       "counts, sizes and ages by --by=domain (or "
                       "sender-domain, sender, route, reason, state)"},
    [ADMIN_RETRY] = {"retry", true, true, "due now"},
    [ADMIN_HOLD] = {"hold", true, true,
                    "not tried until released, or --until; with --future a rule "
                    "that holds for mail to come, too"},
    [ADMIN_RELEASE] = {"release", true, true, "ends a hold, or with --rule=ID a rule"},
    [ADMIN_DELETE] = {"delete", true, true, "gone, and nobody is told"},
    [ADMIN_BOUNCE] = {"bounce", true, true, "returned to their senders now, with --text"},
    [ADMIN_SET] = {"set", true, true, "--priority, --deliver-by or --hold-until of messages"},
    [ADMIN_HOLDS] = {"holds", false, false, "rules of hold --future"},
    [ADMIN_EXPORT] = {"export", true, true, "messages to standard output; they stay, on hold"},
    [ADMIN_IMPORT] = {"import", false, false, "an export from standard input into the queue"},
};
_Static_assert(sizeof(verbs) / sizeof(verbs[0]) == ADMIN_VERB_COUNT, "a row for each verb");

const char *admin_verb_name(enum admin_verb verb)
{
    return verbs[verb].name;
}

uint32_t admin_time_s(const struct admin_time *t, uint64_t now_s, uint32_t unset, uint32_t never)
{
    uint64_t s = t->s;

    switch (t->kind) {
    case ADMIN_TIME_UNSET: return unset;
    case ADMIN_TIME_NEVER: return never;
    case ADMIN_TIME_IN: s += now_s; break;
    case ADMIN_TIME_AT: break;
    }
    return s < UINT32_MAX - 1 ? (uint32_t)s : UINT32_MAX - 1;
}

/* ---- values --------------------------------------------------------------------------------- */

static bool set_sender(struct admin_request *r, struct slice value)
{
    struct admin_filter *f = &r->filter;

    if (slice_equal(value, SLICE_LITERAL("<>")))
        value = SLICE_LITERAL("");
    else if (value.len == 0)
        return false;
    f->sender_kind = ADMIN_SENDER_ADDRESS;
    f->sender = value;
    if (value.len > 0 && (value.data[0] == '@' || slice_find(value, '@') < 0)) {
        f->sender_kind = ADMIN_SENDER_DOMAIN;
        slice_advance(&f->sender, value.data[0] == '@');
        if (f->sender.len == 0)
            return false;
    }
    f->sender_hash = admin_hash(f->sender);
    return true;
}

static bool set_recipient(struct admin_request *r, struct slice value)
{
    r->filter.recipient = value;
    return value.len > 0;
}

static bool set_domain(struct admin_request *r, struct slice value)
{
    slice_advance(&value, value.len > 0 && value.data[0] == '@');
    r->filter.domain = value;
    r->filter.domain_hash = admin_hash(value);
    return value.len > 0;
}

static bool set_route(struct admin_request *r, struct slice value)
{
    r->filter.route = value;
    return value.len > 0;
}

static bool set_why(struct admin_request *r, struct slice value)
{
    r->filter.reason = value;
    return value.len > 0;
}

static bool set_reason(struct admin_request *r, struct slice value)
{
    if (!(BIT(r->verb) & NOTED))
        return set_why(r, value);
    r->note = value;
    return value.len > 0;
}

static bool set_text(struct admin_request *r, struct slice value)
{
    r->note = value;
    return value.len > 0;
}

static bool parse_seconds(struct slice value, uint64_t *out)
{
    uint64_t ms;

    if (!duration_parse(value, &ms))
        return false;
    *out = (ms + 999) / 1000;
    return true;
}

static bool set_older(struct admin_request *r, struct slice value)
{
    return parse_seconds(value, &r->filter.older_s);
}

static bool set_younger(struct admin_request *r, struct slice value)
{
    return parse_seconds(value, &r->filter.younger_s);
}

/* Larger than 1M: more than that. */
static bool set_larger(struct admin_request *r, struct slice value)
{
    if (!size_parse(value, &r->filter.size_min) || r->filter.size_min == UINT64_MAX)
        return false;
    r->filter.size_min++;
    return true;
}

static bool set_smaller(struct admin_request *r, struct slice value)
{
    if (!size_parse(value, &r->filter.size_max) || r->filter.size_max == 0)
        return false;
    r->filter.size_max--;
    return true;
}

static bool set_state(struct admin_request *r, struct slice value)
{
    static const enum admin_state states[] = {ADMIN_STATE_WAITING, ADMIN_STATE_READY,
                                              ADMIN_STATE_ACTIVE, ADMIN_STATE_PARKED,
                                              ADMIN_STATE_HELD};

    while (value.len > 0) {
        ptrdiff_t comma = slice_find(value, ',');
        struct slice name = comma < 0 ? value : slice_head(value, (size_t)comma);
        unsigned found = 0;
        for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++) {
            if (slice_equal(name, slice_str(admin_state_name(states[i]))))
                found = (unsigned)states[i];
        }
        if (found == 0)
            return false;
        r->filter.states |= found;
        slice_advance(&value, comma < 0 ? value.len : (size_t)comma + 1);
    }
    return r->filter.states != 0;
}

static bool set_limit(struct admin_request *r, struct slice value)
{
    return slice_to_u64(value, &r->filter.limit) && r->filter.limit > 0;
}

static bool set_by(struct admin_request *r, struct slice value)
{
    static const char *const names[] = {
        [ADMIN_BY_DOMAIN] = "domain",
        [ADMIN_BY_SENDER] = "sender",
        [ADMIN_BY_SENDER_DOMAIN] = "sender-domain",
        [ADMIN_BY_ROUTE] = "route",
        [ADMIN_BY_REASON] = "reason",
        [ADMIN_BY_STATE] = "state",
    };

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (slice_equal(value, slice_str(names[i]))) {
            r->by = (enum admin_by)i;
            return true;
        }
    }
    return false;
}

static bool set_rule(struct admin_request *r, struct slice value)
{
    uint64_t number;

    r->rule = value;
    return slice_equal(value, SLICE_LITERAL("all")) || slice_to_u64(value, &number);
}

static bool parse_time(struct slice value, struct admin_time *out)
{
    uint64_t ms;

    if (duration_parse(value, &ms)) {
        *out = (struct admin_time){ADMIN_TIME_IN, (ms + 999) / 1000};
        return true;
    }
    out->kind = ADMIN_TIME_AT;
    return date_parse_iso(value, &out->s);
}

static bool set_until(struct admin_request *r, struct slice value)
{
    return parse_time(value, &r->until);
}

static bool set_deliver_by(struct admin_request *r, struct slice value)
{
    r->deliver_by.kind = ADMIN_TIME_NEVER;
    return slice_equal(value, SLICE_LITERAL("never")) || parse_time(value, &r->deliver_by);
}

static bool set_priority(struct admin_request *r, struct slice value)
{
    bool negative = value.len > 0 && value.data[0] == '-';
    uint64_t number;

    slice_advance(&value, negative || (value.len > 0 && value.data[0] == '+'));
    if (!slice_to_u64(value, &number) || number > 9)
        return false;
    r->set_priority = true;
    r->priority = (int8_t)(negative ? -(int)number : (int)number);
    return true;
}

/* "1-40,42", or "40": the first forty. */
static bool set_skip(struct admin_request *r, struct slice value)
{
    struct admin_range range;

    if (slice_to_u64(value, &range.to)) {
        range.from = 1;
        r->skip = mem_dup(&range, sizeof(range));
        r->skip_count = 1;
        return true;
    }
    while (value.len > 0) {
        ptrdiff_t comma = slice_find(value, ',');
        struct slice part = comma < 0 ? value : slice_head(value, (size_t)comma);
        ptrdiff_t dash = slice_find(part, '-');
        struct slice from = dash < 0 ? part : slice_head(part, (size_t)dash);

        slice_advance(&value, comma < 0 ? value.len : (size_t)comma + 1);
        slice_advance(&part, dash < 0 ? 0 : (size_t)dash + 1);
        if (!slice_to_u64(from, &range.from) || !slice_to_u64(part, &range.to)
            || range.from > range.to)
            return false;
        r->skip = mem_realloc(r->skip, (r->skip_count + 1) * sizeof(range));
        r->skip[r->skip_count++] = range;
    }
    return r->skip_count > 0;
}

static bool set_json(struct admin_request *r, struct slice value)
{
    (void)value;
    return r->json = true;
}

static bool set_dry_run(struct admin_request *r, struct slice value)
{
    (void)value;
    return r->dry_run = true;
}

static bool set_copy(struct admin_request *r, struct slice value)
{
    (void)value;
    return r->copy = true;
}

static bool set_future(struct admin_request *r, struct slice value)
{
    (void)value;
    return r->future = true;
}

static bool set_hold(struct admin_request *r, struct slice value)
{
    (void)value;
    return r->hold = true;
}

/* ---- options -------------------------------------------------------------------------------- */

static const struct option {
    const char *name;
    const char *value; /* what is needed; NULL: none */
    unsigned verbs;
    bool (*set)(struct admin_request *r, struct slice value);
    const char *help;
} options[] = {
    {"sender", "ADDRESS, DOMAIN or <>", FILTERED, set_sender, "from this address or domain"},
    {"recipient", "ADDRESS or PATTERN*", FILTERED, set_recipient,
     "to this address; * stands for anything"},
    {"domain", "DOMAIN or *.DOMAIN", FILTERED, set_domain, "to this domain"},
    {"route", "PATTERN", FILTERED, set_route, "by the route with this pattern, or \"domain NAME\""},
    {"reason", "TEXT", FILTERED, set_reason,
     "why it waits has this in it; of hold: why, for others to read"},
    {"why", "TEXT", FILTERED, set_why, "the same, where --reason is something else"},
    {"older", "a time such as 90s, 5m, 4h or 2d", FILTERED, set_older, "came before that long"},
    {"younger", "a time such as 90s, 5m, 4h or 2d", FILTERED, set_younger, "came since"},
    {"larger", "a size such as 10K or 5M", FILTERED, set_larger, "more octets than this"},
    {"smaller", "a size such as 10K or 5M", FILTERED, set_smaller, "fewer"},
    {"state", "waiting, parked, ready, active or held, or several with commas", FILTERED, set_state,
     "in these states"},
    {"limit", "a number from 1 on", FILTERED, set_limit, "no more than so many"},
    {"by", "domain, sender-domain, sender, route, reason or state", BIT(ADMIN_SUMMARY), set_by,
     "of summary"},
    {"dry-run", NULL, ACTS, set_dry_run, "list what would be hit, and do nothing"},
    {"until", "a time such as 2h, or 2026-11-22T08:00Z", BIT(ADMIN_HOLD), set_until, "of hold"},
    {"future", NULL, BIT(ADMIN_HOLD), set_future, "of hold: a rule, for --domain or --sender"},
    {"rule", "the number of a rule, or all", BIT(ADMIN_RELEASE), set_rule, "of release"},
    {"text", "TEXT", BIT(ADMIN_BOUNCE), set_text, "of bounce: what the sender is told"},
    {"priority", "a number from -9 to 9", BIT(ADMIN_SET), set_priority, "of set"},
    {"deliver-by", "a time such as 2h, or 2026-11-22T08:00Z, or never", BIT(ADMIN_SET),
     set_deliver_by, "of set"},
    {"hold-until", "a time such as 2h, or 2026-11-22T08:00Z", BIT(ADMIN_SET), set_until, "of set"},
    {"copy", NULL, BIT(ADMIN_EXPORT), set_copy, "of export: leave them as they are"},
    {"skip", "a number of records, or some such as 1-40,42", BIT(ADMIN_IMPORT), set_skip,
     "of import: leave these out, which were taken before"},
    {"hold", NULL, BIT(ADMIN_IMPORT), set_hold, "of import: all on hold"},
    {"json", NULL, ~0u, set_json, "answer in JSON"},
};

static void tell_options(enum admin_verb verb, struct buf *out)
{
    const char *before = "";

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        if (!(options[i].verbs & BIT(verb)))
            continue;
        (void)buf_printf(out, "%s--%s", before, options[i].name);
        before = " ";
    }
}

static bool take_option(struct admin_request *r, struct slice word, struct buf *out_error)
{
    ptrdiff_t equals = slice_find(word, '=');
    struct slice name = equals < 0 ? word : slice_head(word, (size_t)equals);
    const struct option *o = NULL;

    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]) && o == NULL; i++) {
        if (slice_equal(name, slice_str(options[i].name)) && (options[i].verbs & BIT(r->verb)))
            o = &options[i];
    }
    if (o == NULL) {
        (void)buf_append_str(out_error, "unknown option --");
        (void)text_append_printable(out_error, name);
        (void)buf_printf(out_error, " of queue %s; known are ", verbs[r->verb].name);
        tell_options(r->verb, out_error);
        return false;
    }
    if (o->value == NULL && equals >= 0) {
        (void)buf_printf(out_error, "--%s takes no value", o->name);
        return false;
    }
    slice_advance(&word, equals < 0 ? word.len : (size_t)equals + 1);
    if ((o->value != NULL && equals < 0) || !o->set(r, word)) {
        (void)buf_printf(out_error, "--%s", o->name);
        if (equals >= 0) {
            (void)buf_append_str(out_error, "=");
            (void)text_append_printable(out_error, word);
        }
        (void)buf_printf(out_error, ": %s is needed", o->value);
        return false;
    }
    return true;
}

/* ---- the request ---------------------------------------------------------------------------- */

static bool take_word(struct admin_request *r, struct slice word, struct buf *out_error)
{
    struct admin_filter *f = &r->filter;
    uint64_t id;

    if (!verbs[r->verb].words) {
        (void)buf_printf(out_error, "queue %s takes no \"", verbs[r->verb].name);
    } else if (slice_equal(word, SLICE_LITERAL("all"))) {
        r->all = true;
        return true;
    } else if (id_from_text(word, &id)) {
        if ((f->id_count & (f->id_count - 1)) == 0)
            f->ids = mem_realloc(f->ids, (f->id_count > 0 ? 2 * f->id_count : 1) * sizeof(id));
        f->ids[f->id_count++] = id;
        return true;
    } else {
        (void)buf_append_str(out_error, "not a message id: \"");
    }
    (void)text_append_printable(out_error, slice_head(word, 100));
    (void)buf_append_str(out_error, "\"");
    return false;
}

static bool is_pattern(struct slice text)
{
    return slice_find(text, '*') >= 0;
}

/* A rule is of one kind, and compares whole names. */
static const char *find_rule_fault(const struct admin_request *r)
{
    const struct admin_filter *f = &r->filter;
    struct admin_filter one = *f;
    int kinds = (f->sender_kind != ADMIN_SENDER_ANY) + (f->recipient.len > 0) + (f->domain.len > 0)
                + (f->route.len > 0);

    if (kinds != 1 || is_pattern(f->recipient) || is_pattern(f->domain))
        return "a rule needs one of --domain, --sender, --recipient and --route, and no pattern "
               "but a route's";
    one.sender_kind = ADMIN_SENDER_ANY;
    one.recipient = one.domain = one.route = SLICE_NULL;
    return r->all || admin_filter_is_set(&one) ? "a rule goes without ids and other filters" : NULL;
}

/* What only the whole request shows. */
static const char *find_fault(const struct admin_request *r)
{
    bool said = admin_filter_is_set(&r->filter);

    if (r->all && said)
        return "either all or some: \"all\" goes without ids and filters";
    if (r->future)
        return find_rule_fault(r);
    if (r->rule.len > 0)
        return said || r->all ? "either --rule or messages" : NULL;
    if (r->verb == ADMIN_SET && !r->set_priority && r->deliver_by.kind == ADMIN_TIME_UNSET
        && r->until.kind == ADMIN_TIME_UNSET)
        return "what is to be set? --priority, --deliver-by or --hold-until";
    if (verbs[r->verb].needs_words && !said && !r->all)
        return "which messages? Give ids, filters such as --domain=example.org, or all";
    return NULL;
}

static bool find_verb(struct slice word, enum admin_verb *out)
{
    for (int v = 0; v < ADMIN_VERB_COUNT; v++) {
        if (slice_equal(word, slice_str(verbs[v].name))) {
            *out = (enum admin_verb)v;
            return true;
        }
    }
    return false;
}

static bool parse(struct admin_request *r, const struct slice *words, size_t count,
                  struct buf *out_error)
{
    const char *fault;

    if (count == 0 || !find_verb(words[0], &r->verb)) {
        (void)buf_append_str(out_error, "unknown queue request; known are list");
        for (int v = 1; v < ADMIN_VERB_COUNT; v++)
            (void)buf_printf(out_error, "%s%s", v + 1 < ADMIN_VERB_COUNT ? ", " : " and ",
                             verbs[v].name);
        return false;
    }
    for (size_t i = 1; i < count; i++) {
        struct slice word = words[i];
        bool ok;
        if (word.len > 2 && word.data[0] == '-' && word.data[1] == '-') {
            slice_advance(&word, 2);
            ok = take_option(r, word, out_error);
        } else if (i + 1 == count && slice_equal(word, SLICE_LITERAL("json"))) {
            ok = r->json = true;
        } else {
            ok = take_word(r, word, out_error);
        }
        if (!ok)
            return false;
    }
    fault = find_fault(r);
    if (fault != NULL)
        (void)buf_append_str(out_error, fault);
    return fault == NULL;
}

bool admin_request_parse(struct admin_request *r, const struct slice *words, size_t count,
                         struct buf *out_error)
{
    *r = (struct admin_request){
        .filter = {.younger_s = UINT64_MAX, .size_max = UINT64_MAX, .limit = UINT64_MAX}};
    if (parse(r, words, count, out_error))
        return true;
    admin_request_finish(r);
    return false;
}

void admin_request_finish(struct admin_request *r)
{
    mem_free(r->filter.ids);
    mem_free(r->skip);
    *r = (struct admin_request){0};
}

bool admin_request_skips(const struct admin_request *r, uint64_t record)
{
    for (size_t i = 0; i < r->skip_count; i++) {
        if (record >= r->skip[i].from && record <= r->skip[i].to)
            return true;
    }
    return false;
}

void admin_request_usage(struct buf *out)
{
    (void)buf_append_str(out, "usage: mailring queue [VERB] [ID... | all] [filters] [--json]\n\n");
    for (int v = 0; v < ADMIN_VERB_COUNT; v++)
        (void)buf_printf(out, "  %-12s %s\n", verbs[v].name, verbs[v].help);
    (void)buf_append_str(out, "\n");
    for (size_t i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
        (void)buf_printf(out, "  --%s%s%s\n               %s\n", options[i].name,
                         options[i].value != NULL ? "=" : "",
                         options[i].value != NULL ? options[i].value : "", options[i].help);
    }
}
