/*
 * sts_store: a file for each domain with a policy, <state>/sts/DOMAIN, readable by people: what is known
 * of the policy, an empty line, the policy, all under a checksum. A new one is written beside it and
 * renamed, and the directory synced, so there is always a whole one; one at a time, since they change once a day.
 *
 * A file that cannot be written costs a fetch after the next start, nothing else: it is said in the log.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base_crc32c.h"
#include "base_log.h"
#include "base_mem.h"
#include "sts_priv.h"

enum { FILE_MAX = STS_POLICY_MAX + 1024, FILES_MAX = 4 * STS_POLICIES_MAX };

/* ---- the text ------------------------------------------------------------------------------- */

#define MAGIC "mailring-sts 1 crc32c="

void sts_file_compose(const struct sts_policy *policy, struct slice domain, uint64_t used_s,
                      struct buf *out)
{
    struct buf rest;

    buf_init(&rest, 0);
    (void)buf_printf(&rest, "domain: %.*s\nid: %s\nfetched: %llu\nused: %llu\n\n",
                     SLICE_ARG(domain), policy->id, (unsigned long long)policy->fetched_s,
                     (unsigned long long)used_s);
    sts_policy_text(policy, &rest);
    (void)buf_printf(out, MAGIC "%08x\n",
                     (unsigned)crc32c(0, buf_slice(&rest).data, buf_len(&rest)));
    (void)buf_append_slice(out, buf_slice(&rest));
    buf_finish(&rest);
}

static bool take_line(struct slice *rest, struct slice *out)
{
    ptrdiff_t end = slice_find(*rest, '\n');

    if (end < 0)
        return false;
    *out = slice_head(*rest, (size_t)end);
    slice_advance(rest, (size_t)end + 1);
    return true;
}

static bool take_field(struct slice *rest, const char *key, struct slice *out)
{
    struct slice line;
    size_t len = strlen(key);

    if (!take_line(rest, &line) || line.len < len || memcmp(line.data, key, len) != 0)
        return false;
    slice_advance(&line, len);
    *out = line;
    return true;
}

struct sts_policy *sts_file_parse(struct slice text, struct slice domain, uint64_t *out_used_s)
{
    struct slice rest = text, line, name, id, number, blank;
    uint64_t fetched_s, used_s;
    struct sts_policy *p;
    char head[sizeof(MAGIC) + 8];
    const char *why;

    if (!take_line(&rest, &line))
        return NULL;
    (void)snprintf(head, sizeof(head), MAGIC "%08x", (unsigned)crc32c(0, rest.data, rest.len));
    if (!slice_equal(line, slice_str(head)) || !take_field(&rest, "domain: ", &name)
        || !slice_equal(name, domain) || !take_field(&rest, "id: ", &id) || id.len > STS_ID_MAX
        || !take_field(&rest, "fetched: ", &number) || !slice_to_u64(number, &fetched_s)
        || !take_field(&rest, "used: ", &number) || !slice_to_u64(number, &used_s)
        || !take_line(&rest, &blank) || blank.len > 0)
        return NULL;
    p = sts_policy_parse(rest, &why);
    if (p == NULL)
        return NULL;
    memcpy(p->id, id.data, id.len);
    p->id[id.len] = '\0';
    p->fetched_s = fetched_s;
    *out_used_s = used_s;
    return p;
}

/* ---- writing -------------------------------------------------------------------------------- */

static void step(struct io_op *op);

static void set_path(struct buf *path, const struct sts *s, const char *name)
{
    buf_clear(path);
    (void)buf_printf(path, "%s/sts%s%s", s->o.state, name[0] != '\0' ? "/" : "", name);
    (void)buf_append_byte(path, 0);
}

static const char *path_of(const struct buf *path)
{
    return (const char *)buf_slice(path).data;
}

/* A domain that can be a file's name as it is; those of others are not kept. */
static bool is_file_name(const char *name)
{
    size_t len = strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789-_.");

    return len > 0 && name[len] == '\0' && name[0] != '.';
}

static void complain(const char *event, const char *path, int error)
{
    struct log_record r;

    log_begin(&r, LOG_WARNING, event);
    log_str(&r, "file", path);
    if (error != 0)
        log_errno(&r, -error);
    log_end(&r);
}

