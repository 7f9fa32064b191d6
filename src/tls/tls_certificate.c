#include "tls_priv.h"

#include <time.h>
#include <wolfssl/wolfcrypt/rsa.h>

#include "base_codec.h"

/* ---- reading -------------------------------------------------------------------------------------------- */

struct tls_certificate *tls_certificate_parse(struct slice der, int *out_status)
{
    struct tls_certificate *c = mem_zalloc(sizeof *c);
    int status = der.len > 0 && der.len <= INT32_MAX ? 0 : ASN_PARSE_E;
    c->der = der;
    if (status == 0) {
        wc_InitDecodedCert(&c->decoded, der.data, (word32)der.len, NULL);
        status = wc_ParseCert(&c->decoded, CERT_TYPE, NO_VERIFY, NULL);
        /* What the extension would have demanded is asked again where the certificate is verified. */
        if (status != 0 && status != ASN_CRIT_EXT_E && status != ASN_BEFORE_DATE_E
            && status != ASN_AFTER_DATE_E)
            wc_FreeDecodedCert(&c->decoded);
        else
            status = 0;
    }
    if (out_status != NULL)
        *out_status = status;
    if (status == 0)
        return c;
    mem_free(c);
    return NULL;
}

void tls_certificate_free(struct tls_certificate *c)
{
    if (c == NULL)
        return;
    wc_FreeDecodedCert(&c->decoded);
    mem_free(c);
}

bool tls_pem_next(struct slice *pem, struct slice *out_der, int *out_status)
{
    static const char begin[] = "-----BEGIN ";
    *out_status = 0;
    if (memmem(pem->data, pem->len, begin, sizeof begin - 1) == NULL)
        return false;

    DerBuffer *der = NULL;
    EncryptedInfo info;
    memset(&info, 0, sizeof info);
    int status = wc_PemToDer(pem->data, (long)pem->len, CERT_TYPE, &der, NULL, &info, NULL);
    if (status == ASN_NO_PEM_HEADER) /* nothing but other things, a key say */
        return false;
    if (status != 0 || der == NULL || info.consumed <= 0 || (size_t)info.consumed > pem->len) {
        *out_status = status != 0 ? status : ASN_PARSE_E;
        wc_FreeDer(&der);
        return false;
    }
    *out_der = slice_of(mem_dup(der->buffer, der->length), der->length);
    wc_FreeDer(&der);
    slice_advance(pem, (size_t)info.consumed);
    return true;
}

/* ---- DER, where wolfSSL does not say: the parts of a certificate that it has read already --------------- */

bool tls_der_next(struct slice *s, uint8_t *out_tag, struct slice *out_whole,
                  struct slice *out_content)
{
    if (s->len < 2)
        return false;
    size_t head = 2, len = s->data[1];
    if (len >= 0x80) {
        size_t width = len & 0x7F;
        if (width == 0 || width > 3 || s->len < 2 + width)
            return false;
        len = 0;
        for (size_t i = 0; i < width; i++)
            len = len << 8 | s->data[2 + i];
        head += width;
    }
    if (s->len - head < len)
        return false;
    *out_tag = s->data[0];
    *out_whole = slice_head(*s, head + len);
    *out_content = slice_of(s->data + head, len);
    slice_advance(s, head + len);
    return true;
}

bool tls_certificate_spki(const struct tls_certificate *c, struct slice *out)
{
    /* Certificate { TBSCertificate { [0] version, serial, algorithm, issuer, validity, subject, SPKI */
    struct slice rest = c->der, whole, content;
    uint8_t tag;
    if (!tls_der_next(&rest, &tag, &whole, &content) || tag != 0x30)
        return false;
    rest = content;
    if (!tls_der_next(&rest, &tag, &whole, &content) || tag != 0x30)
        return false;
    rest = content;
    int before = 5;
    if (rest.len > 0 && rest.data[0] == 0xA0)
        before++;
    for (; before > 0; before--)
        if (!tls_der_next(&rest, &tag, &whole, &content))
            return false;
    if (!tls_der_next(&rest, &tag, &whole, &content) || tag != 0x30)
        return false;
    *out = whole;
    return true;
}

