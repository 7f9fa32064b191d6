#include "tls_priv.h"

enum { PATH_MAX_LEN = 9, TRIES_MAX = 24 };

/* ---- the list ------------------------------------------------------------------------------------------------ */

static int compare_anchors(const void *a, const void *b)
{
    return memcmp(((const struct tls_anchor *)a)->subject, ((const struct tls_anchor *)b)->subject,
                  KEYID_SIZE);
}

static void digest_anchors(struct tls_anchors *a)
{
    struct buf all;
    buf_init(&all, 0);
    for (size_t i = 0; i < a->count; i++) {
        uint8_t one[32];
        tls_digest(TLS_HASH_SHA256, a->list[i].der, one);
        (void)buf_append(&all, one, sizeof one);
    }
    tls_digest(TLS_HASH_SHA256, buf_slice(&all), a->digest);
    buf_finish(&all);
}

struct tls_anchors *tls_anchors_create(struct slice pem, struct buf *out_why)
{
    struct tls_anchors *a = mem_zalloc(sizeof *a);
    size_t capacity = 0;
    struct slice der;
    int status = 0;
    while (tls_pem_next(&pem, &der, &status)) {
        struct tls_certificate *c = tls_certificate_parse(der, NULL);
        if (c == NULL) {
            mem_free((void *)der.data);
            continue;
        }
        if (a->count == capacity) {
            capacity = capacity == 0 ? 16 : 2 * capacity;
            a->list = mem_realloc(a->list, capacity * sizeof *a->list);
        }
        struct tls_anchor *anchor = &a->list[a->count++];
        memcpy(anchor->subject, c->decoded.subjectHash, KEYID_SIZE);
        anchor->der = der;
        tls_certificate_free(c);
    }
    if (status != 0 || a->count == 0) {
        (void)buf_append_str(out_why, status != 0 ? "not all of it can be read as PEM"
                                                  : "no certificate in it");
        tls_anchors_destroy(a);
        return NULL;
    }
    qsort(a->list, a->count, sizeof *a->list, compare_anchors);
    digest_anchors(a);
    return a;
}

void tls_anchors_destroy(struct tls_anchors *a)
{
    if (a == NULL)
        return;
    for (size_t i = 0; i < a->count; i++)
        mem_free((void *)a->list[i].der.data);
    mem_free(a->list);
    mem_free(a);
}

/* ---- a path ---------------------------------------------------------------------------------------------------- */

struct search {
    const struct tls_anchor *anchors;
    size_t anchor_count;
    struct tls_certificate *const *certs;
    size_t count;
    size_t path[PATH_MAX_LEN]; /* indices into certs: the leaf first */
    size_t path_len;
    int tries;
    int status; /* of the path that came furthest */
};

/* Signatures, dates and constraints from the anchor down to the leaf. wolfSSL checks a certificate against
 * the CAs that its manager has, and takes for a CA whatever it is given: so each of the path goes in only
 * when it has been checked, and only if it may sign. */
static int check_path(const struct search *s, const struct tls_anchor *anchor)
{
    WOLFSSL_CERT_MANAGER *manager = wolfSSL_CertManagerNew();
    if (manager == NULL)
        return MEMORY_E;
    int status = wolfSSL_CertManagerLoadCABuffer(manager, anchor->der.data, (long)anchor->der.len,
                                                 WOLFSSL_FILETYPE_ASN1);
    for (size_t i = s->path_len; i > 0 && status == WOLFSSL_SUCCESS; i--) {
        const struct tls_certificate *c = s->certs[s->path[i - 1]];
        status = wolfSSL_CertManagerVerifyBuffer(manager, c->der.data, (long)c->der.len,
                                                 WOLFSSL_FILETYPE_ASN1);
        if (status == WOLFSSL_SUCCESS && i > 1)
            status = tls_certificate_is_ca(c) ? wolfSSL_CertManagerLoadCABuffer(
                         manager, c->der.data, (long)c->der.len, WOLFSSL_FILETYPE_ASN1)
                                              : ASN_NO_SIGNER_E;
    }
    wolfSSL_CertManagerFree(manager);
    return status == WOLFSSL_SUCCESS ? 0 : status != 0 ? status : ASN_NO_SIGNER_E;
}

static bool is_on_path(const struct search *s, size_t index)
{
    for (size_t i = 0; i < s->path_len; i++)
        if (s->path[i] == index)
            return true;
    return false;
}

/* The first of those with this subject; they lie side by side. */
static size_t first_anchor(const struct search *s, const byte *subject)
{
    size_t low = 0, high = s->anchor_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (memcmp(s->anchors[middle].subject, subject, KEYID_SIZE) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Tries every anchor for the end of the path, then every certificate that may have issued it. The peer
 * chooses the certificates, so the number of tries has a limit. */
static bool search_from_end(struct search *s)
{
    const byte *issuer = s->certs[s->path[s->path_len - 1]]->decoded.issuerHash;

    for (size_t i = first_anchor(s, issuer);
         i < s->anchor_count && memcmp(s->anchors[i].subject, issuer, KEYID_SIZE) == 0; i++) {
        if (s->tries++ >= TRIES_MAX)
            return false;
        s->status = check_path(s, &s->anchors[i]);
        if (s->status == 0)
            return true;
    }
    for (size_t i = 1; i < s->count && s->path_len < PATH_MAX_LEN; i++) {
        if (s->certs[i] == NULL || is_on_path(s, i)
            || memcmp(s->certs[i]->decoded.subjectHash, issuer, KEYID_SIZE) != 0)
            continue;
        if (s->tries++ >= TRIES_MAX)
            return false;
        s->path[s->path_len++] = i;
        if (search_from_end(s))
            return true;
        s->path_len--;
    }
    return false;
}

int tls_anchors_verify(const struct tls_anchor *anchors, size_t anchor_count,
                       struct tls_certificate *const *certs, size_t count)
{
    ASSERT(count >= 1 && certs[0] != NULL);
    struct search s = {.anchors = anchors,
                       .anchor_count = anchor_count,
                       .certs = certs,
                       .count = count,
                       .path_len = 1,
                       .status = ASN_NO_SIGNER_E};
    if (search_from_end(&s))
        return 0;
    ASSERT(s.status != 0);
    return s.status;
}
