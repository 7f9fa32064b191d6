#include "tls_priv.h"

enum { CHAIN_MAX = 9 };

/* ---- the plan ---------------------------------------------------------------------------------------------- */

static void append_number(struct buf *out, uint64_t value)
{
    (void)buf_append(out, &value, sizeof value);
}

static void append_field(struct buf *out, struct slice s)
{
    append_number(out, s.len);
    (void)buf_append_slice(out, s);
}

/* Whatever this says twice with the same digest is the same demand, so a session that met the one time meets
 * it the other. */
static void digest_plan(struct tls_check_plan *p, const struct tls_context *context)
{
    struct buf all;
    buf_init(&all, 0);
    append_number(&all, p->check);
    append_field(&all, buf_slice(&p->names));
    for (size_t i = 0; i < p->tlsa_count; i++) {
        append_number(&all, (uint64_t)p->tlsa[i].usage << 16 | (uint64_t)p->tlsa[i].selector << 8
                                | p->tlsa[i].matching);
        append_field(&all, p->tlsa[i].data);
    }
    if (p->check == TLS_CHECK_NAME && context->anchors != NULL)
        append_field(&all, slice_of(context->anchors->digest, sizeof context->anchors->digest));
    tls_digest(TLS_HASH_SHA256, buf_slice(&all), p->digest);
    buf_finish(&all);
}

struct tls_check_plan *tls_check_plan_create(const struct tls_connect_options *o,
                                             const struct tls_context *context)
{
    struct tls_check_plan *p = mem_zalloc(sizeof *p);
    p->check = o->check;
    buf_init(&p->names, 0);
    for (size_t i = 0; i < o->name_count; i++) {
        if (slice_find(o->names[i], 0) >= 0)
            continue;
        (void)buf_append_slice(&p->names, o->names[i]);
        (void)buf_append_byte(&p->names, 0);
    }
    if (o->check == TLS_CHECK_DANE && o->tlsa_count > 0) {
        p->tlsa = mem_calloc(o->tlsa_count, sizeof *p->tlsa);
        p->tlsa_count = o->tlsa_count;
        for (size_t i = 0; i < o->tlsa_count; i++) {
            p->tlsa[i] = o->tlsa[i];
            p->tlsa[i].data =
                slice_of(mem_dup(o->tlsa[i].data.data, o->tlsa[i].data.len), o->tlsa[i].data.len);
        }
    }
    digest_plan(p, context);
    return p;
}

void tls_check_plan_destroy(struct tls_check_plan *p)
{
    if (p == NULL)
        return;
    for (size_t i = 0; i < p->tlsa_count; i++)
        mem_free((void *)p->tlsa[i].data.data);
    mem_free(p->tlsa);
    buf_finish(&p->names);
    mem_free(p);
}

/* ---- the chain that the peer sent -------------------------------------------------------------------------- */

struct chain {
    struct tls_certificate *certs[CHAIN_MAX]; /* the leaf first; NULL where one cannot be read */
    size_t count;
};

static bool read_chain(struct chain *chain, const WOLFSSL_X509_STORE_CTX *store)
{
    chain->count = 0;
    for (int i = 0; i < store->totalCerts && i < CHAIN_MAX; i++) {
        struct slice der = slice_of(store->certs[i].buffer, store->certs[i].length);
        chain->certs[chain->count++] = tls_certificate_parse(der, NULL);
    }
    return chain->count > 0 && chain->certs[0] != NULL;
}

static void free_chain(struct chain *chain)
{
    for (size_t i = 0; i < chain->count; i++)
        tls_certificate_free(chain->certs[i]);
}

/* ---- one question each --------------------------------------------------------------------------------------- */

struct verdict {
    enum tls_failure failure;
    const char *why;
};
static const struct verdict fine = {TLS_FAILURE_NONE, NULL};

