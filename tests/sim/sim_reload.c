/*
 * sim_reload: the server's settings, read at its start and made anew while it runs: the same configuration
 * or one with other routes, and fresh contexts. Nothing of the old ones may be used once the last who began
 * with them is done.
 */
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base_mem.h"
#include "sim_mail.h"

struct conf *mx_load_conf(struct world *w)
{
    struct conf *conf = NULL;
    struct conf_errors errors = {0};
    struct slice text = buf_slice(&w->plan.conf);
    int fd = memfd_create("mailring.conf", 0);
    char path[64];
    bool ok = fd >= 0 && write(fd, text.data, text.len) == (ssize_t)text.len;

    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    ok = ok && conf_load(path, &conf, &errors);
    for (size_t i = 0; i < errors.count && (!ok || w->verbose); i++)
        fprintf(stderr, "%s\n", errors.items[i].text);
    WORLD_CHECK(w, ok, "the configuration is wrong:\n%.*s", SLICE_ARG(text));
    conf_errors_finish(&errors);
    (void)close(fd);
    return conf;
}

static void settings_free(struct sim_settings *s)
{
    if (s == NULL)
        return;
    conf_free(s->conf);
    sim_tls_finish(&s->tls);
    mem_free(s);
}

void mx_reload(struct world *w)
{
    struct mx *mx = &w->mx;
    struct conf_errors errors = {0};
    struct sim_settings *next;

    if (mx->state != MX_UP || mx->next != NULL)
        return;
    next = mem_zalloc(sizeof(*next));
    if (rand_chance(&w->rand, 3, 4)) {
        struct buf text = w->plan.conf;
        w->plan.conf = w->plan.other_conf;
        w->plan.other_conf = text;
    }
    next->conf = mx_load_conf(w);
    conf_carry(next->conf, mx->now != NULL ? mx->now->conf : w->conf, &errors);
    WORLD_CHECK(w, errors.count == 0, "only routes differ, but: %s", errors.items[0].text);
    sim_tls_init(w, &next->tls);
    next->shard = (struct shard_settings){
        .conf = next->conf, .tls = next->tls.listeners, .client = next->tls.mx_client};
    mx->next = next;
    mx->reloads++;
    shard_group_reload(&mx->group, &next->shard);
}

void mx_look_at_reload(struct world *w)
{
    struct mx *mx = &w->mx;

    if (mx->next == NULL || mx->state == MX_DOWN || !shard_group_reloaded(&mx->group))
        return;
    settings_free(mx->now);
    mx->now = mx->next;
    mx->next = NULL;
}

void mx_forget_reloads(struct world *w)
{
    settings_free(w->mx.now);
    settings_free(w->mx.next);
    w->mx.now = w->mx.next = NULL;
}