/* ---- what it says ------------------------------------------------------------------------------------------ */

enum tls_key_kind tls_certificate_kind(const struct tls_certificate *c)
{
    switch (c->decoded.keyOID) {
    case RSAk:
    case RSAPSSk: return TLS_KEY_RSA;
    case ECDSAk: return TLS_KEY_ECDSA;
    case ED25519k: return TLS_KEY_ED25519;
    default: return TLS_KEY_OTHER;
    }
}

static unsigned rsa_bits(const struct tls_certificate *c)
{
    RsaKey key;
    word32 at = 0;
    unsigned bits = 0;
    if (wc_InitRsaKey(&key, NULL) != 0)
        return 0;
    if (wc_RsaPublicKeyDecode(c->decoded.publicKey, &at, &key, c->decoded.pubKeySize) == 0)
        bits = 8 * (unsigned)wc_RsaEncryptSize(&key);
    wc_FreeRsaKey(&key);
    return bits;
}

unsigned tls_certificate_bits(const struct tls_certificate *c)
{
    switch (tls_certificate_kind(c)) {
    case TLS_KEY_RSA: return rsa_bits(c);
    case TLS_KEY_ECDSA:
        return c->decoded.pkCurveOID == ECC_SECP256R1_OID   ? 256
               : c->decoded.pkCurveOID == ECC_SECP384R1_OID ? 384
               : c->decoded.pkCurveOID == ECC_SECP521R1_OID ? 521
                                                            : 0;
    case TLS_KEY_ED25519: return 256;
    case TLS_KEY_OTHER: break;
    }
    return 0;
}

static const char *kind_text(const struct tls_certificate *c)
{
    static const struct {
        enum tls_key_kind kind;
        unsigned bits;
        const char *text;
    } rows[] = {
        {TLS_KEY_RSA, 1024, "RSA-1024"},    {TLS_KEY_RSA, 2048, "RSA-2048"},
        {TLS_KEY_RSA, 3072, "RSA-3072"},    {TLS_KEY_RSA, 4096, "RSA-4096"},
        {TLS_KEY_RSA, 8192, "RSA-8192"},    {TLS_KEY_RSA, 0, "RSA"},
        {TLS_KEY_ECDSA, 256, "ECDSA-P256"}, {TLS_KEY_ECDSA, 384, "ECDSA-P384"},
        {TLS_KEY_ECDSA, 521, "ECDSA-P521"}, {TLS_KEY_ECDSA, 0, "ECDSA"},
        {TLS_KEY_ED25519, 0, "Ed25519"},    {TLS_KEY_OTHER, 0, "other"},
    };
    enum tls_key_kind kind = tls_certificate_kind(c);
    unsigned bits = tls_certificate_bits(c);
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].kind == kind && (rows[i].bits == 0 || rows[i].bits == bits))
            return rows[i].text;
    return "other";
}

/* Seconds since 1970 of a date in UTC: days by counting from March, so that leap days come last. */
static int64_t unix_seconds(const struct tm *tm)
{
    int64_t year = tm->tm_year + 1900, month = tm->tm_mon + 1;
    if (month <= 2) {
        year--;
        month += 12;
    }
    int64_t days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * (month - 3) + 2) / 5
                   + tm->tm_mday - 1 - 719468;
    return ((days * 24 + tm->tm_hour) * 60 + tm->tm_min) * 60 + tm->tm_sec;
}

/* 0 if it cannot be read, which wolfSSL would have refused before. */
int64_t tls_date_seconds(const byte *date, int len)
{
    const byte *text = NULL;
    byte format = 0;
    int text_len = 0;
    struct tm tm;
    memset(&tm, 0, sizeof tm);
    if (date == NULL || wc_GetDateInfo(date, len, &text, &format, &text_len) != 0
        || wc_GetDateAsCalendarTime(text, text_len, format, &tm) != 0)
        return 0;
    return unix_seconds(&tm);
}

void tls_certificate_facts(const struct tls_certificate *c, struct tls_certificate_facts *out)
{
    out->not_before = tls_date_seconds(c->decoded.beforeDate, c->decoded.beforeDateLen);
    out->not_after = tls_date_seconds(c->decoded.afterDate, c->decoded.afterDateLen);
    out->kind = kind_text(c);
    tls_digest(TLS_HASH_SHA256, c->der, out->sha256);
}

