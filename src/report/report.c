/*
 * report: see the header. A table is written when a tick finds it altered, and when its day is over; then
 * it begins anew. Files are written one at a time, first those of periods that are over.
 */
#include "report.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base_log.h"
#include "base_mem.h"
#include "report_priv.h"

enum { WRITE_TRIES = 5 };

static void pump(struct report *r);

uint64_t report_now_s(const struct report *r)
{
    return io_unix_ms(r->o.io) / 1000;
}

static void complain(const char *event, const char *name, int error)
{
    struct log_record r;

    log_begin(&r, LOG_WARNING, event);
    log_str(&r, "period", name);
    if (error != 0)
        log_errno(&r, -error);
    log_end(&r);
}

/* ---- periods -------------------------------------------------------------------------------- */

/* "20261122", and "20261122-NUMBER" of what was ended before its time. */
static void name_period(uint64_t day, uint64_t number, char out[REPORT_PERIOD_MAX])
{
    char date[DATE_TEXT_SIZE];

    date_format_iso(day * REPORT_DAY_S * 1000, date); /* 2026-11-22T... */
    (void)snprintf(out, REPORT_PERIOD_MAX, "%.4s%.2s%.2s", date, date + 5, date + 8);
    if (number != 0)
        (void)snprintf(out + 8, REPORT_PERIOD_MAX - 8, "-%llu", (unsigned long long)number);
}

/* On the first shard: one period more to be reported, unless it is known. */
static void add_period(struct report *r, const char *name, uint64_t due_ms)
{
    struct report_period *p;

    if (r->o.shard != 0)
        return;
    LIST_EACH(&r->periods, node)
    {
        if (strcmp(container_of(node, struct report_period, node)->name, name) == 0)
            return;
    }
    p = mem_zalloc(sizeof(*p));
    (void)snprintf(p->name, sizeof(p->name), "%s", name);
    p->due_ms = due_ms;
    list_init(&p->node);
    list_push_back(&r->periods, &p->node);
    report_sender_wake(r->sender);
}

static uint64_t some_time_later_ms(struct report *r)
{
    uint64_t most = r->o.delay_max_ms != 0 ? r->o.delay_max_ms : REPORT_DELAY_MAX_MS;
    uint64_t least = most < REPORT_DELAY_MIN_MS ? most : REPORT_DELAY_MIN_MS;

    return io_now_ms(r->o.io) + rand_between(&r->rand, least, most);
}

static void begin_table(struct report *r, uint64_t start_s)
{
    r->day = start_s / REPORT_DAY_S;
    r->table.start_s = start_s;
    r->table.end_s = (r->day + 1) * REPORT_DAY_S - 1;
}

/* What the table has goes into a file of this period's name; it is empty then. */
static void end_table(struct report *r, const char *period, struct report_close *close)
{
    struct report_write *w = mem_zalloc(sizeof(*w));

    w->close = close;
    (void)snprintf(w->period, sizeof(w->period), "%s", period);
    buf_init(&w->text, 0);
    if (r->table.rows > 0)
        report_table_write(&r->table, &w->text);
    list_init(&w->node);
    list_push_back(&r->writes, &w->node);
    report_table_clear(&r->table);
}

/* The day is over. A clock that was set back a little does not begin yesterday anew, whose file may be waiting
 * to be reported. */
static void look_at_the_day(struct report *r)
{
    uint64_t today = report_now_s(r) / REPORT_DAY_S;
    char name[REPORT_PERIOD_MAX];

    if (today == r->day || today + 1 == r->day)
        return;
    name_period(r->day, 0, name);
    end_table(r, name, NULL);
    r->dirty = false;
    begin_table(r, today * REPORT_DAY_S);
    add_period(r, name, some_time_later_ms(r));
    pump(r);
}

void report_close_period(struct report *r, struct report_close *c)
{
    char name[REPORT_PERIOD_MAX];
    uint64_t now_s;

    look_at_the_day(r);
    now_s = report_now_s(r);
    name_period(r->day, c->number, name);
    r->table.end_s = now_s;
    end_table(r, name, c);
    begin_table(r, now_s);
    /* The day's own file must not say it again. */
    r->dirty = r->save_wanted = true;
    add_period(r, name, some_time_later_ms(r)); /* unless report_send() is sooner */
    pump(r);
}

