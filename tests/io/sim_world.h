/* sim_world: what the simulator's tests share: a world of one machine, and ops as plain calls. */
#ifndef SIM_WORLD_H
#define SIM_WORLD_H

#include "io_sim.h"

struct sim_world {
    struct sim *sim;
    struct sim_machine *machine;
    struct io *io;
};

void sim_world_open(struct sim_world *w, uint64_t seed, const struct sim_options *options);
void sim_world_close(struct sim_world *w);
/* The power goes or the process dies, and comes back with a new io. */
void sim_world_crash(struct sim_world *w);
void sim_world_kill(struct sim_world *w);

/* Each is one op, awaited: its res. */
int do_open(struct io *io, const char *path, unsigned flags);
int do_write(struct io *io, int fd, const char *text, uint64_t offset, unsigned flags);
int do_write_bytes(struct io *io, int fd, const void *data, size_t len, uint64_t offset,
                   unsigned flags);
int do_read(struct io *io, int fd, void *data, size_t len, uint64_t offset);
int do_fsync(struct io *io, int fd);
int do_fsync_path(struct io *io, const char *directory); /* opens it, syncs it, closes it */
int do_close(struct io *io, int fd);
int do_rename(struct io *io, const char *from, const char *to);
int do_link(struct io *io, const char *from, const char *to);
int do_unlink(struct io *io, const char *path);
int do_mkdir(struct io *io, const char *path);
int do_stat(struct io *io, const char *path, struct io_stat *out);

/* One step of a world whose owners are all callbacks; false when nothing is left to happen. */
bool sim_turn(struct sim *sim);
void sim_run(struct sim *sim); /* until then */

/* An address, or the test fails. */
struct io_addr sim_addr(const char *text);
/* Two ends of a link that is up, both of this io. */
void sim_link(struct sim_world *w, int *out_client, int *out_server);
/* Lets go of the buffer that came with a recv, if one did. */
void sim_give_back(struct io *io, struct io_op *recv);

/* A whole file equals this text now. */
bool file_is(struct sim_world *w, const char *path, const char *text);
bool file_exists(struct sim_world *w, const char *path);

#endif
