/*
 * spool_priv: what the modules of the spool share.
 *
 *   spool_format, _envelope, _payload    bytes on disk, pure
 *   spool_staging                    registered memory, bodies being written
 *   spool_segment                    segment objects and what lives in them
 *   spool_files, spool_jobs          how many segments; one file job at a time a log
 *   spool_batch, spool_stable        records gather and are written; acknowledging, failed syncs
 *   spool_writer, _body, _commit     bodies in, messages out
 *   spool_message, spool_index       messages in memory, outcomes
 *   spool_checkpoint, spool_texts
 *   spool_compact, spool_move        which segment is emptied; one message moves
 *   spool_scan                       reads a segment whatever is in it
 *   spool_recover, spool_replay      from segments to messages
 *   spool_log                        opens and closes a directory
 *   spool_reader, spool_bulk, spool_verify
 */
#ifndef SPOOL_PRIV_H
#define SPOOL_PRIV_H

#include "base_assert.h"
#include "base_hash.h"
#include "base_log.h"
#include "base_mem.h"
#include "base_pool.h"
#include "spool_format_priv.h"

enum {
    SPOOL_SEQUENCE_BITS = 48,
    SPOOL_ID_AHEAD = 1 << 20,        /* ids that may be given out beyond what is on disk */
    SPOOL_SMALL = 8 << 10,           /* a body's first memory */
    SPOOL_MEDIUM = 64 << 10,         /* its second; larger ones leave in extents */
    SPOOL_EXTENTS_MAX = 4096,        /* a message */
    SPOOL_WINDOW = 2,                /* extents of a writer in flight */
    SPOOL_SECOND_RECORDS = 16,       /* a second commit in flight only for so many records */
    SPOOL_SECOND_BYTES = 128 << 10,  /* or bytes */
    SPOOL_RETRY_MS = 1000,           /* file jobs that failed */
    SPOOL_FAILED_RETRY_MS = 5000,    /* a log whose syncs failed twice */
    SPOOL_IDLE_MS = 100,             /* a writer that may have to give back its memory */
    SPOOL_FILL_LEN = 256 << 10,      /* zeros a write */
    SPOOL_ADOPTED_SEGMENT = 4 << 20, /* adopted logs hold outcomes, little else */
    SPOOL_PATH_MAX = 1024,
    SPOOL_POOLS = 3, /* messages of 1, 4, 16 recipients; others are allocated */
};

/* Private bits of spool_message.spool_state. */
enum {
    SPOOL_M_MOVING = 1,    /* compaction is reading it or has a copy on its way */
    SPOOL_M_APPENDED = 2,  /* ... and that copy is in a batch: checkpoints wait */
    SPOOL_M_STAYS = 4,     /* damaged or too large: compaction leaves it alone */
    SPOOL_M_MARK = 8,      /* recovery: seen since the checkpoint began */
    SPOOL_M_LOST = 16,     /* recovery: where it is said to be there is nothing */
    SPOOL_M_DEAD = 32,     /* no recipient is left; somebody still reads it */
    SPOOL_M_UNHASHED = 64, /* recovery: from a checkpoint that did not have its hashes */
};

/* ---- staging ---- */

struct spool_slot {
    struct list node; /* free, or retired: oldest first */
    uint8_t *data;
    uint32_t len, fill;
    uint32_t batches; /* in it, not yet stable */
    uint32_t pins;
    struct list messages;  /* whose record is hot here */
    struct spool_log *log; /* that fills it now */
};

struct spool_extent_slot {
    struct list node;
    uint8_t *data;
};

struct spool_staging {
    struct spool_slot *slots;
    uint32_t slot_count, slot_len, pinned;
    struct list free_slots, retired;
    uint8_t *base;
    struct spool_extent_slot *extents;
    uint32_t extent_count, extent_len, extents_used;
    struct list free_extents;
    struct list small, medium; /* free memory of bodies, kept */
    uint32_t small_kept, medium_kept;
    uint64_t writer_memory, writer_memory_max;
};

