/* auth_setup: what is read at start and at reload. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "auth_priv.h"
#include "base_assert.h"
#include "base_mem.h"
#include "http.h"

enum { SECRET_MAX = 1024, SOCKET_PATH_MAX = 107 };

/* The first line of an open file, without its end. NULL and *out_why: it has none. */
static char *read_secret(FILE *file, const char **out_why)
{
    char line[SECRET_MAX + 2];
    char *secret = NULL;

    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy in a buffer that nobody wipes */
    if (fgets(line, sizeof(line), file) == NULL) {
        *out_why = ferror(file) ? strerrordesc_np(errno) : "it is empty";
    } else {
        line[strcspn(line, "\r\n")] = '\0';
        *out_why = "its first line is not client:secret";
        if (strchr(line, ':') != NULL && strlen(line) < SECRET_MAX)
            secret = mem_strdup(line);
    }
    mem_wipe(line, sizeof(line));
    return secret;
}

static void load_secret(struct auth_setup *s, struct conf_errors *errors)
{
    const char *path = s->conf->auth.introspection_secret, *why = NULL;
    const void *field = &s->conf->auth.introspection_secret;
    struct stat status;
    FILE *file = fopen(path, "re");

    if (file == NULL || fstat(fileno(file), &status) != 0) {
        conf_errors_add(errors, s->conf, field, false, "introspection_secret: cannot read %s: %s",
                        path, strerrordesc_np(errno));
    } else if ((status.st_mode & 027) != 0) {
        conf_errors_add(errors, s->conf, field, false,
                        "introspection_secret: others may read or change %s (mode %03o): chmod 600 "
                        "it, or 640 for a group that reads it",
                        path, (unsigned)(status.st_mode & 0777));
    } else {
        s->secret = read_secret(file, &why);
        if (s->secret == NULL)
            conf_errors_add(errors, s->conf, field, false,
                            "introspection_secret: cannot use %s: %s", path, why);
    }
    if (file != NULL)
        (void)fclose(file); /* only read from */
}

static bool is_this_machine(struct slice host)
{
    struct ip_net v4, v6;
    struct ip_addr ip;

    if (host.len > 2 && host.data[0] == '[')
        host = slice_of(host.data + 1, host.len - 2);
    if (slice_equal(host, SLICE_LITERAL("localhost")))
        return true;
    return ip_parse(host, &ip) && ip_net_parse(SLICE_LITERAL("127.0.0.0/8"), &v4)
           && ip_net_parse(SLICE_LITERAL("::1"), &v6)
           && (ip_net_contains(&v4, &ip) || ip_net_contains(&v6, &ip));
}

/* Tokens go to this machine in the clear, or nowhere. */
static void check_introspection(struct auth_setup *s, struct conf_errors *errors)
{
    const struct conf *conf = s->conf;
    const char *text = (const char *)conf->auth.introspection.data;
    struct http_url url;

    if (!http_url_parse(text, &url)) {
        conf_errors_add(errors, conf, &conf->auth.introspection, false,
                        "introspection: \"%s\" is not a URL like https://host/path", text);
        return;
    }
    s->introspection_plain = !url.secure && is_this_machine(slice_str(url.host));
    if (!url.secure && !s->introspection_plain)
        conf_errors_add(errors, conf, &conf->auth.introspection, false,
                        "introspection: without TLS (https) only on this machine");
}

struct auth_setup *auth_setup_create(const struct conf *conf, struct conf_errors *errors)
{
    struct auth_setup *s = mem_zalloc(sizeof(*s));
    size_t wrong = errors->count - errors->warning_count;

    atomic_init(&s->refs, 1);
    s->conf = conf_ref(conf);
    if (conf->auth.users != NULL)
        s->users = auth_users_load(conf, errors);
    if (conf->auth.dovecot != NULL && strlen(conf->auth.dovecot) > SOCKET_PATH_MAX)
        conf_errors_add(errors, conf, &conf->auth.dovecot, false,
                        "dovecot: a socket's path has at most %d characters", SOCKET_PATH_MAX);
    if (conf->auth.introspection.len > 0)
        check_introspection(s, errors);
    if (conf->auth.introspection_secret != NULL)
        load_secret(s, errors);
    if (errors->count - errors->warning_count > wrong) {
        auth_setup_unref(s);
        return NULL;
    }
    return s;
}

struct auth_setup *auth_setup_ref(struct auth_setup *s)
{
    (void)atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void auth_setup_unref(struct auth_setup *s)
{
    if (s == NULL || atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1)
        return;
    auth_users_destroy(s->users);
    if (s->secret != NULL)
        mem_wipe(s->secret, strlen(s->secret));
    mem_free(s->secret);
    conf_free(s->conf);
    mem_free(s);
}

struct slice auth_setup_senders(const struct auth_setup *s, struct slice user)
{
    struct auth_user found;

    return auth_users_find(s->users, user, &found) ? found.senders : SLICE_NULL;
}

struct auth_shared *auth_shared_create(void)
{
    struct auth_shared *shared = mem_alloc_aligned(64, sizeof(*shared));

    memset(shared, 0, sizeof(*shared));
    return shared;
}

void auth_shared_destroy(struct auth_shared *shared)
{
    mem_free(shared);
}
