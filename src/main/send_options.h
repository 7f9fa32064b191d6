/*
 * send_options: the command line of sendmail(1), as programs use it: what they mean is done, what is
 * for the inner life of Sendmail is taken and means nothing. Pure.
 */
#ifndef SEND_OPTIONS_H
#define SEND_OPTIONS_H

#include "base_buf.h"

enum send_mode {
    SEND_MESSAGE, /* -bm: a message on standard input */
    SEND_SMTP,    /* -bs: SMTP on standard input and output */
    SEND_LIST,    /* -bp, mailq */
    SEND_ALIASES, /* -bi, newaliases */
    SEND_NOTHING, /* -q...: the server runs its queue by itself */
};

struct send_options {
    enum send_mode mode;
    const char *conf_path;  /* -C, and -c; NULL: the default */
    bool recipients_inside; /* -t: To, Cc and Bcc say who gets it, besides those named */
    bool dot_is_text;       /* -i: a line with a dot alone does not end the message */
    bool verbose;           /* -v: the dialog on standard error */
    const char *sender;     /* -f, -r; "" and "<>": the null sender; NULL: who calls */
    const char *full_name;  /* -F; NULL: of who calls */
    const char *notify;     /* -N; NULL: not said */
    const char *ret;        /* -R */
    const char *envid;      /* -V */
    char **recipients;      /* what follows the options, in argv */
    int recipient_count;
};

/* `name` is the one that the program was called by, without its folder: sendmail, mailq, newaliases, or
 * anything else for sendmail. argv without it. False: *why says what is wrong (EX_USAGE). */
bool send_options_parse(const char *name, int argc, char **argv, struct send_options *out,
                        struct buf *why);

#endif
