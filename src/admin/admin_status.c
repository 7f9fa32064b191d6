/* admin_status: the counters of all shards, each and in sum, as text or JSON. One table says what is
 * shown; every row is a uint64_t of struct shard_counters. */
#include <inttypes.h>

#include "admin_priv.h"
#include "base_mem.h"

struct row {
    const char *name;
    size_t offset;
    const char *meaning; /* for the text form */
};

#define ROW(name_, member_, meaning_)                             \
    {                                                             \
        name_, offsetof(struct shard_counters, member_), meaning_ \
    }

static const struct row rows[] = {
    ROW("sessions", server.sessions, "open SMTP sessions"),
    ROW("sessions_total", server.sessions_total, "sessions since the start"),
    ROW("sessions_refused", server.sessions_refused, "turned away at once"),
    ROW("accepted", server.accepted, "messages answered 250"),
    ROW("accepted_recipients", server.recipients, "their recipients"),
    ROW("accepted_bytes", server.bytes_in, "their bytes"),
    ROW("expanded_recipients", server.expanded, "recipients that were aliases"),
    ROW("refused_recipients", server.refused_recipients, "recipients refused"),
    ROW("refused_senders", server.refused_senders, "senders refused"),
    ROW("refused_user_limits", server.refused_user_limits, "refusals over a limit of a user"),
    ROW("users_uncounted", server.users_uncounted, "logins without room to count them"),
    ROW("refused_messages", server.refused_messages, "refused for good after DATA"),
    ROW("deferred_messages", server.deferred_messages, "refused for now after DATA"),
    ROW("tls_sessions", server.tls_sessions, "handshakes with clients"),
    ROW("tls_failed", server.tls_failed, "that came to nothing"),
    ROW("tls_resumed", server.tls_resumed, "of those that did, resumed ones"),
    ROW("tls_1_2", server.tls_1_2, "of those, with TLS 1.2"),
    ROW("tls_1_3", server.tls_1_3, "of those, with TLS 1.3"),
    ROW("auth_ok", auth.ok, "logins"),
    ROW("auth_rejected", auth.rejected, "wrong passwords, unknown users"),
    ROW("auth_temporary", auth.temporary, "that could not be decided"),
    ROW("auth_malformed", auth.malformed, "that were none, or broken off"),
    ROW("auth_banned", auth.banned, "not looked at, because of a ban"),
    ROW("auth_bans_addresses", auth.bans_addresses, "addresses banned since the start"),
    ROW("auth_bans_users", auth.bans_users, "users banned from an address since the start"),
    ROW("auth_working", auth.working, "logins under way"),
    ROW("delivered", delivery.delivered, "recipients delivered"),
    ROW("deferred", delivery.deferred, "attempts that will be repeated"),
    ROW("bounced", delivery.bounced, "recipients that failed for good"),
    ROW("bounces_sent", delivery.bounces_sent, "notifications made"),
    ROW("bounces_delay", delivery.delays_sent, "of these, that it takes longer"),
    ROW("bounces_success", delivery.receipts_sent, "of these, that it went well, as was asked for"),
    ROW("bounces_postmaster", delivery.copies_sent, "of these, for the postmaster"),
    ROW("bounces_failed", delivery.bounces_failed, "for which there was no room: made later"),
    ROW("queue", queue_messages, "messages queued now"),
    ROW("queue_active", queue_out, "of these, being delivered"),
    ROW("sites", delivery.sites, "sites with mail or connections"),
    ROW("connections", delivery.connections_open, "open to next hops"),
    ROW("connections_idle", delivery.connections_idle, "of these, waiting for mail"),
    ROW("connections_total", delivery.connections, "opened since the start"),
    ROW("connections_failed", delivery.connections_failed, "that could not be opened"),
    ROW("callouts", delivery.callouts, "recipients that next hops were asked about"),
    ROW("smarthost_logins", delivery.logins, "logins at next hops"),
    ROW("smarthost_logins_refused", delivery.logins_refused,
        "that were refused, or came to nothing"),
    ROW("out_tls_sessions", delivery.tls_sessions, "handshakes with next hops"),
    ROW("out_tls_resumed", delivery.tls_resumed, "of those, resumed ones"),
    ROW("out_tls_dane", delivery.tls_dane, "of those, verified by DANE"),
    ROW("out_tls_sts", delivery.tls_sts, "of those, verified by MTA-STS"),
    ROW("out_tls_ca", delivery.tls_ca, "of those, verified by a CA otherwise"),
    ROW("out_tls_failed", delivery.tls_failed, "times TLS with a next hop failed"),
    ROW("out_tls_fallbacks", delivery.tls_fallbacks, "sessions in the clear after that"),
    ROW("out_tls_refused", delivery.tls_refused, "times TLS as required was not to be had"),
    ROW("commits", spool.commits, "synced writes"),
    ROW("committed_messages", spool.messages_committed, "messages in them"),
    ROW("commit_us", spool.commit_us_total, "microseconds in synced writes"),
    ROW("logged_bytes", spool.bytes_logged, "bytes written to the log"),
    ROW("spool_bytes", spool.bytes_disk, "bytes of spool on disk"),
    ROW("spool_live_bytes", spool.bytes_live, "of these, mail that is queued"),
    ROW("spool_segments", spool.segments, "segments in use"),
    ROW("spool_spares", spool.segments_spare, "segments ready"),
    ROW("spool_bad_segments", spool.segments_bad, "segments given up after an error"),
    ROW("sync_errors", spool.sync_errors, "failed synced writes"),
    ROW("space_errors", spool.space_errors, "times the disk or the limit was full"),
    ROW("staging_bytes", spool.bytes_staging, "staging memory in use"),
    ROW("staging_waits", spool.waits, "times a body waited for staging memory"),
    ROW("hot_bytes", spool.bytes_hot, "queued mail that is still in memory"),
    ROW("buffers_lent", io.lent_out, "receive buffers in use"),
    ROW("buffers_starved", io.starved, "receives that waited for a buffer"),
    ROW("bytes_sent_hot", delivery.bytes_hot, "bodies sent from memory"),
    ROW("bytes_sent_cold", delivery.bytes_cold, "bodies read from the log first"),
    ROW("bytes_send", io.bytes_send, "sent by copy"),
    ROW("bytes_zerocopy", io.bytes_zerocopy, "sent without copy"),
    ROW("bytes_zerocopy_copied", io.bytes_zerocopy_copied,
        "of these, copied by the kernel after all"),
    ROW("dns_asked", dns.asked, "questions to the resolver"),
    ROW("dns_cache_hits", dns.cache_hits, "answered from its cache"),
    ROW("dns_failed", dns.failed, "that found no answer"),
    ROW("verify_domains", verify.domains, "domains checked before mail was taken"),
    ROW("verify_domains_cached", verify.domains_cached, "of these, known already"),
    ROW("verify_domains_refused", verify.domains_refused, "that do not exist, or take no mail"),
    ROW("verify_domains_deferred", verify.domains_deferred, "that could not be looked up"),
    ROW("verify_recipients", verify.recipients, "recipients checked at their next hop"),
    ROW("verify_recipients_cached", verify.recipients_cached, "of these, known already"),
    ROW("verify_recipients_refused", verify.recipients_refused, "that do not exist"),
    ROW("verify_recipients_unanswered", verify.recipients_unanswered,
        "that the next hop did not speak of"),
    ROW("verify_recipients_limited", verify.recipients_limited,
        "that were not asked for: too many questions"),
    ROW("verify_catch_all", verify.catch_all, "not asked for: their next hop takes any"),
    ROW("callouts", verify.callouts, "questions to next hops, refreshes and probes included"),
    ROW("callouts_unanswered", verify.callouts_unanswered, "of these, without an answer"),
    ROW("verify_cached", verify.cached, "answers that are remembered"),
    ROW("sts_lookups", sts.lookups, "domains asked about their MTA-STS policy"),
    ROW("sts_cache_hits", sts.cache_hits, "answered from what is known"),
    ROW("sts_policies", sts.policies, "policies known now"),
    ROW("sts_fetches", sts.fetches, "policies asked for by HTTPS"),
    ROW("sts_fetch_failures", sts.fetch_failures, "of these, without a policy in return"),
    ROW("sts_withdrawn", sts.withdrawn, "policies that ended with mode none"),
    ROW("sts_expired", sts.expired, "policies that ran out without another"),
    ROW("tls_results", report.sessions, "attempts at TLS that count in reports"),
    ROW("tls_failures", report.failures, "of these, failed"),
    ROW("tls_result_rows", report.rows, "kinds of results kept for the next report"),
    ROW("tls_results_dropped", report.dropped, "details that there was no room for"),
    ROW("tls_reports_mailed", report.reports_mailed, "reports sent by mail"),
    ROW("tls_reports_posted", report.reports_posted, "reports sent by HTTPS"),
    ROW("tls_reports_failed", report.reports_failed, "domains that could not be reported to"),
    ROW("passes", passes, "turns of the loop"),
    ROW("posted", posted, "tasks handed to other shards"),
    ROW("doorbells", doorbells, "wake-ups of other shards"),
    ROW("helper_jobs", work_busy, "passwords, handshakes, lookups that helpers have"),
};

