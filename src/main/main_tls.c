/* main_tls: see the header. */
#include "main_tls.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base_assert.h"
#include "base_mem.h"

/* What these files are at most; more is another file. */
#define KEY_SIZE_MAX ((size_t)64 << 10)
#define PEM_SIZE_MAX ((size_t)1 << 20)
#define CA_SIZE_MAX  ((size_t)32 << 20)

enum { EXPIRES_SOON_S = 14 * 24 * 3600, GROUPS_MAX = 64 };

#define SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

/* A file's bytes. A key's are wiped when they are no more needed. */
struct file {
    struct slice bytes;
    uint8_t *memory; /* owned */
};

static void file_finish(struct file *f)
{
    if (f->memory != NULL)
        explicit_bzero(f->memory, f->bytes.len);
    mem_free(f->memory);
    *f = (struct file){0};
}

/* ---- who may read a key --------------------------------------------------------------------- */

static bool is_in_group(const struct main_user *user, gid_t group)
{
    gid_t groups[GROUPS_MAX];
    int count = GROUPS_MAX;

    if (user->change) {
        if (getgrouplist(user->name, user->gid, groups, &count) < 0)
            count = GROUPS_MAX;
    } else {
        count = getgroups(GROUPS_MAX, groups);
        if (group == getegid())
            return true;
    }
    for (int i = 0; i < count; i++) {
        if (groups[i] == group)
            return true;
    }
    return false;
}

/* Root's or the server's own; read by others only through a group that the server's user is in (as
 * "ssl-cert" of Debian is for), and written by nobody else. */
static bool is_private(const struct stat *st, const struct main_user *user, struct buf *why)
{
    unsigned mode = (unsigned)st->st_mode & 0777;
    uid_t uid = user->change ? user->uid : geteuid();

    if (st->st_uid != 0 && st->st_uid != uid) {
        (void)buf_printf(why, "it belongs to user id %u, neither to root nor to the server's user",
                         (unsigned)st->st_uid);
        return false;
    }
    if ((mode & 027) != 0) {
        (void)buf_printf(why, "others than its owner may use it (mode %04o): chmod 600 it", mode);
        return false;
    }
    if ((mode & 040) != 0 && st->st_gid != 0 && !is_in_group(user, st->st_gid)) {
        (void)buf_printf(why,
                         "a group (id %u) that the server's user is not in may read it (mode "
                         "%04o): chmod 600 it, or chgrp it",
                         (unsigned)st->st_gid, mode);
        return false;
    }
    return true;
}

/* ---- reading -------------------------------------------------------------------------------- */

