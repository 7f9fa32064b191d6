/*
 * MTA-STS: the first byte says whether a TXT record or a policy follows. A policy that is taken is within
 * its limits, is the same after a copy and after its text was read again, and allows its own hosts.
 */
#include "base_assert.h"
#include "base_mem.h"
#include "sts_policy.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_record(struct slice in)
{
    struct slice id;

    if (!sts_record_parse(in, &id) || id.len == 0)
        return;
    ASSERT(id.len <= STS_ID_MAX);
    ASSERT(id.data > in.data && id.data + id.len <= in.data + in.len);
}

static void check_hosts(const struct sts_policy *p)
{
    for (uint32_t i = 0; i < p->mx_count; i++) {
        bool wildcard = p->mx[i].data[0] == '*';
        struct slice suffix = p->mx[i];

        ASSERT(p->mx[i].len > 0);
        ASSERT(sts_policy_allows(p, p->mx[i]));
        if (wildcard) {
            slice_advance(&suffix, 1);
            ASSERT(suffix.len > 1 && suffix.data[0] == '.');
        }
    }
}

static void check_policy(struct slice in)
{
    const char *why = NULL;
    struct sts_policy *p = sts_policy_parse(in, &why), *copy, *again;
    struct buf one = {0}, two = {0};

    ASSERT((p == NULL) == (why != NULL));
    if (p == NULL)
        return;
    ASSERT(p->max_age_s <= STS_MAX_AGE_MAX_S);
    ASSERT(p->mx_count > 0 || p->mode == STS_NONE);
    check_hosts(p);
    copy = sts_policy_copy(p);
    sts_policy_text(p, &one);
    mem_free(p);
    again = sts_policy_parse(buf_slice(&one), &why);
    /* The text is in its usual form, which may be longer than the one that was read. */
    ASSERT(again != NULL || buf_len(&one) > STS_POLICY_MAX);
    sts_policy_text(copy, &two);
    ASSERT(slice_equal(buf_slice(&one), buf_slice(&two)));
    mem_free(again);
    mem_free(copy);
    buf_finish(&one);
    buf_finish(&two);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct slice in = slice_of(data + 1, size - 1);

    if (size < 1)
        return 0;
    if (data[0] == 'r')
        check_record(in);
    else
        check_policy(in);
    return 0;
}
