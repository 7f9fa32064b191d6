/* test_sts_store: policies on disk: through restarts, crashes, damage, and other numbers of shards. */
#include <stdio.h>

#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "sts_priv.h"
#include "sts_world.h"

#define ENFORCE "version: STSv1\nmode: enforce\nmx: mx.a.test\nmx: *.b.test\nmax_age: 86400\n"

static struct sts_world w;

static void setup(void)
{
    sts_world_init(&w, 1);
    sts_world_announce(&w, "a.test", "1");
    w.policy = ENFORCE;
}

static void teardown(void)
{
    sts_world_finish(&w);
}

static bool knows(const char *domain)
{
    return sts_world_ask(&w, domain)->q.policy != NULL;
}

START_TEST(restart)
{
    ck_assert(knows("a.test"));
    sts_world_stop(&w);
    sts_world_open(&w);
    sts_world_announce(&w, "a.test", NULL); /* neither is asked */
    ck_assert(knows("a.test"));
    ck_assert_uint_eq(w.fetches, 1);
    ck_assert(sts_policy_allows(w.told[w.asked - 1].q.policy, SLICE_LITERAL("x.b.test")));
    ck_assert_str_eq(w.told[w.asked - 1].q.policy->id, "1");
    sts_world_stop(&w);
    sts_world_open(&w);
    sts_world_run_ms(&w, 25 * 3600 * 1000);
    ck_assert(!knows("a.test"));
    sts_world_run_ms(&w, 1000);
    ck_assert(!sim_file_read(w.machine, "/var/lib/mailring/sts/a.test", &(struct buf){0}));
}
END_TEST

START_TEST(crash)
{
    ck_assert(knows("a.test"));
    sts_world_run_ms(&w, 1000);
    sts_world_crash(&w);
    sts_world_open(&w);
    sts_world_announce(&w, "a.test", NULL);
    ck_assert(knows("a.test"));
    ck_assert_uint_eq(w.fetches, 1);
    sts_world_run_ms(&w, 1000);
    for (uint64_t ms = 0; ms < 200; ms++) {
        sts_world_crash(&w);
        sts_world_open(&w);
        sts_world_announce(&w, "a.test", ms % 2 ? "1" : "2");
        (void)sts_world_lookup(&w, "a.test");
        sts_world_run_ms(&w, ms);
    }
    ck_assert(knows("a.test"));
}
END_TEST

START_TEST(withdrawn)
{
    ck_assert(knows("a.test"));
    sts_world_announce(&w, "a.test", "2");
    w.policy = "version: STSv1\nmode: none\nmax_age: 86400\n";
    sts_world_run_ms(&w, 6 * 60 * 1000);
    ck_assert(!knows("a.test"));
    sts_world_run_ms(&w, 1000);
    ck_assert(!sim_file_read(w.machine, "/var/lib/mailring/sts/a.test", &(struct buf){0}));
}
END_TEST

