/*
 * conf_target: what stands behind the colon of an alias: addresses, separated by commas. And how a list of
 * them lies in a table of ours: the line of the entry, then each target's length and whether it is final,
 * as one number, and the target.
 */
#ifndef CONF_TARGET_PRIV_H
#define CONF_TARGET_PRIV_H

#include "base_buf.h"
#include "conf_alias.h"

enum conf_target_kind {
    CONF_TARGET_END,
    CONF_TARGET_ADDRESS, /* "ann@a.example", or "ann" */
    CONF_TARGET_DOMAIN,  /* "@a.example": the same local part there */
    CONF_TARGET_INCLUDE, /* :include:/path */
    CONF_TARGET_WRONG,
};

/* The next target of the list, which goes on behind it. Its address, or the path of the file, may lie in
 * `memory`. WRONG: `why` continues the sentence that begins with it. */
enum conf_target_kind conf_target_parse(struct slice *list, uint8_t memory[CONF_ADDRESS_MAX],
                                        struct conf_target *out, const char **why);

/* A local part as it stands in an address: a dot-atom or a quoted string, at most 64 octets (RFC 5321
 * 4.1.2, 4.5.3.1.1; UTF-8 as in RFC 6531). */
bool conf_is_local_part(struct slice text);

/* To and from a table of ours. */
void conf_targets_begin(struct buf *packed, unsigned line);
void conf_targets_pack(struct buf *packed, const struct conf_target *target);
unsigned conf_targets_line(struct slice *packed); /* takes it off */

/* The targets of a table's entry. */
void conf_targets_open(struct conf_targets *targets, const struct table *table, struct slice value);

#endif
