/*
 * report: TLS reports (RFC 8460). Each attempt to deliver over TLS leaves a result; results are summed up
 * by policy and by kind of failure, a UTC day long, and the day after each domain that asks for it by a
 * TXT record at _smtp._tls.DOMAIN gets a report, by mail or HTTPS.
 *
 * One a shard. A shard sums up in a table of its own, of bounded size, which is written to
 * <state>/tls-reports/DAY.SHARD every few minutes, at midnight and at a stop; the first shard reads the
 * files of a day that is over, of whatever shards wrote them, merges them and makes the reports. So shards
 * share nothing, and a restart loses minutes at most.
 */
#ifndef REPORT_H
#define REPORT_H

#include "base_codec.h"
#include "base_wheel.h"
#include "conf.h"
#include "dns.h"
#include "io.h"
#include "queue.h"
#include "spool.h"
#include "work.h"

struct http_request;
struct http_response;
struct report;

/* policy-type */
enum report_policy_type {
    REPORT_NO_POLICY, /* no-policy-found */
    REPORT_STS,
    REPORT_TLSA,
};

/* RFC 8460 4.3. One a session: the first that holds, in the order of what was tried. */
enum report_result {
    REPORT_SUCCESS, /* TLS was negotiated, and the policy, if any, was kept */
    /* Negotiation */
    REPORT_STARTTLS_NOT_SUPPORTED,
    REPORT_CERTIFICATE_HOST_MISMATCH,
    REPORT_CERTIFICATE_EXPIRED,
    REPORT_CERTIFICATE_NOT_TRUSTED,
    REPORT_VALIDATION_FAILURE, /* anything else */
    /* DANE */
    REPORT_TLSA_INVALID,
    REPORT_DNSSEC_INVALID,
    REPORT_DANE_REQUIRED,
    /* MTA-STS (enum sts_problem) */
    REPORT_STS_POLICY_FETCH_ERROR,
    REPORT_STS_POLICY_INVALID,
    REPORT_STS_WEBPKI_INVALID,
    REPORT_RESULT_COUNT
};

/* Everything is copied. Slices may be empty, addresses NULL: not known. */
struct report_session {
    struct slice
        domain; /* policy-domain: the recipients' (sts, none), the MX host's for tlsa; any case */
    enum report_policy_type type;
    struct slice
        policy; /* its lines, LF between them: sts_policy_text(); TLSA records as in a zone */
    const struct slice *mx; /* mx-host: the policy's patterns (sts) or the host (tlsa) */
    size_t mx_count;
    enum report_result result;
    /* With a failure: */
    const struct ip_addr *sending_ip;
    const struct ip_addr *receiving_ip;
    struct slice mx_host;     /* receiving-mx-hostname */
    struct slice helo;        /* receiving-mx-helo: what its banner or EHLO answer said */
    struct slice information; /* additional-information: a URI; mostly empty */
    struct slice reason; /* failure-reason-code: a short text of ours without data of the message */
};

/* A session has shown this: called once for each attempt to use a host under a policy, not once a message.
 * Cheap; a table that is full drops and counts. Sessions for mail of ours that carries reports are not to
 * be told (SPOOL_IS_REPORT): else two hosts would report about reports for ever. */
void report_session(struct report *r, const struct report_session *session);

/* ---- life ----------------------------------------------------------------------------------- */

struct report_options {
    const struct conf *conf;
    struct io *io;
    struct wheel *wheel;
    struct dns *dns;
    struct queue *queue;
    struct spool *spool;
    struct work_door *door; /* of the pool that waits for the network */
    unsigned shard, shards;
    uint64_t seed;
    /* 0 and NULL are production; tests are in a hurry, and have no HTTPS. */
    void (*post)(const struct http_request *request, struct http_response *out); /* on a helper */
    uint64_t delay_max_ms; /* after midnight; 0: four hours (4.1) */
    uint32_t rows_max;     /* of this shard's table; 0: 20,000 over all shards */
};

struct report *report_create(const struct report_options *options);
/* Start-up only: takes up what the last run had of today; looks for days that are not reported yet. False
 * with a line in *out_error if the directory cannot be used. */
bool report_open(struct report *r, struct buf *out_error);
/* From now on. Keeps a reference of its own. */
void report_set_conf(struct report *r, const struct conf *conf);
/* The end has three steps. No more reports are made: those that are not wait for the next start. Results
 * still count. Loop until quiet: */
void report_stop(struct report *r);
bool report_quiet(const struct report *r);
/* No more results will come: writes those that there are. Loop until idle: */
void report_save(struct report *r);
bool report_idle(const struct report *r);
/* Idle; or, with crashed (simulator), in any state and without a call into io. NULL is fine. */
void report_destroy(struct report *r, bool crashed);

/* ---- administration -------------------------------------------------------------------------- */

/* Ends the period now instead of at midnight: writes the table to a file of its own and empties it. `done`
 * comes once, perhaps within the call, when it is on disk; when it has come on all shards, report_send() on
 * the first makes reports of it. */
struct report_close {
    void (*done)(struct report_close *c);
    uint64_t
        number; /* names the period; the same on all shards, and never used before: the time, say */
};
void report_close_period(struct report *r, struct report_close *c);
/* On the first shard: what is over is reported now. */
void report_send(struct report *r);

struct report_counters {
    uint64_t sessions, failures; /* told; of these, no success */
    uint64_t rows;               /* in the table now */
    uint64_t dropped;            /* not kept, since the table was full */
    uint64_t reports_mailed, reports_posted, reports_failed;
    uint64_t domains_unwilling; /* domains with results that ask for no report */
};
void report_counters(const struct report *r, struct report_counters *out);

#endif
