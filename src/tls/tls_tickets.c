#include "tls_priv.h"

#include <wolfssl/wolfcrypt/aes.h>

/* Keys are read by every thread and written by one, seldom: a sequence number that is odd while somebody
 * writes tells a reader that it has to read again. Nobody waits for a lock, and a reader that was too slow
 * finds no key, which costs its client a full handshake. */
enum { KEYS = 8, NAME_WORDS = 2, SECRET_WORDS = 4 };

struct key {
    _Atomic uint64_t name[NAME_WORDS];
    _Atomic uint64_t secret[SECRET_WORDS];
    _Atomic uint64_t since_s;
    _Atomic bool is_set;
};
struct tls_tickets {
    _Atomic uint32_t references;
    _Atomic uint32_t sequence;
    _Atomic uint32_t newest;
    uint32_t lifetime_s;
    struct key keys[KEYS];
};
struct plain_key {
    uint8_t name[16], secret[32];
    bool is_newest;
};

/* With a key of its own, so that there is always one; whoever has better ones rotates at once. */
struct tls_tickets *tls_tickets_create(uint32_t lifetime_s)
{
    struct tls_tickets *t = mem_zalloc(sizeof *t);
    uint8_t random[16 + 32];
    WC_RNG rng;
    int status = wc_InitRng(&rng);
    if (status == 0)
        status = wc_RNG_GenerateBlock(&rng, random, sizeof random);
    ASSERT(
        status
        == 0); /* the kernel's generator does not fail once tls_library_init() has seen it work */
    (void)wc_FreeRng(&rng);

    t->lifetime_s = lifetime_s;
    atomic_init(&t->references, 1);
    tls_tickets_rotate(t, random, random + 16, 0);
    mem_wipe(random, sizeof random);
    return t;
}

struct tls_tickets *tls_tickets_ref(struct tls_tickets *t)
{
    (void)atomic_fetch_add(&t->references, 1);
    return t;
}

void tls_tickets_unref(struct tls_tickets *t)
{
    if (t == NULL || atomic_fetch_sub(&t->references, 1) > 1)
        return;
    mem_wipe(t, sizeof *t);
    mem_free(t);
}

uint32_t tls_tickets_lifetime_s(const struct tls_tickets *t)
{
    return t->lifetime_s;
}

static void store_words(_Atomic uint64_t *words, size_t count, const uint8_t *bytes)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t word;
        memcpy(&word, bytes + 8 * i, sizeof word);
        atomic_store(&words[i], word);
    }
}

static void load_words(const _Atomic uint64_t *words, size_t count, uint8_t *bytes)
{
    for (size_t i = 0; i < count; i++) {
        uint64_t word = atomic_load(&words[i]);
        memcpy(bytes + 8 * i, &word, sizeof word);
    }
}

void tls_tickets_rotate(struct tls_tickets *t, const uint8_t key_name[16], const uint8_t secret[32],
                        uint64_t now_s)
{
    static const uint8_t nothing[32];
    uint32_t next = (atomic_load(&t->newest) + 1) % KEYS;

    (void)atomic_fetch_add(&t->sequence, 1);
    for (size_t i = 0; i < KEYS; i++) {
        struct key *key = &t->keys[i];
        if (atomic_load(&key->is_set)
            && now_s >= atomic_load(&key->since_s) + 2 * (uint64_t)t->lifetime_s) {
            atomic_store(&key->is_set, false);
            store_words(key->secret, SECRET_WORDS, nothing);
        }
    }
    store_words(t->keys[next].name, NAME_WORDS, key_name);
    store_words(t->keys[next].secret, SECRET_WORDS, secret);
    atomic_store(&t->keys[next].since_s, now_s);
    atomic_store(&t->keys[next].is_set, true);
    atomic_store(&t->newest, next);
    (void)atomic_fetch_add(&t->sequence, 1);
}

