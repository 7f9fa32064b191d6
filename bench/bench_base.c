/*
 * bench_base: what the small things cost that every message and every pass of a shard pays for.
 * Prints nanoseconds of one operation (the best of five runs), GB/s where bytes are moved, and a
 * checksum of all results. With --tiny each runs a few rounds, among the tests.
 */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base_arena.h"
#include "base_assert.h"
#include "base_buf.h"
#include "base_codec.h"
#include "base_crc32c.h"
#include "base_hash.h"
#include "base_log.h"
#include "base_mem.h"
#include "base_pool.h"
#include "base_rand.h"
#include "base_spsc.h"
#include "base_wheel.h"

enum {
    BYTES_SIZE = 1 << 20,
    TIMERS = 50000,  /* connections of a large server */
    ENTRIES = 100000 /* queue entries or cached names */
};

static uint8_t *bytes, *copies;
static uint64_t checksum;
static size_t block; /* bytes a round, for those that move bytes */
static struct rand chance;

static void crc_read(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++)
        checksum += crc32c((uint32_t)checksum, bytes, block);
}

static void crc_copy(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++)
        checksum += crc32c_copy((uint32_t)checksum, copies, bytes, block);
}

static void plain_copy(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        memcpy(copies, bytes, block);
        __asm__ volatile("" ::: "memory"); /* each one counts */
    }
    checksum += copies[0];
}

static void queue_bytes(uint64_t rounds)
{
    static struct buf b;

    for (uint64_t i = 0; i < rounds; i++) {
        (void)buf_append(&b, bytes, block); /* far below the limit */
        (void)buf_append(&b, bytes, block);
        buf_consume(&b, block);
        checksum += buf_slice(&b).data[0];
        buf_consume(&b, block);
    }
}

static struct wheel wheel;
static struct wheel_timer *timers;

static void timer_fire(struct wheel_timer *t)
{
    checksum += t->due_ms;
    wheel_set(&wheel, t, wheel.now_ms + 300000); /* a session's timeout */
}

static void wheel_fill(void)
{
    wheel_init(&wheel, 1000000007);
    for (size_t i = 0; i < TIMERS; i++) {
        wheel_timer_init(&timers[i], timer_fire);
        wheel_set(&wheel, &timers[i], wheel.now_ms + rand_below(&chance, 300000));
    }
}

static void wheel_next(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        checksum += wheel_next_ms(&wheel);
        __asm__ volatile("" ::: "memory");
    }
}

static void wheel_rearm(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++)
        wheel_set(&wheel, &timers[i * 7919 % TIMERS], wheel.now_ms + 300000 + (i & 4095));
}

static void wheel_pass(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++)
        wheel_advance(&wheel, wheel.now_ms + 1);
}

struct entry {
    struct hash_node node;
    uint64_t key;
};

static struct hash_table table;
static struct entry *entries;

static bool entry_match(const struct hash_node *node, const void *key)
{
    return container_of(node, const struct entry, node)->key == *(const uint64_t *)key;
}

static void table_fill(void)
{
    hash_table_init(&table);
    for (uint64_t i = 0; i < ENTRIES; i++) {
        entries[i].key = i;
        hash_table_insert(&table, &entries[i].node, hash_u64(i));
    }
}

static void table_find(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t key = i * 7919 % ENTRIES;
        struct hash_node *node = hash_table_find(&table, hash_u64(key), entry_match, &key);

        checksum += container_of(node, struct entry, node)->key;
    }
}

static void table_miss(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        uint64_t key = ENTRIES + i;

        checksum += hash_table_find(&table, hash_u64(key), entry_match, &key) == NULL;
    }
}

static void table_change(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        struct entry *e = &entries[i * 7919 % ENTRIES];

        hash_table_remove(&table, &e->node);
        hash_table_insert(&table, &e->node, hash_u64(e->key));
    }
}

static void hash_name(uint64_t rounds)
{
    char name[] = "mx1.example.org";

    for (uint64_t i = 0; i < rounds; i++) {
        name[2] = (char)i;
        checksum += hash_bytes_nocase(slice_of(name, sizeof(name) - 1));
    }
}

static void sink(void *context, enum log_level level, struct slice line)
{
    (void)context;
    checksum += (uint64_t)level + line.data[line.len / 2];
}

static uint64_t clock_ms(void)
{
    return 1795299590123 + (checksum & 1023);
}

static void log_line(enum log_format format, uint64_t rounds)
{
    struct ip_addr ip;

    log_setup(LOG_INFO, format, sink, NULL);
    log_set_clock(clock_ms);
    ASSERT(ip_parse(SLICE_LITERAL("192.0.2.77"), &ip));
    for (uint64_t i = 0; i < rounds; i++) {
        struct log_record r;

        log_begin(&r, LOG_INFO, "delivered");
        log_id(&r, "message", i);
        log_ip(&r, "client", &ip);
        log_slice(&r, "to", SLICE_LITERAL("somebody@example.org"));
        log_u64(&r, "size", i * 77);
        log_slice(&r, "reply", SLICE_LITERAL("250 2.0.0 Ok: queued as 4F2A"));
        log_end(&r);
    }
}

static void log_text(uint64_t rounds)
{
    log_line(LOG_TEXT, rounds);
}

static void log_json(uint64_t rounds)
{
    log_line(LOG_JSON, rounds);
}

static void log_quiet(uint64_t rounds)
{
    for (uint64_t i = 0; i < rounds; i++) {
        struct log_record r;

        log_begin(&r, LOG_DEBUG, "nothing");
        log_id(&r, "message", i);
        log_end(&r);
    }
}