static bool is_wanted(const struct sts_entry *e)
{
    return !e->leaving && e->held != NULL && e->held->policy->mode != STS_NONE;
}

static void begin_write(struct sts *s, struct sts_entry *e)
{
    struct sts_store *t = &s->store;

    buf_clear(&t->text);
    sts_file_compose(e->held->policy, slice_str(e->name), e->used_s, &t->text);
    t->written = 0;
    t->state = STS_STORE_OPEN;
    io_open(s->o.io, &t->op, path_of(&t->new_path),
            IO_OPEN_WRITE | IO_OPEN_CREATE | IO_OPEN_TRUNCATE, 0600);
}

static void begin(struct sts *s)
{
    struct sts_store *t = &s->store;
    struct list *node;

    if (t->state != STS_STORE_IDLE || (node = list_pop_front(&t->dirty)) == NULL)
        return;
    t->entry = container_of(node, struct sts_entry, dirty);
    t->op.done = step;
    t->error = 0;
    set_path(&t->path, s, t->entry->name);
    if (is_wanted(t->entry)) {
        begin_write(s, t->entry);
    } else {
        t->state = STS_STORE_UNLINK;
        io_unlink(s->o.io, &t->op, path_of(&t->path));
    }
}

static void end(struct sts *s)
{
    struct sts_store *t = &s->store;
    struct sts_entry *e = t->entry;

    if (t->error != 0)
        complain("sts-file-not-written", path_of(&t->path), t->error);
    t->state = STS_STORE_IDLE;
    t->entry = NULL;
    if (e->leaving && !list_linked(&e->dirty))
        sts_entry_free(e);
    begin(s);
}

static void write_more(struct sts *s)
{
    struct sts_store *t = &s->store;
    struct slice left = buf_slice(&t->text);

    slice_advance(&left, t->written);
    t->state = STS_STORE_WRITE;
    io_write(s->o.io, &t->op, t->fd, left.data, left.len, t->written, 0);
}

static void close_file(struct sts *s, int error)
{
    s->store.error = error;
    s->store.state = STS_STORE_CLOSE;
    io_close(s->o.io, &s->store.op, s->store.fd);
}

static void wrote(struct sts *s, int res)
{
    struct sts_store *t = &s->store;

    if (res <= 0) {
        close_file(s, res < 0 ? res : -EIO);
        return;
    }
    t->written += (size_t)res;
    if (t->written < buf_len(&t->text)) {
        write_more(s);
        return;
    }
    t->state = STS_STORE_SYNC;
    io_fsync(s->o.io, &t->op, t->fd);
}

static void step(struct io_op *op)
{
    struct sts_store *t = container_of(op, struct sts_store, op);
    struct sts *s = container_of(t, struct sts, store);

    switch (t->state) {
    case STS_STORE_IDLE: break;
    case STS_STORE_OPEN:
        t->fd = t->error = op->res;
        if (op->res < 0) {
            end(s);
            return;
        }
        write_more(s);
        return;
    case STS_STORE_WRITE: wrote(s, op->res); return;
    case STS_STORE_SYNC: close_file(s, op->res); return;
    case STS_STORE_CLOSE:
        if (t->error != 0) {
            end(s);
            return;
        }
        t->state = STS_STORE_RENAME;
        io_rename(s->o.io, &t->op, path_of(&t->new_path), path_of(&t->path));
        return;
    case STS_STORE_RENAME:
        t->error = op->res;
        t->entry->on_disk |= op->res == 0;
        if (op->res < 0) {
            end(s);
            return;
        }
        set_path(&t->path, s, "");
        t->state = STS_STORE_OPEN_DIRECTORY;
        io_open(s->o.io, &t->op, path_of(&t->path), IO_OPEN_READ | IO_OPEN_DIRECTORY, 0);
        return;
    case STS_STORE_OPEN_DIRECTORY:
        t->fd = t->error = op->res;
        if (op->res < 0) {
            end(s);
            return;
        }
        t->state = STS_STORE_SYNC_DIRECTORY;
        io_fsync(s->o.io, &t->op, t->fd);
        return;
    case STS_STORE_SYNC_DIRECTORY:
        t->error = op->res;
        t->state = STS_STORE_CLOSE_DIRECTORY;
        io_close(s->o.io, &t->op, t->fd);
        return;
    case STS_STORE_CLOSE_DIRECTORY: end(s); return;
    case STS_STORE_UNLINK:
        t->error = op->res == -ENOENT ? 0 : op->res;
        t->entry->on_disk &= t->error != 0;
        end(s);
        return;
    }
    UNREACHABLE();
}

