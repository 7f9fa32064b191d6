/* auth_password: see the header. */
#include "auth_password.h"

#include "auth_priv.h"
#include "base_assert.h"
#include "base_mem.h"

const char *const auth_scheme_names[AUTH_SCHEME_COUNT] = {
    [AUTH_SCHEME_YESCRYPT] = "yescrypt",       [AUTH_SCHEME_SHA512] = "sha512",
    [AUTH_SCHEME_BCRYPT] = "bcrypt",           [AUTH_SCHEME_SCRAM_SHA_256] = "scram-sha-256",
    [AUTH_SCHEME_SCRAM_SHA_1] = "scram-sha-1",
};
/* For crypt_gensalt(3); NULL: not crypt's. */
static const char *const prefixes[AUTH_SCHEME_COUNT] = {
    [AUTH_SCHEME_YESCRYPT] = "$y$",
    [AUTH_SCHEME_SHA512] = "$6$",
    [AUTH_SCHEME_BCRYPT] = "$2b$",
};

enum { BCRYPT_MAX = 72, SHA512_ROUNDS = 500000, BCRYPT_ROUNDS = 12 };

bool auth_user_name_fits(struct slice user, const char **out_why)
{
    *out_why = "a user's name is UTF-8 of at most 255 bytes, without control characters";
    if (!sasl_user_valid(user))
        return false;
    *out_why = "a user's name has no colon, and no spaces at its ends, and begins with no #";
    return slice_find(user, ':') < 0 && slice_trim(user).len == user.len && user.data[0] != '#';
}

bool auth_password_fits(enum auth_scheme scheme, struct slice password, const char **out_why)
{
    *out_why = "a password has 1 to 511 bytes, without control characters";
    if (!sasl_password_valid(password))
        return false;
    *out_why = "bcrypt looks at 72 bytes of a password only";
    return scheme != AUTH_SCHEME_BCRYPT || password.len <= BCRYPT_MAX;
}

/* yescrypt as the system has it by default; the older ones with more rounds than that. */
static unsigned long rounds_of(enum auth_scheme scheme)
{
    return scheme == AUTH_SCHEME_SHA512   ? SHA512_ROUNDS
           : scheme == AUTH_SCHEME_BCRYPT ? BCRYPT_ROUNDS
                                          : 0;
}

static bool hash_by_crypt(enum auth_scheme scheme, struct slice password, const uint8_t entropy[16],
                          struct buf *out)
{
    struct crypt_data *data = mem_zalloc(sizeof(*data)); /* 32 KiB */
    char phrase[SASL_PASSWORD_MAX + 1], setting[CRYPT_GENSALT_OUTPUT_SIZE];
    const char *made = NULL;

    memcpy(phrase, password.data, password.len);
    phrase[password.len] = '\0';
    if (crypt_gensalt_rn(prefixes[scheme], rounds_of(scheme), (const char *)entropy, 16, setting,
                         sizeof(setting))
        != NULL)
        made = crypt_r(phrase, setting, data);
    if (made != NULL && made[0] == '$')
        (void)buf_append_str(out, made);
    else
        made = NULL;
    mem_wipe(phrase, sizeof(phrase));
    mem_wipe(data, sizeof(*data));
    mem_free(data);
    return made != NULL;
}

bool auth_password_hash(enum auth_scheme scheme, struct slice password, const uint8_t entropy[16],
                        struct buf *out)
{
    struct sasl_verifier verifier;

    ASSERT(password.len <= SASL_PASSWORD_MAX);
    if (prefixes[scheme] != NULL)
        return hash_by_crypt(scheme, password, entropy, out);
    sasl_verifier_make(scheme == AUTH_SCHEME_SCRAM_SHA_1 ? TLS_HASH_SHA1 : TLS_HASH_SHA256,
                       password, slice_of(entropy, 16), SASL_SCRAM_ITERATIONS_DEFAULT, &verifier);
    return sasl_verifier_format(&verifier, out);
}

bool auth_password_is(struct slice hash, struct slice password)
{
    enum auth_hash_kind kind;
    const char *why;

    return auth_hash_kind(hash, &kind, &why) && kind != AUTH_HASH_LOCKED
           && auth_verify(auth_hash_bare(hash), password);
}

/* ---- the file ------------------------------------------------------------------------------ */

/* The line at the front with its end, taken off. */
static struct slice next_line(struct slice *rest)
{
    ptrdiff_t newline = slice_find(*rest, '\n');
    struct slice line = newline < 0 ? *rest : slice_head(*rest, (size_t)newline + 1);

    slice_advance(rest, line.len);
    return line;
}

/* Whether a line is this user's; then what stands behind the colon, without the line's end. */
static bool is_users(struct slice line, struct slice user, struct slice *out_rest)
{
    ptrdiff_t colon;

    while (line.len > 0 && (line.data[line.len - 1] == '\n' || line.data[line.len - 1] == '\r'))
        line.len--;
    colon = slice_find(line, ':');
    if (colon < 0 || line.data[0] == '#'
        || !slice_equal_nocase(slice_trim(slice_head(line, (size_t)colon)), user))
        return false;
    slice_advance(&line, (size_t)colon + 1);
    *out_rest = line;
    return true;
}

bool auth_file_find(struct slice text, struct slice user, struct slice *out_hash)
{
    struct slice rest;

    while (text.len > 0) {
        if (!is_users(next_line(&text), user, &rest))
            continue;
        ptrdiff_t colon = slice_find(rest, ':');
        *out_hash = colon < 0 ? rest : slice_head(rest, (size_t)colon);
        return true;
    }
    return false;
}

static void put_user(struct slice user, struct slice hash, struct slice senders, struct buf *out)
{
    (void)buf_append_slice(out, user); /* without a limit that could be reached */
    (void)buf_append_byte(out, ':');
    (void)buf_append_slice(out, hash);
    (void)buf_append_slice(out, senders);
    (void)buf_append_byte(out, '\n');
}

void auth_file_set(struct slice text, struct slice user, struct slice hash, struct buf *out)
{
    struct slice rest, line = SLICE_NULL;
    bool done = false;

    while (text.len > 0) {
        line = next_line(&text);
        if (!is_users(line, user, &rest)) {
            (void)buf_append_slice(out, line);
            continue;
        }
        ptrdiff_t colon = slice_find(rest, ':');
        slice_advance(&rest, colon < 0 ? rest.len : (size_t)colon);
        if (!done) /* if he stood there twice, he does no more */
            put_user(user, hash, rest, out);
        done = true;
    }
    if (done)
        return;
    if (line.len > 0 && line.data[line.len - 1] != '\n')
        (void)buf_append_byte(out, '\n');
    put_user(user, hash, SLICE_NULL, out);
}

bool auth_file_delete(struct slice text, struct slice user, struct buf *out)
{
    struct slice rest;
    bool done = false;

    while (text.len > 0) {
        struct slice line = next_line(&text);

        if (is_users(line, user, &rest))
            done = true;
        else
            (void)buf_append_slice(out, line);
    }
    return done;
}
