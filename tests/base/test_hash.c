#include "base_hash.h"

#include "base_assert.h"
#include "base_rand.h"
#include "base_test.h"

START_TEST(bytes_depend_on_all)
{
    uint8_t bytes[64];
    uint64_t whole[65];

    hash_set_key(1, 2);
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)i;
    for (size_t len = 0; len <= sizeof(bytes); len++) {
        struct slice s = edge_copy(slice_of(bytes, len));

        whole[len] = hash_bytes(s);
        edge_free(s);
        for (size_t shorter = 0; shorter < len; shorter++)
            quick_assert(whole[len] != whole[shorter]);
    }
    for (size_t at = 0; at < sizeof(bytes); at++) {
        bytes[at] ^= 0x80;
        ck_assert_uint_ne(hash_bytes(slice_of(bytes, sizeof(bytes))), whole[64]);
        bytes[at] ^= 0x80;
    }
    hash_set_key(1, 3);
    ck_assert_uint_ne(hash_bytes(slice_of(bytes, sizeof(bytes))), whole[64]);
    hash_set_key(2, 2);
    ck_assert_uint_ne(hash_bytes(slice_of(bytes, sizeof(bytes))), whole[64]);
    hash_set_key(1, 2);
    ck_assert_uint_eq(hash_bytes(slice_of(bytes, sizeof(bytes))), whole[64]);
}
END_TEST

/* Every byte, at every place of a word and behind the last whole one. */
START_TEST(nocase_folds_ascii_letters_only)
{
    for (size_t at = 0; at < 13; at++) {
        for (unsigned c = 0; c < 256; c++) {
            uint8_t as_is[13];
            uint8_t folded[13];
            uint8_t flipped[13];

            memset(as_is, 'M', sizeof(as_is));
            memset(folded, 'm', sizeof(folded));
            memset(flipped, 0xC1, sizeof(flipped)); /* with neighbours that have the top bit */
            as_is[at] = (uint8_t)c;
            folded[at] = (uint8_t)(c >= 'A' && c <= 'Z' ? c + 32 : c);
            ck_assert_uint_eq(hash_bytes_nocase(slice_of(as_is, 13)),
                              hash_bytes(slice_of(folded, 13)));
            flipped[at] = (uint8_t)c;
            uint64_t hash = hash_bytes_nocase(slice_of(flipped, 13));
            flipped[at] = folded[at];
            quick_assert(hash == hash_bytes(slice_of(flipped, 13)));
        }
    }
}
END_TEST

/* What is stored, or decides which shard owns what, may never change: not with the key, either. */
START_TEST(stable_is_stable)
{
    static const struct {
        const char *text;
        uint64_t hash;
    } rows[] = {
        {"", 0xC4DE0DC92927EB4E},
        {"example.org", 0xC4F1C0E0E38CD4E9},
        {"a rather long name of many words", 0x7583CEAA3D258560},
    };

    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        hash_set_key(i, 99);
        ck_assert_msg(hash_stable(slice_str(rows[i].text)) == rows[i].hash, "%s: 0x%llX",
                      rows[i].text, (unsigned long long)hash_stable(slice_str(rows[i].text)));
    }
}
END_TEST

START_TEST(numbers_spread)
{
    unsigned buckets[64] = {0};

    for (uint64_t i = 0; i < 64000; i++)
        buckets[hash_u64(i << 20) & 63]++;
    for (size_t i = 0; i < ARRAY_LEN(buckets); i++)
        ck_assert_msg(buckets[i] > 800 && buckets[i] < 1200, "%zu: %u", i, buckets[i]);
}
END_TEST

struct entry {
    struct hash_node node;
    uint64_t key;
    bool in_table;
    unsigned visits;
};

static bool entry_matches(const struct hash_node *node, const void *key)
{
    return container_of(node, const struct entry, node)->key == *(const uint64_t *)key;
}

enum { MODEL_ENTRIES = 5000 };
static struct entry entries[MODEL_ENTRIES];
static struct hash_table table;
static uint64_t table_hash_mask;

static uint64_t entry_hash(uint64_t key)
{
    return hash_u64(key) & table_hash_mask; /* few bits: many nodes of one hash */
}

static struct entry *table_find(uint64_t key)
{
    struct hash_node *node = hash_table_find(&table, entry_hash(key), entry_matches, &key);

    return node == NULL ? NULL : container_of(node, struct entry, node);
}

static bool visit_count(struct hash_node *node, void *context)
{
    container_of(node, struct entry, node)->visits++;
    (*(size_t *)context)++;
    return true;
}

static bool visit_remove_even(struct hash_node *node, void *context)
{
    struct entry *e = container_of(node, struct entry, node);

    (void)context;
    if (e->key % 2 == 0) {
        hash_table_remove(&table, node);
        e->in_table = false;
    }
    return true;
}

