#include "tls_priv.h"

enum { TICKET_SIZE_MAX = 8192 }; /* servers that pack more into one are met anew each time */

struct tls_resumption {
    _Atomic uint32_t references;
    WOLFSSL_SESSION *session;
    struct tls_peer peer; /* a resumed session shows no certificate: this is what it was */
    uint8_t plan_digest[32];
    bool null;
};

/* TLS 1.3 without a ticket is nothing to come back with; 1.2 has session ids as well. */
static bool can_come_back(struct tls *t)
{
    byte ticket[TICKET_SIZE_MAX];
    word32 size = sizeof ticket;
    return wolfSSL_version(t->ssl) != TLS1_3_VERSION
           || (wolfSSL_get_SessionTicket(t->ssl, ticket, &size) == WOLFSSL_SUCCESS && size > 0);
}

struct tls_resumption *tls_resumption_take(struct tls *t)
{
    if (t->context->is_server || t->state == TLS_STATE_FAILED || t->state < TLS_STATE_OPEN)
        return NULL;
    WOLFSSL_SESSION *session = NULL;
    if (t->null == NULL) {
        if (!can_come_back(t))
            return NULL;
        session = wolfSSL_get1_session(t->ssl);
        if (session == NULL)
            return NULL;
    }
    struct tls_resumption *r = mem_zalloc(sizeof *r);
    atomic_init(&r->references, 1);
    r->session = session;
    r->peer = t->peer;
    r->null = t->null != NULL;
    memcpy(r->plan_digest, t->plan->digest, sizeof r->plan_digest);
    return r;
}

void tls_resumption_unref(struct tls_resumption *r)
{
    if (r == NULL || atomic_fetch_sub(&r->references, 1) > 1)
        return;
    wolfSSL_SESSION_free(r->session);
    mem_free(r);
}

void tls_resumption_offer(struct tls_resumption *r, struct tls *t)
{
    /* Who was not asked then is not believed now. Where nothing is demanded, any session will do. */
    bool same = memcmp(r->plan_digest, t->plan->digest, sizeof r->plan_digest) == 0;
    if (r->null || t->context->null || (!same && t->plan->check != TLS_CHECK_NONE))
        return;
    if (wolfSSL_set_session(t->ssl, r->session) != WOLFSSL_SUCCESS) /* too old */
        return;
    t->resumption_peer = r->peer;
    if (!same) /* NONE now, something else then */
        t->resumption_peer.verified = false;
}
