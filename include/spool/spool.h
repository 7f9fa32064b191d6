/*
 * spool: a shard's messages on stable storage. One or more logs (a directory of segments each): the
 * shard's own, to which new messages go, and adopted ones, left by a run with another number of
 * shards, whose messages live on and whose outcomes are written into their own log. So a log
 * directory is always complete in itself. docs/spool.md has the format and the reasons.
 *
 * Life of a message:
 *   spool_writer_begin, spool_write..., spool_writer_commit -> done(SPOOL_OK): stable, w->message set
 *   spool_outcome for each attempt; when its last recipient is done the message is gone
 *
 * Everything is called on the shard's thread. spool_ref and spool_reader alone may be used on another
 * shard, with that shard's io, while the origin holds the pin.
 */
#ifndef SPOOL_H
#define SPOOL_H

#include "base_hash.h"
#include "base_list.h"
#include "base_slice.h"
#include "io.h"

struct spool;
struct spool_log;
struct spool_segment;

enum spool_result {
    SPOOL_OK,
    SPOOL_WAIT,    /* no staging memory now: stop reading; `ready` will be called */
    SPOOL_FULL,    /* disk or limits.queue: 452; recovers by itself when room returns */
    SPOOL_FAILED,  /* a sync failed twice: intake has stopped: 451 */
    SPOOL_TOO_BIG, /* more extents or recipients than a record can name: 552 */
};

/* ---- messages in memory ------------------------------------------------------------------- */

enum spool_recipient_state {
    SPOOL_RECIPIENT_WAITING, /* for its first attempt or, deferred, for due_s */
    SPOOL_RECIPIENT_DELIVERED,
    SPOOL_RECIPIENT_BOUNCED,
    SPOOL_RECIPIENT_DELETED, /* by the operator */
};

struct spool_recipient {
    uint32_t due_s;    /* Unix time of the next attempt */
    uint16_t attempts; /* made so far */
    uint8_t state;     /* enum spool_recipient_state */
    uint8_t flags;     /* enum spool_recipient_flags */
};

enum spool_recipient_flags {
    SPOOL_RECIPIENT_HELD = 1,   /* by the operator, or by its hold-until time: until due_s;
                                   SPOOL_DUE_NEVER: until released. Does not expire meanwhile */
    SPOOL_RECIPIENT_WARNED = 2, /* its sender was told of the delay */
    SPOOL_RECIPIENT_EXPANDED =
        4, /* an alias that NOTIFY=SUCCESS was asked for: no delivery, only the
                                     notice "expanded" (RFC 3461 5.2.7.3) */
    /* It has the message; what is left is to tell the sender, who asked for it. */
    SPOOL_RECIPIENT_DELIVERED_UNTOLD = 8,
    SPOOL_RECIPIENT_RELAYED_UNTOLD = 16, /* by a next hop that will not (RFC 3461 5.2.2) */
    SPOOL_RECIPIENT_LOGGED = 31, /* these are kept on disk; the others are the queue's own */
};
#define SPOOL_DUE_NEVER UINT32_MAX

enum spool_message_flags {
    SPOOL_HAS_DOT_LINES = 1, /* some line of the body begins with a dot */
    SPOOL_HAS_8BIT = 2,
    SPOOL_IS_BOUNCE = 4, /* made by ourselves; the sender is null too */
    SPOOL_REQUIRE_TLS =
        1 << 4, /* REQUIRETLS (RFC 8689 2): only on by verified TLS, to who offers it */
    SPOOL_TLS_OPTIONAL = 1 << 5, /* TLS-Required: No (RFC 8689 3): policies of others do not hold */
    SPOOL_RET_FULL = 1 << 6,     /* RET of RFC 3461 4.3; neither: not said */
    SPOOL_RET_HDRS = 1 << 7,
    SPOOL_IS_REPORT = 1 << 8, /* made by ourselves, about TLS: not reported about in its turn */
    SPOOL_IS_UTF8 = 1 << 9,   /* came with SMTPUTF8 (RFC 6531), or needs it */
    SPOOL_TO_POSTMASTER = 1 << 10, /* made by ourselves: nobody is told when it fails */
};

