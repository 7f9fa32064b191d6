/*
 * server_secure: a session's TLS and its login: what the engine of `smtp` says that it must have done by
 * others. Handshakes are net's, passwords auth's; here is when, and what follows.
 */
#include <stdio.h>

#include "base_log.h"
#include "base_mem.h"
#include "server_priv.h"

static const struct smtp_reply reply_injected =
    SMTP_REPLY_INIT(554, 5, 5, 1, "Nothing may follow STARTTLS before TLS does");
static const struct smtp_reply reply_no_auth =
    SMTP_REPLY_INIT(454, 4, 7, 0, "Temporary authentication failure");

/* ---- TLS ------------------------------------------------------------------------------------ */

bool session_tls_facts(const struct session *s, struct tls_facts *out)
{
    const struct tls *tls = net_conn_tls(&s->conn);

    if (!s->smtp.tls_active || tls == NULL)
        return false;
    tls_facts(tls, out);
    return true;
}

void session_log_secure(const struct session *s, struct log_record *r)
{
    struct tls_facts facts;

    if (session_tls_facts(s, &facts)) {
        log_str(r, "tls", facts.version);
        log_str(r, "cipher", facts.cipher);
    }
    if (policy_logged_in(&s->client))
        log_slice(r, "user", s->client.user->name);
}

void session_log_tls_failed(const struct session *s, const char *why)
{
    struct log_record r;

    log_begin(&r, LOG_INFO, "tls-failed");
    log_id(&r, "session", s->id);
    log_ip(&r, "client", &s->client.ip);
    log_slice(&r, "listener", s->terms->listener->name);
    log_str(&r, "reason", why);
    log_end(&r);
}

void session_tls_failed(struct session *s, const char *why)
{
    s->server->counters.tls_failed++;
    session_log_tls_failed(s, why);
}

void session_start_tls(struct session *s)
{
    s->progress_ms = io_now_ms(s->server->o.io);
    net_conn_start_tls(&s->conn, tls_accept(s->terms->tls),
                       tls_context_is_heavy(s->terms->tls) ? s->server->o.compute : NULL);
}

bool session_accept_starttls(struct session *s, struct slice rest)
{
    /* What came behind STARTTLS in the clear may be another's, who sits on the way; in the session that
     * follows it would pass for the client's (RFC 3207 6; CVE-2011-0411). */
    if (rest.len > 0) {
        session_tls_failed(s, "plaintext after STARTTLS");
        smtp_server_close(&s->smtp, &reply_injected, net_conn_out(&s->conn));
        return false;
    }
    smtp_server_answer(&s->smtp, NULL, net_conn_out(&s->conn));
    s->state = SESSION_TLS;
    return true;
}

/* RFC 3207 4.2: nothing that was learnt before the handshake is known after it. */
static void forget_plaintext(struct session *s)
{
    transaction_end(s);
    mem_free(s->helo);
    s->helo = NULL;
}

/* A client whose certificate we know may relay as if it came from relay_from. */
static bool is_known_certificate(const struct conf_listener *l, const struct tls_facts *facts)
{
    if (!facts->peer_certificate)
        return false;
    if (l->relay_client_ca && facts->verified)
        return true;
    for (size_t i = 0; i < l->relay_certificates.count; i++) {
        if (memcmp(l->relay_certificates.items[i].sha256, facts->peer_sha256,
                   sizeof(facts->peer_sha256))
            == 0)
            return true;
    }
    return false;
}

static void log_tls(const struct session *s, const struct tls_facts *facts)
{
    struct log_record r;
    char fingerprint[2 * sizeof(facts->peer_sha256) + 1];

    log_begin(&r, LOG_DEBUG, "tls");
    log_id(&r, "session", s->id);
    log_ip(&r, "client", &s->client.ip);
    log_str(&r, "tls", facts->version);
    log_str(&r, "cipher", facts->cipher);
    log_str(&r, "group", facts->group);
    log_str(&r, "resumed", facts->resumed ? "yes" : "no");
    if (facts->sni.len > 0)
        log_slice(&r, "sni", facts->sni);
    if (facts->peer_certificate) {
        for (size_t i = 0; i < sizeof(facts->peer_sha256); i++)
            (void)snprintf(fingerprint + 2 * i, 3, "%02x", facts->peer_sha256[i]);
        log_str(&r, "certificate", fingerprint);
        log_slice(&r, "name", facts->peer_name);
        log_str(&r, "verified", facts->verified ? "yes" : "no");
    }
    log_end(&r);
}

