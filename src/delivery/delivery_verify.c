/* delivery_verify: see the header. Nobody is asked yet: every answer is TEMPORARY, at once. */
#include "delivery_verify.h"

bool delivery_verify(struct delivery *d, struct delivery_verify *v)
{
    (void)d;
    v->result = DELIVERY_VERIFY_TEMPORARY;
    v->code = 0;
    memset(v->enhanced, 0, sizeof(v->enhanced));
    v->text = SLICE_LITERAL("next hops are not asked");
    v->probe = NULL;
    return false;
}

void delivery_verify_cancel(struct delivery_verify *v)
{
    v->probe = NULL;
}
