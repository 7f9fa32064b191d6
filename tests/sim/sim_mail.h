/*
 * sim_mail: the whole server in the simulator, against clients and next hops that behave badly, with
 * faults and crashes, all of it from a seed. docs/simulator.md says how to run it.
 *
 *   sim_plan.c        what the seed has chosen: configuration, messages, weather, incidents
 *   sim_model.c       what must hold of each message and recipient
 *   sim_client.c      SMTP clients
 *   sim_sink.c        next hops
 *   sim_tls.c         what they and the server speak TLS with
 *   sim_reload.c      the server's settings, made anew while it runs
 *   sim_days*.c       worlds that last for days; see sim_days.h
 *   sim_world_mail.c  machines, the server's shards, its ends and beginnings
 *   sim_mail.c        a seed from its beginning to its end
 *   sim_main.c        the program: many seeds; one scenario with a fault at each place
 *
 * Times of the model are of the simulator's monotonic clock, in ms.
 */
#ifndef SIM_MAIL_H
#define SIM_MAIL_H

#include "base_log.h"
#include "base_wheel.h"
#include "conf.h"
#include "dns_sim.h"
#include "io_sim.h"
#include "net_conn.h"
#include "net_listener.h"
#include "server.h"
#include "shard.h"
#include "tls.h"

struct world;
struct days;

struct run_options {
    uint64_t seed;
    bool fixed; /* the small scenario of the exhaustive mode */
    bool kill;  /* what happens at crash_at */
    bool verbose;
    uint64_t crash_at; /* the step of one crash; 0: none */
    uint64_t fail_op;  /* the file op, from 1, that fails; 0: none */
    uint64_t doom_at;  /* the file op of the second start after which nothing reaches the disk */
};

struct run_result {
    bool is_real; /* TLS's bytes are chance, not the seed's */
    uint64_t trace, steps, ops, recovery_ops, accepted, delivered, bounced;
    uint64_t tls_in, tls_out;
    uint64_t deaths, checkpoints, compacted_bytes,
        recycled; /* the latter of runs that ended well */
};

