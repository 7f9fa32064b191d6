/*
 * io_sim_priv: what the parts of the simulator share: the world and its events, machines, ios, ops
 * in flight, and the handles that a machine's fds stand for.
 *
 *   io_sim_world.c    time, the heap of events, chance, the trace, sim_step()
 *   io_sim_options.c  the weather, and how a seed chooses it
 *   io_sim_machine.c  machines, their fds, crash and kill
 *   io_sim_io.c       an io: its making, its end, its waiting
 *   io_sim_op.c       ops from submit to done: what is asserted, events, cancelling
 *   io_sim_lent.c     the buffers lent to recvs
 *   io_sim_vtable.c   the table and the calls that are a few lines
 *   io_sim_listen.c   sockets without bytes: listen, connect, accept
 *   io_sim_stream.c   streams: send, recv, shutdown, reset, poll
 *   io_sim_page.c     the bytes of a file: volatile and durable pages
 *   io_sim_dir.c      names: volatile and durable entries, the list of what is not yet durable
 *   io_sim_name.c     the ops that name files by path
 *   io_sim_file.c     the disk, and the ops on open files
 *   io_sim_peek.c     what tests see and change from outside
 *
 * Determinism: nothing here may depend on a pointer's value, on uninitialised memory or on the
 * machine's clock. Containers that are iterated are lists and sorted arrays.
 */
#ifndef IO_SIM_PRIV_H
#define IO_SIM_PRIV_H

#include "base_assert.h"
#include "base_list.h"
#include "base_mem.h"
#include "io_sim.h"

struct sim_io;
struct sim_op;
struct sim_disk;
struct sim_inode;
struct sim_sock;

/* Something that happens at a time. Embedded in what it happens to. */
struct sim_event {
    uint64_t at_ns;
    uint64_t tie; /* drawn: shuffles what happens at one time */
    size_t slot;  /* place in the heap, from 1; 0: not in it */
    void (*fire)(struct sim *sim, struct sim_event *event);
};

struct sim {
    struct sim_options options;
    struct rand rand; /* the world's choices */
    struct rand
        entropy; /* io_entropy(): apart, so that a caller who draws more does not move the world */
    uint64_t now_ns;
    uint64_t start_ns;
    int64_t clock_off_ms; /* what jumps have added to the wall clock */
    uint64_t trace;
    uint64_t io_serial;
    struct sim_event **heap;
    size_t heap_len;
    size_t heap_capacity;
    struct list machines;
    struct list ready; /* sim_io.ready_node: ios with something to run */
    size_t ready_count;
    unsigned leaked_fds;
};

/* What an fd stands for. Shared by all ios of a machine, as fds are by the threads of a process. */
enum sim_handle_kind { SIM_HANDLE_FILE, SIM_HANDLE_SOCK };

struct sim_handle {
    enum sim_handle_kind kind;
    struct sim_io *io; /* that opened it: for the report of leaks; NULL once destroyed */
    unsigned inflight;
    bool closing;
    unsigned open_flags; /* files: enum io_open_flags */
    struct sim_inode *inode;
    struct sim_sock *sock;
};

struct sim_machine {
    struct list node;
    struct sim *sim;
    struct ip_addr ip;
    struct list ios;
    struct list listeners; /* sim_sock.listener_node */
    struct sim_handle **fds;
    size_t fd_capacity;
    unsigned fd_count;
    uint16_t port_next;
    struct sim_disk *disk;
    uint64_t file_ops;            /* that have taken place */
    uint64_t fail_from, fail_end; /* those that fail, by this count */
};

struct sim_io {
    struct io io;
    struct sim_machine *machine;
    struct sim *sim;
    uint64_t serial;
    void *context;
    struct list node;       /* machine->ios */
    struct list ready_node; /* sim->ready */
    struct list inflight;   /* sim_op.node: submitted, not finished */
    struct list done;       /* sim_op.node: finished, `done` not yet called */
    struct list starved;    /* sim_op.wait_node: recvs without a buffer */
    size_t done_count;
    struct sim_event deadline;
    struct sim_event wake;
    bool woken;    /* io_wait() is to return although nothing completed */
    bool stepping; /* io_wait() runs the world, see sim_io_set_stepping() */
    void *registered_memory;
    uint8_t *lent_memory;
    uint16_t *lent_free;
    bool *lent_is_out;
    unsigned lent_free_count;
    unsigned lent_count;
    size_t lent_len;
};