/* What a message asks of the queue besides; kept on disk, changed by spool_revise(). */
struct spool_terms {
    uint32_t
        deliver_by_s; /* Unix time: then undelivered recipients are returned; 0: retry.expire holds */
    int8_t priority; /* -9 to 9 (RFC 6710); higher goes first */
};

/* Owned by the spool; good until its last recipient is done. The budget for a queued message with one
 * recipient, the queue's entry included, is 256 bytes. */
struct spool_message {
    struct list in_segment;
    uint64_t id;
    struct spool_segment *segment; /* of the message record */
    uint32_t offset;               /* of the message record in its segment */
    uint32_t record_len;
    uint32_t arrived_s;    /* Unix time */
    uint32_t extent_count; /* 0: the whole body is in the record */
    struct spool_extent *extents;
    uint64_t body_len; /* with extents */
    /* So that messages can be selected and counted without reading them: hash_stable() of the sender in
     * lower case, of its domain, and of the first recipient's domain. Kept on disk. */
    uint32_t sender_hash, sender_domain_hash, domain_hash;
    struct spool_terms terms;
    uint16_t flags;          /* enum spool_message_flags */
    uint8_t spool_state;     /* the spool's own */
    struct spool_warm *warm; /* ..., while its record is in memory or it is pinned; else NULL */
    void *owner;             /* the queue's entry; opaque here */
    uint32_t recipients_left;
    uint32_t recipient_count;
    struct spool_recipient recipients[];
};

_Static_assert(sizeof(struct spool_message) + sizeof(struct spool_recipient) <= 120,
               "with its recipient; the queue has 88 more, the index 12 to 24");

/* ---- opening ------------------------------------------------------------------------------ */

struct spool_options {
    const char *path;          /* of all shards' directories */
    unsigned shard;            /* its own directory is <path>/<shard> */
    unsigned shards;           /* directories with number % shards == shard are adopted */
    uint64_t segment_size;     /* multiple of IO_ALIGN */
    uint64_t bytes_max;        /* of this shard's logs on disk; 0: no limit */
    unsigned spares;           /* segments written with zeros ahead; 0: 2 */
    uint64_t checkpoint_bytes; /* log at least this much between checkpoints; 0: a segment */
    uint32_t process_id;       /* put into the lock so that a second process can name us; 0: not */
    /* Registered memory; 0: the default. Tests make it silly. */
    uint32_t batch_slots, batch_slot_len; /* 32 of 512 KiB: records being committed, and hot ones */
    uint32_t extent_slots, extent_slot_len; /* 64 of 256 KiB: large bodies on their way out */
    uint64_t writer_memory_max;             /* of bodies not yet committed; 0: 64 MiB */
    /* Called for each message that still has work, once, before spool_open() returns, about in the order
     * of arrival. Set m->owner here. */
    void (*recovered)(void *context, struct spool_message *m);
    /* Called right after that if it is known why the message waits: the last text of an outcome that left
     * a recipient waiting. */
    void (*reasoned)(void *context, struct spool_message *m, struct slice text);
    /* Asked for when a checkpoint is written: why the message waits, cut to 512 bytes; empty: not known.
     * Good until the caller's next step. Without it only texts behind the last checkpoint survive. */
    struct slice (*reason)(void *context, const struct spool_message *m);
    /* Records were made stable, in log order: a hint that a batch of `done` calls is over. */
    void (*committed)(void *context);
    void *context;
};

struct spool_recovery {
    uint64_t segments, records, messages, recipients; /* live */
    uint64_t torn_bytes;  /* cut from the tail: an unfinished commit, never acknowledged */
    uint64_t bad_records; /* checksum failures elsewhere: reported one by one in the log */
    uint64_t duration_ms;
};

/* Registered memory that the io must be created with. */
size_t spool_registered_len(const struct spool_options *options);

/* Start-up only (uses io_await). Makes directories that are missing, takes the lock, recovers. NULL
 * with one clear line in *out_error (path, cause, remedy) if it cannot. */
struct spool *spool_open(struct io *io, const struct spool_options *options,
                         struct spool_recovery *out_recovery, struct buf *out_error);
