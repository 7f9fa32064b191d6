/* remote_peer: SMTP servers for the simulator, each on a machine of its own and with a script. */
#ifndef REMOTE_PEER_H
#define REMOTE_PEER_H

#include "base_wheel.h"
#include "io_sim.h"
#include "net_conn.h"
#include "net_listener.h"

enum peer_stage {
    PEER_GREETING,
    PEER_EHLO,
    PEER_HELO,
    PEER_AUTH,
    PEER_MAIL,
    PEER_RCPT,
    PEER_DATA,
    PEER_DOT,
    PEER_RSET,
    PEER_QUIT,
    PEER_STARTTLS, /* with TLS only */
    PEER_TLS_EHLO, /* EHLO under it */
    PEER_STAGE_COUNT
};

/* Instead of a reply. */
#define PEER_STALL "(stall)" /* nothing more is said */
#define PEER_DROP  "(drop)"  /* the connection is closed */
#define PEER_RESET "(reset)"

/* What comes behind the 220 to STARTTLS. */
enum peer_trick {
    PEER_HONEST,
    PEER_INJECTS,  /* a reply in the clear, together with the 220 */
    PEER_GARBLES,  /* bytes that are not TLS */
    PEER_HANGS_UP, /* at the client's first bytes */
    PEER_GOES_DUMB,
    PEER_CUTS_DOT, /* with the reply to the final dot due, without close_notify */
};

/* Zeroed: takes everything. An address that begins with a code ("550-x@...") gets this code at RCPT, one that
 * begins with "dot" ("dot452-x@...") behind the final dot, where the peer speaks LMTP. */
struct peer_script {
    const char *at[PEER_STAGE_COUNT]; /* NULL: the usual reply */
    unsigned good_sessions;           /* so many begin well before `at` holds */
    unsigned good_messages;           /* and so many messages of a session */
    unsigned sessions_max;            /* more at a time: 421; 0: any */
    bool no_pipelining;
    bool lmtp;
    bool dsn;           /* DSN is offered */
    unsigned rcpts_max; /* of a transaction; then `rcpts_over`, or 452 4.5.3; 0: any */
    const char *rcpts_over;
    bool one_message;      /* of a connection, which it closes then */
    const char *no_sender; /* 450 at MAIL for lines that have this in them */
    bool deaf;             /* reads nothing of the body; with `early` nothing after that */
    const char *early;     /* said when the body begins */
    uint64_t greet_after_ms;
    /* Logins: what EHLO offers ("PLAIN SCRAM-SHA-256"; NULL: none), and who may. Without one MAIL is 530. A
     * reply at PEER_AUTH is given as soon as AUTH was said. */
    const char *mechanisms;
    const char *user, *password, *token;
    struct tls_context *tls; /* STARTTLS is offered; NULL: it is not. The script's owner's */
    bool implicit;           /* TLS from the first byte */
    bool require_tls;        /* REQUIRETLS is offered, under TLS */
    enum peer_trick trick;
    bool expects_nonsense; /* commands that are none */
};

struct peer {
    struct sim_machine *machine;
    struct io *io; /* NULL: nothing listens */
    struct wheel wheel;
    struct net_listener listener;
    struct list sessions;
    struct io_op in_line;
    struct io_addr line_to;
    struct peer_script script;
    unsigned accepted, open, open_peak;
    unsigned auths, logins;                       /* said, and in */
    char auth_line[512];                          /* the last AUTH */
    unsigned greeted, mails, dots, quits, resets; /* commands seen */
    unsigned transactions_peak;                   /* in one session */
    unsigned starttls, secured, resumed;          /* asked for; handshakes that went well */
    unsigned mails_tls, mails_require;            /* of mails: under TLS; with REQUIRETLS */
    char sni[256];                                /* of the last handshake */
    char mail_line[1024], rcpt_line[1024];        /* the last of each */
    struct buf body;                              /* of the last message, decoded */
};

/* On a machine of its own, or on the one given; `ip` may be "unix:/path" there. `backlog` 0: nobody answers there at all. */
void peer_open(struct peer *p, struct sim *sim, struct sim_machine *machine, const char *ip,
               uint16_t port, int backlog);
/* One that answered nothing begins to. */
void peer_wake(struct peer *p);
void peer_pass(struct peer *p);
/* All sessions end now. */
void peer_kick(struct peer *p);
void peer_close(struct peer *p); /* after its sessions */

#endif
