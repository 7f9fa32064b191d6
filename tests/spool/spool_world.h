/* spool_world: a spool on the simulator or on the real kernel, and its work as plain calls. */
#ifndef SPOOL_WORLD_H
#define SPOOL_WORLD_H

#include "io_sim.h"
#include "spool.h"

enum spool_world_kind { SPOOL_WORLD_SIM, SPOOL_WORLD_URING, SPOOL_WORLD_COUNT };

struct spool_world {
    enum spool_world_kind kind;
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
    struct spool *s;
    struct spool_options options;
    struct spool_recovery recovery;
    unsigned recovered;
    char dir[64];
};

/* Small segments and slots; `options` may be changed before spool_world_start(). */
void spool_world_open(struct spool_world *w, enum spool_world_kind kind);
void spool_world_open_seed(struct spool_world *w, uint64_t seed, const struct sim_options *options);
bool spool_world_start(struct spool_world *w); /* false: no spool, the reason is in `error` */
void spool_world_stop(struct spool_world *w);  /* clean, waits until idle */
void spool_world_crash(struct spool_world *w); /* the simulator only: power cut */
void spool_world_close(struct spool_world *w);

void spool_world_pass(struct spool_world *w);
void spool_world_settle(struct spool_world *w); /* until idle */
void spool_world_run_ms(struct spool_world *w, uint64_t ms);

/* A message; its writer is heap memory until done. */
struct test_writer {
    struct spool_writer w;
    struct spool_world *world;
    bool is_done, ready;
    enum spool_result result;
    struct spool_message *message;
};
void test_writer_init(struct test_writer *t, struct spool_world *w);
/* Feeds and commits, waiting where the spool says so. */
enum spool_result test_write(struct test_writer *t, struct slice body);
enum spool_result test_commit(struct test_writer *t, const char *sender, unsigned recipients);
enum spool_result test_commit_envelope(struct test_writer *t, const struct spool_envelope *e);
/* All at once; NULL unless stable. */
struct spool_message *test_message(struct spool_world *w, struct slice body, unsigned recipients);
void test_outcome(struct spool_world *w, struct spool_message *m, uint32_t recipient,
                  enum spool_recipient_state state, uint32_t due_s);

struct spool_message *test_submit(struct spool_world *w, struct slice body,
                                  const struct spool_envelope *e);
/* What spool_reader_dsn() says; `use` is called while it is good. */
void test_dsn(struct spool_world *w, struct spool_message *m,
              void (*use)(void *context, struct slice envid, const struct spool_dsn *dsn),
              void *context);
/* Reads it back whole: 0 or the reader's error. */
int test_read(struct spool_world *w, struct spool_message *m, struct buf *out_body,
              struct buf *out_envelope);
/* Bytes that depend on the seed. The caller frees. */
uint8_t *test_body(uint64_t seed, size_t len);

#endif