void tls_certificate_names(const struct tls_certificate *c,
                           void (*visit)(void *context, struct slice name), void *context)
{
    bool any = false;
    for (const DNS_entry *name = c->decoded.altNames; name != NULL; name = name->next) {
        if (name->type != ASN_DNS_TYPE || name->len <= 0)
            continue;
        any = true;
        visit(context, slice_of(name->name, (size_t)name->len));
    }
    if (!any && c->decoded.subjectCN != NULL && c->decoded.subjectCNLen > 0)
        visit(context, slice_of(c->decoded.subjectCN, (size_t)c->decoded.subjectCNLen));
}

struct name_search {
    struct slice name;
    bool found;
};

static void compare_name(void *context, struct slice pattern)
{
    struct name_search *search = context;
    search->found = search->found || tls_name_matches(pattern, search->name);
}

bool tls_certificate_is_for(const struct tls_certificate *c, struct slice name)
{
    struct name_search search = {.name = name};
    tls_certificate_names(c, compare_name, &search);
    return search.found;
}

bool tls_certificate_is_ca(const struct tls_certificate *c)
{
    return c->decoded.isCA
           && (!c->decoded.extKeyUsageSet || (c->decoded.extKeyUsage & KEYUSE_KEY_CERT_SIGN) != 0);
}

struct slice tls_certificate_subject(const struct tls_certificate *c)
{
    if (c->decoded.subjectCN != NULL && c->decoded.subjectCNLen > 0)
        return slice_of(c->decoded.subjectCN, (size_t)c->decoded.subjectCNLen);
    for (const DNS_entry *name = c->decoded.altNames; name != NULL; name = name->next)
        if (name->type == ASN_DNS_TYPE && name->len > 0)
            return slice_of(name->name, (size_t)name->len);
    return SLICE_NULL;
}

bool tls_certificate_end_point(const struct tls_certificate *c, uint8_t out[TLS_BINDING_MAX],
                               size_t *out_len)
{
    enum tls_hash hash;
    switch (c->decoded.signatureOID) {
    case CTC_MD5wRSA: /* weak hashes are replaced (RFC 5929 4.1) */
    case CTC_SHAwRSA:
    case CTC_SHAwECDSA:
    case CTC_SHA256wRSA:
    case CTC_SHA256wECDSA: hash = TLS_HASH_SHA256; break;
    case CTC_SHA384wRSA:
    case CTC_SHA384wECDSA: hash = TLS_HASH_SHA384; break;
    case CTC_SHA512wRSA:
    case CTC_SHA512wECDSA: hash = TLS_HASH_SHA512; break;
    default: /* PSS names its hash in parameters, Ed25519 has none */ return false;
    }
    tls_digest(hash, c->der, out);
    *out_len = tls_hash_size(hash);
    return true;
}

/* An address is not a DNS name, however much it looks like one (RFC 6125 1.7.2, RFC 9525 6.5). */
static bool is_address(struct slice name)
{
    struct ip_addr ip;

    return ip_parse(name, &ip);
}

bool tls_name_matches(struct slice pattern, struct slice name)
{
    if (name.len > 0 && name.data[name.len - 1] == '.')
        name.len--;
    if (pattern.len > 0 && pattern.data[pattern.len - 1] == '.')
        pattern.len--;
    if (name.len == 0 || pattern.len == 0 || slice_find(name, '*') >= 0 || is_address(name))
        return false;
    if (pattern.data[0] != '*')
        return slice_equal_nocase(pattern, name);
    /* "*.example.org": one label, whole, and not of a top-level domain. */
    if (pattern.len < 4 || pattern.data[1] != '.')
        return false;
    slice_advance(&pattern, 2);
    ptrdiff_t dot = slice_find(name, '.');
    if (dot <= 0 || slice_find(pattern, '.') < 0)
        return false;
    slice_advance(&name, (size_t)dot + 1);
    return slice_equal_nocase(pattern, name);
}
