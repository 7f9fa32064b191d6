/* auth_setup: what is read at start and at reload. */
#include "auth_priv.h"
#include "base_assert.h"
#include "base_mem.h"

struct auth_setup *auth_setup_create(const struct conf *conf, struct conf_errors *errors)
{
    struct auth_setup *s = mem_zalloc(sizeof(*s));
    size_t wrong = errors->count - errors->warning_count;

    atomic_init(&s->refs, 1);
    s->conf = conf_ref(conf);
    if (conf->auth.users != NULL)
        s->users = auth_users_load(conf, errors);
    if (errors->count - errors->warning_count > wrong) {
        auth_setup_unref(s);
        return NULL;
    }
    return s;
}

struct auth_setup *auth_setup_ref(struct auth_setup *s)
{
    (void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void auth_setup_unref(struct auth_setup *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    auth_users_destroy(s->users);
    conf_free(s->conf);
    mem_free(s);
}

struct slice auth_setup_senders(const struct auth_setup *s, struct slice user)
{
    struct auth_user found;

    return auth_users_find(s->users, user, &found) ? found.senders : SLICE_NULL;
}

struct auth_shared *auth_shared_create(void)
{
    struct auth_shared *shared = mem_alloc_aligned(64, sizeof(*shared));

    memset(shared, 0, sizeof(*shared));
    return shared;
}

void auth_shared_destroy(struct auth_shared *shared)
{
    mem_free(shared);
}