static struct verdict verdict_of_status(int status)
{
    switch (status) {
    case 0: return fine;
    case ASN_AFTER_DATE_E: return (struct verdict){TLS_FAILURE_EXPIRED, "certificate has expired"};
    case ASN_BEFORE_DATE_E:
        return (struct verdict){TLS_FAILURE_EXPIRED, "certificate is not valid yet"};
    case ASN_NO_SIGNER_E:
    case ASN_SELF_SIGNED_E:
        return (struct verdict){TLS_FAILURE_UNTRUSTED, "certificate is not signed by a trusted CA"};
    case ASN_SIG_CONFIRM_E:
        return (struct verdict){TLS_FAILURE_UNTRUSTED, "a signature in the chain is wrong"};
    case ASN_PATHLEN_INV_E:
    case ASN_PATHLEN_SIZE_E:
        return (struct verdict){TLS_FAILURE_UNTRUSTED, "the chain is longer than its CA allows"};
    case ASN_NAME_INVALID_E:
        return (struct verdict){TLS_FAILURE_UNTRUSTED, "a name that its CA may not certify"};
    case EXTKEYUSE_AUTH_E:
    case KEYUSE_SIGNATURE_E:
    case KEYUSE_ENCIPHER_E:
        return (struct verdict){TLS_FAILURE_UNTRUSTED, "certificate is not for this use"};
    default: return (struct verdict){TLS_FAILURE_UNTRUSTED, tls_status_text(status)};
    }
}

static struct verdict check_names(const struct tls_check_plan *p,
                                  const struct tls_certificate *leaf)
{
    struct slice names = buf_slice(&p->names);
    while (names.len > 0) {
        struct slice name = slice_head(names, (size_t)slice_find(names, 0));
        if (tls_certificate_is_for(leaf, name))
            return fine;
        slice_advance(&names, name.len + 1);
    }
    return (struct verdict){TLS_FAILURE_NAME, "certificate is for another name"};
}

static struct verdict check_chain(const struct tls_anchors *anchors, const struct chain *chain)
{
    if (anchors == NULL)
        return verdict_of_status(ASN_NO_SIGNER_E);
    return verdict_of_status(
        tls_anchors_verify(anchors->list, anchors->count, chain->certs, chain->count));
}

/* What can be seen without a signature: nobody refuses the session for it. */
static struct verdict note_only(const struct tls_check_plan *p, const struct tls_certificate *leaf)
{
    if (p != NULL && buf_len(&p->names) > 0) {
        struct verdict names = check_names(p, leaf);
        if (names.failure != TLS_FAILURE_NONE)
            return names;
    }
    struct tls_certificate_facts facts;
    int64_t now = wc_Time(NULL);
    tls_certificate_facts(leaf, &facts);
    if (now > facts.not_after)
        return verdict_of_status(ASN_AFTER_DATE_E);
    if (now < facts.not_before)
        return verdict_of_status(ASN_BEFORE_DATE_E);
    return leaf->decoded.selfSigned ? verdict_of_status(ASN_SELF_SIGNED_E) : fine;
}

/* ---- DANE (RFC 6698, RFC 7671, RFC 7672) -------------------------------------------------------------------- */

enum {
    USAGE_TA = 2,
    USAGE_EE = 3,
    SELECTOR_CERT = 0,
    SELECTOR_SPKI = 1,
    MATCH_FULL = 0,
    MATCH_SHA256 = 1,
    MATCH_SHA512 = 2
};

/* PKIX usages are not for SMTP (RFC 7672 3.1.3); unknown parameters make a record unusable (RFC 7671 2). */
static bool is_usable(const struct tls_tlsa *r)
{
    if ((r->usage != USAGE_TA && r->usage != USAGE_EE) || r->selector > SELECTOR_SPKI)
        return false;
    switch (r->matching) {
    case MATCH_FULL: return r->data.len > 0;
    case MATCH_SHA256: return r->data.len == 32;
    case MATCH_SHA512: return r->data.len == 64;
    default: return false;
    }
}

static bool record_matches(const struct tls_tlsa *r, const struct tls_certificate *c)
{
    struct slice selected = c->der;
    uint8_t digest[TLS_HASH_SIZE_MAX];
    if (r->selector == SELECTOR_SPKI && !tls_certificate_spki(c, &selected))
        return false;
    if (r->matching == MATCH_FULL)
        return slice_equal(selected, r->data);
    enum tls_hash hash = r->matching == MATCH_SHA256 ? TLS_HASH_SHA256 : TLS_HASH_SHA512;
    tls_digest(hash, selected, digest);
    return slice_equal(slice_of(digest, tls_hash_size(hash)), r->data);
}