static bool read_open(int fd, const struct stat *st, size_t max, struct file *out, struct buf *why)
{
    size_t size = (size_t)st->st_size, have = 0;
    uint8_t *memory;

    if (!S_ISREG(st->st_mode) || size == 0 || size > max) {
        (void)buf_append_str(why, !S_ISREG(st->st_mode) ? "not a file"
                                  : size == 0           ? "it is empty"
                                                        : "it is too large");
        return false;
    }
    memory = mem_alloc(size);
    while (have < size) {
        ssize_t n = read(fd, memory + have, size - have);

        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    *out = (struct file){slice_of(memory, have), memory};
    if (have == size)
        return true;
    (void)buf_append_str(why, "it changed while it was being read");
    file_finish(out);
    return false;
}

/* `user` NULL: it need not be private. */
static bool read_file(const char *path, size_t max, const struct main_user *user, struct file *out,
                      struct buf *why)
{
    /* Not waiting for a FIFO's other end. */
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    bool ok;

    if (fd < 0 || fstat(fd, &st) != 0) {
        (void)buf_append_str(why, strerror(errno));
        if (errno == EACCES)
            (void)buf_printf(why, " for user id %u", (unsigned)geteuid());
        if (fd >= 0)
            (void)close(fd); /* only read from; so everywhere here */
        return false;
    }
    ok = (user == NULL || !S_ISREG(st.st_mode) || is_private(&st, user, why))
         && read_open(fd, &st, max, out, why);
    (void)close(fd);
    return ok;
}

/* What one load shares. */
struct load {
    const struct conf *conf;
    const struct main_user *user;
    struct tls_tickets *tickets;
    struct conf_errors *errors;
    struct tls_pair *pairs;
    struct file *files; /* three a pair */
    size_t pair_count;
    bool ok;
};

static void fail(struct load *l, const void *field, const char *setting, const struct buf *why)
{
    conf_errors_add(l->errors, l->conf, field, false, "%s: %.*s", setting,
                    SLICE_ARG(buf_slice(why)));
    l->ok = false;
}

/* Reads what a setting names. */
static struct slice read_setting(struct load *l, const void *field, const char *setting,
                                 const char *path, size_t max, bool secret, struct file *out)
{
    struct buf why;

    buf_init(&why, 0);
    (void)buf_printf(&why, "%s: ", path);
    if (!read_file(path, max, secret ? l->user : NULL, out, &why))
        fail(l, field, setting, &why);
    buf_finish(&why);
    return out->bytes;
}

static void read_pairs(struct load *l)
{
    const struct conf_tls *tls = &l->conf->tls;

    l->pair_count = tls->certificate.count;
    if (l->pair_count == 0)
        return;
    l->pairs = mem_calloc(l->pair_count, sizeof(*l->pairs));
    l->files = mem_calloc(l->pair_count, 3 * sizeof(*l->files));
    for (size_t i = 0; i < l->pair_count; i++) {
        struct tls_pair *pair = &l->pairs[i];
        struct file *files = &l->files[3 * i];

        pair->certificate_file = tls->certificate.items[i];
        pair->key_file = tls->key.items[i];
        pair->certificate = read_setting(l, &tls->certificate.items[i], "certificate",
                                         pair->certificate_file, PEM_SIZE_MAX, false, &files[0]);
        pair->key = read_setting(l, &tls->key.items[i], "key", pair->key_file, KEY_SIZE_MAX, true,
                                 &files[1]);
        if (i < tls->ocsp.count)
            pair->ocsp = read_setting(l, &tls->ocsp.items[i], "ocsp", tls->ocsp.items[i],
                                      KEY_SIZE_MAX, false, &files[2]);
    }
}

static void free_pairs(struct load *l)
{
    for (size_t i = 0; i < 3 * l->pair_count; i++)
        file_finish(&l->files[i]);
    mem_free(l->files);
    mem_free(l->pairs);
}

/* ---- what is wrong with them ---------------------------------------------------------------- */

static const char *date_of(int64_t unix_s, char out[32])
{
    time_t t = (time_t)unix_s;
    struct tm tm;

    if (gmtime_r(&t, &tm) == NULL || strftime(out, 32, "%Y-%m-%d %H:%M:%S UTC", &tm) == 0)
        (void)strcpy(out, "another age");
    return out;
}

static void examine_dates(const struct load *l, size_t i, const struct tls_certificate_facts *facts)
{
    const void *field = &l->conf->tls.certificate.items[i];
    const char *path = l->pairs[i].certificate_file;
    int64_t now = (int64_t)time(NULL);
    char date[32];

    if (now > facts->not_after)
        conf_errors_add(l->errors, l->conf, field, true, "certificate: %s: expired at %s", path,
                        date_of(facts->not_after, date));
    else if (now < facts->not_before)
        conf_errors_add(l->errors, l->conf, field, true, "certificate: %s: not valid before %s",
                        path, date_of(facts->not_before, date));
    else if (facts->not_after - now < EXPIRES_SOON_S)
        conf_errors_add(l->errors, l->conf, field, true, "certificate: %s: expires soon, at %s",
                        path, date_of(facts->not_after, date));
}

static void examine_staple(struct load *l, size_t i, const struct tls_certificate_facts *facts)
{
    const struct conf_paths *ocsp = &l->conf->tls.ocsp;

    if (i < ocsp->count && facts->staple_problem != NULL)
        conf_errors_add(l->errors, l->conf, &ocsp->items[i], true, "ocsp: %s: not sent along: %s",
                        ocsp->items[i], facts->staple_problem);
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

static void examine_pairs(struct load *l)
{
    struct name_search search = {.name = l->conf->hostname};
    struct buf why;

    buf_init(&why, 0);
    for (size_t i = 0; i < l->pair_count; i++) {
        struct tls_certificate_facts facts;

        buf_clear(&why);
        if (l->pairs[i].certificate.len == 0 || l->pairs[i].key.len == 0)
            continue; /* could not be read: said */
        if (!tls_pair_examine(&l->pairs[i], &facts, &why)) {
            fail(l, &l->conf->tls.certificate.items[i], "certificate", &why);
            continue;
        }
        examine_dates(l, i, &facts);
        examine_staple(l, i, &facts);
        tls_pair_names(&l->pairs[i], compare_name, &search);
    }
    buf_finish(&why);
    if (l->ok && l->pair_count > 0 && !search.found)
        conf_errors_add(l->errors, l->conf, &l->conf->tls.certificate, true,
                        "certificate: none is for the hostname, %.*s: clients that verify names "
                        "will turn away",
                        SLICE_ARG(l->conf->hostname));
}

/* ---- contexts ------------------------------------------------------------------------------- */

static bool asks_certificate(const struct conf_listener *l)
{
    return l->client_ca != NULL || l->relay_certificates.count > 0;
}

static bool same_kind(const struct conf_listener *a, const struct conf_listener *b)
{
    if (asks_certificate(a) != asks_certificate(b))
        return false;
    if (a->client_ca == NULL || b->client_ca == NULL)
        return a->client_ca == b->client_ca;
    return strcmp(a->client_ca, b->client_ca) == 0;
}

static enum tls_version version_of(const struct conf *conf)
{
    switch (conf->tls.version_min) {
    case CONF_TLS_1_2: return TLS_VERSION_1_2;
    case CONF_TLS_1_3: return TLS_VERSION_1_3;
    }
    UNREACHABLE();
}

static struct tls_context *create_listener(struct load *l, const struct conf_listener *listener)
{
    struct tls_server_options options = {
        .pairs = l->pairs,
        .pair_count = l->pair_count,
        .version_min = version_of(l->conf),
        .ciphers = l->conf->tls.ciphers,
        .ask_certificate = asks_certificate(listener),
        .tickets = l->tickets,
    };
    struct tls_context *context = NULL;
    struct file ca = {0};
    struct buf why;

    buf_init(&why, 0);
    if (listener->client_ca != NULL)
        options.client_ca = read_setting(l, &listener->client_ca, "client_ca", listener->client_ca,
                                         CA_SIZE_MAX, false, &ca);
    if (l->ok) {
        context = tls_server_context_create(&options, &why);
        if (context == NULL)
            fail(l,
                 listener->client_ca != NULL ? (const void *)&listener->client_ca
                                             : &l->conf->tls.certificate,
                 "tls", &why);
    }
    file_finish(&ca);
    buf_finish(&why);
    return context;
}

static void create_listeners(struct load *l, struct main_tls *made)
{
    made->listener_count = l->conf->listener_count;
    made->listeners = mem_calloc(made->listener_count, sizeof(struct tls_context *));
    for (size_t i = 0; l->pair_count > 0 && i < made->listener_count; i++) {
        const struct conf_listener *listener = &l->conf->listeners[i];

        if (listener->tls == CONF_LISTENER_TLS_NONE)
            continue;
        for (size_t j = 0; j < i && made->listeners[i] == NULL; j++) {
            if (made->listeners[j] != NULL && same_kind(&l->conf->listeners[j], listener))
                made->listeners[i] = tls_context_ref(made->listeners[j]);
        }
        if (made->listeners[i] == NULL)
            made->listeners[i] = create_listener(l, listener);
    }
}

static bool verifies_servers(const struct conf *conf)
{
    for (size_t i = 0; i < conf->route_count; i++) {
        if (conf->routes[i].tls == CONF_ROUTE_TLS_VERIFY
            || conf->routes[i].tls == CONF_ROUTE_TLS_MTA_STS)
            return true;
    }
    return false;
}

static void create_client(struct load *l, struct main_tls *made)
{
    const char *path = l->conf->tls.ca;
    struct tls_client_options options = {.version_min = version_of(l->conf),
                                         .ciphers = l->conf->tls.ciphers};
    struct file ca = {0};
    struct buf why;

    buf_init(&why, 0);
    if (path != NULL)
        options.ca = read_setting(l, &l->conf->tls.ca, "ca", path, CA_SIZE_MAX, false, &ca);
    else if (read_file(SYSTEM_CA, CA_SIZE_MAX, NULL, &ca, &why))
        options.ca = ca.bytes;
    else if (verifies_servers(l->conf))
        conf_errors_add(l->errors, l->conf, &l->conf->tls.ca, true,
                        "ca: " SYSTEM_CA ": %.*s: no server's certificate can be verified",
                        SLICE_ARG(buf_slice(&why)));
    buf_clear(&why);
    if (l->ok) {
        made->client = tls_client_context_create(&options, &why);
        if (made->client == NULL)
            fail(l, &l->conf->tls.ca, "tls", &why);
    }
    file_finish(&ca);
    buf_finish(&why);
}

bool main_tls_load(const struct conf *conf, const struct main_user *user,
                   struct tls_tickets *tickets, struct main_tls *out, struct conf_errors *errors)
{
    struct load l = {.conf = conf, .user = user, .tickets = tickets, .errors = errors, .ok = true};
    struct main_tls made = {0};

    read_pairs(&l);
    examine_pairs(&l);
    create_listeners(&l, &made);
    create_client(&l, &made);
    free_pairs(&l);
    if (l.ok)
        *out = made;
    else
        main_tls_finish(&made);
    return l.ok;
}

void main_tls_finish(struct main_tls *tls)
{
    for (size_t i = 0; i < tls->listener_count; i++)
        tls_context_unref(tls->listeners[i]);
    mem_free(tls->listeners);
    tls_context_unref(tls->client);
    *tls = (struct main_tls){0};
}

/* ---- afterwards ----------------------------------------------------------------------------- */

static void warn_file(const struct conf *conf, const void *field, const char *setting,
                      const char *path, struct conf_errors *errors)
{
    if (path == NULL || access(path, R_OK) == 0)
        return;
    conf_errors_add(errors, conf, field, true,
                    "%s: user %s may not read %s (%s): what a reload finds there is not used "
                    "before a restart",
                    setting, conf->user, path, strerror(errno));
}

void main_tls_warn_reload(const struct conf *conf, struct conf_errors *errors)
{
    const struct conf_tls *tls = &conf->tls;

    warn_file(conf, NULL, "configuration", conf->file, errors);
    for (size_t i = 0; i < conf->table_file_count; i++)
        warn_file(conf, conf->table_files[i].field, conf->table_files[i].setting,
                  conf->table_files[i].path, errors);
    for (size_t i = 0; i < tls->certificate.count; i++)
        warn_file(conf, &tls->certificate.items[i], "certificate", tls->certificate.items[i],
                  errors);
    for (size_t i = 0; i < tls->key.count; i++)
        warn_file(conf, &tls->key.items[i], "key", tls->key.items[i], errors);
    for (size_t i = 0; i < tls->ocsp.count; i++)
        warn_file(conf, &tls->ocsp.items[i], "ocsp", tls->ocsp.items[i], errors);
    for (size_t i = 0; i < conf->listener_count; i++)
        warn_file(conf, &conf->listeners[i].client_ca, "client_ca", conf->listeners[i].client_ca,
                  errors);
    warn_file(conf, &tls->ca, "ca", tls->ca, errors);
    warn_file(conf, &conf->auth.users, "users", conf->auth.users, errors);
    warn_file(conf, &conf->auth.introspection_secret, "introspection_secret",
              conf->auth.introspection_secret, errors);
    for (size_t i = 0; i < conf->route_count; i++)
        warn_file(conf, &conf->routes[i].auth.password_file, "password_file",
                  conf->routes[i].auth.password_file, errors);
}

bool main_tls_has_secrets(const struct conf *conf)
{
    if (conf->tls.key.count > 0 || conf->auth.users != NULL || conf->auth.dovecot != NULL
        || conf->auth.introspection.len > 0)
        return true;
    for (size_t i = 0; i < conf->route_count; i++) {
        if (conf->routes[i].auth.user.len > 0)
            return true;
    }
    return false;
}
