#include "tls_priv.h"

struct tls_resumption {
    _Atomic uint32_t references;
    WOLFSSL_SESSION *session;
    struct tls_peer peer; /* a resumed session shows no certificate: this is what it was */
    uint8_t plan_digest[32];
    bool null;
};

/* TLS 1.3 without a ticket is nothing to come back with; 1.2 has session ids as well. A session that was
 * resumed still holds the ticket that it came with, but not its secret: where the server gave no new one,
 * that ticket is good with the session which it was given in, and with no other. */
static bool can_come_back(const struct tls *t)
{
    return wolfSSL_version(t->ssl) != TLS1_3_VERSION || t->has_ticket;
}

int tls_resumption_ticket_came(WOLFSSL *ssl, const unsigned char *ticket, int size, void *context)
{
    struct tls *t = context;

    (void)ssl;
    (void)ticket;
    t->has_ticket = size > 0;
    return 0;
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
