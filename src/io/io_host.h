/*
 * io_host: what struct io asks of the operating system without a ring: making and asking sockets,
 * clocks, and what is done at start-up. None of it waits, except what io.h marks as start-up only.
 * Shared by every implementation that runs on a real kernel; the signatures are the vtable's.
 */
#ifndef IO_HOST_H
#define IO_HOST_H

#include "io.h"

uint64_t io_host_now_ns(struct io *io);
uint64_t io_host_unix_ms(struct io *io);
void io_host_entropy(struct io *io, void *out, size_t len);

int io_host_socket(struct io *io, int family, int type);
int io_host_listen(struct io *io, const struct io_addr *addr, unsigned flags, int backlog);
int io_host_peer_uid(struct io *io, int fd, uint32_t *out_uid);
int io_host_addresses(struct io *io, int fd, struct io_addr *out_local, struct io_addr *out_peer);
int io_host_dgram_connect(struct io *io, int fd, const struct io_addr *addr);
int64_t io_host_dgram_send(struct io *io, int fd, const struct iovec *iov, int count);
int64_t io_host_dgram_recv(struct io *io, int fd, void *data, size_t len, struct io_addr *out_from);
void io_host_close_now(struct io *io, int fd);

int io_host_list(struct io *io, const char *path, bool (*visit)(void *context, const char *name),
                 void *context);
int io_host_lock(struct io *io, int fd);
uint64_t io_host_disk_free(struct io *io, const char *path);

#endif
