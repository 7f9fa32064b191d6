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
    bool trusted;

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
    return trusted && sasl_user_valid(facts.peer_name) ? facts.peer_name : SLICE_NULL;
}

/* Whether the configuration names it; without a list it names all. */
static bool named(const struct conf_auth *auth, struct slice name, bool *out_list)
{
    *out_list = auth->mechanisms.count > 0;
    for (size_t i = 0; i < auth->mechanisms.count; i++)
        if (slice_equal(auth->mechanisms.items[i], name))
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

/* With TLS or not: whether a back end can do it. */
static bool back_end_can(struct auth *a, const struct auth_peer *peer,
                         enum sasl_mechanism mechanism, bool listed)
{
    const struct sasl_mechanism_facts *facts = &sasl_mechanisms[mechanism];

    if (facts->password)
        return a->setup->users != NULL;
    if (facts->scram)
        return users_can_scram(a->setup, facts->hash, listed)
               && (!facts->plus || peer->tls == NULL || auth_can_bind(peer));
    if (mechanism == SASL_EXTERNAL)
        return auth_certificate_name(peer).len > 0;
    return false;
}

bool auth_offers(struct auth *a, const struct auth_peer *peer, struct slice name,
                 bool *out_needs_tls)
{
    const struct conf_auth *auth = &a->setup->conf->auth;
    enum sasl_mechanism mechanism;
    bool listed, plus;

    *out_needs_tls = false;
    if (!sasl_mechanism_find(name, &mechanism))
        return false;
    name = sasl_mechanisms[mechanism].name;
    plus = sasl_mechanisms[mechanism].plus;
    if (!named(auth, name, &listed) || !back_end_can(a, peer, mechanism, listed))
        return false;
    *out_needs_tls = peer->tls == NULL && (!auth->plaintext || plus);
    return !*out_needs_tls;
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

struct slice auth_mechanisms(struct auth *a, const struct auth_peer *peer)
{
    const struct conf_words *listed = &a->setup->conf->auth.mechanisms;
    size_t count = listed->count > 0 ? listed->count : SASL_MECHANISM_COUNT;
    uint8_t text[AUTH_MECHANISMS_TEXT_MAX];
    size_t len = 0;

    for (size_t i = 0; i < count; i++) {
        struct slice name = listed->count > 0 ? listed->items[i] : sasl_mechanisms[i].name;
        bool needs_tls;

        if (!auth_offers(a, peer, name, &needs_tls) || len + 1 + name.len > sizeof(text))
            continue;
        if (len > 0)
            text[len++] = ' ';
        memcpy(text + len, name.data, name.len);
        len += name.len;
    }
    return intern(a, slice_of(text, len));
}
