/* main_priv: the program's commands and what they share. */
#ifndef MAIN_PRIV_H
#define MAIN_PRIV_H

#include <stdbool.h>
#include <sysexits.h>

#include "base_log.h"
#include "conf.h"

#define MAIN_CONF_PATH_DEFAULT "/etc/mailring/mailring.conf"

struct main_options {
    const char *conf_path; /* -c */
    bool json;
    enum log_level log_level;
    enum log_format log_format;
    const char *scheme; /* of passwd: --scheme, --delete, --check */
    bool delete_user, check_user;
    char **words; /* what follows the command */
    int word_count;
};

/* Each answers with the program's exit code. */
int main_serve(const struct main_options *o);
int main_check(const struct main_options *o);
int main_status(const struct main_options *o);
int main_queue(const struct main_options *o);
int main_explain(const struct main_options *o);
int main_tls_report(const struct main_options *o);
int main_spool(const struct main_options *o);
int main_passwd(const struct main_options *o);
int main_version(const struct main_options *o);

/* sendmail(1), by whichever of its names; argv without it. */
int main_send(const char *name, int argc, char **argv);
/* newaliases: the running server reads its files again. */
int main_new_aliases(const struct main_options *o);

/* One line on standard error: "mailring: ...". */
void main_complain(const char *format, ...) __attribute__((format(printf, 1, 2)));
/* The configuration, or NULL after its errors were printed. Warnings are printed too. */
struct conf *main_load_conf(const struct main_options *o);

#endif
