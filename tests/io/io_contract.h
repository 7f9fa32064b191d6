/*
 * io_contract: the worlds that the contract tests run in. A world has up to two ios on one machine, a
 * directory for files, and knows how to let time pass. To plug in another implementation of struct io,
 * fill in one `struct io_world_type` and add it to the list in io_contract.c.
 */
#ifndef IO_CONTRACT_H
#define IO_CONTRACT_H

#include <check.h>

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

/* The world of the running test. */
extern struct io_world *const world;

/* A test that runs once in each world, with `world` open. */
#define CONTRACT_TEST(name)                       \
    static void name(void);                       \
    START_TEST(test_##name)                       \
    {                                             \
        io_world_open(world, io_world_types[_i]); \
        name();                                   \
        io_world_close(world);                    \
    }                                             \
    END_TEST                                      \
    static void name(void)

/* A test case whose tests CONTRACT_ADD() adds once for each world. */
TCase *contract_case(Suite *suite, const char *name);
#define CONTRACT_ADD(tcase, name) tcase_add_loop_test((tcase), test_##name, 0, io_world_type_count)

/* An op with what a test wants to know of it. */
struct probe {
    struct io_op op;
    unsigned completions;
    unsigned with_more;
    int32_t res[16];               /* of the first completions */
    void (*then)(struct probe *p); /* from done; may be NULL */
    void *context;
};

void probe_init(struct probe *p);
/* `done` of a probe fails the test if it runs between these two: inside a submit. */
void submit_begin(void);
void submit_end(void);
/* Around one submitting call. */
#define SUBMIT(call)    \
    do {                \
        submit_begin(); \
        (call);         \
        submit_end();   \
    } while (0)

/* Pumps until the op has completed for good, and returns its res. Fails after some seconds. */
int32_t probe_wait(struct probe *p);
void probe_wait_completions(struct probe *p, unsigned count);
/* Some rounds in which nothing is expected to complete. */
void world_settle(void);

/* Two ends of a stream over the loopback address. */
struct stream_pair {
    int client;
    int server;
};
int world_listen(struct io_addr *out_addr);
void world_stream_pair(struct stream_pair *out);
void world_stream_close(struct stream_pair *pair);
void world_close_fd(int fd);
/* A path in the world's directory; good until the eighth next call. */
const char *world_path(const char *name);

/* --- straight-line forms, each waits for its op --- */
int32_t run_send(int fd, struct slice bytes, unsigned flags);
/* Receives exactly `len` bytes; fails at the end of the stream. */
void run_recv_exactly(int fd, void *out, size_t len);
int32_t run_recv(int fd); /* gives lent bytes straight back */
int32_t run_open(const char *path, unsigned flags);
int32_t run_read(int fd, void *out, size_t len, uint64_t offset);
int32_t run_write(int fd, const void *data, size_t len, uint64_t offset, unsigned flags);
int32_t run_stat(const char *path, struct io_stat *out);
int32_t run_unlink(const char *path);
void run_make_file(const char *path, const char *text);
bool run_file_is(const char *path, const char *text);

#endif