struct status_call {
    struct shard_call call;
    struct admin_client *client;
    struct shard_counters counters;
    struct buf bans; /* those that the shard has imposed, as they are shown */
    bool json;
};

struct status_job {
    bool json;
    unsigned count;
    struct status_call calls[];
};

/* ---- on each shard --------------------------------------------------------------------------- */

static bool note_ban(void *context, const struct auth_ban *ban)
{
    struct status_call *call = context;
    struct buf *out = &call->bans;
    char ip[IP_TEXT_SIZE];

    ip_format(&ban->ip, ip);
    if (!call->json) {
        (void)buf_printf(
            out, "banned                 %s%s for %.*s: %" PRIu64 " seconds left\n", ip,
            ip_is_v4(&ban->ip) ? "" : "/64", ban->user.len > 0 ? (int)ban->user.len : 8,
            ban->user.len > 0 ? (const char *)ban->user.data : "everyone", ban->seconds_left);
        return true;
    }
    (void)buf_printf(out, "%s{\"address\":\"%s\",\"user\":", buf_len(out) > 0 ? "," : "", ip);
    if (ban->user.len > 0)
        (void)json_append_string(out, ban->user);
    else
        (void)buf_append_str(out, "null");
    (void)buf_printf(out, ",\"seconds_left\":%" PRIu64 "}", ban->seconds_left);
    return true;
}

