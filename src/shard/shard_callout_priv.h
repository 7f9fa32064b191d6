/* shard_callout: verify's questions are delivery's to ask: it has the connections to next hops. */
#ifndef SHARD_CALLOUT_PRIV_H
#define SHARD_CALLOUT_PRIV_H

#include "verify.h"

/* verify_options.ask, with the delivery as context. */
bool shard_callout(void *delivery, struct verify_ask *ask);

#endif
