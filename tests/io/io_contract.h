/*
 * io_contract: the worlds that the contract tests run in. A world has up to two ios on one machine, a
 * directory for files, and knows how to let time pass. To plug in another implementation of struct io,
 * fill in one `struct io_world_type` and add it to the list in io_contract.c.
 */
#ifndef IO_CONTRACT_H
#define IO_CONTRACT_H

#include "io.h"

enum { IO_WORLD_IOS = 2 };

struct io_world;

struct io_world_type {
    const char *name;
    void (*open)(struct io_world *w);  /* fills in ios and dir */
    void (*close)(struct io_world *w); /* nothing is in flight any more */
    /* Lets something happen, to any of the ios: at most a few ms of the world's time go by, and no io's
     * clock passes `deadline_ms` by more than that. */
    void (*pump)(struct io_world *w, uint64_t deadline_ms);
    /* An address to which a connect neither succeeds nor fails by itself for seconds. */
    void (*stalled_address)(struct io_world *w, struct io_addr *out);
    bool host; /* on the real kernel: files, users and limits are the machine's */
};

struct io_world {
    const struct io_world_type *type;
    struct io *ios[IO_WORLD_IOS];
    struct io *io; /* ios[0] */
    char dir[64];
    void *impl;
};

/* What the ios of a test world are made with: small, so that limits are met. */
enum {
    IO_WORLD_ENTRIES = 16,
    IO_WORLD_BUFFERS = 8,
    IO_WORLD_BUFFER_LEN = 2048,
    IO_WORLD_REGISTERED = 1 << 20,
};

extern const struct io_world_type *const io_world_types[];
extern const int io_world_type_count;

void io_world_open(struct io_world *w, const struct io_world_type *type);
void io_world_close(struct io_world *w); /* checks that nothing is left behind */

/* An op with what a test wants to know of it. */
struct probe {
    struct io_op op;
    unsigned completions;
    unsigned with_more;
    int32_t res[64];               /* of the first completions */
    void (*then)(struct probe *p); /* from done; may be NULL */
    void *context;
};

void probe_init(struct probe *p);
/* Pumps until the op has completed for good, and returns its res. Fails after some seconds. */
int32_t probe_wait(struct io_world *w, struct probe *p);
void probe_wait_completions(struct io_world *w, struct probe *p, unsigned count);
/* Some rounds in which nothing is expected to complete. */
void world_settle(struct io_world *w);

/* Two ends of a stream over the loopback address. */
struct stream_pair {
    int client;
    int server;
};
int world_listen(struct io_world *w, struct io_addr *out_addr);
void world_stream_pair(struct io_world *w, struct stream_pair *out);
void world_close_fd(struct io_world *w, int fd);
/* A path in the world's directory; good until the eighth next call. */
const char *world_path(struct io_world *w, const char *name);

#endif