static uint64_t value(const struct shard_counters *c, const struct row *row)
{
    uint64_t v;

    memcpy(&v, (const char *)c + row->offset, sizeof(v));
    return v;
}

static uint64_t total(const struct status_job *job, const struct row *row)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < job->count; i++)
        sum += value(&job->calls[i].counters, row);
    return sum;
}

/* What follows from the sums: a mean needs both its parts. */
struct means {
    uint64_t commits, messages, us, us_max;
};

static void means_add(struct means *m, const struct shard_counters *c)
{
    m->commits += c->spool.commits;
    m->messages += c->spool.messages_committed;
    m->us += c->spool.commit_us_total;
    if (c->spool.commit_us_max > m->us_max)
        m->us_max = c->spool.commit_us_max;
}

static void means_json(const struct means *m, struct buf *out)
{
    double commits = m->commits > 0 ? (double)m->commits : 1;

    (void)buf_printf(out,
                     "\"messages_per_commit\":%.2f,\"commit_wait_us\":%.0f,"
                     "\"commit_wait_us_max\":%" PRIu64,
                     (double)m->messages / commits, (double)m->us / commits, m->us_max);
}

static void write_bans(const struct status_job *job, const char *between, struct buf *out)
{
    bool first = true;

    for (unsigned i = 0; i < job->count; i++) {
        if (buf_len(&job->calls[i].bans) == 0)
            continue;
        if (!first)
            (void)buf_append_str(out, between);
        (void)buf_append_slice(out, buf_slice(&job->calls[i].bans));
        first = false;
    }
}

