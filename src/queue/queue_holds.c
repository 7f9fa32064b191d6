/* queue_holds: see the header. */
#include "queue_holds.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base_mem.h"
#include "queue_priv.h"

struct queue_hold_node {
    struct queue_hold_rule rule; /* its texts are behind it */
    struct hash_node by_id, by_value;
    struct list node;
};

static const char *const kind_names[QUEUE_HOLD_KINDS] = {
    [QUEUE_HOLD_SENDER] = "sender",       [QUEUE_HOLD_SENDER_DOMAIN] = "sender-domain",
    [QUEUE_HOLD_RECIPIENT] = "recipient", [QUEUE_HOLD_DOMAIN] = "domain",
    [QUEUE_HOLD_ROUTE] = "route",
};

const char *queue_hold_kind_name(enum queue_hold_kind kind)
{
    return kind_names[kind];
}

bool queue_hold_kind_parse(struct slice name, enum queue_hold_kind *out)
{
    for (int i = 0; i < QUEUE_HOLD_KINDS; i++) {
        if (slice_equal(name, slice_str(kind_names[i]))) {
            *out = (enum queue_hold_kind)i;
            return true;
        }
    }
    return false;
}

/* ---- a set ----------------------------------------------------------------------------------- */

static void ready(struct queue_holds *set)
{
    if (set->all.next != NULL)
        return;
    list_init(&set->all);
    hash_table_init(&set->by_id);
    hash_table_init(&set->by_value);
}

static struct queue_hold_node *of_node(struct list *node)
{
    return container_of(node, struct queue_hold_node, node);
}

static bool has_id(const struct hash_node *node, const void *key)
{
    const struct queue_hold_node *n =
        container_of((void *)(uintptr_t)node, struct queue_hold_node, by_id);

    return n->rule.id == *(const uint32_t *)key;
}

struct meant {
    enum queue_hold_kind kind;
    struct slice value;
};

static bool is_meant(const struct hash_node *node, const void *key)
{
    const struct queue_hold_node *n =
        container_of((void *)(uintptr_t)node, struct queue_hold_node, by_value);
    const struct meant *meant = key;

    return n->rule.kind == meant->kind && slice_equal_nocase(n->rule.value, meant->value);
}

static uint64_t value_hash(enum queue_hold_kind kind, struct slice value)
{
    return hash_bytes_nocase(value) + (uint64_t)kind * 0x9e3779b97f4a7c15u;
}

static struct queue_hold_node *find_id(const struct queue_holds *set, uint32_t id)
{
    struct hash_node *node =
        set->count > 0 ? hash_table_find(&set->by_id, hash_u64(id), has_id, &id) : NULL;

    return node != NULL ? container_of(node, struct queue_hold_node, by_id) : NULL;
}

const struct queue_hold_rule *queue_holds_find(const struct queue_holds *set, uint32_t id)
{
    struct queue_hold_node *n = find_id(set, id);

    return n != NULL ? &n->rule : NULL;
}

bool queue_holds_insert(struct queue_holds *set, const struct queue_hold_rule *rule)
{
    struct queue_hold_node *n;
    uint8_t *text;

    if (rule->id == 0 || rule->value.len == 0 || rule->value.len > QUEUE_HOLD_TEXT_MAX
        || rule->reason.len > QUEUE_HOLD_TEXT_MAX || set->count >= QUEUE_HOLDS_MAX
        || find_id(set, rule->id) != NULL)
        return false;
    ready(set);
    n = mem_zalloc(sizeof(*n) + rule->value.len + rule->reason.len);
    text = (uint8_t *)(n + 1);
    n->rule = *rule;
    n->rule.value = slice_of(text, rule->value.len);
    n->rule.reason = slice_of(text + rule->value.len, rule->reason.len);
    memcpy(text, rule->value.data, rule->value.len);
    if (rule->reason.len > 0)
        memcpy(text + rule->value.len, rule->reason.data, rule->reason.len);
    list_init(&n->node);
    list_push_back(&set->all, &n->node);
    hash_table_insert(&set->by_id, &n->by_id, hash_u64(rule->id));
    hash_table_insert(&set->by_value, &n->by_value, value_hash(rule->kind, rule->value));
    set->count++;
    set->of_kind[rule->kind]++;
    return true;
}

