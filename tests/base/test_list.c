#include "base_list.h"

#include "base_test.h"

struct item {
    int value;
    struct list node;
};

static struct item items[10];

static void setup(void)
{
    for (int i = 0; i < 10; i++) {
        items[i].value = i;
        list_init(&items[i].node);
    }
}

/* "013" for a list of items 0, 1 and 3; checks the links backwards too. */
static const char *list_text(const struct list *l)
{
    static char text[11];
    size_t len = 0;

    for (const struct list *node = l->next; node != l; node = node->next) {
        const struct item *item = container_of(node, const struct item, node);

        ck_assert_ptr_eq(node->next->prev, node);
        ck_assert_ptr_eq(node->prev->next, node);
        text[len++] = (char)('0' + item->value);
    }
    text[len] = '\0';
    return text;
}

START_TEST(orders)
{
    struct list l;

    list_init(&l);
    ck_assert(list_empty(&l));
    ck_assert_ptr_null(list_pop_front(&l));
    list_push_back(&l, &items[1].node);
    list_push_back(&l, &items[2].node);
    list_push_front(&l, &items[0].node);
    list_insert_after(&items[1].node, &items[5].node);
    ck_assert_str_eq(list_text(&l), "0152");
    ck_assert(list_linked(&items[5].node));
    list_remove(&items[5].node);
    ck_assert(!list_linked(&items[5].node));
    list_remove(&items[5].node); /* twice is harmless */
    ck_assert_str_eq(list_text(&l), "012");
    ck_assert_ptr_eq(list_pop_front(&l), &items[0].node);
    ck_assert_str_eq(list_text(&l), "12");
}
END_TEST

START_TEST(splices)
{
    struct list a;
    struct list b;

    list_init(&a);
    list_init(&b);
    list_splice_back(&a, &b);
    ck_assert(list_empty(&a));
    list_push_back(&b, &items[0].node);
    list_push_back(&b, &items[1].node);
    list_splice_back(&a, &b);
    ck_assert_str_eq(list_text(&a), "01");
    ck_assert(list_empty(&b));
    list_push_back(&b, &items[2].node);
    list_splice_back(&a, &b);
    list_splice_back(&a, &b);
    ck_assert_str_eq(list_text(&a), "012");
}
END_TEST

START_TEST(walks_while_removing)
{
    struct list l;
    int sum = 0;

    list_init(&l);
    for (int i = 0; i < 10; i++)
        list_push_back(&l, &items[i].node);
    LIST_EACH_SAFE(&l, node)
    {
        if (container_of(node, struct item, node)->value % 2 == 0)
            list_remove(node);
    }
    ck_assert_str_eq(list_text(&l), "13579");
    LIST_EACH(&l, node)
    sum += container_of(node, struct item, node)->value;
    ck_assert_int_eq(sum, 25);
}
END_TEST

Suite *list_suite(void)
{
    Suite *s = suite_create("list");
    TCase *tc = tcase_create("list");

    tcase_add_checked_fixture(tc, setup, NULL);
    tcase_add_test(tc, orders);
    tcase_add_test(tc, splices);
    tcase_add_test(tc, walks_while_removing);
    suite_add_tcase(s, tc);
    return s;
}