/* Where a world's ends are seen: says what is wrong, with seed and place, and ends the process. */
_Noreturn void world_fail(struct world *w, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
#define WORLD_CHECK(w, condition, ...) ((condition) ? (void)0 : world_fail((w), __VA_ARGS__))

/* ---- sim_model.c: what was sent, and what has become of it --------------------------------- */

enum { RCPTS_MAX = 6, NAMES_MAX = 10, MESSAGES_MAX = 64, ADDRESS_SIZE = 64 };

/* What the world does with mail for an address when nothing else goes wrong. */
enum fate {
    FATE_TAKE,
    FATE_LATER,   /* 4yz a few times, then taken */
    FATE_REFUSE,  /* 5yz */
    FATE_NEVER,   /* 4yz each time */
    FATE_MAILDIR, /* a file on the server's own disk */
    FATE_DISCARD,
    FATE_NOWHERE, /* no such domain, or one that takes no mail */
    FATE_SILENT,  /* a domain whose name servers do not answer, or whose host does not exist */
    FATE_REJECT,  /* refused in the session */
    FATE_COUNT
};

struct rcpt {
    char address[ADDRESS_SIZE];
    uint8_t fate; /* enum fate */
    uint8_t later;
    bool admitted; /* 250 to an RCPT that stands for it, in the attempt that counts */
    /* What those have asked for. */
    bool wants_failure, wants_delay, wants_success;
    /* What the next hops have done. */
    uint32_t taken;      /* answered 250, or lost the answer on its way */
    uint32_t refused;    /* 5yz, or something that may be read as such */
    uint32_t bounced;    /* notifications that name it, but for: */
    uint32_t warned;     /* that it takes its time */
    uint32_t told;       /* and of its success */
    uint32_t excuses;    /* for taking it once more: answers that did not get back */
    uint64_t got_ms;     /* the first time that it was taken */
    uint64_t taken_ms;   /* the last time */
    uint64_t bounced_ms; /* the first time */
    /* What the server's log says. */
    uint32_t said_delivered, said_bounced;
    uint64_t said_bounced_ms;
};

/* What the client says in RCPT: a recipient, or an alias for some. */
struct name {
    char address[ADDRESS_SIZE];
    uint8_t set;    /* of recipients, a bit each */
    uint8_t notify; /* a set of enum smtp_notify; 0: not to be said */
    uint8_t asked;  /* as it was said when it was taken; not by HELO */
    bool admitted;
    uint32_t expanded; /* notifications that say so */
};

enum message_state {
    MESSAGE_WAITING,   /* not yet whole in anybody's hands */
    MESSAGE_DOUBT,     /* the final dot was sent; what came of it is not known */
    MESSAGE_ACCEPTED,  /* 250: it is the server's */
    MESSAGE_REFUSED,   /* 5yz, or no recipient was admitted */
    MESSAGE_ABANDONED, /* the client never sent it whole */
};

struct message {
    uint32_t number;
    uint8_t state;       /* enum message_state */
    uint8_t sender_fate; /* FATE_TAKE, FATE_LATER, FATE_REFUSE */
    uint8_t sender_later;
    bool null_sender;
    char sender[ADDRESS_SIZE];
    uint32_t sender_refused; /* notifications that its sink has refused for good */
    uint64_t id;             /* the server's */
    bool deleted;            /* by the operator: nothing is owed any more */
    bool returned;           /* by the operator, or he has said so: that is cause enough */
    uint64_t said_accepted_ms, said_dropped_ms; /* by the log: taken; a notification given up */
    struct rcpt rcpts[RCPTS_MAX];
    uint32_t rcpt_count;
    struct name names[NAMES_MAX];
    uint32_t name_count;
    struct buf body; /* as it is to arrive */
    struct buf wire; /* dot-stuffed, with the final dot */
};

struct model {
    struct message messages[MESSAGES_MAX];
    uint32_t message_count;
};

void model_finish(struct model *m);
/* The recipient that an address stands for; NULL: none of ours. */
struct rcpt *model_rcpt(struct model *m, struct slice address, struct message **out_message);
/* The alias of the message; NULL: none of its. */
struct name *model_alias(struct message *m, struct slice address);
/* The client begins to send the message, perhaps once more; and a name of its was taken. */
void model_begin(struct message *m);
void model_admit(struct message *m, struct name *n, bool helo);
/* The message whose sender this is. */
struct message *model_sender(struct model *m, struct slice address);
/* A next hop has the whole text; `will_answer` false: nobody will hear of it. */
void model_take(struct world *w, struct slice sender, struct slice address, struct slice text,
                bool will_answer);
/* The answer to what was taken has been lost after all. */
void model_excuse(struct world *w, struct slice address, struct slice text);
void model_refuse(struct world *w, struct slice address);
/* A line of the server's log; what stands in it behind " key=". */
void model_log(struct world *w, struct slice line);
struct slice model_log_value(struct slice line, const char *key);
/* A file in the mailbox of this recipient. */
void model_file(struct world *w, struct message *m, uint32_t rcpt, struct slice text);
/* At the end: all of it. */
void model_check(struct world *w);

/* ---- sim_plan.c ---------------------------------------------------------------------------- */

enum incident {
    INCIDENT_STOP,
    INCIDENT_CRASH,
    INCIDENT_KILL,
    INCIDENT_OPERATOR,
    INCIDENT_RELOAD,
    INCIDENT_COUNT
};

enum {
    CLIENTS_MAX = 6,
    SINKS = 3,
    SHARDS_MAX = 3,
    INCIDENTS_MAX = 8,
    JOBS_MAX = 256,
    LISTENERS_MAX = 2
};

/* Chances in 10,000. */
struct sink_weather {
    unsigned outage;               /* at a connection: 421 or nothing for a while */
    unsigned drop;                 /* at any reply */
    unsigned stall;                /* likewise */
    unsigned slow;                 /* likewise: seconds */
    unsigned temporary, permanent; /* at MAIL, DATA, the final dot */
    unsigned lost;                 /* taken, and the reply is lost */
    unsigned tls;                  /* at STARTTLS: refused, broken off, no TLS */
};

enum client_tls { CLIENT_CLEAR, CLIENT_STARTTLS, CLIENT_IMPLICIT };

struct client_plan {
    uint32_t first, count; /* of the messages */
    bool pipelined, helo;
    uint32_t chunk;  /* of the body a send */
    unsigned vanish; /* chance in 10,000 an attempt */
    unsigned stall;  /* likewise */
    uint64_t start_ms;
    uint8_t tls;     /* enum client_tls */
    unsigned inject; /* chance at STARTTLS: more is said in the clear */
};

enum sim_tls_kind { SIM_TLS_OFF, SIM_TLS_NULL, SIM_TLS_REAL, SIM_TLS_HEAVY };

struct plan {
    unsigned shards;
    uint8_t tls;   /* enum sim_tls_kind */
    bool requires; /* the server takes no mail in the clear */
    bool encrypts; /* mail to a.test leaves encrypted, or waits */
    bool verifies; /* the domains of recipients are looked up before they are taken */
    uint64_t segment;
    struct spool_options staging; /* sizes that are not the default */
    uint64_t expire_ms, interval_max_ms;
    uint64_t expire_bounces_ms; /* 0: as expire_ms */
    uint64_t data_timeout_ms;   /* of the next hops' reply to the final dot */
    struct buf conf;
    struct buf other_conf; /* other routes: most reloads exchange the two */
    int aliases;           /* a file, that the configuration names */
    struct sim_options weather;
    bool calm; /* no fault but the incidents */
    struct sink_weather sinks;
    unsigned dns_fail;
    struct client_plan clients[CLIENTS_MAX];
    uint32_t client_count;
    uint64_t incident_steps[INCIDENTS_MAX]; /* after the one before */
    uint32_t incident_count;
    unsigned incident_kinds; /* a bit each */
    bool reopen;             /* look at the spool once more at the end */
};

void plan_make(struct world *w);
void plan_make_fixed(struct world *w); /* nothing goes wrong, but some of everything happens */
void plan_finish(struct plan *p);
/* What a reload changes nothing of. */
void plan_write_head(const struct plan *p, struct buf *out);
/* Its recipients are chosen: what stands in it, and what the client calls them. */
void plan_write_message(struct world *w, struct message *m, size_t size);

/* ---- sim_world_mail.c ---------------------------------------------------------------------- */

/* Whoever owns an io: what is called when the world says that it is its turn. */
struct actor {
    void (*pass)(struct actor *a);
};

/* An io of its own with a wheel: clients, sinks, the world's own timers. */
struct station {
    struct actor actor;
    struct world *world;
    struct sim_machine *machine;
    struct io *io;
    struct wheel wheel;
};
void station_init(struct station *s, struct world *w, const char *ip);

struct mx_shard {
    struct actor actor;
    struct world *world;
    struct io *io;
    struct shard *shard;
    int listeners[LISTENERS_MAX]; /* until the shard has them */
    uint64_t deadline_ms;
    bool done; /* its loop has ended */
};

/* All NULL: nobody speaks TLS. */
struct sim_tls {
    struct tls_context *mx_server, *mx_client, *sink, *client;
    struct tls_context *listeners[LISTENERS_MAX]; /* mx_server, for each */
};

/* What the server runs with after a reload. */
struct sim_settings {
    struct conf *conf;
    struct sim_tls tls;
    struct shard_settings shard;
};

enum mx_state { MX_DOWN, MX_UP, MX_STOPPING };

struct mx {
    struct sim_machine *machine;
    enum mx_state state;
    struct server_shared shared;
    struct shard_group group;
    struct shard *table[SHARDS_MAX];
    struct mx_shard shards[SHARDS_MAX];
    struct work_pool *helpers; /* of all kinds; without threads */
    struct wheel_timer boot;   /* on the world's station */
    uint64_t recovered;        /* messages, at the last start */
    uint64_t boots, boots_failed;
    uint64_t recovery_ops; /* file ops of the second start */
    uint64_t checkpoints, compacted_bytes, recycled;
    uint64_t stop_ms; /* when it was asked to stop */
    struct sim_settings *now,
        *next; /* of the last reload; of the one under way; NULL: those of the start */
    uint64_t reloads;
};

struct sinks;
struct clients;

struct world {
    uint64_t seed;
    struct rand rand; /* the scenario's choices */
    struct sim *sim;
    struct plan plan;
    struct conf *conf;
    struct model model;
    struct dns_sim_zone *zone;
    struct station keeper;
    struct wheel_timer rest; /* on the keeper */
    bool rested;
    struct mx mx;
    struct sinks *sinks;
    struct clients *clients;
    struct days *days; /* NULL: it is over within hours */
    struct sim_tls tls;
    uint64_t tls_in, tls_out; /* messages that went encrypted, from clients and to sinks */
    uint64_t tls_broken;      /* sessions of sinks that STARTTLS has ended */
    uint64_t steps;
    uint64_t pace_second, pace_steps;
    bool ending;      /* a stop is for good */
    uint64_t calm_ms; /* since when nothing goes wrong any more; 0: not yet */
    uint64_t crash_ms[INCIDENTS_MAX + 64];
    uint32_t crash_count; /* kills included */
    bool cut;             /* a stop has cut off transactions, for all that we know */
    bool died_at_end;
    uint64_t outcomes; /* attempts that ended, recipient by recipient, by the log */
    struct run_options options;
    bool verbose;
};

uint64_t world_now_ms(const struct world *w);
bool world_chance(struct world *w, unsigned of_ten_thousand);

void mx_init(struct world *w);
void mx_finish(struct world *w);
/* Starts it, now; again after a pause if it cannot. */
void mx_boot(struct world *w);
void mx_boot_later(struct world *w);
void mx_operate(struct world *w);              /* retries or deletes some message */
void mx_stop(struct world *w);                 /* as SIGTERM */
void mx_die(struct world *w, bool power_lost); /* and comes back */
/* After each step: ends what has stopped. True if it has just ended. */
bool mx_look(struct world *w);
/* Nothing is queued, and no session is open. */
bool mx_is_drained(struct world *w);
void mx_print(struct world *w);
bool world_step(struct world *w); /* false: nothing will ever happen */

/* ---- sim_tls.c ----------------------------------------------------------------------------- */

void sim_tls_init(struct world *w, struct sim_tls *t);
void sim_tls_finish(struct sim_tls *t);

/* ---- sim_reload.c -------------------------------------------------------------------------- */

struct conf *mx_load_conf(struct world *w);
void mx_reload(struct world *w); /* as SIGHUP */
/* After each step: what was replaced is let go as soon as that may be. */
void mx_look_at_reload(struct world *w);
void mx_forget_reloads(struct world *w); /* it is down */

/* ---- sim_client.c, sim_sink.c -------------------------------------------------------------- */

void clients_start(struct world *w);
bool clients_done(const struct world *w);
void clients_print(const struct world *w); /* what they wait for */
void clients_finish(struct world *w);

void sinks_start(struct world *w);
void sinks_finish(struct world *w);
/* Whether anybody listens there. */
void sinks_open(struct world *w, unsigned sink, bool open);
uint64_t sinks_connections(const struct world *w);

/* ---- sim_mail.c ---------------------------------------------------------------------------- */

/* A step of the world, and what follows from it. */
void world_turn(struct world *w);
/* The server's log goes here. */
void sim_mail_log(void *context, enum log_level level, struct slice line);
/* Ends the process if something does not hold. */
void sim_mail_run(const struct run_options *options, struct run_result *out);

#endif