static void erase(struct queue_holds *set, struct queue_hold_node *n)
{
    list_remove(&n->node);
    hash_table_remove(&set->by_id, &n->by_id);
    hash_table_remove(&set->by_value, &n->by_value);
    set->count--;
    set->of_kind[n->rule.kind]--;
    mem_free(n);
}

bool queue_holds_erase(struct queue_holds *set, uint32_t id)
{
    struct queue_hold_node *n = find_id(set, id);

    if (n != NULL)
        erase(set, n);
    return n != NULL;
}

void queue_holds_finish(struct queue_holds *set)
{
    if (set->all.next == NULL)
        return;
    while (!list_empty(&set->all))
        erase(set, of_node(set->all.next));
    hash_table_finish(&set->by_id);
    hash_table_finish(&set->by_value);
    *set = (struct queue_holds){0};
}

void queue_holds_each(const struct queue_holds *set,
                      bool (*visit)(const struct queue_hold_rule *rule, void *context),
                      void *context)
{
    if (set->count == 0)
        return;
    LIST_EACH(&set->all, node)
    {
        if (!visit(&of_node(node)->rule, context))
            return;
    }
}

/* ---- matching -------------------------------------------------------------------------------- */

static struct slice domain_of(struct slice address)
{
    for (size_t i = address.len; i > 0; i--) {
        if (address.data[i - 1] == '@')
            return slice_of(address.data + i, address.len - i);
    }
    return SLICE_NULL;
}

static const struct queue_hold_rule *match(const struct queue_holds *set, enum queue_hold_kind kind,
                                           struct slice value)
{
    struct meant meant = {kind, value};
    struct hash_node *node;

    if (set->of_kind[kind] == 0 || value.len == 0)
        return NULL;
    node = hash_table_find(&set->by_value, value_hash(kind, value), is_meant, &meant);
    return node != NULL ? &container_of(node, struct queue_hold_node, by_value)->rule : NULL;
}

const struct queue_hold_rule *queue_holds_match(const struct queue_holds *set, struct slice sender,
                                                struct slice recipient, struct slice route)
{
    const struct queue_hold_rule *rule;
    const struct {
        enum queue_hold_kind kind;
        struct slice value;
    } asked[] = {
        {QUEUE_HOLD_SENDER, sender.len > 0 ? sender : SLICE_LITERAL("<>")},
        {QUEUE_HOLD_SENDER_DOMAIN, domain_of(sender)},
        {QUEUE_HOLD_RECIPIENT, recipient},
        {QUEUE_HOLD_DOMAIN, domain_of(recipient)},
        {QUEUE_HOLD_ROUTE, route},
    };

    if (set->count == 0)
        return NULL;
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        rule = match(set, asked[i].kind, asked[i].value);
        if (rule != NULL)
            return rule;
    }
    return NULL;
}

/* ---- in a file ------------------------------------------------------------------------------- */

static void append_word(struct buf *out, struct slice word)
{
    for (size_t i = 0; i < word.len; i++) {
        uint8_t c = word.data[i];
        if (c <= ' ' || c == '%' || c == 0x7f)
            (void)buf_printf(out, "%%%02X", (unsigned)c);
        else
            (void)buf_append_byte(out, c);
    }
}

void queue_holds_format(const struct queue_holds *set, struct buf *out)
{
    if (set->count == 0)
        return;
    LIST_EACH(&set->all, node)
    {
        const struct queue_hold_rule *r = &of_node(node)->rule;

        (void)buf_printf(out, "%" PRIu32 " %s ", r->id, kind_names[r->kind]);
        if (r->until_s == SPOOL_DUE_NEVER)
            (void)buf_append_str(out, "never ");
        else
            (void)buf_printf(out, "%" PRIu32 " ", r->until_s);
        append_word(out, r->value);
        (void)buf_append_byte(out, ' ');
        append_word(out, r->reason);
        (void)buf_append_byte(out, '\n');
    }
}

/* Up to a blank or the end, which it takes. */
static struct slice next_word(struct slice *line)
{
    size_t len = 0;
    struct slice word;

    while (len < line->len && line->data[len] != ' ')
        len++;
    word = slice_head(*line, len);
    *line = slice_of(line->data + len, line->len - len);
    if (line->len > 0)
        *line = slice_of(line->data + 1, line->len - 1);
    return word;
}