static void date(uint64_t rounds)
{
    char text[DATE_TEXT_SIZE];

    for (uint64_t i = 0; i < rounds; i++) {
        date_format(1795299590 + i, text);
        checksum += (uint64_t)text[24];
    }
}

static void id_text(uint64_t rounds)
{
    char text[ID_TEXT_SIZE];
    uint64_t id = 0;

    for (uint64_t i = 0; i < rounds; i++) {
        id_to_text(i * 0x9E3779B97F4A7C15, text);
        ASSERT(id_from_text(slice_of(text, ID_TEXT_SIZE - 1), &id));
        checksum += id;
    }
}

static void pool_turn(uint64_t rounds)
{
    static struct pool p;

    if (p.object_size == 0)
        pool_init(&p, "bench", 1024, 0);
    for (uint64_t i = 0; i < rounds; i++) {
        void *object = pool_get(&p);

        checksum += (uintptr_t)object & 1;
        pool_put(&p, object);
    }
}

static void transaction_memory(uint64_t rounds)
{
    static struct arena a;

    arena_init(&a, 65536);
    for (uint64_t i = 0; i < rounds; i++) {
        for (int n = 0; n < 4; n++)
            checksum += arena_dup(&a, SLICE_LITERAL("somebody@example.org")).len;
        arena_reset(&a);
    }
}

static void mailbox(uint64_t rounds)
{
    static struct spsc q;

    if (q.slots == NULL)
        spsc_init(&q, 1024);
    for (uint64_t i = 0; i < rounds; i++) {
        (void)spsc_push(&q, bytes); /* empty before each */
        spsc_publish(&q);
        checksum += spsc_pop(&q) != NULL;
    }
}

static const struct bench {
    const char *name;
    void (*run)(uint64_t rounds);
    size_t block; /* 0: moves no bytes */
} benches[] = {
    {"crc32c, 64 B", crc_read, 64},
    {"crc32c, 1 KiB", crc_read, 1024},
    {"crc32c, 16 KiB", crc_read, 16384},
    {"crc32c, 1 MiB", crc_read, BYTES_SIZE},
    {"crc32c_copy, 1 KiB", crc_copy, 1024},
    {"crc32c_copy, 16 KiB", crc_copy, 16384},
    {"crc32c_copy, 1 MiB", crc_copy, BYTES_SIZE},
    {"memcpy, 16 KiB", plain_copy, 16384},
    {"buf: two appends, two consumes, 1 KiB", queue_bytes, 2048},
    {"wheel_next_ms", wheel_next, 0},
    {"wheel_set, again", wheel_rearm, 0},
    {"wheel_advance, 1 ms", wheel_pass, 0},
    {"hash_bytes_nocase, 15 B", hash_name, 0},
    {"hash_table_find", table_find, 0},
    {"hash_table_find, absent", table_miss, 0},
    {"hash_table_remove and insert", table_change, 0},
    {"log, text, 8 fields", log_text, 0},
    {"log, JSON, 8 fields", log_json, 0},
    {"log, below the level", log_quiet, 0},
    {"date_format", date, 0},
    {"id_to_text and back", id_text, 0},
    {"pool_get and put, 1 KiB", pool_turn, 0},
    {"arena, 4 addresses and reset", transaction_memory, 0},
    {"spsc, one thread", mailbox, 0},
};

static double now_ns(void)
{
    struct timespec now;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now); /* always there on Linux */
    return (double)now.tv_sec * 1e9 + (double)now.tv_nsec;
}

/* The best of five runs of 20 ms. */
static double measure(const struct bench *b, bool tiny)
{
    double best_ns = 0;
    uint64_t rounds = tiny ? 3 : 16;

    for (int run = 0; run < (tiny ? 1 : 5);) {
        double begin = now_ns();

        b->run(rounds);
        double spent = now_ns() - begin;
        if (!tiny && spent < 20e6) {
            rounds *= 2;
            continue;
        }
        if (run == 0 || spent / (double)rounds < best_ns)
            best_ns = spent / (double)rounds;
        run++;
    }
    return best_ns;
}

int main(int argc, char **argv)
{
    bool tiny = argc > 1 && strcmp(argv[1], "--tiny") == 0;

    rand_seed(&chance, 1);
    hash_set_key(1, 2);
    bytes = mem_alloc(BYTES_SIZE);
    copies = mem_alloc(BYTES_SIZE);
    for (size_t i = 0; i < BYTES_SIZE; i++)
        bytes[i] = (uint8_t)rand_u64(&chance);
    timers = mem_calloc(TIMERS, sizeof(*timers));
    entries = mem_calloc(ENTRIES, sizeof(*entries));
    wheel_fill();
    table_fill();
    for (size_t i = 0; i < ARRAY_LEN(benches); i++) {
        const struct bench *b = &benches[i];

        block = b->run == queue_bytes ? b->block / 2 : b->block;
        double ns = measure(b, tiny);
        printf("%-40s %10.1f ns", b->name, ns);
        if (b->block > 0 && ns > 0)
            printf("  %6.1f GB/s", (double)b->block / ns);
        printf("\n");
    }
    printf("checksum %016llx\n", (unsigned long long)checksum);
    hash_table_finish(&table);
    mem_free(entries);
    mem_free(timers);
    mem_free(copies);
    mem_free(bytes);
    return EXIT_SUCCESS;
}
