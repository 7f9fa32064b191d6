/* auth_offer: which mechanisms a client is offered: those that the back ends can do and the configuration
 * lets them, under TLS or not. */
#include "auth_priv.h"
#include "base_assert.h"
#include "base_mem.h"

bool auth_can_bind(const struct auth_peer *peer)
{
    uint8_t binding[TLS_BINDING_MAX];
    size_t len;

    return peer->tls != NULL
           && (tls_binding(peer->tls, TLS_BINDING_EXPORTER, binding, &len)
               || tls_binding(peer->tls, TLS_BINDING_SERVER_END_POINT, binding, &len));
}

struct slice auth_certificate_name(const struct auth_peer *peer)
{
    const struct conf_listener *listener = peer->listener;
    struct tls_facts facts;
    bool trusted, whole;

    if (peer->tls == NULL)
        return SLICE_NULL;
    tls_facts(peer->tls, &facts);
    if (!facts.peer_certificate)
        return SLICE_NULL;
    trusted = listener->relay_client_ca && facts.verified;
    for (size_t i = 0; i < listener->relay_certificates.count && !trusted; i++)
        trusted = memcmp(listener->relay_certificates.items[i].sha256, facts.peer_sha256,
                         sizeof(facts.peer_sha256))
                  == 0;
    /* tls cuts it at 63 characters and replaces what is not ASCII, for logs: then it is not the name. */
    whole = facts.peer_name.len < 63 && slice_find(facts.peer_name, '?') < 0;
    return trusted && whole && sasl_user_valid(facts.peer_name) ? facts.peer_name : SLICE_NULL;
}

/* Whether the configuration names it; without a list it names all. */
static bool named(const struct conf_auth *auth, struct slice name, bool *out_list)
{
    *out_list = auth->mechanisms.count > 0;
    for (size_t i = 0; i < auth->mechanisms.count; i++)
        if (slice_equal_nocase(auth->mechanisms.items[i], name))
            return true;
    return !*out_list;
}

/* A list that names SCRAM has it as soon as one user can use it. Without one it is offered when all users
 * can: clients take the strongest that is offered, and would fail with it. */
static bool users_can_scram(const struct auth_setup *setup, enum tls_hash hash, bool listed)
{
    if (setup->users == NULL)
        return false;
    return listed ? auth_users_scram(setup->users, hash) > 0
                  : auth_users_all_scram(setup->users, hash);
}

/* With TLS or not: who can do it. */
static enum auth_way way_of_ours(struct auth *a, const struct auth_peer *peer,
                                 enum sasl_mechanism mechanism, bool listed)
{
    const struct sasl_mechanism_facts *facts = &sasl_mechanisms[mechanism];
    const struct conf_auth *auth = &a->setup->conf->auth;

    if (facts->password)
        return a->setup->users != NULL || auth_dovecot_has(a->dovecot, SLICE_LITERAL("PLAIN"))
                   ? AUTH_WAY_OURS
                   : AUTH_WAY_NONE;
    if (facts->scram
        && auth->dovecot == NULL) /* else it may be about somebody whom only Dovecot knows */
        return users_can_scram(a->setup, facts->hash, listed)
                       && (!facts->plus || peer->tls == NULL || auth_can_bind(peer))
                   ? AUTH_WAY_OURS
                   : AUTH_WAY_NONE;
    if (mechanism == SASL_EXTERNAL)
        return auth_certificate_name(peer).len > 0 ? AUTH_WAY_OURS : AUTH_WAY_NONE;
    if (facts->token && auth->introspection.len > 0 && a->network != NULL)
        return AUTH_WAY_OURS;
    return auth_dovecot_has(a->dovecot, facts->name) ? AUTH_WAY_DOVECOT : AUTH_WAY_NONE;
}

enum auth_way auth_way(struct auth *a, const struct auth_peer *peer, struct slice name)
{
    const struct conf_auth *auth = &a->setup->conf->auth;
    enum sasl_mechanism mechanism = SASL_MECHANISM_COUNT;
    enum auth_way way = AUTH_WAY_NONE;
    bool ours = sasl_mechanism_find(name, &mechanism), listed;

    if (!named(auth, name, &listed))
        return AUTH_WAY_NONE;
    if (ours)
        way = way_of_ours(a, peer, mechanism, listed);
    else if (auth_dovecot_has(a->dovecot, name))
        way = AUTH_WAY_DOVECOT;
    if (way != AUTH_WAY_NONE && peer->tls == NULL
        && (!auth->plaintext || (ours && sasl_mechanisms[mechanism].plus)))
        way = AUTH_WAY_NEEDS_TLS;
    return way;
}

static struct slice intern(struct auth *a, struct slice text)
{
    for (struct auth_list *l = a->lists; l != NULL; l = l->next)
        if (slice_equal(l->text, text))
            return l->text;
    if (text.len == 0 || a->list_count == AUTH_LISTS_MAX)
        return SLICE_NULL;
    struct auth_list *list = mem_alloc(sizeof(*list) + text.len);
    memcpy(list + 1, text.data, text.len);
    *list = (struct auth_list){a->lists, slice_of(list + 1, text.len)};
    a->lists = list;
    a->list_count++;
    return list->text;
}

/* Names, divided by blanks. */
struct offer {
    struct auth *auth;
    const struct auth_peer *peer;
    size_t len;
    uint8_t text[AUTH_MECHANISMS_TEXT_MAX];
};

static void offer(struct offer *o, struct slice name)
{
    if (auth_way(o->auth, o->peer, name) < AUTH_WAY_OURS || o->len + 1 + name.len > sizeof(o->text))
        return;
    if (o->len > 0)
        o->text[o->len++] = ' ';
    memcpy(o->text + o->len, name.data, name.len);
    o->len += name.len;
}

struct slice auth_mechanisms(struct auth *a, const struct auth_peer *peer)
{
    const struct conf_words *listed = &a->setup->conf->auth.mechanisms;
    struct offer o = {.auth = a, .peer = peer};
    const struct slice *names;
    size_t count = auth_dovecot_mechanisms(a->dovecot, &names);
    enum sasl_mechanism mechanism;

    for (size_t i = 0; i < listed->count; i++)
        offer(&o, listed->items[i]);
    for (unsigned i = 0; i < SASL_MECHANISM_COUNT && listed->count == 0; i++)
        offer(&o, sasl_mechanisms[i].name);
    for (size_t i = 0; i < count && listed->count == 0; i++)
        if (!sasl_mechanism_find(names[i], &mechanism))
            offer(&o, names[i]);
    return intern(a, slice_of(o.text, o.len));
}
