#include "conf_secret_priv.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "conf_value_priv.h"

enum { SECRET_MAX = 1024 };

/* The first line of an open file, without its end. False and `why` if there is none. */
static bool read_line(FILE *file, char line[SECRET_MAX + 2], struct slice *out, const char **why)
{
    (void)setvbuf(file, NULL, _IONBF, 0); /* no copy in a buffer that nobody wipes */
    if (fgets(line, SECRET_MAX + 2, file) == NULL) {
        *why = ferror(file) ? strerrordesc_np(errno) : "it is empty";
        return false;
    }
    *out = slice_of(line, strcspn(line, "\r\n"));
    *why = out->len == 0 ? "its first line is empty" : "its first line is too long";
    return out->len > 0 && out->len <= SECRET_MAX;
}

static void load_password(struct conf_load *load, struct conf_route *route)
{
    struct conf_place here = conf_place_of(load, &route->auth.password_file);
    const char *path = route->auth.password_file;
    char line[SECRET_MAX + 2];
    struct slice password;
    struct stat status;
    const char *why = NULL;
    FILE *file = fopen(path, "re");

    if (file == NULL || fstat(fileno(file), &status) != 0) {
        conf_fail(load, here, "password_file: cannot read %s: %s", path, strerrordesc_np(errno));
    } else if ((status.st_mode & 077) != 0) {
        conf_fail(load, here,
                  "password_file: others than its owner may use %s (mode %03o): chmod 600 it", path,
                  (unsigned)(status.st_mode & 0777));
    } else if (!read_line(file, line, &password, &why)) {
        conf_fail(load, here, "password_file: cannot use %s: %s", path, why);
    } else {
        route->auth.password = conf_keep(&load->box->arena, password);
    }
    if (file != NULL)
        (void)fclose(file); /* only read from */
    explicit_bzero(line, sizeof(line));
}

/* It is read for each connection, and may be renewed by others meanwhile: what can be said now is whether
 * it would do now, and no more than that: nobody is to be kept from looking at the queue. */
static void check_token(struct conf_load *load, const struct conf_route *route)
{
    struct conf_place here = conf_place_of(load, &route->auth.token_file);
    const char *path = route->auth.token_file;
    struct stat status;

    if (stat(path, &status) != 0)
        conf_warn(load, here, "token_file: %s: %s; until that changes, mail of this route waits",
                  path, strerrordesc_np(errno));
    else if ((status.st_mode & 027) != 0)
        conf_warn(load, here,
                  "token_file: everybody may read %s, or others may change it (mode %03o): chmod "
                  "640 it; until then, mail of this route waits",
                  path, (unsigned)(status.st_mode & 0777));
}

void conf_secret_load(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;

    for (size_t i = 0; i < conf->route_count; i++) {
        struct conf_route *route = (struct conf_route *)&conf->routes[i];

        if (route->auth.password_file != NULL)
            load_password(load, route);
        if (route->auth.token_file != NULL)
            check_token(load, route);
    }
}

void conf_secret_wipe(const struct conf *conf)
{
    for (size_t i = 0; i < conf->route_count; i++) {
        const struct slice *password = &conf->routes[i].auth.password;

        if (password->len > 0)
            explicit_bzero((void *)(uintptr_t)password->data, password->len);
    }
}
