/* main_settings: see the header. */
#include "main_settings.h"

bool main_settings_load(struct conf *conf, const struct main_user *user,
                        struct tls_tickets *tickets, struct main_settings *out,
                        struct conf_errors *errors)
{
    bool ok;

    *out = (struct main_settings){.conf = conf};
    ok = main_tls_load(conf, user, tickets, &out->tls, errors);
    out->auth = auth_setup_create(conf, errors); /* all that is wrong is said at once */
    out->shard = (struct shard_settings){
        .conf = conf, .tls = out->tls.listeners, .client = out->tls.client, .auth = out->auth};
    return ok && out->auth != NULL;
}

void main_settings_finish(struct main_settings *s)
{
    main_tls_finish(&s->tls);
    auth_setup_unref(s->auth);
    conf_free(s->conf);
    *s = (struct main_settings){0};
}