void report_send(struct report *r)
{
    ASSERT(r->o.shard == 0);
    LIST_EACH(&r->periods, node)
    container_of(node, struct report_period, node)->due_ms = 0;
    report_sender_wake(r->sender);
}

/* ---- writing -------------------------------------------------------------------------------- */

static void write_free(struct report_write *w)
{
    buf_finish(&w->text);
    mem_free(w);
}

static void write_over(struct report *r, struct report_write *w, int error)
{
    struct report_close *c = w->close;

    if (error != 0) {
        complain("tls-results-not-written", w->period, error);
        if (++w->tries < WRITE_TRIES && !r->stopping && c == NULL) {
            list_push_back(&r->writes, &w->node); /* with the next tick */
            return;
        }
    }
    write_free(w);
    if (c != NULL && c->done != NULL)
        c->done(c);
}

/* True: a file is being written. */
static bool begin_write(struct report *r, struct report_write *w)
{
    if (buf_len(&w->text) == 0) {
        write_over(r, w, 0);
        return false;
    }
    r->writing = w;
    buf_clear(&r->file.text);
    (void)buf_append_slice(&r->file.text, buf_slice(&w->text));
    report_file_write(&r->file, r->directory, w->period, r->o.shard);
    return true;
}

static void begin_save(struct report *r)
{
    char name[REPORT_PERIOD_MAX];

    r->save_wanted = false;
    r->dirty = false;
    r->writing = NULL;
    name_period(r->day, 0, name);
    buf_clear(&r->file.text);
    report_table_write(&r->table, &r->file.text);
    report_file_write(&r->file, r->directory, name, r->o.shard);
}

static void pump(struct report *r)
{
    struct list *node;

    while (!report_file_busy(&r->file) && (node = list_pop_front(&r->writes)) != NULL) {
        if (begin_write(r, container_of(node, struct report_write, node)))
            return;
    }
    if (!report_file_busy(&r->file) && r->save_wanted && r->dirty)
        begin_save(r);
}

static void written(struct report_file *f)
{
    struct report *r = container_of(f, struct report, file);
    struct report_write *w = r->writing;

    r->writing = NULL;
    if (w != NULL) {
        write_over(r, w, f->error);
        if (f->error != 0 && !r->stopping)
            return; /* the tick goes on */
    } else if (f->error != 0) {
        complain("tls-results-not-written", "today", f->error);
        r->dirty = !r->stopping;
        return;
    }
    pump(r);
}

static void set_tick(struct report *r)
{
    uint64_t into_day_ms = io_unix_ms(r->o.io) % ((uint64_t)REPORT_DAY_S * 1000);
    uint64_t left_ms = (uint64_t)REPORT_DAY_S * 1000 - into_day_ms + 1;

    wheel_set(r->o.wheel, &r->tick,
              io_now_ms(r->o.io) + (left_ms < REPORT_SAVE_MS ? left_ms : REPORT_SAVE_MS));
}

static void tick(struct wheel_timer *timer)
{
    struct report *r = container_of(timer, struct report, tick);

    look_at_the_day(r);
    r->save_wanted = true;
    pump(r);
    set_tick(r);
}

/* ---- results -------------------------------------------------------------------------------- */

void report_session(struct report *r, const struct report_session *session)
{
    if (!r->conf->tls_reports.send)
        return;
    look_at_the_day(r);
    r->counters.sessions++;
    r->counters.failures += session->result != REPORT_SUCCESS;
    report_table_add(&r->table, session);
    r->dirty = true;
}

/* ---- at the start --------------------------------------------------------------------------- */

struct listing {
    struct report *r;
    char today[REPORT_PERIOD_MAX];
};

/* "PERIOD.SHARD" */
static bool parse_name(const char *name, char period[REPORT_PERIOD_MAX], uint64_t *shard)
{
    const char *dot = strchr(name, '.');
    size_t len = dot != NULL ? (size_t)(dot - name) : 0;

    if (len < 8 || len >= REPORT_PERIOD_MAX || strspn(name, "0123456789-") != len
        || strspn(name, "0123456789") < 8 || !slice_to_u64(slice_str(dot + 1), shard)
        || *shard >= REPORT_SHARDS_MAX)
        return false;
    memcpy(period, name, len);
    period[len] = '\0';
    return true;
}

