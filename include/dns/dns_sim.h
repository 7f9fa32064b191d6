/*
 * dns_sim: a resolver over a zone in memory, for the simulator: answers late, in any order, and fails
 * when told to, from a seed.
 */
#ifndef DNS_SIM_H
#define DNS_SIM_H

#include "base_rand.h"
#include "base_wheel.h"
#include "dns.h"
#include "io.h"

struct dns_sim_zone;

struct dns_sim_zone *dns_sim_zone_create(void);
void dns_sim_zone_destroy(struct dns_sim_zone *z);
void dns_sim_zone_add_mx(struct dns_sim_zone *z, const char *domain, uint16_t preference,
                         const char *host);
void dns_sim_zone_add_address(struct dns_sim_zone *z, const char *host, const char *ip);
void dns_sim_zone_add_alias(struct dns_sim_zone *z, const char *name,
                            const char *target); /* CNAME */
void dns_sim_zone_add_tlsa(struct dns_sim_zone *z, const char *name, uint8_t usage,
                           uint8_t selector, uint8_t matching, struct slice data);
void dns_sim_zone_add_txt(struct dns_sim_zone *z, const char *name, const char *text);
/* Takes the name's records away; its status and security stay. */
void dns_sim_zone_clear(struct dns_sim_zone *z, const char *name);
/* The name's records, and the absence of others, are validated. At first none are. What is bogus is to have
 * the status DNS_TEMPORARY. */
void dns_sim_zone_set_secure(struct dns_sim_zone *z, const char *name, bool secure);
/* Every question for the name gets this status until DNS_OK is set again. */
void dns_sim_zone_set_status(struct dns_sim_zone *z, const char *name, enum dns_status status);

/* fail: chance in 10,000 that a question ends in DNS_TEMPORARY; delays up to latency_max_ms. */
struct dns *dns_sim_create(struct dns_sim_zone *z, struct io *io, struct wheel *wheel,
                           uint64_t seed, unsigned fail, uint64_t latency_max_ms);

#endif