static void count_tls(struct server_counters *c, const struct tls_facts *facts)
{
    c->tls_sessions++;
    c->tls_resumed += facts->resumed;
    if (strcmp(facts->version, "TLSv1.3") == 0)
        c->tls_1_3++;
    else
        c->tls_1_2++;
}

void session_secured(struct session *s)
{
    struct tls_facts facts;
    bool greeted = s->smtp.command_seen;

    forget_plaintext(s);
    smtp_server_secured(&s->smtp);
    tls_facts(net_conn_tls(&s->conn), &facts);
    count_tls(&s->server->counters, &facts);
    log_tls(s, &facts);
    if (is_known_certificate(s->terms->listener, &facts))
        s->client.may_relay = true;
    session_offer_mechanisms(s);
    if (!greeted)
        smtp_server_greet(&s->smtp, net_conn_out(&s->conn));
}

/* ---- login ---------------------------------------------------------------------------------- */

static struct auth_peer peer_of(const struct session *s)
{
    struct auth_peer peer = {.listener = s->terms->listener,
                             .ip = s->client.ip,
                             .tls = net_conn_tls(&s->conn),
                             .session = s->id};
    struct io_addr local, remote;

    if (io_addresses(s->server->o.io, s->conn.fd, &local, &remote) == 0) {
        (void)io_addr_to_ip(&local, &peer.local_ip, &peer.local_port);
        (void)io_addr_to_ip(&remote, &peer.ip, &peer.port);
    }
    peer.ip = s->client.ip;
    return peer;
}

void session_offer_mechanisms(struct session *s)
{
    struct auth_peer peer;

    if (s->server->o.auth == NULL || !s->terms->auth)
        return;
    peer = peer_of(s);
    s->smtp.mechanisms = auth_mechanisms(s->server->o.auth, &peer);
}

static void auth_ready(void *context)
{
    session_step(context);
}

/* What is known of the exchange goes to the client. */
void session_login_answer(struct session *s)
{
    enum auth_outcome outcome = auth_outcome(s->login);
    struct buf *out = net_conn_out(&s->conn);
    const struct auth_reply *words;
    const struct smtp_reply *refusal;
    struct smtp_reply reply;

    s->state = SESSION_COMMAND;
    if (outcome == AUTH_WORKING) {
        s->state = SESSION_AUTH;
        return;
    }
    if (outcome == AUTH_CHALLENGE) {
        smtp_server_challenge(&s->smtp, auth_challenge(s->login), out);
        return;
    }
    words = auth_reply(outcome);
    reply = (struct smtp_reply){.code = words->code, .text = words->text};
    memcpy(reply.enhanced, words->enhanced, sizeof(reply.enhanced));
    if (outcome == AUTH_OK) {
        struct slice user = auth_user(s->login);
        refusal =
            session_user_enter(s, user, auth_setup_senders(auth_setup_of(s->server->o.auth), user));
        if (refusal != NULL)
            reply = *refusal;
    }
    smtp_server_answer(&s->smtp, &reply, out);
    session_login_end(s);
}

/* It may be a password, and the buffer that it came in is used for others. */
static void forget_response(struct session *s)
{
    struct slice *response = &s->smtp.response;

    if (response->len > 0)
        mem_wipe((void *)(uintptr_t)response->data, response->len);
    *response = SLICE_NULL;
}

void session_login_begin(struct session *s)
{
    struct auth_peer peer;
    struct auth_request request = {.peer = &peer,
                                   .mechanism = s->smtp.mechanism,
                                   .has_response = s->smtp.has_response,
                                   .response = s->smtp.response,
                                   .ready = auth_ready,
                                   .context = s};

    ASSERT(s->login == NULL);
    if (s->server->stopping) { /* helpers are about to go */
        smtp_server_answer(&s->smtp, &reply_no_auth, net_conn_out(&s->conn));
        return;
    }
    peer = peer_of(s);
    s->login = auth_begin(s->server->o.auth, &request);
    forget_response(s);
    session_login_answer(s);
}

void session_login_respond(struct session *s)
{
    auth_respond(s->login, s->smtp.response);
    forget_response(s);
    session_login_answer(s);
}

/* The engine has said it. */
void session_login_cancel(struct session *s)
{
    auth_respond(s->login, SLICE_LITERAL("*"));
    session_login_end(s);
}

void session_login_end(struct session *s)
{
    auth_end(s->login);
    s->login = NULL;
}
