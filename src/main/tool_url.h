/*
 * tool_url: smtp://HOST[:PORT], HOST being a name, an IPv4 address or an [IPv6 address].
 */
#ifndef TOOL_URL_H
#define TOOL_URL_H

#include "base_buf.h"
#include "io.h"

enum { TOOL_PORT_DEFAULT = 25 };

/* Looks names up with the system's resolver, so it may block: start-up only. False: *out_error says
 * why. */
bool tool_url_parse(const char *url, struct io_addr *out, struct buf *out_error);

#endif
