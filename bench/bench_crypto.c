/*
 * bench_crypto: how fast the wolfSSL that mailring is linked with is, on one core.
 *
 * A TLS session costs one signature and a key agreement, then AES-GCM; a queue costs SHA-256 here and
 * there. The distribution's wolfSSL has no assembly, ours has: this program shows the difference, and
 * shows at once when a build went wrong. Prints a line a primitive; with --tiny, one round of each.
 */
#include <wolfssl/options.h>
#include <wolfssl/version.h>
#include <wolfssl/wolfcrypt/aes.h>
#include <wolfssl/wolfcrypt/asn.h>
#include <wolfssl/wolfcrypt/ecc.h>
#include <wolfssl/wolfcrypt/rsa.h>
#include <wolfssl/wolfcrypt/sha256.h>
#include <wolfssl/wolfcrypt/wolfmath.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { BLOCK_SIZE = 16384 }; /* one TLS record */

static bool tiny;
static byte block[BLOCK_SIZE], sealed[BLOCK_SIZE];
static byte digest[32] = {1, 2, 3};
static byte signature[256];
static word32 signature_size;
static uint32_t checksum;

static Aes aes;
static wc_Sha256 sha256;
static ecc_key p256;
static RsaKey rsa;
static WC_RNG rng;

/* A benchmark with a wrong answer has no speed. */
static void must(int status, const char *what)
{
    if (status != 0) {
        fprintf(stderr, "bench_crypto: %s: error %d\n", what, status);
        exit(1);
    }
}

static double now_s(void)
{
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void seal_block(void)
{
    static const byte nonce[12];
    byte tag[16];
    must(wc_AesGcmEncrypt(&aes, sealed, block, BLOCK_SIZE, nonce, sizeof nonce, tag, sizeof tag,
                          NULL, 0),
         "AES-128-GCM");
    checksum += tag[0];
}

static void hash_block(void)
{
    byte hash[WC_SHA256_DIGEST_SIZE];
    must(wc_Sha256Update(&sha256, block, BLOCK_SIZE), "SHA-256");
    must(wc_Sha256Final(&sha256, hash), "SHA-256");
    checksum += hash[0];
}

static void sign_p256(void)
{
    signature_size = sizeof signature;
    must(wc_ecc_sign_hash(digest, sizeof digest, signature, &signature_size, &rng, &p256),
         "P-256 sign");
}

static void verify_p256(void)
{
    int good = 0;
    must(wc_ecc_verify_hash(signature, signature_size, digest, sizeof digest, &good, &p256),
         "P-256 verify");
    must(good == 1 ? 0 : -1, "P-256 verify");
    checksum++;
}

static void sign_rsa(void)
{
    int size = wc_RsaSSL_Sign(digest, sizeof digest, signature, sizeof signature, &rsa, &rng);
    must(size == sizeof signature ? 0 : size, "RSA-2048 sign");
}

static void verify_rsa(void)
{
    byte plain[sizeof signature];
    int size = wc_RsaSSL_Verify(signature, sizeof signature, plain, sizeof plain, &rsa);
    must(size == sizeof digest && memcmp(plain, digest, sizeof digest) == 0 ? 0 : -1,
         "RSA-2048 verify");
    checksum++;
}

/* Rounds of CPU time: the best of five runs of a tenth of a second. */
static double rounds_per_s(void (*round)(void))
{
    double best = 0;
    for (int run = 0; run < (tiny ? 1 : 5); run++) {
        double start = now_s(), spent = 0;
        long rounds = 0;
        do {
            round();
            rounds++;
            spent = now_s() - start;
        } while (!tiny && spent < 0.1);
        double rate = spent > 0 ? (double)rounds / spent : 0;
        best = rate > best ? rate : best;
    }
    return best;
}

static void prepare(void)
{
    static const byte key[16] = "sixteen bytes..";
    memset(block, 'm', sizeof block);
    must(wc_InitRng(&rng), "random generator");
    must(wc_AesInit(&aes, NULL, INVALID_DEVID), "AES");
    must(wc_AesGcmSetKey(&aes, key, sizeof key), "AES");
    must(wc_InitSha256(&sha256), "SHA-256");
    must(wc_ecc_init(&p256), "P-256");
    must(wc_ecc_make_key(&rng, 32, &p256), "P-256 key");
    must(wc_InitRsaKey(&rsa, NULL), "RSA");
    must(wc_MakeRsaKey(&rsa, 2048, WC_RSA_EXPONENT, &rng), "RSA key");
    must(wc_RsaSetRNG(&rsa, &rng), "RSA");
}

int main(int argc, char **argv)
{
    tiny = argc > 1 && strcmp(argv[1], "--tiny") == 0;
    prepare();

    static const struct {
        const char *name, *unit;
        double scale;
        void (*round)(void);
    } rows[] = {
        {"aes-128-gcm", "MB/s", BLOCK_SIZE / 1e6, seal_block},
        {"sha-256", "MB/s", BLOCK_SIZE / 1e6, hash_block},
        {"p-256 sign", "/s", 1, sign_p256},
        {"p-256 verify", "/s", 1, verify_p256},
        {"rsa-2048 sign", "/s", 1, sign_rsa},
        {"rsa-2048 verify", "/s", 1, verify_rsa},
    };
    printf("wolfSSL " LIBWOLFSSL_VERSION_STRING ", one core\n");
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        printf("%-16s %10.0f %s\n", rows[i].name, rounds_per_s(rows[i].round) * rows[i].scale,
               rows[i].unit);
    printf("checksum %08x\n", (unsigned)checksum);
    return 0;
}
