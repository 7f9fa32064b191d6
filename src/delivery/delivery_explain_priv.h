/* delivery_explain_priv: what the parts of an explanation share. */
#ifndef DELIVERY_EXPLAIN_PRIV_H
#define DELIVERY_EXPLAIN_PRIV_H

#include "delivery_explain.h"
#include "delivery_remote_priv.h"
#include "routing.h"

_Static_assert((int)DELIVERY_EXPLAIN_ADDRESSES >= (int)DELIVERY_ADDRESSES_MAX,
               "all that a site knows");

/* Why a host is not used. */
struct explain_refusal {
    struct slice host;
    char text[DELIVERY_TEXT_MAX];
};

/* One destination. */
struct explain_to {
    struct delivery_explain *x;
    const struct conf_destination *to;
    struct delivery_task
        *task; /* asks as one would, and is never sent; NULL: nothing is to be asked */
    struct delivery_mx_question question;
    bool asking; /* the question is open */
    bool failed; /* no site, because of `why` */
    bool has_site;
    struct delivery_reason why; /* also with a site: there is nothing to connect to */
    bool unreachable;
    struct delivery_addresses addresses; /* with has_site */
    struct explain_refusal *refusals;
    uint32_t refusal_count;
    struct delivery_explain_site site;
};

/* Where some of the recipients go. */
struct explain_way {
    struct routing_way r;
    struct explain_to *to;
    uint32_t to_count;
};

struct explain_recipient {
    struct slice address;
    struct slice rule;             /* in words, with its destinations */
    const struct explain_way *way; /* NULL: there are too many */
};

struct delivery_explain {
    struct delivery *d;
    struct list node; /* d->explains */
    const struct conf *conf;
    struct arena arena;
    struct slice sender, address;
    void (*done)(struct delivery_explain *x, void *context);
    void *context;
    struct wheel_timer timer; /* tells the caller */
    bool stopped;             /* delivery stops: not all was asked */

    bool well_formed;
    enum routing_known known;
    enum routing_expand expand;
    struct routing_targets targets;
    struct slice rule; /* of the address itself; empty: it stands for itself */

    struct explain_recipient *recipients;
    uint32_t recipient_count;
    struct explain_way ways[DELIVERY_EXPLAIN_WAYS];
    uint32_t way_count;
    uint32_t open; /* destinations that are not known yet */
};

#endif
