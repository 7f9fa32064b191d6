/* auth: what a shard has of it. */
#include "auth_priv.h"
#include "base_assert.h"
#include "base_mem.h"

struct auth *auth_create(const struct auth_options *options)
{
    struct auth *a = mem_zalloc(sizeof(*a));

    a->setup = auth_setup_ref(options->setup);
    a->shared = options->shared;
    a->io = options->io;
    a->wheel = options->wheel;
    a->compute = options->compute;
    a->network = options->network;
    list_init(&a->exchanges);
    a->tokens = auth_token_cache_create();
    a->dovecot = auth_dovecot_create(a->io, a->wheel);
    auth_dovecot_set_path(a->dovecot, a->setup->conf->auth.dovecot);
    return a;
}

void auth_reload(struct auth *a, struct auth_setup *setup)
{
    struct auth_setup *old = a->setup;

    a->setup = auth_setup_ref(setup);
    auth_setup_unref(old);
    auth_token_cache_clear(a->tokens);
    auth_dovecot_set_path(a->dovecot, setup->conf->auth.dovecot);
}

void auth_stop(struct auth *a)
{
    auth_dovecot_set_path(a->dovecot, NULL);
}

bool auth_idle(const struct auth *a)
{
    return list_empty(&a->exchanges) && auth_dovecot_idle(a->dovecot);
}

void auth_destroy(struct auth *a, bool crashed)
{
    if (a == NULL)
        return;
    ASSERT(crashed || auth_idle(a));
    LIST_EACH_SAFE(&a->exchanges, node)
    auth_exchange_forget(container_of(node, struct auth_exchange, node));
    auth_dovecot_destroy(a->dovecot, crashed);
    auth_token_cache_destroy(a->tokens);
    while (a->lists != NULL) {
        struct auth_list *next = a->lists->next;

        mem_free(a->lists);
        a->lists = next;
    }
    mem_free(a->bans);
    auth_setup_unref(a->setup);
    mem_free(a);
}

struct auth_setup *auth_setup_of(struct auth *a)
{
    return a->setup;
}

void auth_counters(const struct auth *a, struct auth_counters *out)
{
    *out = a->counters;
}
