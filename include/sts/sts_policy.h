/*
 * sts_policy: the two texts of MTA-STS, read: the TXT record at _mta-sts.DOMAIN (RFC 8461 3.1) and the
 * policy (3.2); and the match of an MX host against a policy (4.1). Pure but for the memory of a policy.
 */
#ifndef STS_POLICY_H
#define STS_POLICY_H

#include "base_buf.h"
#include "base_slice.h"

enum {
    STS_ID_MAX = 32,              /* 3.1 */
    STS_POLICY_MAX = 64 * 1024,   /* octets of a policy; 3.2 and 10.4 leave it to us */
    STS_MAX_AGE_MAX_S = 31557600, /* a year (3.2); more is taken for this */
};

enum sts_mode { STS_NONE, STS_TESTING, STS_ENFORCE };
const char *sts_mode_name(enum sts_mode mode);

/* One allocation, which mem_free() ends; nothing in it changes. */
struct sts_policy {
    enum sts_mode mode;
    uint32_t max_age_s;
    uint64_t fetched_s;      /* Unix time; set by who fetched it */
    char id[STS_ID_MAX + 1]; /* of the TXT record that led to it; likewise */
    uint32_t mx_count;
    const struct slice *mx; /* patterns as they were written, in lower case: host names, "*.name" */
    size_t size;            /* of the allocation */
};

/* One TXT record, its strings joined. True if it is a record of ours ("v=STSv1" comes first), valid or
 * not; *out_id is its id then, empty if the record is malformed. */
bool sts_record_parse(struct slice record, struct slice *out_id);

/* NULL with words in *out_why (a constant) if the text is no policy. */
struct sts_policy *sts_policy_parse(struct slice text, const char **out_why);
struct sts_policy *sts_policy_copy(const struct sts_policy *policy);
/* The policy as text, a line each with LF at its end: what sts_policy_parse() takes, without what it
 * ignores. A report's policy-string (RFC 8460 4.4) has these lines. */
void sts_policy_text(const struct sts_policy *policy, struct buf *out);

/* Whether mail may go to this MX host (4.1). Any case; a final dot is ignored. */
bool sts_policy_allows(const struct sts_policy *policy, struct slice host);

#endif
