/* shard_callout: see the header. */
#include "shard_callout_priv.h"

#include "delivery_verify.h"

/* Delivery's part lives in the room that the question lends. */
struct callout {
    struct delivery_verify verify;
    struct verify_ask *ask;
};
_Static_assert(sizeof(struct callout) <= sizeof(((struct verify_ask *)NULL)->room), "it has room");

static enum verify_answer answer_of(const struct delivery_verify *v)
{
    switch (v->result) {
    case DELIVERY_VERIFY_EXISTS: return VERIFY_ANSWER_YES;
    case DELIVERY_VERIFY_UNKNOWN: return VERIFY_ANSWER_NO;
    case DELIVERY_VERIFY_TEMPORARY: return v->code != 0 ? VERIFY_ANSWER_LATER : VERIFY_ANSWER_NONE;
    }
    UNREACHABLE();
}

static void take_answer(struct verify_ask *ask, const struct delivery_verify *v)
{
    ask->answer = answer_of(v);
    ask->code = v->code;
    memcpy(ask->enhanced, v->enhanced, sizeof(ask->enhanced));
    ask->text = v->text;
}

static void answered(struct delivery_verify *v)
{
    struct verify_ask *ask = container_of(v, struct callout, verify)->ask;

    take_answer(ask, v);
    ask->done(ask);
}

bool shard_callout(void *delivery, struct verify_ask *ask)
{
    struct callout *c = (struct callout *)(void *)ask->room;

    *c = (struct callout){
        .verify = {.address = ask->recipient, .timeout_ms = ask->timeout_ms, .done = answered},
        .ask = ask};
    if (delivery_verify(delivery, &c->verify))
        return true;
    take_answer(ask, &c->verify);
    return false;
}