/* The newest key (name NULL), or the one of that name. */
static bool find_key(const struct tls_tickets *t, const uint8_t *name, struct plain_key *out)
{
    for (;;) {
        uint32_t before = atomic_load(&t->sequence);
        if (before % 2 == 1)
            continue;
        bool found = false;
        uint32_t newest = atomic_load(&t->newest);
        for (uint32_t i = 0; i < KEYS && !found; i++) {
            const struct key *key = &t->keys[i];
            if (!atomic_load(&key->is_set) || (name == NULL && i != newest))
                continue;
            load_words(key->name, NAME_WORDS, out->name);
            if (name != NULL && memcmp(out->name, name, sizeof out->name) != 0)
                continue;
            load_words(key->secret, SECRET_WORDS, out->secret);
            out->is_newest = i == newest;
            found = true;
        }
        if (atomic_load(&t->sequence) == before)
            return found;
    }
}

/* AES-256-GCM; the key's name is authenticated with it. wolfSSL hands 16 bytes for the nonce, of which GCM
 * takes 12, and 32 for the tag, which has 16. */
enum { NONCE = 12, TAG = 16 };

static bool seal(const struct plain_key *key, const byte *nonce, byte *tag, byte *data, word32 len)
{
    Aes aes;
    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return false;
    bool good = wc_AesGcmSetKey(&aes, key->secret, sizeof key->secret) == 0
                && wc_AesGcmEncrypt(&aes, data, data, len, nonce, NONCE, tag, TAG, key->name,
                                    sizeof key->name)
                       == 0;
    wc_AesFree(&aes);
    mem_wipe(&aes, sizeof aes);
    return good;
}

static bool unseal(const struct plain_key *key, const byte *nonce, const byte *tag, byte *data,
                   word32 len)
{
    Aes aes;
    if (wc_AesInit(&aes, NULL, INVALID_DEVID) != 0)
        return false;
    bool good = wc_AesGcmSetKey(&aes, key->secret, sizeof key->secret) == 0
                && wc_AesGcmDecrypt(&aes, data, data, len, nonce, NONCE, tag, TAG, key->name,
                                    sizeof key->name)
                       == 0;
    wc_AesFree(&aes);
    mem_wipe(&aes, sizeof aes);
    return good;
}

int tls_tickets_crypt(WOLFSSL *ssl, byte key_name[WOLFSSL_TICKET_NAME_SZ],
                      byte iv[WOLFSSL_TICKET_IV_SZ], byte mac[WOLFSSL_TICKET_MAC_SZ], int encrypt,
                      byte *ticket, int len, int *out_len, void *context)
{
    const struct tls_tickets *t = context;
    struct plain_key key;
    int result = WOLFSSL_TICKET_RET_REJECT;

    _Static_assert(sizeof key.name == WOLFSSL_TICKET_NAME_SZ, "key names");
    _Static_assert(NONCE <= WOLFSSL_TICKET_IV_SZ && TAG <= WOLFSSL_TICKET_MAC_SZ, "room");
    if (t == NULL || len < 0 || !find_key(t, encrypt != 0 ? NULL : key_name, &key))
        return encrypt != 0 ? WOLFSSL_TICKET_RET_FATAL : WOLFSSL_TICKET_RET_REJECT;
    if (encrypt != 0) {
        memcpy(key_name, key.name, sizeof key.name);
        memset(iv, 0, WOLFSSL_TICKET_IV_SZ);
        memset(mac, 0, WOLFSSL_TICKET_MAC_SZ);
        result = wc_RNG_GenerateBlock(wolfSSL_GetRNG(ssl), iv, NONCE) == 0
                         && seal(&key, iv, mac, ticket, (word32)len)
                     ? WOLFSSL_TICKET_RET_OK
                     : WOLFSSL_TICKET_RET_FATAL;
    } else if (unseal(&key, iv, mac, ticket, (word32)len)) {
        /* An old key's ticket is taken, and replaced by one of the newest. */
        result = key.is_newest ? WOLFSSL_TICKET_RET_OK : WOLFSSL_TICKET_RET_CREATE;
    }
    *out_len = len;
    mem_wipe(&key, sizeof key);
    return result;
}
