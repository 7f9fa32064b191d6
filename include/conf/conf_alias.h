/*
 * conf_alias: what an address of ours stands for, by the tables of `aliases` and `virtual_aliases`. One step
 * of it: routing.h goes on from there.
 *
 *     struct conf_targets targets;
 *     struct conf_target target;
 *     if (conf_alias_find(domain, local_part, &targets))
 *         while (conf_targets_next(&targets, &target))
 *             ... conf_target_address(&target, local_part, domain->name, memory, &address) ...
 */
#ifndef CONF_ALIAS_H
#define CONF_ALIAS_H

#include "conf.h"

enum {
    CONF_ADDRESS_MAX = 320,       /* octets of an address: 64 + 1 + 255 (RFC 5321 4.5.3.1) */
    CONF_TARGET_MEMORY_MAX = 576, /* of any that conf_target_address() makes */
};

/* The targets of one entry, as they are told one after another. Not owned: it reads the conf's tables. */
struct conf_targets {
    struct slice rest;
    const char *file; /* where the entry stands; NULL: in the configuration */
    unsigned line;    /* 0 in a CDB */
    bool packed;      /* as our tables hold them, not as text */
    uint8_t memory[CONF_ADDRESS_MAX];
};

struct conf_target {
    /* As written: "ann@a.example"; "ann", in the same domain; "@b.example", the same local part there
     * (virtual_aliases only). Well-formed; good until the next one is told. */
    struct slice address;
    /* Written with a backslash: the mailbox itself, whatever alias there is of it. */
    bool final;
};

/* Exactly this local part, in any case: a subaddress is the caller's to take off. By "local_part@domain",
 * then "local_part". False: no alias. One without targets is an alias of nobody. */
bool conf_alias_find(const struct conf_domain *domain, struct slice local_part,
                     struct conf_targets *out);
/* Exactly this address, or "@domain", in any case. */
bool conf_virtual_find(const struct conf *conf, struct slice key, struct conf_targets *out);
/* False: that was the last one. */
bool conf_targets_next(struct conf_targets *targets, struct conf_target *out);
/* The whole address that the target means for local_part@domain; in `memory` or where the target's lies.
 * False if it is too long to be one. */
bool conf_target_address(const struct conf_target *target, struct slice local_part,
                         struct slice domain, uint8_t memory[CONF_TARGET_MEMORY_MAX],
                         struct slice *out);

#endif
