/* main_check: everything that a start would look at, but for what it takes up: ports, directories. */
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "main_priv.h"
#include "main_settings.h"

static void print_errors(const struct conf_errors *errors)
{
    for (size_t i = 0; i < errors->count; i++)
        (void)fprintf(stderr, "%s\n", errors->items[i].text);
}

/* What the server's user may not read is not found again by a reload. Only that user can tell, for every
 * directory on the way counts. */
static void check_reload(const struct conf *conf, const struct main_user *user)
{
    struct conf_errors errors = {0};
    pid_t child;

    if (!user->change || geteuid() != 0)
        return;
    child = fork();
    if (child == 0) {
        if (main_user_become(user)) {
            main_tls_warn_reload(conf, &errors);
            print_errors(&errors);
        }
        _exit(0);
    }
    if (child > 0)
        (void)waitpid(child, NULL, 0); /* what it had to say it has said */
}

int main_check(const struct main_options *o)
{
    struct conf *conf = main_load_conf(o);
    struct main_settings settings;
    struct conf_errors errors = {0};
    struct main_user user;
    bool ok;

    if (conf == NULL)
        return 1;
    main_user_look(conf->user, &user);
    if (!tls_library_init()) {
        main_complain("the TLS library does not start");
        conf_free(conf);
        return EX_SOFTWARE;
    }
    ok = main_settings_load(conf, &user, NULL, &settings, &errors);
    print_errors(&errors);
    if (ok)
        check_reload(conf, &user);
    conf_errors_finish(&errors);
    main_settings_finish(&settings);
    if (!ok)
        return 1;
    (void)printf("%s: fine\n", o->conf_path);
    return EX_OK;
}
