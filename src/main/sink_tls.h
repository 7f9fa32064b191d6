/* sink_tls: the certificate of mailring-sink. */
#ifndef SINK_TLS_H
#define SINK_TLS_H

#include "base_buf.h"
#include "sink_options.h"
#include "tls_context.h"

/* NULL and *out_error. */
struct tls_context *sink_tls_context(const struct sink_options *o, struct buf *out_error);

#endif
