/*
 * queue_holds_file: where the operator's rules are kept: a text (queue_holds_format) in the state directory.
 * It is read when a shard opens, and written whole by whoever changes the rules: beside its place, synced,
 * renamed, and the directory synced.
 */
#ifndef QUEUE_HOLDS_FILE_H
#define QUEUE_HOLDS_FILE_H

#include "io.h"
#include "queue.h"

/* Start-up only: `q` gets the rules of the file, if there is one. A line that is no rule is passed over; with
 * `keep` the file is then copied beside its place (".damaged"), since the next one that is written will not have
 * it. False, with a line in *out_error: the file is there, but cannot be read. */
bool queue_holds_load(struct queue *q, const char *directory, bool keep, struct buf *out_warning,
                      struct buf *out_error);

enum queue_holds_file_state {
    QUEUE_HOLDS_FILE_IDLE,
    QUEUE_HOLDS_FILE_OPEN,
    QUEUE_HOLDS_FILE_WRITE,
    QUEUE_HOLDS_FILE_SYNC,
    QUEUE_HOLDS_FILE_CLOSE,
    QUEUE_HOLDS_FILE_RENAME,
    QUEUE_HOLDS_FILE_OPEN_DIRECTORY,
    QUEUE_HOLDS_FILE_SYNC_DIRECTORY,
    QUEUE_HOLDS_FILE_CLOSE_DIRECTORY,
};

/* Embedded in its owner, from queue_holds_save() to `done`. */
struct queue_holds_file {
    struct io *io;
    void (*done)(struct queue_holds_file *f); /* f->error: 0 or a negative errno */
    enum queue_holds_file_state state;
    struct io_op op;
    int fd;
    int error;
    size_t at;
    struct buf text; /* to be written; the owner fills it before, and frees it after */
    struct buf path, new_path, directory;
};
/* `done` never runs within this. */
void queue_holds_save(struct queue_holds_file *f, struct io *io, const char *directory,
                      void (*done)(struct queue_holds_file *f));
void queue_holds_file_finish(struct queue_holds_file *f); /* also fine on zeroed memory */

#endif