/* ---- messages ---- */

/* What only few messages have at a time: those in memory still, and those that somebody reads. */
struct spool_warm {
    struct list in_slot;           /* messages whose record is in the same staging slot */
    struct spool_message *message; /* its */
    const uint8_t *hot;            /* the record in memory, or NULL */
    uint32_t pins;
};

static inline uint32_t spool_pins(const struct spool_message *m)
{
    return m->warm ? m->warm->pins : 0;
}

static inline const uint8_t *spool_hot(const struct spool_message *m)
{
    return m->warm ? m->warm->hot : NULL;
}

/* ---- messages by id ---- */

enum { SPOOL_LEAF_MAX = 128 };

struct spool_leaf;
struct spool_index {
    struct {
        uint64_t first;
        struct spool_leaf *leaf;
    } * leaves; /* ascending */
    size_t leaf_count, leaf_capacity;
    struct spool_leaf *spare;
    struct pool pool;
};

/* ---- segments ---- */

struct spool_segment {
    struct list node; /* log->segments, by number */
    struct spool_log *log;
    uint64_t number, salt, epoch;
    uint64_t header_sequence;
    int fd;
    uint32_t size;
    uint32_t fill; /* where the next batch begins */
    bool bad;      /* a sync failed: nothing is appended any more */
    bool empty;    /* nothing in it was ever acknowledged */
    bool header_ok;
    bool unhashed;    /* recovery: messages in it are SPOOL_M_UNHASHED */
    uint32_t unacked; /* batches on their way */
    uint32_t loose;   /* stable extents of writers that have not committed */
    uint32_t live_records;
    uint64_t live_bytes;
    uint64_t death_ticket;    /* the last outcome that made something here dead */
    struct list messages;     /* not yet in the running checkpoint */
    struct list checkpointed; /* the others */
    struct list extents;
    uint64_t compact_after_ms;
    struct spool_position header_checkpoint;
    uint64_t header_id_limit;
};

struct spool_spare {
    struct list node;
    uint64_t k; /* spare-<k> */
    int fd;
    uint32_t size;
};

enum spool_job_kind { JOB_NONE, JOB_MAKE, JOB_PROMOTE, JOB_RECYCLE, JOB_DISCARD };

/* One file job of a log at a time; each step is one op. */
struct spool_job {
    struct io_op op;
    struct spool_log *log;
    enum spool_job_kind kind;
    unsigned step;
    bool fresh; /* the file to be discarded was never used */
    uint64_t written, spare_k;
    struct spool_spare *spare;
    struct spool_segment *segment;
    int fd;
    int error;
    char from[SPOOL_PATH_MAX], to[SPOOL_PATH_MAX];
    uint8_t *block; /* for a header */
};

/* ---- batches ---- */

enum spool_batch_state { BATCH_OPEN, BATCH_CLOSED, BATCH_WRITING, BATCH_DONE, BATCH_FAILED };

struct spool_batch {
    struct list node;
    struct io_op op;
    struct spool_log *log;
    struct spool_slot *slot;          /* of records */
    struct spool_extent_slot *extent; /* of a body's part */
    uint8_t *data;
    uint32_t len, records;
    uint8_t state;
    uint32_t charged;  /* in log->queued_bytes */
    uint64_t sequence; /* 0: not yet */
    uint64_t ticket;   /* of its last record; 0: none */
    uint64_t id_limit;
    struct spool_position checkpoint;
    struct spool_segment *segment;
    uint32_t offset;
    uint64_t submitted_ns;
    struct list pendings;
};

/* What is to happen when a record is stable. */
enum spool_pending_kind {
    PENDING_MESSAGE,     /* of a writer */
    PENDING_EXTENT,      /* of a writer, or of nobody any more */
    PENDING_MOVE,        /* compaction's copy of a message */
    PENDING_MOVE_EXTENT, /* compaction's copy of an extent */
    PENDING_BEGIN,
    PENDING_END,
};

