/*
 * conf_senders: which user may send from which addresses, from a file with "address user[, user...]" a
 * line. "@domain" and "*@domain" are all addresses of a domain, "*" is any. Lines add up: each gives, none takes
 * away. Upper and lower case are the same.
 *
 * Built once and then only read: the file's text, lower case and without comments, and a hash table of pairs
 * of offsets into it, one for each address and user, so that neither a domain with a hundred thousand
 * users nor a user with as many addresses is slow. A million lines take about a second and 75 MB.
 */
#ifndef CONF_SENDERS_PRIV_H
#define CONF_SENDERS_PRIV_H

#include "conf_load_priv.h"

struct conf_sender_pair {
    uint32_t address; /* offset of a text that ends with a control character, plus 1; 0: empty */
    uint32_t user;    /* offset */
};

struct conf_senders {
    char *text;
    struct conf_sender_pair *pairs;
    size_t mask;
    size_t count;
};

/* Reads the file of auth.senders, if there is one. */
void conf_senders_load(struct conf_load *load);
void conf_senders_destroy(struct conf_senders *map); /* NULL is fine */

#endif