static void write_json(struct admin_client *c, const struct status_job *job, struct buf *out)
{
    struct admin *a = c->admin;
    struct means all = {0};

    (void)buf_append_str(out, "{\"version\":");
    (void)json_append_string(out, slice_str(a->version));
    (void)buf_printf(out, ",\"uptime_s\":%" PRIu64 ",",
                     (io_now_ms(shard_io(a->shard)) - a->started_ms) / 1000);
    for (size_t r = 0; r < ARRAY_LEN(rows); r++)
        (void)buf_printf(out, "\"%s\":%" PRIu64 ",", rows[r].name, total(job, &rows[r]));
    for (unsigned i = 0; i < job->count; i++)
        means_add(&all, &job->calls[i].counters);
    means_json(&all, out);
    (void)buf_append_str(out, ",\"bans\":[");
    write_bans(job, ",", out);
    (void)buf_append_str(out, "],\"shards\":[");
    for (unsigned i = 0; i < job->count; i++) {
        struct means own = {0};
        (void)buf_printf(out, "%s{\"shard\":%u,", i > 0 ? "," : "", i);
        for (size_t r = 0; r < ARRAY_LEN(rows); r++)
            (void)buf_printf(out, "\"%s\":%" PRIu64 ",", rows[r].name,
                             value(&job->calls[i].counters, &rows[r]));
        means_add(&own, &job->calls[i].counters);
        means_json(&own, out);
        (void)buf_append_str(out, "}");
    }
    (void)buf_append_str(out, "]}\n");
}

static void write_text(struct admin_client *c, const struct status_job *job, struct buf *out)
{
    struct admin *a = c->admin;
    struct means all = {0};
    double commits;

    (void)buf_printf(out, "mailring %s, up %" PRIu64 " s, %u shard%s\n", a->version,
                     (io_now_ms(shard_io(a->shard)) - a->started_ms) / 1000, job->count,
                     job->count == 1 ? "" : "s");
    for (size_t r = 0; r < ARRAY_LEN(rows); r++) {
        (void)buf_printf(out, "%-22s %14" PRIu64, rows[r].name, total(job, &rows[r]));
        for (unsigned i = 0; job->count > 1 && i < job->count; i++)
            (void)buf_printf(out, " %12" PRIu64, value(&job->calls[i].counters, &rows[r]));
        (void)buf_printf(out, "  %s\n", rows[r].meaning);
    }
    for (unsigned i = 0; i < job->count; i++)
        means_add(&all, &job->calls[i].counters);
    commits = all.commits > 0 ? (double)all.commits : 1;
    (void)buf_printf(out, "%-22s %14.2f\n", "messages_per_commit", (double)all.messages / commits);
    (void)buf_printf(out, "%-22s %14.0f  microseconds on average, %" PRIu64 " at most\n",
                     "commit_wait_us", (double)all.us / commits, all.us_max);
    write_bans(job, "", out);
}

static void status_run(struct shard *on, struct shard_call *call)
{
    struct status_call *c = container_of(call, struct status_call, call);

    shard_counters(on, &c->counters);
    if (shard_auth(on) != NULL)
        auth_bans(shard_auth(on), note_ban, c);
    shard_answer(on, call);
}

static void status_done(struct shard *on, struct shard_call *call)
{
    (void)on;
    admin_call_over(container_of(call, struct status_call, call)->client);
}

static void status_step(struct admin_client *c)
{
    struct status_job *job = c->job;
    struct buf *out = net_conn_out(&c->conn);

    if (c->calls > 0)
        return;
    (void)buf_append_str(out, "ok\n");
    if (job->json)
        write_json(c, job, out);
    else
        write_text(c, job, out);
    admin_answered(c);
}

static void status_release(struct admin_client *c)
{
    struct status_job *job = c->job;

    for (unsigned i = 0; i < job->count; i++)
        buf_finish(&job->calls[i].bans);
    mem_free(job);
}

void admin_status(struct admin_client *c, bool json)
{
    struct shard *shard = c->admin->shard;
    unsigned count = shard_group_of(shard)->count;
    struct status_job *job = mem_zalloc(sizeof(*job) + count * sizeof(job->calls[0]));

    job->json = json;
    job->count = count;
    c->job = job;
    c->step = status_step;
    c->release = status_release;
    c->calls = count;
    for (unsigned i = 0; i < count; i++) {
        job->calls[i].call.run = status_run;
        job->calls[i].call.done = status_done;
        job->calls[i].client = c;
        job->calls[i].json = json;
        buf_init(&job->calls[i].bans, 0);
        shard_call(shard, i, &job->calls[i].call);
    }
}