struct spool_pending {
    struct list node;
    uint8_t kind;
    uint32_t at; /* of the record in its batch */
    uint32_t len;
    uint32_t body_len, index; /* extents */
    struct spool_writer *writer;
    struct spool_message *message;
};

/* An outcome that found no room in a batch yet. While one waits nothing else is appended, so that
 * tickets are in order. */
struct spool_deferred {
    struct list node;
    uint32_t len;
    uint8_t record[];
};

/* ---- checkpoint and compaction ---- */

enum spool_checkpoint_state {
    CHECKPOINT_NONE,
    CHECKPOINT_BEGUN,
    CHECKPOINT_PARTS,
    CHECKPOINT_ENDED
};

struct spool_checkpoint {
    enum spool_checkpoint_state state;
    bool wanted;
    uint64_t number;
    uint32_t parts;
    uint64_t entries;
    uint64_t text_bytes, text_bytes_before; /* in it; the log's when it began */
    struct spool_position begin;            /* of the running one */
};

enum spool_move_state {
    MOVE_NONE,
    MOVE_READ_EXTENT,
    MOVE_WAIT_EXTENT, /* for a slot, or until its copy is stable */
    MOVE_READ_RECORD,
    MOVE_APPEND, /* for room in a batch */
    MOVE_WAIT,   /* until the copy is stable */
};

/* Extents that a copy names which was not taken into use after all. A recovery may still follow that copy,
 * until it begins behind the segment in which the copy stands. */
struct spool_held {
    struct list node;
    struct spool_extent *extents;
    uint32_t count;
    uint64_t until; /* segment */
};

struct spool_compaction {
    enum spool_move_state state;
    struct io_op op;
    struct spool_log *log;
    struct spool_segment *victim;
    struct spool_message *message; /* NULL if it died meanwhile */
    uint64_t id;
    uint8_t *memory;
    uint32_t memory_len;
    uint8_t *record; /* in memory, or hot */
    uint32_t record_len;
    const struct spool_segment *segment; /* of the read in flight */
    uint32_t offset, len, got;
    int error;
    struct spool_extent *extents; /* new positions; NULL if none moves */
    uint32_t extent_count, extent_next;
    struct spool_extent_slot *slot;
    bool extent_waits; /* its copy is on its way */
    struct list held;
    uint64_t pause_until_ms;
};

/* ---- logs ---- */

struct spool_log {
    struct spool *spool;
    struct list node; /* spool->logs */
    uint16_t number;
    bool own;
    bool direct; /* the file system does direct I/O */
    char path[SPOOL_PATH_MAX];
    int dir_fd, lock_fd;
    uint32_t segment_size;

    struct list segments; /* by number; active and next are the last ones */
    struct spool_segment *active, *next;
    uint32_t segment_count;
    uint64_t next_number;
    uint64_t epoch;
    uint64_t first_sequence; /* of this epoch */

    struct list spares;
    struct list odd_spares; /* of another size; they go when they may */
    uint32_t spare_count;
    uint64_t next_spare;
    uint64_t bytes_disk;
    bool no_space; /* the last attempt at making a spare was refused */
    bool reap;     /* some segment may have died */
    uint64_t retry_ms;
    struct spool_job job;

    struct spool_slot *slot; /* being filled */
    struct spool_batch *open;
    struct list requeue;   /* batches whose sync failed: first of all, and in this order */
    struct list closed;    /* batches of records, to be written */
    struct list extents;   /* batches of extents, to be written */
    struct list submitted; /* log order */
    uint32_t in_flight;    /* writes in the kernel */
    uint32_t commits_in_flight;
    uint64_t queued_bytes; /* of what has no place yet */
    struct list commits;   /* writers in line for a place in a batch */
    struct list draining;  /* writers whose extents must be stable first */
    struct list deferred;  /* outcomes in line: before anything else */
    uint32_t deferred_count;

    uint64_t next_sequence, stable_sequence;
    uint64_t ticket, stable_ticket;
    uint64_t next_id, id_limit; /* id_limit: durable; ids below may be given out */

