/* auth_verify: the slow part of a login. */
#include "auth_priv.h"
#include "base_mem.h"

static bool verify_crypt(struct slice hash, struct slice password)
{
    struct crypt_data *data = mem_zalloc(sizeof(*data)); /* 32 KiB: not for a helper's stack */
    char phrase[SASL_PASSWORD_MAX + 1], setting[CRYPT_OUTPUT_SIZE];
    const char *made;
    bool good = false;

    if (password.len <= SASL_PASSWORD_MAX && hash.len < sizeof(setting)) {
        memcpy(phrase, password.data, password.len);
        phrase[password.len] = '\0';
        memcpy(setting, hash.data, hash.len);
        setting[hash.len] = '\0';
        made = crypt_r(phrase, setting, data); /* "*0" if it cannot: equal to no hash */
        good = made != NULL && made[0] == '$' && tls_equal(slice_str(made), hash);
        mem_wipe(phrase, sizeof(phrase));
    }
    mem_wipe(data, sizeof(*data));
    mem_free(data);
    return good;
}

bool auth_verify(struct slice hash, struct slice password)
{
    struct sasl_verifier verifier;
    bool good;

    if (!sasl_verifier_is(hash))
        return verify_crypt(hash, password);
    good = sasl_verifier_parse(hash, &verifier) && sasl_verifier_check(&verifier, password);
    mem_wipe(&verifier, sizeof(verifier));
    return good;
}