void sts_store_mark(struct sts_entry *e)
{
    struct sts *s = e->sts;
    bool ours = s->o.state != NULL && is_file_name(e->name)
                && hash_stable(slice_str(e->name)) % s->o.shards == s->o.shard;

    if (ours && (is_wanted(e) || e->on_disk || s->store.entry == e)) {
        if (!list_linked(&e->dirty))
            list_push_back(&s->store.dirty, &e->dirty);
        begin(s);
    } else if (e->leaving) {
        sts_entry_free(e);
    }
}

bool sts_store_idle(const struct sts *s)
{
    return s->store.state == STS_STORE_IDLE && list_empty(&s->store.dirty);
}

void sts_store_finish(struct sts *s)
{
    buf_finish(&s->store.text);
    buf_finish(&s->store.path);
    buf_finish(&s->store.new_path);
}

/* ---- at the start --------------------------------------------------------------------------- */

static bool collect_name(void *context, const char *name)
{
    struct buf *names = context;

    if (is_file_name(name))
        (void)buf_append(names, name, strlen(name) + 1);
    return buf_len(names) < (size_t)FILES_MAX * 32;
}

/* The file's bytes; a negative errno. */
static int read_file(struct io *io, const char *path, struct buf *out)
{
    struct io_op op = {0};
    int fd, res = 1, closed;

    io_open(io, &op, path, IO_OPEN_READ, 0);
    fd = io_await(io, &op);
    if (fd < 0)
        return fd;
    while (res > 0 && buf_len(out) < FILE_MAX) {
        uint8_t *room = buf_reserve(out, FILE_MAX + 1 - buf_len(out));
        io_read(io, &op, fd, room, FILE_MAX + 1 - buf_len(out), buf_len(out));
        res = io_await(io, &op);
        if (res > 0)
            buf_commit(out, (size_t)res);
    }
    io_close(io, &op, fd);
    closed = io_await(io, &op);
    (void)closed; /* it was only read */
    return res < 0 ? res : 0;
}

static void remove_file(struct io *io, const char *path)
{
    struct io_op op = {0};

    io_unlink(io, &op, path);
    (void)io_await(io, &op); /* it is looked at again at the next start */
}

static void load(struct sts *s, const char *name, struct buf *path, struct buf *text)
{
    struct sts_policy *p;
    uint64_t used_s;
    int res;

    set_path(path, s, name);
    buf_clear(text);
    res = read_file(s->o.io, path_of(path), text);
    if (res < 0) {
        complain("sts-file-unreadable", path_of(path), res);
        return;
    }
    p = sts_file_parse(buf_slice(text), slice_str(name), &used_s);
    if (p == NULL)
        complain("sts-file-damaged", path_of(path), 0);
    if (p == NULL || !sts_entry_load(s, slice_str(name), p, used_s))
        remove_file(s->o.io, path_of(path));
}

bool sts_store_open(struct sts *s, struct buf *out_error)
{
    struct buf names, path, text;
    struct slice rest;
    char temporary[32];
    int res;

    buf_init(&names, 0);
    buf_init(&path, 0);
    buf_init(&text, FILE_MAX + 1);
    (void)snprintf(temporary, sizeof(temporary), ".new-%u", s->o.shard);
    set_path(&s->store.new_path, s, temporary);
    set_path(&path, s, "");
    res = io_make_directory(s->o.io, path_of(&path), 0700);
    if (res == 0)
        res = io_list(s->o.io, path_of(&path), collect_name, &names);
    if (res < 0)
        (void)buf_printf(out_error, "state \"%s\": cannot use %s: %s", s->o.state, path_of(&path),
                         strerrordesc_np(-res));
    for (rest = buf_slice(&names); rest.len > 0;) {
        const char *name = (const char *)rest.data;
        slice_advance(&rest, strlen(name) + 1);
        if (hash_stable(slice_str(name)) % s->o.shards == s->o.shard)
            load(s, name, &path, &text);
    }
    buf_finish(&names);
    buf_finish(&path);
    buf_finish(&text);
    return res == 0;
}