    bool requeueing;   /* a sync failed; waits until nothing is in flight */
    unsigned failures; /* in a row */
    bool failed;
    uint64_t failed_until_ms;

    uint64_t live_bytes; /* of messages and extents */
    uint32_t live_messages;
    uint64_t state_bytes; /* of a checkpoint of all, without texts */
    uint64_t text_bytes;  /* of its texts: in the last one, and what came since */
    uint64_t since_checkpoint;
    struct spool_position checkpoint;         /* the last complete one */
    struct spool_position checkpoint_durable; /* ... that a stable batch names */
    struct spool_checkpoint check;
    struct spool_compaction compaction;
};

struct spool {
    struct io *io;
    struct spool_options options;
    struct spool_log *own;
    struct list logs; /* own first */
    struct spool_staging staging;
    uint32_t batch_max, record_max, extent_body_max;
    uint32_t inline_max; /* of a body that is not split: it can always become an extent still */
    struct spool_index messages;
    struct hash_table texts; /* recovery */
    struct pool message_pools[SPOOL_POOLS];
    struct pool warm_pool, batch_pool, pending_pool;
    struct list writers;  /* with memory, least recently used first */
    struct list waiting;  /* for room, longest first */
    struct list finished; /* writers whose `done` is due in the next step */
    bool wake;            /* room may have come */
    uint32_t wake_left;   /* waiting writers to be asked again */
    bool stopping;
    uint8_t *zeros; /* SPOOL_FILL_LEN */
    struct spool_counters counters;
    /* Findings of recovery go here too: spool_verify(). */
    void (*line)(void *context, const char *text);
    void *line_context;
};

/* ---- spool_staging ---- */
void spool_staging_init(struct spool *s);
void spool_staging_finish(struct spool *s);
struct spool_slot *spool_slot_get(struct spool *s, struct spool_log *log); /* NULL: none now */
void spool_slot_retire(struct spool *s, struct spool_slot *slot);
struct spool_slot *spool_slot_of(struct spool *s, const uint8_t *hot);
struct spool_extent_slot *spool_extent_slot_get(struct spool *s);
void spool_extent_slot_put(struct spool *s, struct spool_extent_slot *slot);
uint8_t *spool_body_get(struct spool *s, uint32_t len); /* SPOOL_SMALL or SPOOL_MEDIUM; NULL */
void spool_body_put(struct spool *s, uint8_t *memory, uint32_t len);

/* ---- spool_segment ---- */
struct spool_segment *spool_segment_create(struct spool_log *log, uint64_t number, int fd,
                                           uint32_t size);
void spool_segment_destroy(struct spool_segment *seg); /* closes nothing */
struct spool_segment *spool_segment_find(struct spool_log *log, uint64_t number);
void spool_segment_path(const struct spool_log *log, uint64_t number, char out[SPOOL_PATH_MAX]);
void spool_spare_path(const struct spool_log *log, uint64_t k, char out[SPOOL_PATH_MAX]);
uint64_t spool_segment_mask(const struct spool_segment *seg, uint32_t offset);
/* A message or extent comes to live in a segment, or dies there. */
void spool_segment_add(struct spool_segment *seg, uint64_t bytes);
void spool_segment_remove(struct spool_segment *seg, uint64_t bytes, uint64_t ticket);
bool spool_segment_dead(const struct spool_segment *seg); /* may be recycled now */
uint64_t spool_extent_bytes(const struct spool_extent *e);
/* To its segments. `fresh`: its record has just become stable for the first time. */
void spool_message_link(struct spool_message *m, bool fresh);
void spool_message_unlink(struct spool_message *m, uint64_t ticket);

/* ---- spool_files ---- */
void spool_files_step(struct spool_log *log);
bool spool_files_idle(const struct spool_log *log);
/* Until log->next is there, or a job failed: start-up. */
bool spool_files_await_next(struct spool_log *log);
uint32_t spool_reserve(const struct spool_log *log); /* segments kept free for outcomes */
uint32_t spool_free_segments(const struct spool_log *log);
bool spool_room(const struct spool_log *log, uint64_t need); /* for messages; headers included */
uint64_t spool_files_next_ms(const struct spool_log *log);