/* Each bit of the file, in turn: it is read as it was, or not at all. */
START_TEST(damage)
{
    struct sts_policy *p = NULL;
    struct buf text = {0};
    const char *why;
    uint64_t used_s;

    p = sts_policy_parse(SLICE_LITERAL(ENFORCE), &why);
    p->fetched_s = 12345;
    memcpy(p->id, "abc", 4);
    sts_file_compose(p, SLICE_LITERAL("a.test"), 67890, &text);
    mem_free(p);
    p = sts_file_parse(buf_slice(&text), SLICE_LITERAL("a.test"), &used_s);
    ck_assert_ptr_nonnull(p);
    ck_assert_uint_eq(p->fetched_s, 12345);
    ck_assert_uint_eq(used_s, 67890);
    ck_assert_str_eq(p->id, "abc");
    ck_assert_uint_eq(p->mx_count, 2);
    mem_free(p);
    ck_assert_ptr_null(sts_file_parse(buf_slice(&text), SLICE_LITERAL("b.test"), &used_s));
    for (size_t bit = 0; bit < buf_len(&text) * 8; bit++) {
        text.data[text.head + bit / 8] ^= (uint8_t)(1 << bit % 8);
        ck_assert_ptr_null(sts_file_parse(buf_slice(&text), SLICE_LITERAL("a.test"), &used_s));
        text.data[text.head + bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < buf_len(&text); len++)
        ck_assert_ptr_null(
            sts_file_parse(slice_head(buf_slice(&text), len), SLICE_LITERAL("a.test"), &used_s));
    buf_finish(&text);
}
END_TEST

START_TEST(garbage)
{
    struct buf big = {0};

    ck_assert(knows("a.test"));
    sts_world_stop(&w);
    while (buf_len(&big) < 100000)
        (void)buf_append_str(&big, "version: STSv1\n");
    ck_assert(sim_file_write(w.machine, "/var/lib/mailring/sts/b.test", SLICE_LITERAL("x")));
    ck_assert(sim_file_write(w.machine, "/var/lib/mailring/sts/c.test", buf_slice(&big)));
    ck_assert(sim_file_write(w.machine, "/var/lib/mailring/sts/Other File", SLICE_LITERAL("x")));
    ck_assert(sim_file_write(w.machine, "/var/lib/mailring/sts/.new-0", SLICE_LITERAL("x")));
    buf_finish(&big);
    sts_world_open(&w);
    ck_assert(!sim_file_read(w.machine, "/var/lib/mailring/sts/b.test", &(struct buf){0}));
    ck_assert(!sim_file_read(w.machine, "/var/lib/mailring/sts/c.test", &(struct buf){0}));
    ck_assert(knows("a.test"));
    ck_assert_uint_eq(w.fetches, 1);
    sim_file_corrupt(w.machine, "/var/lib/mailring/sts/a.test", 30);
    sts_world_stop(&w);
    sts_world_open(&w);
    ck_assert(knows("a.test")); /* fetched anew */
    ck_assert_uint_eq(w.fetches, 2);
}
END_TEST

/* A domain has one owner, whatever the number of shards was. */
START_TEST(shards)
{
    char domain[32];
    unsigned found = 0;

    for (int i = 0; i < 20; i++) {
        (void)snprintf(domain, sizeof(domain), "d%d.test", i);
        sts_world_announce(&w, domain, "1");
        ck_assert(knows(domain));
    }
    ck_assert_uint_eq(w.fetches, 20);
    sts_world_stop(&w);
    for (w.shards = 3, w.shard = 0; w.shard < 3; w.shard++) {
        struct sts_counters c;
        sts_world_open(&w);
        sts_counters(w.sts, &c);
        found += (unsigned)c.policies;
        for (int i = 0; i < 20; i++) {
            (void)snprintf(domain, sizeof(domain), "d%d.test", i);
            if (hash_stable(slice_str(domain)) % 3 == w.shard)
                ck_assert(knows(domain));
        }
        sts_world_stop(&w);
    }
    ck_assert_uint_eq(found, 20);
    ck_assert_uint_eq(w.fetches, 20);
    w.shards = 1;
    w.shard = 0;
    sts_world_open(&w);
}
END_TEST

/* Its disk is full or broken: said, and served from memory. */
START_TEST(no_disk)
{
    sim_options(w.sim)->no_space = 10000;
    ck_assert(knows("a.test"));
    sts_world_run_ms(&w, 1000);
    ck_assert(knows("a.test"));
    sim_options(w.sim)->no_space = 0;
    sim_options(w.sim)->write_error = 5000;
    sim_options(w.sim)->write_short = 5000;
    for (int i = 2; i < 40; i++) {
        char id[8];
        (void)snprintf(id, sizeof(id), "%d", i);
        sts_world_announce(&w, "a.test", id);
        sts_world_run_ms(&w, 6 * 60 * 1000);
        ck_assert(knows("a.test"));
    }
    sim_options(w.sim)->write_error = sim_options(w.sim)->write_short = 0;
    sts_world_stop(&w);
    sts_world_open(&w);
    ck_assert(knows("a.test"));
}
END_TEST

Suite *sts_store_suite(void)
{
    Suite *s = suite_create("sts_store");
    TCase *t = tcase_create("sts_store");

    tcase_add_checked_fixture(t, setup, teardown);
    tcase_add_test(t, restart);
    tcase_add_test(t, crash);
    tcase_add_test(t, withdrawn);
    tcase_add_test(t, damage);
    tcase_add_test(t, garbage);
    tcase_add_test(t, shards);
    tcase_add_test(t, no_disk);
    suite_add_tcase(s, t);
    return s;
}
