/* auth_users: see the header. */
#include "auth_users_priv.h"

#include <crypt.h>
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "auth.h"
#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"

enum {
    HASH_MAX = CRYPT_OUTPUT_SIZE - 1,
    BAD_LINES_MAX = 10, /* then it is the wrong file */
};
enum { SENDERS = 1 };                   /* behind a name; none has control characters in it */
#define FILE_SIZE_MAX ((size_t)2 << 30) /* slots have 32 bits */

struct auth_users {
    char *
        text; /* the file; a line is name, NUL, hash, NUL or name, SENDERS, hash, NUL, senders, NUL */
    size_t len;
    uint32_t *slots; /* where a user's line begins, and one more; 0: free */
    size_t mask;
    size_t count;
    size_t count_locked;
    size_t count_sha1, count_sha256;
    uint8_t secret[32]; /* for fake verifiers: from what is in the file, so that a restart changes
                           nothing */
};

/* What a hash costs when there is nobody to take it from: yescrypt as the system makes it. */
static const struct slice nobody =
    SLICE_INIT("$y$j9T$JRZ6mBLUhS4Jbcb8zeBAm/$pIa6lH3TbmSCxAsTFGmdYZvkF4tDUj1Y0ylUfPDB6t5");

/* ---- what stands in a line ----------------------------------------------------------------- */

struct slice auth_hash_bare(struct slice hash)
{
    static const struct slice prefixes[] = {SLICE_INIT("{CRYPT}"), SLICE_INIT("{SHA512-CRYPT}"),
                                            SLICE_INIT("{SHA256-CRYPT}"),
                                            SLICE_INIT("{BLF-CRYPT}")};

    for (size_t i = 0; i < ARRAY_LEN(prefixes); i++)
        if (slice_starts_nocase(hash, prefixes[i]))
            slice_advance(&hash, prefixes[i].len);
    return hash;
}

bool auth_hash_kind(struct slice hash, enum auth_hash_kind *out, const char **out_why)
{
    char text[HASH_MAX + 1];
    struct sasl_verifier verifier;
    int salt;

    if (hash.len > 0 && (hash.data[0] == '!' || hash.data[0] == '*')) {
        *out = AUTH_HASH_LOCKED;
        return true;
    }
    if (sasl_verifier_is(hash)) {
        *out = AUTH_HASH_SCRAM;
        *out_why = "the hash is not {SCRAM-...}iterations,salt,StoredKey,ServerKey";
        return sasl_verifier_parse(hash, &verifier);
    }
    hash = auth_hash_bare(hash);
    *out = AUTH_HASH_CRYPT;
    *out_why = hash.len == 0 ? "there is no hash" : "the hash is not one that crypt(3) knows";
    if (hash.len == 0 || hash.len > HASH_MAX || hash.data[0] != '$')
        return false;
    memcpy(text, hash.data, hash.len);
    text[hash.len] = '\0';
    salt = crypt_checksalt(text);
    return salt == CRYPT_SALT_OK || salt == CRYPT_SALT_METHOD_LEGACY
           || salt == CRYPT_SALT_TOO_CHEAP;
}

bool auth_sender_next(struct slice *rest, struct slice *out)
{
    while (rest->len > 0) {
        ptrdiff_t comma = slice_find(*rest, ',');
        struct slice entry = comma < 0 ? *rest : slice_head(*rest, (size_t)comma);

        slice_advance(rest, comma < 0 ? rest->len : entry.len + 1);
        *out = slice_trim(entry);
        if (out->len > 0)
            return true;
    }
    return false;
}

static const char *complain_senders(struct slice senders)
{
    struct slice entry;

    while (auth_sender_next(&senders, &entry)) {
        if (!slice_equal(entry, SLICE_LITERAL("*")) && slice_find(entry, '@') < 0)
            return "a sender is an address, @domain, or *";
        for (size_t i = 0; i < entry.len; i++)
            if (entry.data[i] <= ' ' || entry.data[i] == 127)
                return "a sender's address has no spaces in it";
    }
    return NULL;
}

static struct slice field(struct slice *rest)
{
    ptrdiff_t colon = slice_find(*rest, ':');
    struct slice f = colon < 0 ? *rest : slice_head(*rest, (size_t)colon);