/* ---- spool_batch ---- */
/* Room for a record of `len` bytes in the open batch, or NULL (also while outcomes are deferred: they
 * go first). spool_batch_add() makes it count; until then nothing else may be reserved. */
uint8_t *spool_batch_reserve(struct spool_log *log, uint32_t len);
uint8_t *spool_batch_reserve_deferred(struct spool_log *log, uint32_t len);
/* `pending` may be NULL. Returns the ticket. */
uint64_t spool_batch_add(struct spool_log *log, uint32_t len, struct spool_pending *pending);
void spool_pending_put(struct spool *s, struct spool_pending *p);
struct spool_pending *spool_pending_get(struct spool *s, enum spool_pending_kind kind);
/* An extent slot with its body in place goes out on its own. */
void spool_batch_extent(struct spool_log *log, struct spool_extent_slot *slot, uint64_t id,
                        uint32_t index, uint32_t body_len, uint32_t crc,
                        struct spool_pending *pending);
void spool_batch_step(struct spool_log *log);
uint64_t spool_batch_next_ms(const struct spool_log *log);
bool spool_batch_idle(const struct spool_log *log);
void spool_batch_free_all(struct spool_log *log); /* after a crash */

/* ---- spool_writer ---- */
void spool_writer_stable(struct spool_pending *p, struct spool_batch *b);
void spool_writer_extent_stable(struct spool_pending *p, struct spool_batch *b);
/* The log has failed: everything that waits is answered. */
void spool_writers_fail(struct spool_log *log, enum spool_result result);
void spool_writer_pending_fail(struct spool_pending *p, enum spool_result result);
void spool_writers_step(struct spool *s);
void spool_writers_forget(struct spool *s); /* at the end: frees what they hold */
void spool_writers_finish(struct spool *s); /* calls `done` of the finished */

/* ---- spool_index ---- */
void spool_index_init(struct spool_index *x);
void spool_index_finish(struct spool_index *x); /* the messages are their owner's */
void spool_index_insert(struct spool_index *x, struct spool_message *m); /* m->id is not in it */
void spool_index_remove(struct spool_index *x, struct spool_message *m);
struct spool_message *spool_index_find(const struct spool_index *x, uint64_t id);
/* The one with the lowest id above `after`, or NULL. */
struct spool_message *spool_index_next(const struct spool_index *x, uint64_t after);
/* ... and what is next to it, in order; answers how many, 0 at the end. */
uint32_t spool_index_some(const struct spool_index *x, uint64_t after,
                          struct spool_message *out[SPOOL_LEAF_MAX]);

/* ---- spool_message ---- */
struct spool_message *spool_message_create(struct spool *s, uint32_t recipient_count);
void spool_message_free(struct spool *s, struct spool_message *m); /* not linked anywhere */
void spool_message_insert(struct spool *s, struct spool_message *m);
/* Its last recipient is done, or recovery dropped it. */
void spool_message_kill(struct spool *s, struct spool_message *m, uint64_t ticket);
/* It stays where it is; its record in memory may go. */
void spool_message_pin(struct spool *s, struct spool_message *m);
void spool_message_unpin(struct spool *s, struct spool_message *m);
void spool_message_heat(struct spool *s, struct spool_message *m, struct spool_slot *slot,
                        const uint8_t *hot);
void spool_message_cool(struct spool *s, struct spool_message *m); /* its slot will be reused */
void spool_outcomes_step(struct spool_log *log);                   /* deferred ones */

/* ---- spool_texts ---- */
/* While replaying: the message's text, in place of an older one; empty: none. */
void spool_text_set(struct spool *s, struct spool_message *m, struct slice text);
/* It has an owner from now on. */
void spool_text_hand_over(struct spool *s, struct spool_message *m);
void spool_texts_finish(struct spool *s);

