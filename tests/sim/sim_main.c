/*
 * sim_main: the program. Runs seeds, or, with --exhaustive, one small scenario in which the n-th file
 * op fails, or the power goes or the process dies after the n-th step, for each n.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base_log.h"
#include "sim_mail.h"

struct arguments {
    uint64_t seeds, twice, stride;
    double seconds;
    bool progress, exhaustive;
    struct run_options run;
};

static double now_s(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* ---- arguments ----------------------------------------------------------------------------- */

_Noreturn static void usage(void)
{
    fprintf(stderr,
            "usage: sim_mail [--seed N] [--seeds N] [--seconds N] [--twice N] [--progress] "
            "[--verbose]\n"
            "       sim_mail --exhaustive [--stride N]\n"
            "       sim_mail --fixed [--fail-op N] [--crash-at N [--kill]] [--doom-at N]\n");
    exit(2);
}

static uint64_t number(const char *text)
{
    char *end = NULL;
    uint64_t value = text != NULL ? strtoull(text, &end, 0) : 0; /* also 0x and a commit's name */

    if (text == NULL || end == text || *end != '\0')
        usage();
    return value;
}

static void parse(int argc, char **argv, struct arguments *a)
{
    uint64_t seconds = 0;
    const struct {
        const char *name;
        uint64_t *value;
        bool *flag;
    } known[] = {
        {"--seed", &a->run.seed, NULL},         {"--seeds", &a->seeds, NULL},
        {"--seconds", &seconds, NULL},          {"--twice", &a->twice, NULL},
        {"--stride", &a->stride, NULL},         {"--fail-op", &a->run.fail_op, NULL},
        {"--crash-at", &a->run.crash_at, NULL}, {"--doom-at", &a->run.doom_at, NULL},
        {"--kill", NULL, &a->run.kill},         {"--fixed", NULL, &a->run.fixed},
        {"--verbose", NULL, &a->run.verbose},   {"--progress", NULL, &a->progress},
        {"--exhaustive", NULL, &a->exhaustive},
    };

    for (int i = 1; i < argc; i++) {
        size_t k = 0;
        while (k < ARRAY_LEN(known) && strcmp(argv[i], known[k].name) != 0)
            k++;
        if (k == ARRAY_LEN(known))
            usage();
        if (known[k].flag != NULL)
            *known[k].flag = true;
        else
            *known[k].value = number(argv[++i]); /* argv ends in NULL */
    }
    a->seconds = (double)seconds;
}

/* ---- seeds --------------------------------------------------------------------------------- */

static void run_twice(const struct run_options *options)
{
    struct run_result one, two;

    sim_mail_run(options, &one);
    sim_mail_run(options, &two);
    if (one.trace == two.trace || one.is_real)
        return;
    fprintf(stderr, "sim_mail: seed %llu: two runs differ: trace %016llx and %016llx\n",
            (unsigned long long)options->seed, (unsigned long long)one.trace,
            (unsigned long long)two.trace);
    abort();
}

static void add(struct run_result *sum, const struct run_result *one)
{
    sum->steps += one->steps;
    sum->accepted += one->accepted;
    sum->delivered += one->delivered;
    sum->bounced += one->bounced;
    sum->tls_in += one->tls_in;
    sum->tls_out += one->tls_out;
    sum->deaths += one->deaths;
    sum->checkpoints += one->checkpoints;
    sum->compacted_bytes += one->compacted_bytes;
    sum->recycled += one->recycled;
}

static void run_seeds(const struct arguments *a)
{
    struct run_result sum = {0}, one;
    double begin = now_s();
    uint64_t done = 0;

    for (; done < a->seeds && (a->seconds == 0 || now_s() - begin < a->seconds); done++) {
        struct run_options options = a->run;
        options.seed += done;
        if (a->progress)
            fprintf(stderr, "at %llu\n", (unsigned long long)options.seed);
        if (done < a->twice && a->seeds > 1)
            run_twice(&options);
        sim_mail_run(&options, &one);
        add(&sum, &one);
    }
    printf(
        "%llu seeds in %.1f s: %llu steps, %llu crashes; messages: %llu accepted; recipients: %llu "
        "delivered, %llu bounced; encrypted: %llu in, %llu out; spool: %llu checkpoints, %llu segments "
        "recycled, %llu bytes moved\n",
        (unsigned long long)done, now_s() - begin, (unsigned long long)sum.steps,
        (unsigned long long)sum.deaths, (unsigned long long)sum.accepted,
        (unsigned long long)sum.delivered, (unsigned long long)sum.bounced,
        (unsigned long long)sum.tls_in, (unsigned long long)sum.tls_out,
        (unsigned long long)sum.checkpoints, (unsigned long long)sum.recycled,
        (unsigned long long)sum.compacted_bytes);
}

/* ---- each n -------------------------------------------------------------------------------- */

enum place { PLACE_OP, PLACE_CRASH, PLACE_KILL, PLACE_RECOVERY };

static struct run_options at_place(const struct arguments *a, enum place place, uint64_t n,
                                   uint64_t middle)
{
    struct run_options options = a->run;

    options.fixed = true;
    switch (place) {
    case PLACE_OP: options.fail_op = n; break;
    case PLACE_CRASH: options.crash_at = n; break;
    case PLACE_KILL:
        options.crash_at = n;
        options.kill = true;
        break;
    case PLACE_RECOVERY: /* the crash that it recovers from is in the middle of everything */
        options.crash_at = middle;
        options.doom_at = n;
        break;
    }
    return options;
}

static void each_place(const struct arguments *a, const char *what, enum place place, uint64_t last,
                       uint64_t middle)
{
    double begin = now_s();
    uint64_t runs = 0;

    for (uint64_t n = 1; n <= last; n += a->stride, runs++) {
        struct run_options options = at_place(a, place, n, middle);
        struct run_result one;
        if (a->progress)
            fprintf(stderr, "%s %llu\n", what, (unsigned long long)n);
        sim_mail_run(&options, &one);
    }
    printf("%s: %llu of %llu places in %.1f s\n", what, (unsigned long long)runs,
           (unsigned long long)last, now_s() - begin);
    (void)fflush(stdout);
}

static void run_exhaustive(const struct arguments *a)
{
    struct run_options plain = at_place(a, PLACE_OP, 0, 0), middle;
    struct run_result all, crashed;

    sim_mail_run(&plain, &all);
    middle = at_place(a, PLACE_CRASH, all.steps / 2, 0);
    sim_mail_run(&middle, &crashed);
    each_place(a, "a file op fails", PLACE_OP, all.ops, 0);
    each_place(a, "the power goes", PLACE_CRASH, all.steps, 0);
    each_place(a, "the process is killed", PLACE_KILL, all.steps, 0);
    each_place(a, "the power goes in recovery", PLACE_RECOVERY, crashed.recovery_ops,
               all.steps / 2);
}

int main(int argc, char **argv)
{
    struct arguments a = {.seeds = 1000, .twice = 10, .stride = 1, .run = {.seed = 1}};

    parse(argc, argv, &a);
    printf("seed %llu\n", (unsigned long long)a.run.seed);
    (void)fflush(stdout);
    log_setup(LOG_INFO, LOG_TEXT, sim_mail_log, NULL);
    if (a.exhaustive)
        run_exhaustive(&a);
    else
        run_seeds(&a);
    return 0;
}