/* True when nothing is in flight or waiting; call spool_step() and the loop until it is. */
bool spool_idle(const struct spool *s);
/* Frees. With crashed set (simulator, after the machine went) no call into io is made; writers may be in
 * any state and still have to be there. */
void spool_close(struct spool *s, bool crashed);

/* End of a pass: begins a commit if records wait and one may be in flight; spares; compaction. */
void spool_step(struct spool *s);
/* When spool_step() is to be called again even if nothing happens: io's clock; UINT64_MAX: never. */
uint64_t spool_next_ms(const struct spool *s);
/* A clean end is near: no more spares, checkpoints or compaction begin, so that spool_idle() comes
 * soon. Intake goes on until the caller ends it. */
void spool_stop(struct spool *s);

/* ---- writing ------------------------------------------------------------------------------ */

/* What was said with a recipient (RFC 3461 4.1, 4.2). */
enum spool_notify { /* a set; 0: not said */
                    SPOOL_NOTIFY_NEVER = 1,
                    SPOOL_NOTIFY_SUCCESS = 2,
                    SPOOL_NOTIFY_FAILURE = 4,
                    SPOOL_NOTIFY_DELAY = 8,
};
struct spool_dsn {
    struct slice orcpt; /* as it came: "rfc822;" and xtext; or ours, of the alias; empty: none */
    uint8_t notify;     /* a set of enum spool_notify */
    uint8_t flags;      /* enum spool_recipient_flags: EXPANDED only */
};

struct spool_envelope {
    struct slice sender;            /* as in MAIL FROM, without brackets; empty: the null sender */
    const struct slice *recipients; /* as in RCPT TO, without brackets */
    uint32_t recipient_count;
    uint32_t arrived_s;
    uint16_t flags;     /* enum spool_message_flags */
    struct slice facts; /* `key=value` lines for people: client, helo, listener; may be empty */
    struct slice envid; /* ENVID as it came, xtext (RFC 3461 4.4); empty: none */
    const struct spool_dsn *dsn; /* one a recipient; NULL: nobody said anything */
    struct spool_terms terms;
    uint32_t hold_until_s;    /* all recipients are HELD until then; 0: not */
    const uint16_t *attempts; /* made so far, elsewhere; one a recipient; NULL: none */
};

/* Embedded in its owner; zeroed is idle. */
struct spool_writer {
    struct spool *spool;
    uint64_t id; /* of the message to be; set by spool_writer_begin */
    /* Staging has room again after SPOOL_WAIT. */
    void (*ready)(struct spool_writer *w);
    /* The commit is over, never called inside spool_writer_commit(). On SPOOL_OK the record is on
     * stable storage and w->message is set; its owner is to take it now. */
    void (*done)(struct spool_writer *w, enum spool_result result);
    struct spool_message *message;
    /* The rest is the spool's. */
    uint8_t state;
    uint8_t memory_kind;
    bool listed, waits;
    enum spool_result failure;
    uint32_t crc;        /* of the body's part in memory */
    struct list node;    /* by last use; or in line for its commit */
    struct list waiting; /* for room */
    uint64_t used_ms;
    uint64_t size_hint;
    uint8_t *memory; /* being filled */
    uint32_t memory_len, memory_capacity;
    void *slot; /* staging of an extent, if memory is in one */
    struct spool_extent *extents;
    uint32_t extent_count, extent_capacity, extents_in_flight;
    uint64_t body_len;
    uint8_t *envelope; /* of a commit that has to wait */
    uint32_t envelope_len;
    struct spool_message *pending; /* its record is in a batch */
};

/* SPOOL_OK, or why no message can be taken now (FULL, FAILED). `size_hint` as declared; 0: unknown. */
enum spool_result spool_writer_begin(struct spool *s, struct spool_writer *w, uint64_t size_hint);
/* Copies from the front of *bytes what it can and advances it. SPOOL_OK: all of it. Large messages go
 * out in extents while they arrive; memory stays within a window. */
enum spool_result spool_write(struct spool_writer *w, struct slice *bytes);
/* The body is whole. `done` follows, always exactly once. The envelope is copied. From here to `done`
 * the writer stands still and may not be aborted: the message may already be on its way. */
