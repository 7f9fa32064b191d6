/*
 * conf_value: from the text of one value to its place in struct conf.
 */
#ifndef CONF_VALUE_PRIV_H
#define CONF_VALUE_PRIV_H

#include "base_arena.h"
#include "base_buf.h"
#include "conf_table_priv.h"

/* Stores the value in `out`, memory for it coming from the arena. False if it is not one: then
 * `why` continues the sentence that begins with the value, as in "is not a size". */
typedef bool conf_value_parser(const struct conf_row *row, struct slice text, struct arena *arena,
                               void *out, struct buf *why);

struct conf_type_info {
    const char *name; /* for the manual: "size" */
    size_t size;      /* of what `parse` stores */
    conf_value_parser *parse;
    /* Numbers: how they are written in the manual and in messages. */
    void (*format)(uint64_t value, struct buf *out);
};
extern const struct conf_type_info conf_types[CONF_TYPE_COUNT_OF_TYPES];

/* A copy with a NUL behind it; empty for the empty text. */
struct slice conf_keep(struct arena *arena, struct slice text);
struct slice conf_keep_lower(struct arena *arena, struct slice text);

/* "is none of ", and the row's words. */
void conf_value_none_of(const struct conf_row *row, struct buf *why);

/* An address that a person would write: without quotes, ASCII. */
bool conf_is_mailbox(struct slice text);
/* A host or domain name (RFC 1123 2.1), and underscores, which some names have. */
bool conf_is_name(struct slice text);

/* Parsers with a file of their own. */
conf_value_parser conf_parse_address;
conf_value_parser conf_parse_destination;
conf_value_parser conf_parse_bool;
conf_value_parser conf_parse_text;
conf_value_parser conf_parse_url;
conf_value_parser conf_parse_mailbox;
conf_value_parser conf_parse_mechanism;
conf_value_parser conf_parse_fingerprint;
conf_value_parser conf_parse_table;
conf_value_parser conf_parse_sender;
conf_value_parser conf_parse_choice;

#endif
