/*
 * io_sim: struct io in a world made of a seed. Machines (each a set of ios that share a file system
 * and an address) exchange bytes over simulated links; time is virtual; every choice (which
 * completion runs next, how reads are cut, which unsynced write survives a crash) comes from the seed.
 *
 * Files and directory entries have a volatile and a durable image. A synced write, an fsync of a file
 * and an fsync of a directory move things from the one to the other; a crash applies any subset of
 * what was not synced, in any order, torn at any 512-byte sector, and forgets the rest.
 */
#ifndef IO_SIM_H
#define IO_SIM_H

#include "base_rand.h"
#include "io.h"

struct sim;
struct sim_machine;

/* Chances are n in 10,000; 0 switches the fault off. sim_options_from_seed() switches whole groups off
 * at random and makes some limits silly, so that rare combinations are met. */
struct sim_options {
    uint64_t unix_ms;        /* the wall clock at the start */
    uint64_t latency_max_us; /* of a completion */
    unsigned recv_split;     /* a recv returns only a part, down to one byte */
    unsigned conn_reset;     /* a link dies at a send or recv */
    unsigned connect_refused;
    unsigned connect_stall; /* a connect that never completes by itself */
    unsigned write_error;   /* EIO from write or fsync; what was asked may or may not be there */
    unsigned write_short;   /* not of direct synced writes, see the next */
    unsigned write_short_direct; /* the same for those, at a multiple of IO_ALIGN */
    unsigned read_error;
    unsigned read_short;
    unsigned no_space;      /* ENOSPC from open(create) and writes past the end */
    unsigned clock_jump;    /* at any event, the wall clock moves, by hours, either way */
    unsigned latency_spike; /* a completion that takes a hundred times as long */
    unsigned crash_reorder; /* a crash keeps any subset of a directory's changes, not a beginning */
    bool lent_strict;       /* aborts if a lent buffer is held beyond the pass in which it came */
    unsigned recv_buffers;  /* lent buffers an io has */
    unsigned recv_buffer_len;
    size_t link_buffer_len; /* bytes that a link holds before send waits */
    uint64_t disk_bytes;    /* of a machine's file system; 0: no limit */
    unsigned fds_max;       /* of a machine's process, EMFILE beyond; 0: no limit */
};

struct sim *sim_create(uint64_t seed, const struct sim_options *options);
void sim_destroy(struct sim *sim);
struct sim_options sim_options_default(void); /* no faults, modest latencies */
struct sim_options sim_options_from_seed(uint64_t seed);
struct sim_options *sim_options(struct sim *sim); /* to change the weather midway */
struct rand *sim_rand(struct sim *sim);
uint64_t sim_now_ms(struct sim *sim);

/* `ip` such as "10.0.0.1"; any 127.x address is the machine itself. */
struct sim_machine *sim_machine_create(struct sim *sim, const char *ip);
/* A new io on the machine; valid until the machine crashes or io_destroy(). sim_step() returns it once
 * without a cause, for its owner's first pass. */
struct io *sim_io_create(struct sim_machine *machine, size_t registered_len);
/* What the driver of the world needs to find an io's owner by. */
void sim_io_set_context(struct io *io, void *context);
void *sim_io_context(const struct io *io);
struct sim_machine *sim_io_machine(const struct io *io);
/* For code that knows nothing of the world and loops on io_wait(), such as the contract tests: that
 * io's io_wait() steps the world itself until it has something or its deadline comes, as io_await()
 * always does. Other ios that get something meanwhile are returned by later sim_steps. */
void sim_io_set_stepping(struct io *io, bool stepping);

/* The power goes: the machine's ios are gone (their ops never complete; the owner frees its own memory
 * without calls into io), its links are reset, and the file system keeps what a disk may keep. New ios
 * can be created at once. */
void sim_machine_crash(struct sim_machine *machine);
/* Of the machine's file ops that take place from now on, `count` fail with EIO after the first `after`
 * went well, as if by write_error or read_error. With count UINT64_MAX they fail without any effect: the
 * disk has gone, and a crash that follows finds what there was at that moment. True if an earlier such
 * order had come to its point. */
bool sim_machine_fail_ops(struct sim_machine *machine, uint64_t after, uint64_t count);
uint64_t sim_machine_ops(const struct sim_machine *machine); /* file ops so far */
/* Only the process dies (kill -9): the page cache survives, the links are closed or reset. */
void sim_machine_kill(struct sim_machine *machine);

/* Runs the next event of the world: moves the clock to it and marks one io as having completions.
 * Returns that io, whose owner is then to call io_wait(io, ...) and do its pass; NULL if nothing will
 * ever happen by itself.
 *
 * io_wait() does not wait: it runs what is there and registers its deadline, if later than now, as an
 * event in place of the io's earlier one. After an io_wait() that had a deadline and was not idle
 * (completions, a wake, the deadline) the io is returned once more, so that an owner whose pass set new
 * timers comes back with its new deadline: a pass is just `io_wait(io, next); timers; work`. */
struct io *sim_step(struct sim *sim);
/* Moves the clock forward while nothing happens: by `ms`, or to the next event if that is earlier, or
 * not at all if an io is waiting for its pass. */
void sim_advance_ms(struct sim *sim, uint64_t ms);

/* A running hash of all choices and results: the same seed gives the same value. */
uint64_t sim_trace_hash(const struct sim *sim);
/* For tests: a whole file as it would be read now. False if it does not exist. */
bool sim_file_read(struct sim_machine *machine, const char *path, struct buf *out);
bool sim_file_write(struct sim_machine *machine, const char *path,
                    struct slice bytes); /* durable */
/* Flips one bit of the durable and volatile image: rot. */
void sim_file_corrupt(struct sim_machine *machine, const char *path, uint64_t offset);
unsigned sim_open_files(const struct sim_machine *machine); /* to see that nothing leaks */
/* fds that were still open when the io that had opened them was destroyed, in the whole run. */
unsigned sim_leaked_fds(const struct sim *sim);
uint64_t sim_disk_used(const struct sim_machine *machine);

#endif