    slice_advance(rest, colon < 0 ? rest->len : f.len + 1);
    return f;
}

static size_t name_len(const char *text)
{
    size_t len = 0;

    while ((unsigned char)text[len] > SENDERS)
        len++;
    return len;
}

/* The user whose line, in its form in memory, begins at `at`. */
static void user_at(const struct auth_users *u, size_t at, struct auth_user *out)
{
    const char *text = u->text + at;

    out->name = slice_of(text, name_len(text));
    text += out->name.len + 1;
    out->hash = slice_str(text);
    out->senders = text[-1] == SENDERS ? slice_str(text + out->hash.len + 1) : SLICE_NULL;
    out->kind = out->hash.data[0] == '!' || out->hash.data[0] == '*' ? AUTH_HASH_LOCKED
                : out->hash.data[0] == '{'                           ? AUTH_HASH_SCRAM
                                                                     : AUTH_HASH_CRYPT;
}

/* ---- looking up ---------------------------------------------------------------------------- */

static bool fold(struct slice name, uint8_t out[SASL_USER_MAX])
{
    if (name.len > SASL_USER_MAX)
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];

        out[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
    }
    return true;
}

/* The slot of a name in lower case, or the free one where it would be. Not keyed: a peer chooses what is
 * looked up, but not what is in the table. */
static size_t slot_of(const struct auth_users *u, struct slice name)
{
    size_t i = hash_stable(name) & u->mask;

    while (u->slots[i] != 0) {
        const char *text = u->text + (u->slots[i] - 1);

        if (strncmp(text, (const char *)name.data, name.len) == 0
            && (unsigned char)text[name.len] <= SENDERS)
            break;
        i = (i + 1) & u->mask;
    }
    return i;
}

bool auth_users_find(const struct auth_users *u, struct slice name, struct auth_user *out)
{
    uint8_t folded[SASL_USER_MAX];
    size_t slot;

    if (u == NULL || name.len == 0 || slice_find(name, '\0') >= 0 || !fold(name, folded))
        return false;
    slot = slot_of(u, slice_of(folded, name.len));
    if (u->slots[slot] == 0)
        return false;
    user_at(u, u->slots[slot] - 1, out);
    return true;
}

/* Users in the order of the table, beginning behind where the name would be. False: once round. */
struct walk {
    size_t slot, left;
};

static struct walk walk_from(const struct auth_users *u, struct slice name)
{
    uint8_t folded[SASL_USER_MAX];

    if (!fold(name, folded))
        name.len = 0;
    return (struct walk){hash_stable(slice_of(folded, name.len)) & u->mask, u->mask + 1};
}

static bool walk_next(const struct auth_users *u, struct walk *w, struct auth_user *out)
{
    for (; w->left > 0; w->left--, w->slot = (w->slot + 1) & u->mask) {
        if (u->slots[w->slot] == 0)
            continue;
        user_at(u, u->slots[w->slot] - 1, out);
        w->slot = (w->slot + 1) & u->mask;
        w->left--;
        return true;
    }
    return false;
}

struct slice auth_users_stand_in(const struct auth_users *u, struct slice name)
{
    struct auth_user user;

    if (u == NULL || u->count == u->count_locked)
        return nobody;
    for (struct walk w = walk_from(u, name); walk_next(u, &w, &user);)
        if (user.kind != AUTH_HASH_LOCKED)
            return user.hash;
    return nobody;
}

size_t auth_users_count(const struct auth_users *u)
{
    return u->count;
}

size_t auth_users_scram(const struct auth_users *u, enum tls_hash hash)
{
    return hash == TLS_HASH_SHA1 ? u->count_sha1 : u->count_sha256;
}

bool auth_users_all_scram(const struct auth_users *u, enum tls_hash hash)
{
    size_t have = auth_users_scram(u, hash);

    return have > 0 && have == u->count - u->count_locked;
}

bool auth_users_verifier(const struct auth_users *u, struct slice name, enum tls_hash hash,
                         struct sasl_verifier *out)
{
    uint32_t iterations = SASL_SCRAM_ITERATIONS_DEFAULT;
    size_t salt_len = 16;
    uint8_t folded[SASL_USER_MAX];
    struct auth_user user;