void spool_writer_commit(struct spool_writer *w, const struct spool_envelope *envelope);
/* Instead of commit. What was streamed out is dead bytes. Also fine when idle. */
void spool_writer_abort(struct spool_writer *w);

/* A whole message at once (bounces). Small: must fit a record. */
enum spool_result spool_submit(struct spool *s, struct spool_writer *w, struct slice body,
                               const struct spool_envelope *envelope);

/* Whether a new message would be taken now. */
enum spool_result spool_intake(const struct spool *s);

/* ---- outcomes ----------------------------------------------------------------------------- */

struct spool_outcome {
    uint32_t recipient; /* index */
    uint8_t state;      /* enum spool_recipient_state; WAITING: deferred until due_s */
    bool counts;        /* an attempt was made */
    uint32_t due_s;
    struct slice text;              /* the remote's words, for people; cut to 512 bytes */
    uint8_t set_flags, clear_flags; /* of enum spool_recipient_flags, LOGGED ones */
};

/* Records the outcomes (one record, in the next group commit) and updates *m. When no recipient is
 * left the message is gone: the caller forgets it first, m->owner included. Pins of others keep it
 * readable, though no longer to be found, until the last of them is dropped. */
void spool_outcomes(struct spool *s, struct spool_message *m, const struct spool_outcome *outcomes,
                    uint32_t count);

/* Other terms from now on: a record in the next group commit. */
void spool_revise(struct spool *s, struct spool_message *m, const struct spool_terms *terms);

struct spool_message *spool_find(struct spool *s, uint64_t id);
/* All at once, in order of id: start-up and the end only, since a million take tens of milliseconds.
 * `visit` may end the message that it is given and no other; false stops. */
void spool_each(struct spool *s, bool (*visit)(struct spool_message *m, void *context),
                void *context);
/* A part of all: visits up to `max` messages whose ids are above *after, in order of id, which is about
 * the order of arrival, and leaves the last one's there: 0 is the beginning. Whatever happens between
 * two calls, a message that is there all the time is met exactly once. `visit` may do anything with any
 * message; false stops after this one. Answers false when there is none left. */
bool spool_walk(struct spool *s, uint64_t *after, uint32_t max,
                bool (*visit)(struct spool_message *m, void *context), void *context);

/* ---- reading ------------------------------------------------------------------------------ */

struct spool_extent {
    struct spool_segment *segment;
    uint32_t offset; /* of the extent record */
    uint32_t body_len;
    struct list in_segment;
    struct spool_message *message;
};

/* A message's bytes, for whoever delivers it. A plain value, good while the message is pinned (a
 * pinned message is neither moved by compaction nor freed). */
struct spool_ref {
    struct spool_log *log;
    const struct spool_message *message; /* immutable parts only, if used on another shard */
    const uint8_t *hot;
    void *hot_slot;
};

/* Pins, and its record's memory too while it is hot and memory is plenty. */
struct spool_ref spool_pin(struct spool *s, struct spool_message *m);
void spool_unpin(struct spool *s, struct spool_message *m, struct spool_ref *ref);
/* Its record is in memory: reading it takes no I/O. */
bool spool_is_hot(const struct spool_message *m);

/* Streams a message: first its envelope, then its body, piece by piece, checksums verified. Reads go
 * through the io given. A piece is good until the next call. */
struct spool_reader {
    struct io *io;
    struct spool_ref ref;
    void (*ready)(struct spool_reader *r);
    struct io_op op;
    uint8_t *record_memory; /* of a cold record */
    uint8_t *extent_memory; /* of the extent that is handed out */
    uint8_t *target;        /* of the read in flight, or NULL */
    const struct spool_segment *segment;
    uint32_t offset, len; /* of the record being read */
    uint32_t got;
    uint32_t extent_memory_len;
    uint32_t next_piece, extent_loaded;
    int error; /* negative errno; -EBADMSG: a checksum does not match */
    struct slice record;
    uint64_t bytes_hot, bytes_cold; /* handed out, for the counters */
};

enum spool_read { SPOOL_READ_WAIT, SPOOL_READ_PIECE, SPOOL_READ_END, SPOOL_READ_ERROR };

void spool_reader_begin(struct spool_reader *r, struct io *io, const struct spool_ref *ref,
                        void (*ready)(struct spool_reader *r));
