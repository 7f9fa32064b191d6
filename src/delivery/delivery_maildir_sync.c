/*
 * delivery_maildir_sync: a name in a directory is stable when the directory was synced after the name
 * was made. Deliveries into one directory that wait at the same time share the sync: those that come
 * before it is asked for ride along, those that come later make the next one together.
 */
#include "base_mem.h"
#include "delivery_maildir_priv.h"

enum sync_state { SYNC_OPENING, SYNC_SYNCING, SYNC_CLOSING };

/* Owned by the delivery's list, as long as somebody waits or its directory is open. */
struct maildir_sync {
    struct maildir_sync *next;
    struct delivery *d;
    struct io_op op;
    enum sync_state state;
    int fd;
    int error;
    struct list riding;  /* covered by the sync that is under way or about to be */
    struct list waiting; /* came too late for it */
    size_t path_len;
    char path[];
};

static void sync_step(struct io_op *op);

static void sync_open(struct maildir_sync *s)
{
    s->state = SYNC_OPENING;
    s->fd = -1;
    s->error = 0;
    s->op.done = sync_step;
    io_open(s->d->o.io, &s->op, s->path, IO_OPEN_READ | IO_OPEN_DIRECTORY, 0);
}

static void tell(struct list *whom, int error)
{
    struct list *node;

    while ((node = list_pop_front(whom)) != NULL) {
        struct maildir_wait *w = container_of(node, struct maildir_wait, node);
        w->error = error;
        w->done(w);
    }
}

/* The directory is closed, or was never open. It goes before its riders are told: what they begin may
 * be the last that the delivery does. */
static void sync_end(struct maildir_sync *s)
{
    struct maildir_sync **at = &s->d->maildir_syncs;
    struct list riding;
    int error = s->error;

    list_init(&riding);
    list_splice_back(&riding, &s->riding);
    if (!list_empty(&s->waiting)) {
        list_splice_back(&s->riding, &s->waiting);
        sync_open(s);
    } else {
        while (*at != s)
            at = &(*at)->next;
        *at = s->next;
        mem_free(s);
    }
    tell(&riding, error);
}

static void sync_close(struct maildir_sync *s)
{
    s->state = SYNC_CLOSING;
    io_close(s->d->o.io, &s->op, s->fd);
}

static void sync_synced(struct maildir_sync *s, int res)
{
    struct list riding;

    s->error = res;
    if (res < 0) {
        /* The kernel may have dropped what it could not write, and a second sync would then succeed
         * without it: those who wait for the next one have lost too. */
        list_splice_back(&s->riding, &s->waiting);
    }
    if (list_empty(&s->waiting)) {
        sync_close(s);
        return;
    }
    list_init(&riding);
    list_splice_back(&riding, &s->riding);
    list_splice_back(&s->riding, &s->waiting);
    io_fsync(s->d->o.io, &s->op, s->fd);
    tell(&riding, res);
}

static void sync_step(struct io_op *op)
{
    struct maildir_sync *s = container_of(op, struct maildir_sync, op);

    switch (s->state) {
    case SYNC_OPENING:
        if (op->res < 0) {
            s->error = op->res;
            sync_end(s);
            return;
        }
        s->fd = op->res;
        s->state = SYNC_SYNCING;
        io_fsync(s->d->o.io, &s->op, s->fd);
        return;
    case SYNC_SYNCING: sync_synced(s, op->res); return;
    case SYNC_CLOSING: sync_end(s); return;
    }
    UNREACHABLE();
}

void delivery_maildir_sync(struct delivery *d, struct slice directory, struct maildir_wait *w)
{
    struct maildir_sync *s = d->maildir_syncs;

    while (s != NULL && !slice_equal(slice_of(s->path, s->path_len), directory))
        s = s->next;
    if (s != NULL) {
        list_push_back(s->state == SYNC_OPENING ? &s->riding : &s->waiting, &w->node);
        return;
    }
    s = mem_zalloc(sizeof(*s) + directory.len + 1);
    s->d = d;
    memcpy(s->path, directory.data, directory.len);
    s->path_len = directory.len;
    list_init(&s->riding);
    list_init(&s->waiting);
    list_push_back(&s->riding, &w->node);
    s->next = d->maildir_syncs;
    d->maildir_syncs = s;
    sync_open(s);
}

void delivery_maildir_sync_discard(struct delivery *d)
{
    while (d->maildir_syncs != NULL) {
        struct maildir_sync *s = d->maildir_syncs;
        d->maildir_syncs = s->next;
        mem_free(s);
    }
}