    if (auth_users_find(u, name, &user) && user.kind == AUTH_HASH_SCRAM
        && sasl_verifier_parse(user.hash, out) && out->hash == hash)
        return true;
    if (u->count_sha1 + u->count_sha256 > 0)
        for (struct walk w = walk_from(u, name); walk_next(u, &w, &user);) {
            if (user.kind != AUTH_HASH_SCRAM || !sasl_verifier_parse(user.hash, out)
                || out->hash != hash)
                continue;
            iterations = out->iterations;
            salt_len = out->salt_len;
            break;
        }
    if (!fold(name, folded))
        name.len = 0;
    sasl_verifier_fake(hash, slice_of(u->secret, sizeof(u->secret)), slice_of(folded, name.len),
                       iterations, salt_len, out);
    return false;
}

/* ---- reading ------------------------------------------------------------------------------- */

struct reading {
    struct auth_users *users;
    const char *path;
    struct conf_errors *errors;
    unsigned line;
    unsigned bad;
    uint64_t least; /* of the hashes of hashes: whose makes the secret */
    struct slice secret_of;
};

static void complain(struct reading *r, const char *why)
{
    if (r->bad++ < BAD_LINES_MAX)
        conf_errors_add_at(r->errors, r->path, r->line, false, "%s", why);
}

static void count_kind(struct reading *r, enum auth_hash_kind kind, struct slice hash)
{
    struct auth_users *u = r->users;
    uint64_t order = hash_stable(hash);

    u->count_locked += kind == AUTH_HASH_LOCKED;
    if (kind == AUTH_HASH_SCRAM && slice_starts_nocase(hash, SLICE_LITERAL("{SCRAM-SHA-1}")))
        u->count_sha1++;
    else if (kind == AUTH_HASH_SCRAM)
        u->count_sha256++;
    if (kind != AUTH_HASH_LOCKED && (r->secret_of.len == 0 || order < r->least)) {
        r->least = order;
        r->secret_of = hash;
    }
}

/* Takes a line apart and moves it to `to`, which is not behind it. Answers how much it takes there: not more
 * than here, with the newline. 0: there is nobody in it. */
static size_t take_line(struct reading *r, struct slice line, char *to)
{
    struct slice rest = line, name = slice_trim(field(&rest)), hash = field(&rest);
    struct slice senders = slice_trim(rest);
    enum auth_hash_kind kind;
    const char *why = NULL;
    char *at = to;

    if (name.len == line.len)
        why = "this is not user:hash[:sender,...]";
    else if (!sasl_user_valid(name))
        why = "the user's name is empty, too long, not UTF-8, or has control characters";
    else if (auth_hash_kind(hash, &kind, &why))
        why = complain_senders(senders);
    if (why != NULL) {
        complain(r, why);
        return 0;
    }
    if (kind == AUTH_HASH_CRYPT)
        hash = auth_hash_bare(hash);
    memmove(at, name.data, name.len);
    (void)fold(slice_of(at, name.len), (uint8_t *)at); /* it is a valid name: it fits */
    at[name.len] = senders.len > 0 ? SENDERS : '\0';
    at += name.len + 1;
    memmove(at, hash.data, hash.len);
    at[hash.len] = '\0';
    count_kind(r, kind, slice_of(at, hash.len));
    at += hash.len + 1;
    if (senders.len > 0) {
        memmove(at, senders.data, senders.len);
        at[senders.len] = '\0';
        at += senders.len + 1;
    }
    return (size_t)(at - to);
}

static void insert(struct reading *r, size_t at)
{
    struct auth_users *u = r->users;
    struct slice name = slice_of(u->text + at, name_len(u->text + at));
    size_t slot = slot_of(u, name);

    if (u->slots[slot] != 0) {
        complain(r, "this user stands here for the second time");
        return;
    }
    u->slots[slot] = (uint32_t)at + 1;
    u->count++;
}

static void make_slots(struct auth_users *u)
{
    size_t lines = 1, capacity = 4;

    for (size_t i = 0; i < u->len; i++)
        lines += u->text[i] == '\n';
    while (capacity < lines * 2)
        capacity *= 2;
    u->mask = capacity - 1;
    u->slots = mem_calloc(capacity, sizeof(*u->slots));
}