static void add_anchor(struct tls_anchor *list, size_t *count, const struct tls_certificate *c)
{
    struct tls_anchor anchor = {.der = c->der};
    memcpy(anchor.subject, c->decoded.subjectHash, KEYID_SIZE);
    size_t at = (*count)++;
    for (; at > 0 && memcmp(list[at - 1].subject, anchor.subject, KEYID_SIZE) > 0; at--)
        list[at] = list[at - 1];
    list[at] = anchor;
}

/* DANE-TA: the anchors are the certificates of the chain, above the leaf, that a record names; and what a
 * record holds as a whole, if the server does not send it. */
static struct verdict check_dane_ta(const struct tls_check_plan *p, const struct chain *chain)
{
    struct tls_anchor list[CHAIN_MAX + 8];
    struct tls_certificate *held[8];
    size_t count = 0, held_count = 0;
    for (size_t i = 1; i < chain->count; i++)
        for (size_t j = 0; chain->certs[i] != NULL && j < p->tlsa_count; j++)
            if (is_usable(&p->tlsa[j]) && p->tlsa[j].usage == USAGE_TA
                && record_matches(&p->tlsa[j], chain->certs[i])) {
                add_anchor(list, &count, chain->certs[i]);
                break;
            }
    for (size_t j = 0; j < p->tlsa_count && held_count < ARRAY_LEN(held); j++) {
        const struct tls_tlsa *r = &p->tlsa[j];
        if (!is_usable(r) || r->usage != USAGE_TA || r->selector != SELECTOR_CERT
            || r->matching != MATCH_FULL)
            continue;
        struct tls_certificate *c = tls_certificate_parse(r->data, NULL);
        if (c == NULL)
            continue;
        held[held_count++] = c;
        add_anchor(list, &count, c);
    }

    struct verdict verdict = {TLS_FAILURE_TLSA, "no TLSA record matches the certificate"};
    if (count > 0) {
        verdict = verdict_of_status(tls_anchors_verify(list, count, chain->certs, chain->count));
        if (verdict.failure == TLS_FAILURE_NONE)
            verdict = check_names(p, chain->certs[0]);
    }
    while (held_count > 0)
        tls_certificate_free(held[--held_count]);
    return verdict;
}

/* `use`: what wolfSSL says of the leaf's key usage, 0 if nothing. DANE-EE binds the key to the host by
 * itself: no names, no dates, no usages (RFC 7672 3.1.1). */
static struct verdict check_dane(const struct tls_check_plan *p, const struct chain *chain, int use)
{
    bool any = false, any_ta = false;
    for (size_t i = 0; i < p->tlsa_count; i++) {
        const struct tls_tlsa *r = &p->tlsa[i];
        if (!is_usable(r))
            continue;
        any = true;
        any_ta = any_ta || r->usage == USAGE_TA;
        if (r->usage == USAGE_EE && record_matches(r, chain->certs[0]))
            return fine;
    }
    if (!any)
        return (struct verdict){TLS_FAILURE_TLSA, "no usable TLSA record"};
    if (!any_ta)
        return (struct verdict){TLS_FAILURE_TLSA, "no TLSA record matches the certificate"};
    if (use != 0)
        return verdict_of_status(use);
    return check_dane_ta(p, chain);
}

/* ---- wolfSSL's callback ------------------------------------------------------------------------------------------ */

static bool is_about_use(int status)
{
    return status == EXTKEYUSE_AUTH_E || status == KEYUSE_SIGNATURE_E
           || status == KEYUSE_ENCIPHER_E;
}

/* Complaints that are for us to weigh. Everything else (a key that cannot be decoded, memory) is final. */
static bool is_ours_to_weigh(int status)
{
    switch (status) {
    case 0:
    case ASN_NO_SIGNER_E:
    case ASN_SELF_SIGNED_E:
    case ASN_BEFORE_DATE_E:
    case ASN_AFTER_DATE_E:
    case ASN_CRIT_EXT_E:
    case ASN_VERSION_E:
    case RSA_KEY_SIZE_E:
    case ECC_KEY_SIZE_E:
    case EXTKEYUSE_AUTH_E:
    case KEYUSE_SIGNATURE_E:
    case KEYUSE_ENCIPHER_E: return true;
    default: return false;
    }
}