/* WAIT: `ready` will be called, then ask again. The slices point into the record and are good
 * until spool_reader_finish(). `out_recipients` is the caller's array of message->recipient_count
 * slices; each may be NULL. */
enum spool_read spool_reader_envelope(struct spool_reader *r, struct slice *out_sender,
                                      struct slice *out_recipients, struct slice *out_facts);
/* Once the envelope was a PIECE: the rest of it. `out_dsn` is as `out_recipients`; either may be NULL. */
void spool_reader_dsn(struct spool_reader *r, struct slice *out_envid, struct spool_dsn *out_dsn);
enum spool_read spool_reader_body(struct spool_reader *r, struct slice *out_piece);
void spool_reader_rewind(struct spool_reader *r);     /* to the body's start, for another attempt */
bool spool_reader_busy(const struct spool_reader *r); /* an op is in flight: may not be freed */
void spool_reader_finish(struct spool_reader *r);     /* frees its memory; not while busy */

/* Envelopes of many messages, with few large reads: for listings. A batch at a time: messages are added,
 * best in the order of a walk, which is about that on disk; then rows are taken until the END, in the
 * order of their places on disk, and the next batch can be added. Added messages are pinned until their
 * row was taken or the batch is dropped. Memory is bounded, bodies are not read where they are large.
 * On the thread that owns the spool. */
enum { SPOOL_BULK_MAX = 4096 };
struct spool_bulk;
struct spool_bulk_row {
    struct spool_message *message; /* alive and as it is now */
    int error; /* negative errno: its envelope cannot be read, or -EBADMSG, is damaged; no texts then */
    struct slice sender, facts, envid;
};
struct spool_bulk *spool_bulk_create(struct spool *s, void (*ready)(void *context), void *context);
/* False if the batch is full. Not while rows are taken, nor, after a drop, while reads are under way. */
bool spool_bulk_add(struct spool_bulk *b, struct spool_message *m);
/* WAIT: `ready` will be called, then ask again. PIECE: a row; its texts are good until the next call here.
 * END: begin anew. Messages that ended meanwhile have no row. */
enum spool_read spool_bulk_next(struct spool_bulk *b, struct spool_bulk_row *out);
/* The rest of the last row, which had no error: arrays of message->recipient_count. */
void spool_bulk_recipients(const struct spool_bulk *b, struct slice *out);
void spool_bulk_dsn(const struct spool_bulk *b, struct spool_dsn *out);
void spool_bulk_drop(
    struct spool_bulk *b); /* what was added and not taken; reads may be under way still */
bool spool_bulk_busy(
    const struct spool_bulk *b); /* may not be destroyed; after a drop `ready` follows */
/* With crashed set (simulator, after the machine went) nothing but its memory is touched. */
void spool_bulk_destroy(struct spool_bulk *b, bool crashed);

/* ---- counters ----------------------------------------------------------------------------- */

struct spool_counters {
    uint64_t commits, records, bytes_logged; /* completed */
    uint64_t commit_us_total, commit_us_max; /* submit to completion */
    uint64_t messages, messages_committed;
    uint64_t outcomes;
    uint64_t segments, segments_spare, segments_recycled, segments_bad;
    uint64_t bytes_disk, bytes_live, bytes_staging, bytes_hot;
    uint64_t compacted_bytes, checkpoints;
    uint64_t sync_errors, space_errors, waits;
};
void spool_counters(const struct spool *s, struct spool_counters *out);

/* ---- offline ------------------------------------------------------------------------------ */

struct spool_verify_report {
    uint64_t directories, segments, batches, records, messages, live, torn_bytes, bad_records;
};
/* Reads every record of every directory under `path` and checks it. Findings go, a line each, to
 * `line`. 0 if all is well; -EBUSY if a server holds the spool; another negative errno. */
int spool_verify(struct io *io, const char *path, void (*line)(void *context, const char *text),
                 void *context, struct spool_verify_report *out);
/* Prints records: of one message (id != 0), or all. */
int spool_dump(struct io *io, const char *path, uint64_t id,
               void (*line)(void *context, const char *text), void *context);

#endif