static void read_lines(struct reading *r)
{
    struct auth_users *u = r->users;
    struct slice rest = slice_of(u->text, u->len);
    size_t used = 0;

    make_slots(u);
    while (rest.len > 0 && r->bad < BAD_LINES_MAX) {
        ptrdiff_t newline = slice_find(rest, '\n');
        struct slice line = newline < 0 ? rest : slice_head(rest, (size_t)newline);
        size_t took;

        r->line++;
        slice_advance(&rest, newline < 0 ? rest.len : line.len + 1);
        if (line.len > 0 && line.data[line.len - 1] == '\r')
            line.len--;
        if (slice_trim(line).len == 0 || line.data[0] == '#')
            continue;
        if (slice_find(line, '\0') >= 0) {
            complain(r, "a NUL is in this line");
            continue;
        }
        took = take_line(r, line, u->text + used);
        if (took > 0)
            insert(r, used);
        used += took;
    }
    mem_wipe(u->text + used, u->len - used);
}

static char *read_whole(FILE *file, size_t size, size_t *out_len)
{
    char *text = mem_alloc(size + 2); /* with the NUL of a last line without newline */
    size_t len = fread(text, 1, size, file);

    if (ferror(file)) {
        mem_wipe(text, size);
        mem_free(text);
        return NULL;
    }
    memset(text + len, 0, size + 2 - len);
    *out_len = len;
    return text;
}

/* Others than owner and group have no business here, nor may the group write. */
static bool check_mode(const struct conf *conf, const char *path, const struct stat *status,
                       struct conf_errors *errors)
{
    if (!S_ISREG(status->st_mode)) {
        conf_errors_add(errors, conf, &conf->auth.users, false, "users: %s is not a file", path);
        return false;
    }
    if ((status->st_mode & 027) != 0) {
        conf_errors_add(errors, conf, &conf->auth.users, false,
                        "users: others may read or change %s (mode %03o): chmod 600 it, or 640 for "
                        "a group that reads it",
                        path, (unsigned)(status->st_mode & 0777));
        return false;
    }
    return true;
}

static struct auth_users *read_file(const struct conf *conf, FILE *file, size_t size,
                                    struct conf_errors *errors)
{
    struct auth_users *u = mem_zalloc(sizeof(*u));
    struct reading r = {.users = u, .path = conf->auth.users, .errors = errors};

    u->text = read_whole(file, size, &u->len);
    if (u->text == NULL) {
        conf_errors_add(errors, conf, &conf->auth.users, false, "users: cannot read %s: %s", r.path,
                        strerrordesc_np(errno));
        mem_free(u);
        return NULL;
    }
    read_lines(&r);
    if (r.bad > 0) {
        auth_users_destroy(u);
        return NULL;
    }
    if (u->count == 0)
        conf_errors_add(errors, conf, &conf->auth.users, true, "users: nobody is in %s", r.path);
    tls_hmac(TLS_HASH_SHA256, r.secret_of, SLICE_LITERAL("mailring: users who are not there"),
             u->secret);
    return u;
}

struct auth_users *auth_users_load(const struct conf *conf, struct conf_errors *errors)
{
    const char *path = conf->auth.users;
    struct auth_users *u = NULL;
    struct stat status;
    FILE *file = fopen(path, "re");

    if (file == NULL || fstat(fileno(file), &status) != 0) {
        conf_errors_add(errors, conf, &conf->auth.users, false, "users: cannot read %s: %s", path,
                        strerrordesc_np(errno));
    } else if (check_mode(conf, path, &status, errors)) {
        if ((size_t)status.st_size > FILE_SIZE_MAX) {
            conf_errors_add(errors, conf, &conf->auth.users, false, "users: %s is too large", path);
        } else {
            (void)setvbuf(file, NULL, _IONBF, 0); /* no copy in a buffer that nobody wipes */
            u = read_file(conf, file, (size_t)status.st_size, errors);
        }
    }
    if (file != NULL)
        (void)fclose(file); /* only read from */
    return u;
}

void auth_users_destroy(struct auth_users *u)
{
    if (u == NULL)
        return;
    mem_wipe(u->text, u->len + 2);
    mem_free(u->text);
    mem_free(u->slots);
    mem_wipe(u, sizeof(*u));
    mem_free(u);
}
