/*
 * delivery_maildir_make: a mailbox that gets its first message. Climbs from its path to the nearest
 * directory that exists, then goes down again, making one directory at a time and syncing the one
 * above it before the next; then new and cur, a sync, and `tmp` last.
 *
 * So a directory that exists proves that everything above it is durable, except for its own entry,
 * which is synced where the climb ends; and a `tmp` proves the whole mailbox. Another delivery that
 * finds it needs no check, whoever made it and whatever crash came between. (The climb only looks: a
 * directory made on the way up would stand below one whose entry nobody has synced.)
 */
#include <errno.h>

#include "delivery_maildir_priv.h"

enum make_state {
    MAKE_CLIMBING,   /* whether a prefix is there */
    MAKE_ANCHORING,  /* sync of the directory that holds the one found or made */
    MAKE_DESCENDING, /* mkdir of the next prefix below */
    MAKE_PARTS,      /* mkdir of new, cur, tmp */
    MAKE_SYNCING,    /* sync of the mailbox, before tmp */
};

enum { MODE = 0700 };

static const char *const parts[] = {"/new", "/cur", "/tmp"};
enum { PART_TMP = 2, PART_COUNT = 3 };

static void make_step(struct io_op *op);
static void make_synced(struct maildir_wait *w);

static char at(const struct maildir_make *m, size_t i)
{
    return (char)m->path.data[m->path.head + i];
}

/* The path is in one piece again, then ends at `len`. */
static void make_prefix(struct maildir_make *m, size_t len, enum make_state state)
{
    if (m->at < m->base_len)
        m->path.data[m->path.head + m->at] = '/';
    m->at = len;
    m->path.data[m->path.head + len] = '\0';
    m->state = (uint8_t)state;
    m->op.done = make_step;
    if (state == MAKE_CLIMBING)
        io_stat(m->d->o.io, &m->op, (const char *)m->path.data + m->path.head, &m->stat);
    else
        io_mkdir(m->d->o.io, &m->op, (const char *)m->path.data + m->path.head, MODE);
}

/* Length of the directory above the prefix of this length; "/" is its own. */
static size_t parent_len(const struct maildir_make *m, size_t len)
{
    while (len > 1 && at(m, len - 1) != '/')
        len--;
    while (len > 1 && at(m, len - 1) == '/')
        len--;
    return len;
}

static void make_end(struct maildir_make *m, int error)
{
    m->done(m, error);
}

static void make_part(struct maildir_make *m)
{
    size_t len = m->base_len + strlen(parts[m->part]);

    buf_truncate(&m->path, m->base_len);
    (void)buf_append_str(&m->path, parts[m->part]);
    (void)buf_append_byte(&m->path, 0);
    make_prefix(m, len, MAKE_PARTS);
}

static void sync_directory(struct maildir_make *m, size_t len, enum make_state state)
{
    m->state = (uint8_t)state;
    m->wait.done = make_synced;
    delivery_maildir_sync(m->d, slice_head(buf_slice(&m->path), len), &m->wait);
}

/* The prefix is there; the one above it is synced. */
static void descend(struct maildir_make *m)
{
    size_t len = m->at + 1;

    if (m->at == m->base_len) {
        m->part = 0;
        make_part(m);
        return;
    }
    while (len < m->base_len && at(m, len) != '/')
        len++;
    /* (Of slashes in a row the first is passed alone: that prefix exists, the mkdir says so.) */
    make_prefix(m, len, MAKE_DESCENDING);
}

static void make_synced(struct maildir_wait *w)
{
    struct maildir_make *m = container_of(w, struct maildir_make, wait);

    if (m->state == MAKE_SYNCING) {
        if (w->error != 0)
            make_end(m, w->error);
        else
            make_part(m);
        return;
    }
    /* We may add a name to a directory that we may not read, such as /home to some: then the operator
     * made what is in it. */
    if (w->error != 0 && w->error != -EACCES && w->error != -EPERM)
        make_end(m, w->error);
    else
        descend(m);
}

static void part_made(struct maildir_make *m)
{
    m->part++;
    if (m->part == PART_TMP)
        sync_directory(m, m->base_len, MAKE_SYNCING);
    else if (m->part < PART_COUNT)
        make_part(m);
    else
        make_end(m, 0);
}

static void make_step(struct io_op *op)
{
    struct maildir_make *m = container_of(op, struct maildir_make, op);
    size_t above = parent_len(m, m->at);

    if (m->state == MAKE_CLIMBING && op->res == -ENOENT) {
        if (above > 1)
            make_prefix(m, above, MAKE_CLIMBING);
        else /* of "/" there is no doubt */
            make_prefix(m, m->at, MAKE_DESCENDING);
    } else if (op->res < 0 && op->res != -EEXIST) {
        make_end(m, op->res);
    } else if (m->state == MAKE_PARTS) {
        part_made(m);
    } else {
        sync_directory(m, above, MAKE_ANCHORING);
    }
}

void delivery_maildir_make(struct delivery *d, struct maildir_make *m, struct slice base,
                           void (*done)(struct maildir_make *m, int error))
{
    m->d = d;
    m->done = done;
    list_init(&m->wait.node);
    buf_finish(&m->path);
    buf_init(&m->path, 0);
    (void)buf_append_slice(&m->path, base);
    while (buf_len(&m->path) > 1 && at(m, buf_len(&m->path) - 1) == '/')
        buf_truncate(&m->path, buf_len(&m->path) - 1);
    m->base_len = m->at = buf_len(&m->path);
    (void)buf_append_byte(&m->path, 0);
    make_prefix(m, m->base_len, MAKE_CLIMBING);
}

void delivery_maildir_make_finish(struct maildir_make *m)
{
    buf_finish(&m->path);
}