static void note_peer(struct tls_peer *peer, const struct tls_certificate *leaf)
{
    struct slice name = tls_certificate_subject(leaf);
    size_t end_point_len;
    peer->certificate = true;
    tls_digest(TLS_HASH_SHA256, leaf->der, peer->sha256);
    peer->end_point_len = tls_certificate_end_point(leaf, peer->end_point, &end_point_len)
                              ? (uint8_t)end_point_len
                              : 0;
    name = slice_head(name, sizeof peer->name - 1);
    memset(peer->name, 0, sizeof peer->name);
    for (size_t i = 0; i < name.len; i++)
        peer->name[i] = name.data[i] < ' ' || name.data[i] >= 0x7F ? '?' : (char)name.data[i];
}

static struct verdict check_server(struct tls *t, const struct chain *chain, int use)
{
    const struct tls_check_plan *p = t->plan;
    struct verdict verdict;
    switch (p->check) {
    case TLS_CHECK_NAME:
        verdict = use != 0 ? verdict_of_status(use) : check_chain(t->context->anchors, chain);
        return verdict.failure == TLS_FAILURE_NONE ? check_names(p, chain->certs[0]) : verdict;
    case TLS_CHECK_DANE: return check_dane(p, chain, use);
    case TLS_CHECK_NONE: break;
    }
    return note_only(p, chain->certs[0]);
}

/* wolfSSL verifies against the CAs of a context, where it also keeps each CA that a callback let pass: with
 * contexts that are shared and peers that may be anybody this is of no use. So its contexts have no CAs at
 * all, and what it complains of is passed over here until the leaf, where the chain is looked at as a whole.
 *
 * It calls for certificates above the leaf only with a complaint. Passing it over in VERIFY_PEER mode would
 * make a trusted CA of that certificate; so the mode is NONE while the rest of the chain is read, and PEER
 * again for the leaf, so that the checks of the later messages, and the alert, are those of that mode. */
int tls_verify_peer(int good, WOLFSSL_X509_STORE_CTX *store)
{
    struct tls *t = store->userCtx;
    struct chain chain;
    (void)good;

    ASSERT(t != NULL && t->ssl != NULL);
    if (store->error_depth > 0) {
        wolfSSL_set_verify(t->ssl, WOLFSSL_VERIFY_NONE, tls_verify_peer);
        return 1;
    }
    wolfSSL_set_verify(t->ssl, WOLFSSL_VERIFY_PEER, tls_verify_peer);

    if (store->totalCerts == 0 && t->context->is_server) /* asked for, and politely declined */
        return 1;
    if (!is_ours_to_weigh(store->error)) {
        tls_fail(t, TLS_FAILURE_UNTRUSTED, tls_status_text(store->error));
        return 0;
    }
    if (!read_chain(&chain, store)) {
        free_chain(&chain);
        tls_fail(t, TLS_FAILURE_UNTRUSTED, "certificate cannot be read");
        return 0;
    }
    int use = is_about_use(store->error) ? store->error : 0;
    note_peer(&t->peer, chain.certs[0]);

    bool accept = true;
    struct verdict verdict;
    if (t->context->is_server) {
        verdict = use != 0 ? verdict_of_status(use) : check_chain(t->context->anchors, &chain);
        t->peer.verified = verdict.failure == TLS_FAILURE_NONE && t->context->anchors != NULL;
    } else {
        verdict = check_server(t, &chain, use);
        accept = t->plan->check == TLS_CHECK_NONE || verdict.failure == TLS_FAILURE_NONE;
        t->peer.verified = accept && t->plan->check != TLS_CHECK_NONE;
    }
    free_chain(&chain);
    t->peer.failure = verdict.failure;
    if (!accept)
        tls_fail(t, verdict.failure, verdict.why);
    return accept ? 1 : 0;
}
