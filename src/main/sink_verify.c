/* sink_verify: see the header. */
#include "sink_verify.h"

#include "base_assert.h"

/* Messages and deliveries are known by a hash of 64 bits: of a million, two are taken for the same once
 * in forty million runs. */
struct message_node {
    struct hash_node node;
    uint64_t stream; /* run and session */
    uint64_t number;
};

/* The numbers that were seen of one session. */
struct stream_node {
    struct hash_node node;
    uint64_t highest;
    uint64_t distinct;
};

void sink_verify_init(struct sink_verify *v)
{
    *v = (struct sink_verify){0};
    hash_table_init(&v->deliveries);
    hash_table_init(&v->messages);
    pool_init(&v->delivery_nodes, "deliveries", sizeof(struct hash_node), 0);
    pool_init(&v->message_nodes, "messages", sizeof(struct message_node), 0);
}

/* Of all three kinds the hash_node is the first member. */
static bool release(struct hash_node *node, void *context)
{
    pool_put(context, node);
    return true;
}

void sink_verify_finish(struct sink_verify *v)
{
    hash_table_each(&v->deliveries, release, &v->delivery_nodes);
    hash_table_each(&v->messages, release, &v->message_nodes);
    hash_table_finish(&v->deliveries);
    hash_table_finish(&v->messages);
    pool_finish(&v->delivery_nodes);
    pool_finish(&v->message_nodes);
}

static bool same_hash(const struct hash_node *node, const void *key)
{
    (void)node;
    (void)key;
    return true; /* the table compares the hash itself */
}

static bool is_there(const struct hash_table *table, uint64_t hash)
{
    return hash_table_find(table, hash, same_hash, NULL) != NULL;
}

/* False if it was there. */
static bool add_delivery(struct sink_verify *v, uint64_t hash)
{
    if (is_there(&v->deliveries, hash))
        return false;
    hash_table_insert(&v->deliveries, pool_get(&v->delivery_nodes), hash);
    return true;
}

static void add_message(struct sink_verify *v, uint64_t hash, uint64_t stream, uint64_t number)
{
    struct message_node *message;

    if (is_there(&v->messages, hash))
        return;
    message = pool_get(&v->message_nodes);
    message->stream = stream;
    message->number = number;
    hash_table_insert(&v->messages, &message->node, hash);
}

static void keep_example(struct sink_verify *v, enum sink_wrong what, const struct tool_mark *mark)
{
    if (v->example[what][0] == '\0')
        (void)tool_mark_id(mark, v->example[what]);
}

void sink_verify_add(struct sink_verify *v, const struct tool_mark_reader *message,
                     const uint64_t *recipients, size_t count)
{
    uint64_t id = tool_mark_hash(&message->mark);
    struct tool_mark first = {.run = message->mark.run, .session = message->mark.session};

    if (!message->has_id) {
        v->counts.unmarked++;
        return;
    }
    v->counts.marked++;
    if (tool_mark_verdict(message) != TOOL_MARK_GOOD) {
        v->counts.altered++;
        keep_example(v, SINK_ALTERED, &message->mark);
    }
    for (size_t i = 0; i < count; i++) {
        if (add_delivery(v, hash_u64(id ^ recipients[i])))
            continue;
        v->counts.duplicates++;
        keep_example(v, SINK_DUPLICATE, &message->mark);
    }
    add_message(v, id, tool_mark_hash(&first), message->mark.number);
}

/* ---- together --------------------------------------------------------------------------------- */

static bool merge_delivery(struct hash_node *node, void *context)
{
    struct sink_verify *to = context;

    if (!add_delivery(to, node->hash))
        to->counts.duplicates++;
    return true;
}

/* One that is there already came to other recipients, or its deliveries tell that it is a duplicate. */
static bool merge_message(struct hash_node *node, void *context)
{
    const struct message_node *message = container_of(node, struct message_node, node);

    add_message(context, node->hash, message->stream, message->number);
    return true;
}

void sink_verify_merge(struct sink_verify *to, struct sink_verify *from)
{
    to->counts.marked += from->counts.marked;
    to->counts.unmarked += from->counts.unmarked;
    to->counts.altered += from->counts.altered;
    to->counts.duplicates += from->counts.duplicates;
    for (size_t i = 0; i < SINK_WRONG_COUNT; i++) {
        if (to->example[i][0] == '\0')
            memcpy(to->example[i], from->example[i], sizeof(to->example[i]));
    }
    hash_table_each(&from->deliveries, merge_delivery, to);
    hash_table_each(&from->messages, merge_message, to);
}

/* ---- what is not there ------------------------------------------------------------------------ */

struct streams {
    struct hash_table table;
    struct pool nodes;
    uint64_t missing;
};

static bool enter_message(struct hash_node *node, void *context)
{
    const struct message_node *message = container_of(node, struct message_node, node);
    struct streams *streams = context;
    struct hash_node *found = hash_table_find(&streams->table, message->stream, same_hash, NULL);
    struct stream_node *stream;

    if (found != NULL) {
        stream = container_of(found, struct stream_node, node);
    } else {
        stream = pool_get(&streams->nodes);
        hash_table_insert(&streams->table, &stream->node, message->stream);
    }
    stream->distinct++;
    if (message->number > stream->highest)
        stream->highest = message->number;
    return true;
}

static bool count_stream(struct hash_node *node, void *context)
{
    const struct stream_node *stream = container_of(node, struct stream_node, node);
    struct streams *streams = context;

    if (stream->highest > stream->distinct) /* numbers begin at 1 */
        streams->missing += stream->highest - stream->distinct;
    return true;
}

void sink_verify_count_missing(struct sink_verify *v)
{
    struct streams streams = {.missing = 0};

    hash_table_init(&streams.table);
    pool_init(&streams.nodes, "streams", sizeof(struct stream_node), 0);
    hash_table_each(&v->messages, enter_message, &streams);
    hash_table_each(&streams.table, count_stream, &streams);
    hash_table_each(&streams.table, release, &streams.nodes);
    hash_table_finish(&streams.table);
    pool_finish(&streams.nodes);
    v->counts.missing = streams.missing;
}

bool sink_verify_expect(struct sink_verify *v, struct slice line)
{
    struct tool_mark mark;
    ptrdiff_t blank = slice_find(line, ' ');

    if (blank < 0 || !tool_mark_id_parse(slice_head(line, (size_t)blank), &mark))
        return false;
    slice_advance(&line, (size_t)blank + 1);
    if (!slice_equal(line, SLICE_LITERAL("accepted")))
        return true; /* an id that was refused is given to a later message */
    v->counts.expected++;
    if (!is_there(&v->messages, tool_mark_hash(&mark))) {
        v->counts.lost++;
        keep_example(v, SINK_LOST, &mark);
    }
    return true;
}

bool sink_verify_is_good(const struct sink_verify *v)
{
    const struct sink_counts *c = &v->counts;

    return c->unmarked == 0 && c->altered == 0 && c->duplicates == 0 && c->missing == 0
           && c->lost == 0;
}