static bool parse_number(struct slice word, uint32_t *out)
{
    uint64_t value = 0;

    if (word.len == 0 || word.len > 10)
        return false;
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] < '0' || word.data[i] > '9')
            return false;
        value = value * 10 + (word.data[i] - '0');
    }
    *out = (uint32_t)value;
    return value < UINT32_MAX;
}

static int hex_digit(uint8_t c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_text(struct slice word, struct buf *out)
{
    for (size_t i = 0; i < word.len; i++) {
        if (word.data[i] != '%') {
            (void)buf_append_byte(out, word.data[i]);
            continue;
        }
        if (i + 2 >= word.len || hex_digit(word.data[i + 1]) < 0 || hex_digit(word.data[i + 2]) < 0)
            return false;
        (void)buf_append_byte(
            out, (uint8_t)(hex_digit(word.data[i + 1]) << 4 | hex_digit(word.data[i + 2])));
        i += 2;
    }
    return true;
}

static bool parse_line(struct queue_holds *set, struct slice line)
{
    struct queue_hold_rule rule = {.until_s = SPOOL_DUE_NEVER};
    struct slice until;
    struct buf value, reason;
    bool good;

    buf_init(&value, 0);
    buf_init(&reason, 0);
    good = parse_number(next_word(&line), &rule.id)
           && queue_hold_kind_parse(next_word(&line), &rule.kind);
    until = next_word(&line);
    good = good
           && (slice_equal(until, SLICE_LITERAL("never")) || parse_number(until, &rule.until_s))
           && parse_text(next_word(&line), &value) && parse_text(next_word(&line), &reason)
           && line.len == 0;
    rule.value = buf_slice(&value);
    rule.reason = buf_slice(&reason);
    good = good && queue_holds_insert(set, &rule);
    buf_finish(&value);
    buf_finish(&reason);
    return good;
}

size_t queue_holds_parse(struct queue_holds *set, struct slice text)
{
    for (size_t number = 1; text.len > 0; number++) {
        size_t len = 0;

        while (len < text.len && text.data[len] != '\n')
            len++;
        if (len > 0 && !parse_line(set, slice_head(text, len)))
            return number;
        len += len < text.len;
        text = slice_of(text.data + len, text.len - len);
    }
    return 0;
}

/* ---- a queue's rules ------------------------------------------------------------------------- */

void queue_hold_key(const struct queue_hold_rule *rule, char out[QUEUE_HOLD_KEY_SIZE])
{
    (void)snprintf(out, QUEUE_HOLD_KEY_SIZE, "hold %" PRIu32, rule->id);
}

static void look_again(struct queue *q)
{
    uint32_t next_s = SPOOL_DUE_NEVER;

    if (q->holds.count > 0) {
        LIST_EACH(&q->holds.all, node)
        {
            uint32_t until_s = of_node(node)->rule.until_s;
            next_s = until_s < next_s ? until_s : next_s;
        }
    }
    if (next_s == SPOOL_DUE_NEVER)
        wheel_cancel(q->wheel, &q->holds_timer);
    else
        wheel_set(q->wheel, &q->holds_timer, queue_timer_ms(q, next_s));
}

static void end_rule(struct queue *q, struct queue_hold_node *n)
{
    char key[QUEUE_HOLD_KEY_SIZE];

    queue_hold_key(&n->rule, key);
    erase(&q->holds, n);
    queue_lot_dissolve(q, slice_str(key));
}

static void rules_due(struct wheel_timer *timer)
{
    struct queue *q = container_of(timer, struct queue, holds_timer);
    uint32_t now_s = queue_now_s(q);

    if (q->holds.count > 0) {
        LIST_EACH_SAFE(&q->holds.all, node)
        {
            if (of_node(node)->rule.until_s <= now_s)
                end_rule(q, of_node(node));
        }
    }
    look_again(q);
}

void queue_holds_start(struct queue *q)
{
    ready(&q->holds);
    wheel_timer_init(&q->holds_timer, rules_due);
}

bool queue_holds_add(struct queue *q, const struct queue_hold_rule *rule)
{
    if (!queue_holds_insert(&q->holds, rule))
        return false;
    look_again(q);
    return true;
}

bool queue_holds_remove(struct queue *q, uint32_t id)
{
    struct queue_hold_node *n = find_id(&q->holds, id);

    if (n == NULL)
        return false;
    end_rule(q, n);
    look_again(q);
    return true;
}