/* The texts of a part that is being written. */
struct spool_part_writer {
    struct spool_part_texts texts;
    uint16_t slots[2 * SPOOL_PART_TEXTS_MAX]; /* number of the text with that hash; 0: none */
};
void spool_part_writer_init(struct spool_part_writer *w);
/* Its number, 0 for none; if it is new it has to be added when its entry is. */
uint32_t spool_part_writer_text(struct spool_part_writer *w, struct slice text, bool *out_new);
void spool_part_writer_add(struct spool_part_writer *w, struct slice text);

/* ---- spool_checkpoint ---- */
/* What a checkpoint of all would take. */
uint64_t spool_checkpoint_bytes(const struct spool_log *log);
void spool_checkpoint_step(struct spool_log *log);
void spool_checkpoint_rotated(struct spool_log *log);
void spool_checkpoint_stable(struct spool_pending *p, struct spool_batch *b);
bool spool_checkpoint_idle(const struct spool_log *log);
/* The segment in which one begins that is running, or complete but not yet durable; 0: none. */
uint64_t spool_checkpoint_coming(const struct spool_log *log);

/* ---- spool_compact ---- */
void spool_compact_step(struct spool_log *log);
uint64_t spool_compact_next_ms(const struct spool_log *log);
bool spool_compact_idle(const struct spool_log *log);
bool spool_compact_uses(const struct spool_log *log, const struct spool_segment *seg);
void spool_compact_stable(struct spool_pending *p, struct spool_batch *b);
void spool_compact_extent_failed(struct spool_log *log);
void spool_compact_forget(struct spool_log *log, struct spool_message *m);
void spool_compact_free(struct spool_log *log);

/* ---- spool_scan ---- */
struct spool_scan_source {
    struct io *io;
    int fd;
    uint16_t log;
    uint64_t number, salt;
    uint32_t size;
    bool salt_known;
};
struct spool_scan_visitor {
    void *context;
    void (*batch)(void *context, const struct spool_batch_header *h);
    void (*record)(void *context, const struct spool_record *r, uint32_t offset);
    /* `sequence`: of the batch it is in; 0: none. */
    void (*damage)(void *context, uint32_t offset, uint32_t len, uint64_t sequence);
};
/* 0 or a negative errno of reading. Learns the salt from a batch if it is not known. */
int spool_scan(struct spool_scan_source *source, uint32_t from,
               const struct spool_scan_visitor *visitor);
/* What a read of `want` bytes still needs: 1 go on at *got, 0 done, negative errno. */
int spool_read_progress(int32_t res, uint32_t want, uint32_t *got);
/* A whole aligned range. Start-up and offline. */
int spool_read_await(struct io *io, int fd, void *data, uint32_t len, uint64_t offset);

/* ---- spool_recover, spool_log ---- */

/* Rebuilds log->... and the messages from log->segments, whose headers have been read. */
int spool_recover(struct spool_log *log, struct spool_recovery *out, struct buf *out_error);
/* What the directory holds; made if missing, in order to serve. */
enum spool_log_mode {
    SPOOL_LOG_OWN,
    SPOOL_LOG_ADOPTED,
    SPOOL_LOG_VERIFY, /* only looks, under the lock */
    SPOOL_LOG_DUMP,   /* without it, and without messages */
};
struct spool_log *spool_log_open(struct spool *s, uint16_t number, enum spool_log_mode mode,
                                 struct spool_recovery *out, struct buf *out_error, int *out_errno);
void spool_log_close(struct spool_log *log, bool crashed);
struct spool *spool_create(struct io *io, const struct spool_options *options, bool offline);
void spool_destroy(struct spool *s, bool crashed);
/* Numbers of the directories found, sorted; the array is the caller's to free. 0 or negative errno. */
int spool_directories(struct io *io, const char *path, uint16_t **out, size_t *out_count);
/* A line for spool_verify(); nothing while serving, which has its log. */
void spool_finding(const struct spool *s, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A scan's source for one of our segments. */
struct spool_scan_source spool_segment_source(const struct spool_segment *seg);

#endif
