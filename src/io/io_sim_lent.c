/*
 * io_sim_lent: the buffers that an io lends to recvs, and the recvs that wait for one.
 */
#include <string.h>

#include "io_sim_priv.h"

#define LENT_RETURNED 0xdb /* what a buffer holds once it was given back */

void sim_lent_init(struct sim_io *io)
{
    io->lent_count = io->lent_free_count = io->sim->options.recv_buffers;
    io->lent_len = io->sim->options.recv_buffer_len;
    io->lent_memory = mem_alloc(io->lent_count * io->lent_len);
    io->lent_free = mem_calloc(io->lent_count, sizeof(io->lent_free[0]));
    io->lent_is_out = mem_calloc(io->lent_count, sizeof(io->lent_is_out[0]));
    for (unsigned i = 0; i < io->lent_count; i++)
        io->lent_free[i] = (uint16_t)i;
}

void sim_lent_finish(struct sim_io *io)
{
    mem_free(io->lent_memory);
    mem_free(io->lent_free);
    mem_free(io->lent_is_out);
}

/* Each free buffer may be for somebody who waits. Also called when a recv ends without a buffer that
 * it had been woken for. */
void sim_lent_kick(struct sim_io *io)
{
    for (unsigned n = io->lent_free_count; n > 0 && !list_empty(&io->starved); n--)
        sim_sock_starved_retry(
            container_of(list_pop_front(&io->starved), struct sim_op, wait_node));
}

bool sim_lend(struct sim_op *sop, size_t *out_capacity, uint8_t **out_data)
{
    struct sim_io *io = sop->io;

    if (io->lent_free_count == 0) {
        io->io.counters.starved += !list_linked(&sop->wait_node);
        list_remove(&sop->wait_node);
        list_push_back(&io->starved, &sop->wait_node);
        return false;
    }
    /* Any of them: a caller who peeks into one that it gave back sees somebody else's bytes. */
    unsigned at = (unsigned)sim_below(io->sim, io->lent_free_count);
    uint16_t id = io->lent_free[at];

    io->lent_free[at] = io->lent_free[--io->lent_free_count];
    io->lent_is_out[id] = true;
    sop->lent_id = id;
    *out_data = io->lent_memory + id * io->lent_len;
    *out_capacity = io->lent_len;
    return true;
}

void sim_lent_return(struct io *base, uint16_t lent_id)
{
    struct sim_io *io = container_of(base, struct sim_io, io);

    if (lent_id >= io->lent_count || !io->lent_is_out[lent_id])
        sim_broken(io, "a buffer was returned that is not lent", NULL);
    io->lent_is_out[lent_id] = false;
    io->lent_free[io->lent_free_count++] = lent_id;
    base->counters.lent_out--;
    memset(io->lent_memory + lent_id * io->lent_len, LENT_RETURNED, io->lent_len);

    sim_lent_kick(io);
}