static bool visit(void *context, const char *name)
{
    struct listing *l = context;
    char period[REPORT_PERIOD_MAX];
    uint64_t shard;

    if (parse_name(name, period, &shard) && strcmp(period, l->today) != 0)
        add_period(l->r, period, some_time_later_ms(l->r));
    return true;
}

static void was_read(struct report_file *f)
{
    struct report *r = container_of(f, struct report, file);

    if (f->error == 0 && !report_table_read(&r->table, buf_slice(&f->text)))
        complain("tls-results-damaged", "today", 0);
    else if (f->error != 0 && f->error != -ENOENT)
        complain("tls-results-unreadable", "today", f->error);
}

/* What the last run had of today. */
static void read_today(struct report *r, const char *today)
{
    struct report_file *f = &r->file;
    uint64_t end_s = r->table.end_s;

    f->done = was_read;
    report_file_read(f, r->directory, today, r->o.shard);
    while (report_file_busy(f)) {
        int32_t res = io_await(r->o.io, &f->op);
        (void)res; /* its step has seen it */
    }
    f->done = written;
    r->table.end_s = end_s;
}

bool report_open(struct report *r, struct buf *out_error)
{
    struct listing l = {.r = r};
    int res = io_make_directory(r->o.io, r->directory, 0700);

    begin_table(r, report_now_s(r) / REPORT_DAY_S * REPORT_DAY_S);
    name_period(r->day, 0, l.today);
    if (res == 0 && r->o.shard == 0)
        res = io_list(r->o.io, r->directory, visit, &l);
    if (res < 0) {
        (void)buf_printf(out_error, "state \"%s\": cannot use %s: %s", r->conf->state, r->directory,
                         strerrordesc_np(-res));
        return false;
    }
    read_today(r, l.today);
    set_tick(r);
    return true;
}

/* ---- life ----------------------------------------------------------------------------------- */

struct report *report_create(const struct report_options *options)
{
    struct report *r = mem_zalloc(sizeof(*r));
    uint32_t rows =
        options->rows_max != 0 ? options->rows_max : REPORT_ROWS_MAX / options->shards + 1;
    struct buf directory;

    r->o = *options;
    r->conf = conf_ref(options->conf);
    r->o.conf = NULL;
    rand_seed(&r->rand, options->seed);
    buf_init(&directory, 0);
    (void)buf_printf(&directory, "%s/tls-reports", r->conf->state);
    (void)buf_append_byte(&directory, 0);
    r->directory = mem_strdup((const char *)buf_slice(&directory).data);
    buf_finish(&directory);
    report_table_init(&r->table, rows, REPORT_BYTES_MAX / options->shards);
    report_file_init(&r->file, options->io, written);
    wheel_timer_init(&r->tick, tick);
    list_init(&r->writes);
    list_init(&r->periods);
    if (options->shard == 0)
        r->sender = report_sender_create(r);
    return r;
}

void report_set_conf(struct report *r, const struct conf *conf)
{
    const struct conf *before = r->conf;

    r->conf = conf_ref(conf);
    conf_free(before);
}

void report_stop(struct report *r)
{
    r->stopping = true;
    wheel_cancel(r->o.wheel, &r->tick);
    report_sender_stop(r->sender);
}

bool report_quiet(const struct report *r)
{
    return report_sender_idle(r->sender);
}

void report_save(struct report *r)
{
    look_at_the_day(r);
    r->save_wanted = true;
    pump(r);
}

bool report_idle(const struct report *r)
{
    return report_quiet(r) && !report_file_busy(&r->file) && list_empty(&r->writes);
}

void report_destroy(struct report *r, bool crashed)
{
    struct list *node;

    if (r == NULL)
        return;
    ASSERT(crashed || report_idle(r));
    wheel_cancel(r->o.wheel, &r->tick);
    report_sender_destroy(r->sender, crashed);
    if (r->writing != NULL)
        write_free(r->writing);
    while ((node = list_pop_front(&r->writes)) != NULL)
        write_free(container_of(node, struct report_write, node));
    while ((node = list_pop_front(&r->periods)) != NULL)
        mem_free(container_of(node, struct report_period, node));
    report_file_finish(&r->file);
    report_table_finish(&r->table);
    conf_free(r->conf);
    mem_free(r->directory);
    mem_free(r);
}

void report_counters(const struct report *r, struct report_counters *out)
{
    *out = r->counters;
    out->rows = r->table.rows;
    out->dropped = r->table.dropped;
}
