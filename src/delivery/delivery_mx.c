/*
 * delivery_mx: tasks whose domain's MX has to be asked for (delivery_mx_question.c), and what follows from the
 * answer.
 *
 * A question each task; the resolver joins equal ones. A bounded number is under way.
 */
#include "base_mem.h"
#include "delivery_remote_priv.h"

struct lookup {
    struct delivery *d;
    struct delivery_mx_question question;
    struct list node;
};

static void lookup_begin(struct delivery *d, struct delivery_task *t);

/* Sends the task on to the shard that owns its site. */
static void submit_to_site(struct delivery *d, struct delivery_task *t)
{
    ASSERT(d->tasks > 0);
    d->tasks--; /* it is received again */
    delivery_task_submit(d, t);
}

static void lookup_answer(struct lookup *x)
{
    struct delivery_task *t = x->question.task;
    struct delivery_reason why;

    if (delivery_mx_question_answer(&x->question, &why)) {
        submit_to_site(x->d, t);
        return;
    }
    x->d->counters.tls_refused +=
        why.enhanced[1] == 7; /* the domain has not what the route asks for */
    if (why.permanent) {
        delivery_task_set_all(t, DELIVERY_FAILED, why.code, why.enhanced, slice_str(why.text));
        delivery_task_finish(x->d, t);
    } else {
        delivery_task_unreachable(x->d, t, why.code, why.enhanced, slice_str(why.text));
    }
}

static void lookup_end(struct lookup *x)
{
    struct delivery *d = x->d;

    list_remove(&x->node);
    delivery_mx_question_finish(&x->question);
    pool_put(&d->lookups, x);
    d->lookups_running--;
}

static void lookup_done(struct delivery_mx_question *question)
{
    struct lookup *x = container_of(question, struct lookup, question);
    struct delivery *d = x->d;
    struct list *next;

    lookup_answer(x);
    lookup_end(x);
    while (d->lookups_running < DELIVERY_LOOKUPS_MAX
           && (next = list_pop_front(&d->lookups_waiting)) != NULL) {
        d->counters.tasks_waiting--;
        lookup_begin(d, container_of(next, struct delivery_task, node));
    }
}

static void lookup_begin(struct delivery *d, struct delivery_task *t)
{
    struct lookup *x = pool_get(&d->lookups);

    x->d = d;
    list_init(&x->node);
    list_push_back(&d->lookups_open, &x->node);
    d->lookups_running++;
    delivery_mx_question_ask(&x->question, d, t, lookup_done);
}

void delivery_mx(struct delivery *d, struct delivery_task *t)
{
    if (d->lookups_running >= DELIVERY_LOOKUPS_MAX) {
        d->counters.tasks_waiting++;
        list_push_back(&d->lookups_waiting, &t->node);
        return;
    }
    lookup_begin(d, t);
}

void delivery_mx_stop(struct delivery *d)
{
    struct list *node;

    while ((node = list_pop_front(&d->lookups_waiting)) != NULL) {
        d->counters.tasks_waiting--;
        delivery_task_postpone(d, container_of(node, struct delivery_task, node), 0,
                               SLICE_LITERAL("shutting down"));
    }
    while (!list_empty(&d->lookups_open)) {
        struct lookup *x = container_of(d->lookups_open.next, struct lookup, node);
        struct delivery_task *t = x->question.task;
        lookup_end(x);
        delivery_task_postpone(d, t, 0, SLICE_LITERAL("shutting down"));
    }
}

void delivery_mx_init(struct delivery *d)
{
    pool_init(&d->lookups, "mx-lookups", sizeof(struct lookup), 0);
    list_init(&d->lookups_open);
    list_init(&d->lookups_waiting);
}

void delivery_mx_discard(struct delivery *d)
{
    struct list *node;

    while ((node = list_pop_front(&d->lookups_waiting)) != NULL)
        delivery_task_free(container_of(node, struct delivery_task, node));
    while (!list_empty(&d->lookups_open)) {
        struct lookup *x = container_of(d->lookups_open.next, struct lookup, node);
        delivery_task_free(x->question.task);
        lookup_end(x);
    }
}

void delivery_mx_finish(struct delivery *d)
{
    pool_finish(&d->lookups);
}
