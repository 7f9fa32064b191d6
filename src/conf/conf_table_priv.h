/*
 * conf_table: the tables of settings. One row says all there is to say about a setting: name, type,
 * unit, range, default and its sentence for the manual. What libconfuse accepts, the checks, the
 * defaults, the place in struct conf and the manual are made from it, so adding a setting is adding
 * a field in conf.h and a row here.
 */
#ifndef CONF_TABLE_PRIV_H
#define CONF_TABLE_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Each type has a row in conf_types[] (conf_value_priv.h) with its parser and its words. */
enum conf_type {
    CONF_TYPE_COUNT,       /* uint64_t */
    CONF_TYPE_PERCENT,     /* uint64_t */
    CONF_TYPE_SIZE,        /* uint64_t, bytes */
    CONF_TYPE_DURATION,    /* uint64_t, milliseconds */
    CONF_TYPE_NAME,        /* struct slice: a host or domain name, folded to lower case */
    CONF_TYPE_USER,        /* const char * */
    CONF_TYPE_PATH,        /* const char *, absolute */
    CONF_TYPE_SEPARATORS,  /* struct slice */
    CONF_TYPE_WORD,        /* an enum; `words` in the order of its values, from 0 */
    CONF_TYPE_ADDRESS,     /* struct conf_address */
    CONF_TYPE_NET,         /* struct ip_net */
    CONF_TYPE_DESTINATION, /* struct conf_destination */
    CONF_TYPE_BOOL,        /* bool: yes or no */
    CONF_TYPE_TEXT,        /* struct slice: printable ASCII */
    CONF_TYPE_URL,         /* struct slice: https://..., or http:// */
    CONF_TYPE_MAILBOX,     /* struct slice: user@domain */
    CONF_TYPE_MECHANISM,   /* struct slice: name of a SASL mechanism, upper case */
    CONF_TYPE_FINGERPRINT, /* struct conf_fingerprint: sha256:HEX */
    CONF_TYPE_TABLE,       /* const char *: "/path", "cdb:/path" or an entry */
    CONF_TYPE_SENDER,      /* struct slice: an address, a domain or "<>", lower case */
    CONF_TYPE_CHOICE,      /* struct slice: one of `words` */
    CONF_TYPE_LABEL,       /* titles, struct slice: the operator's own name for something */
    CONF_TYPE_PATTERN,     /* titles, struct slice: a domain, "*.domain" or "*", lower case */
    CONF_TYPE_COUNT_OF_TYPES
};

struct conf_row {
    const char *name;
    enum conf_type type;
    bool list;     /* the field is a struct of `items` and `count` */
    bool required; /* an error if it is left out */
    bool restart;  /* takes effect at start, not at reload */
    uint16_t port; /* addresses: the port if none is given; 0: it must be given */
    size_t at;     /* offset in the section's struct */
    uint64_t min;  /* numbers, in the field's unit */
    uint64_t max;
    uint64_t multiple; /* 0: any */
    const char *zero;  /* what 0 means, where it is allowed although it is less than `min` */
    const char *words[8];
    const char *fallback; /* default, as one would write it; lists: values separated by spaces */
    const char *unset;    /* where there is no default: what leaving it out means */
    const char *prose;    /* one sentence or two for the manual */
};

struct conf_section {
    const char *name;  /* NULL: the file itself */
    const char *title; /* what the title is, as "NAME"; NULL: has no title and stands once */
    enum conf_type title_type;
    const char *prose;
    const struct conf_row *rows;
    size_t row_count;
    const struct conf_section *const *sections;
    size_t section_count;
    size_t at;   /* in the outer section's struct: of the struct, or of a pointer to the array */
    size_t size; /* with title: of one element, which begins with the title as a struct slice */
    size_t count_at; /* with title: offset of the array's length */
    bool repeats;    /* with title: several may have the same one */
};

extern const struct conf_section conf_root;
/* Sections with tables in files of their own. */
extern const struct conf_section conf_section_domain;
extern const struct conf_section conf_section_route;
extern const struct conf_section conf_section_retry;
extern const struct conf_section conf_section_verify;
extern const struct conf_section conf_section_tls;
extern const struct conf_section conf_section_auth;
extern const struct conf_section conf_section_tls_reports;
extern const struct conf_section conf_section_route_auth;

/* What the tables count in. */
#define KIB    ((uint64_t)1 << 10)
#define MIB    ((uint64_t)1 << 20)
#define GIB    ((uint64_t)1 << 30)
#define SECOND ((uint64_t)1000)
#define HOUR   (3600 * SECOND)
#define DAY    (24 * HOUR)

/* The shortest timeout. Nobody serves mail with it, but whoever tries how a timeout works should
 * not have to wait. */
#define TIMEOUT_MIN ((uint64_t)10)

#define ROWS(table) .rows = (table), .row_count = ARRAY_LEN(table)

#endif
