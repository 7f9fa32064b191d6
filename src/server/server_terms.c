/* server_terms: what sessions serve by, and its exchange while they run. */
#include "base_mem.h"
#include "server_priv.h"

/* Without a message taken: enough for those who check addresses by RCPT and RSET, not for ever. */
enum { IDLE_COMMANDS_MAX = 10000 };

/* What AUTH may name at all: in the clear these are answered 538 where they would do under TLS. What is
 * offered, auth says anew at each EHLO. */
#define MECHANISMS                                                                           \
    "SCRAM-SHA-256-PLUS SCRAM-SHA-256 SCRAM-SHA-1-PLUS SCRAM-SHA-1 PLAIN LOGIN OAUTHBEARER " \
    "XOAUTH2 EXTERNAL"

static uint32_t extension_of(enum conf_extension extension)
{
    switch (extension) {
    case CONF_EXTENSION_PIPELINING: return SMTP_EXT_PIPELINING;
    case CONF_EXTENSION_SIZE: return SMTP_EXT_SIZE;
    case CONF_EXTENSION_8BITMIME: return SMTP_EXT_8BITMIME;
    case CONF_EXTENSION_ENHANCED: return SMTP_EXT_ENHANCED;
    case CONF_EXTENSION_DSN: return SMTP_EXT_DSN;
    case CONF_EXTENSION_REQUIRETLS: return SMTP_EXT_REQUIRETLS;
    }
    UNREACHABLE();
}

static uint32_t extensions_of(const struct server_terms *t)
{
    uint32_t set = SMTP_EXT_SERVER | SMTP_EXT_SERVER_KEPT;

    if (t->tls != NULL)
        set |= SMTP_EXT_REQUIRETLS;
    if (t->tls != NULL && t->listener->tls != CONF_LISTENER_TLS_IMPLICIT)
        set |= SMTP_EXT_STARTTLS;
    if (t->auth)
        set |= SMTP_EXT_AUTH;
    for (size_t i = 0; i < t->listener->hide.count; i++)
        set &= ~extension_of(t->listener->hide.items[i]);
    return set;
}

struct server_terms *server_terms_create(const struct server_settings *settings, size_t listener)
{
    struct server_terms *t = mem_zalloc(sizeof(*t));
    const struct conf *conf = conf_ref(settings->conf);
    const struct conf_listener *l = conf_listener_at(conf, listener);

    t->refs = 1;
    t->conf = conf;
    t->listener = l;
    if (settings->tls != NULL && l->role != CONF_ROLE_LOCAL && settings->tls[listener] != NULL)
        t->tls = tls_context_ref(settings->tls[listener]);
    t->auth = l->auth || l->role == CONF_ROLE_SUBMISSION;
    t->smtp = (struct smtp_server_options){
        .hostname = conf->hostname,
        .extensions = extensions_of(t),
        .message_size_max = l->message_size,
        .recipients_max = (uint32_t)l->recipients,
        .errors_max = (uint32_t)conf->limits.errors,
        .idle_commands_max = IDLE_COMMANDS_MAX,
        .messages_max = (uint32_t)conf->limits.messages_per_connection,
        .mechanisms = SLICE_LITERAL(MECHANISMS),
        .tls_required = l->tls == CONF_LISTENER_TLS_REQUIRED,
        .auth_required = l->role == CONF_ROLE_SUBMISSION,
        .bare_newline = l->bare_newline == CONF_BARE_NEWLINE_REJECT ? SMTP_BARE_NEWLINE_REJECT
                                                                    : SMTP_BARE_NEWLINE_NORMALIZE,
    };
    return t;
}

struct server_terms *server_terms_ref(struct server_terms *t)
{
    ASSERT(t->refs > 0);
    t->refs++;
    return t;
}

void server_terms_unref(struct server_terms *t)
{
    if (t == NULL)
        return;
    ASSERT(t->refs > 0);
    if (--t->refs > 0)
        return;
    tls_context_unref(t->tls);
    conf_free(t->conf);
    mem_free(t);
}

/* Listeners are known by their names. One that the new configuration has no more goes on as it was. */
static bool find_listener(const struct conf *conf, const struct conf_listener *before,
                          size_t *out_index)
{
    for (size_t i = 0; i <= conf->listener_count; i++) {
        const struct conf_listener *l = conf_listener_at(conf, i);

        if (slice_equal(l->name, before->name)
            && (l->role == CONF_ROLE_LOCAL) == (before->role == CONF_ROLE_LOCAL)) {
            *out_index = i;
            return true;
        }
    }
    return false;
}

void server_reload(struct server *s, const struct server_settings *settings)
{
    LIST_EACH(&s->listeners, node)
    {
        struct server_listener *l = container_of(node, struct server_listener, node);
        size_t index;

        if (!find_listener(settings->conf, l->terms->listener, &index))
            continue;
        server_terms_unref(l->terms);
        l->terms = server_terms_create(settings, index);
    }
}