static void check_entries(void)
{
    size_t visits = 0;
    size_t count = 0;

    hash_table_each(&table, visit_count, &visits);
    for (size_t i = 0; i < MODEL_ENTRIES; i++) {
        quick_assert(table_find(i) == (entries[i].in_table ? &entries[i] : NULL));
        quick_assert(entries[i].visits == entries[i].in_table);
        entries[i].visits = 0;
        count += entries[i].in_table;
    }
    quick_assert(visits == count);
    quick_assert(table.count == count);
}

START_TEST(table_does_what_the_model_does)
{
    static const uint64_t masks[] = {UINT64_MAX, 0xFFF, UINT64_MAX << 40};
    struct rand r;

    rand_seed(&r, test_seed("hash table"));
    table_hash_mask = masks[_i];
    hash_table_init(&table);
    check_entries();
    for (uint64_t i = 0; i < MODEL_ENTRIES; i++)
        entries[i].key = i;
    for (int phase = 0; phase < 12; phase++) {
        uint64_t reach = rand_between(&r, 10, MODEL_ENTRIES); /* grows, shrinks, lingers */
        unsigned inserts = (unsigned)rand_between(&r, 1, 9);

        for (int n = 0; n < 3000; n++) {
            struct entry *e = &entries[rand_below(&r, reach)];

            if (!e->in_table && rand_chance(&r, inserts, 10)) {
                hash_table_insert(&table, &e->node, entry_hash(e->key));
                e->in_table = true;
            } else if (e->in_table && !rand_chance(&r, inserts, 10)) {
                hash_table_remove(&table, &e->node);
                e->in_table = false;
            }
            struct entry *sought = &entries[rand_below(&r, MODEL_ENTRIES)];
            quick_assert(table_find(sought->key) == (sought->in_table ? sought : NULL));
        }
        if (phase % 4 == 3)
            hash_table_each(&table, visit_remove_even, NULL);
        check_entries();
    }
    hash_table_finish(&table);
    hash_table_finish(&table);
    for (size_t i = 0; i < MODEL_ENTRIES; i++)
        entries[i].in_table = false;
}
END_TEST

/* Each insert moves a bounded number of nodes: buckets of the old table empty out step by step. */
START_TEST(grows_a_little_at_a_time)
{
    size_t growths = 0;

    table_hash_mask = UINT64_MAX;
    hash_table_init(&table);
    for (uint64_t i = 0; i < MODEL_ENTRIES; i++) {
        size_t moved_before = table.old_buckets != NULL ? table.old_next : 0;
        bool moving = table.old_buckets != NULL;

        entries[i].key = i;
        hash_table_insert(&table, &entries[i].node, entry_hash(i));
        if (table.old_buckets != NULL && moving)
            quick_assert(table.old_next == moved_before + 2);
        growths += !moving && table.old_buckets != NULL;
        quick_assert(table.count <= table.mask + 1);
    }
    quick_assert(growths == 9); /* 16 to 8192 */
    hash_table_finish(&table);
}
END_TEST

static bool visit_once(struct hash_node *node, void *context)
{
    (void)node;
    return ++*(int *)context < 3;
}

START_TEST(each_stops_when_told)
{
    int visits = 0;

    table_hash_mask = UINT64_MAX;
    hash_table_init(&table);
    for (uint64_t i = 0; i < 17; i++) /* so that a move is under way */
        hash_table_insert(&table, &entries[i].node, hash_u64(i));
    ck_assert_ptr_nonnull(table.old_buckets);
    hash_table_each(&table, visit_once, &visits);
    ck_assert_int_eq(visits, 3);
    hash_table_finish(&table);
}
END_TEST

START_TEST(removing_a_stranger_aborts)
{
    hash_table_init(&table);
    hash_table_insert(&table, &entries[0].node, 5);
    entries[1].node.hash = 5;
    hash_table_remove(&table, &entries[1].node);
}
END_TEST

Suite *hash_suite(void)
{
    Suite *s = suite_create("hash");
    TCase *tc = tcase_create("hash");

    tcase_set_timeout(tc, 20);
    tcase_add_test(tc, bytes_depend_on_all);
    tcase_add_test(tc, nocase_folds_ascii_letters_only);
    tcase_add_test(tc, stable_is_stable);
    tcase_add_test(tc, numbers_spread);
    tcase_add_loop_test(tc, table_does_what_the_model_does, 0, 3);
    tcase_add_test(tc, grows_a_little_at_a_time);
    tcase_add_test(tc, each_stops_when_told);
    add_abort_test(tc, removing_a_stranger_aborts);
    suite_add_tcase(s, tc);
    return s;
}