/* An op between submit and done. */
struct sim_op {
    struct io_op *op;
    struct sim_io *io;
    struct sim_event event;  /* its next phase */
    struct sim_event cancel; /* when a cancellation arrives */
    struct list node;
    struct list wait_node; /* io->starved, or sock->polls */
    struct sim_handle *handle;
    void (*cancelled)(struct sim_op *sop); /* NULL: it runs to its end */
    uint8_t kind;
    bool finished;
    bool echo;    /* one of a multishot's many: carries a result, is not the op itself */
    uint32_t sum; /* of the bytes that the caller promised to leave alone */
    size_t len;
    size_t progress;
    int32_t res;
    struct slice lent;
    uint16_t lent_id;
};

/* --- world --- */
bool sim_chance(struct sim *sim, unsigned of_ten_thousand);
uint64_t sim_below(struct sim *sim, uint64_t bound);
bool sim_coin(struct sim *sim);
uint64_t sim_delay_ns(struct sim *sim);
void sim_trace(struct sim *sim, uint64_t value);
void sim_trace_bytes(struct sim *sim, const void *data, size_t len);
void sim_schedule(struct sim *sim, struct sim_event *event, uint64_t at_ns);
void sim_unschedule(struct sim *sim, struct sim_event *event);
bool sim_fire_next(struct sim *sim); /* false if nothing will ever happen */
void sim_make_ready(struct sim_io *io);
void sim_make_unready(struct sim_io *io);
_Noreturn void sim_broken(const struct sim_io *io, const char *rule, const struct io_op *op);

/* --- machine --- */
void sim_machine_free(struct sim_machine *machine);
/* -EMFILE: the handle is still the caller's. */
int sim_fd_open(struct sim_io *io, struct sim_handle *handle);
struct sim_handle *sim_fd_get(struct sim_machine *machine, int fd); /* NULL: not open */
void sim_fd_close(struct sim_machine *machine, int fd);             /* the handle is freed */
void sim_io_free(struct sim_io *io);

/* --- ios --- */
extern const struct io_vtable sim_io_vtable;
void sim_io_destroy(struct io *base);
int sim_io_wait(struct io *base, uint64_t deadline_ms);
void sim_lent_init(struct sim_io *io);
void sim_lent_finish(struct sim_io *io);
/* A buffer for this recv's bytes; false: none, and the op waits for one. */
bool sim_lend(struct sim_op *sop, size_t *out_capacity, uint8_t **out_data);
void sim_lent_return(struct io *base, uint16_t lent_id);
void sim_lent_kick(struct sim_io *io);

/* --- ops --- */
void sim_op_submit(struct io *base, struct io_op *op);
void sim_op_cancel(struct io *base, struct io_op *op);
void sim_op_check(const struct sim_op *sop); /* that what was to stand still has done so */
/* The op's result is known. `done` runs in the owner's next io_wait(). */
void sim_op_finish(struct sim_op *sop, int32_t res);
/* Next phase after a drawn delay; nothing if one is already due. */
void sim_op_later(struct sim_op *sop, void (*fire)(struct sim *sim, struct sim_event *event));
/* A multishot op's result; the op stays in flight. */
void sim_op_echo(struct sim_op *sop, int32_t res);
void sim_op_free(struct sim_op *sop);
/* The bytes named by an IO_SEND, IO_WRITE or IO_READ, whichever way they were given. */
size_t sim_op_iov(const struct io_op *op, const struct iovec **out_iov, struct iovec *single);

/* --- sockets --- */
void sim_sock_submit(struct sim_op *sop);
int sim_sock_create(struct sim_io *io, int family);
int sim_sock_listen(struct sim_io *io, const struct io_addr *addr, unsigned flags, int backlog);
int sim_sock_addresses(const struct sim_sock *s, struct io_addr *out_local,
                       struct io_addr *out_peer);
void sim_sock_close(struct sim_machine *machine, struct sim_sock *s); /* frees it */
void sim_sock_reset(struct sim_sock *s);   /* the link dies, for both ends */
void sim_sock_op_gone(struct sim_op *sop); /* forget what is being freed or has completed */
void sim_sock_starved_retry(struct sim_op *sop);

/* --- files --- */
void sim_file_submit(struct sim_op *sop);
void sim_file_close(struct sim_handle *handle);
int sim_file_lock(struct sim_handle *handle);
int sim_dir_list(struct sim_machine *machine, const char *path,
                 bool (*visit)(void *context, const char *name), void *context);
uint64_t sim_disk_free(struct sim_machine *machine);
struct sim_disk *sim_disk_create(struct sim *sim);
void sim_disk_destroy(struct sim_disk *disk);
/* A write that a crash or kill catches in flight: any of its sectors may have arrived. */
void sim_file_interrupt(struct sim_op *sop);
void sim_disk_crash(struct sim_disk *disk); /* all handles are closed already */

#endif
