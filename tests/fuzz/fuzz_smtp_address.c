/*
 * Addresses: the first byte holds flags. What is taken lies within the input and within the limits,
 * is taken again, equals itself, and is safe to show; equal addresses have one canonical form.
 */
#include "base_assert.h"
#include "smtp_address.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool within(struct slice s, struct slice whole)
{
    return s.len == 0 || (s.data >= whole.data && s.data + s.len <= whole.data + whole.len);
}

static bool same_key(const struct smtp_address *a, const struct smtp_address *b)
{
    struct buf x, y;
    bool same;

    buf_init(&x, 0);
    buf_init(&y, 0);
    ASSERT(smtp_address_canonical(a, &x) && smtp_address_canonical(b, &y));
    same = slice_equal(buf_slice(&x), buf_slice(&y));
    buf_finish(&x);
    buf_finish(&y);
    return same;
}

static void check(const struct smtp_address *a, struct slice in, unsigned flags)
{
    struct smtp_address again;

    ASSERT(within(a->text, in) && within(a->local, a->text) && within(a->domain, a->text));
    ASSERT(a->local.len <= SMTP_LOCAL_MAX && a->domain.len <= SMTP_DOMAIN_MAX);
    ASSERT(a->text.len + 2 <= SMTP_PATH_MAX);
    ASSERT(smtp_address_safe(a->text));
    ASSERT(smtp_address_equal(a, a));
    ASSERT((a->kind == SMTP_DOMAIN_NONE) == (a->domain.len == 0));
    if (a->kind == SMTP_DOMAIN_NAME)
        ASSERT(smtp_domain_valid(a->domain, flags));
    else if (a->kind != SMTP_DOMAIN_NONE)
        ASSERT(smtp_literal_kind(a->domain) == a->kind);
    if (a->kind == SMTP_DOMAIN_NONE)
        return;
    ASSERT(a->text.len == a->local.len + 1 + a->domain.len);
    ASSERT(smtp_address_parse(a->text, flags, &again) == SMTP_ADDRESS_OK);
    ASSERT(smtp_address_equal(a, &again) && same_key(a, &again));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct smtp_address a, b;
    struct slice in, rest;
    ptrdiff_t blank;
    unsigned flags;

    if (size < 1)
        return 0;
    flags = data[0];
    in = rest = slice_of(data + 1, size - 1);
    if (smtp_path_parse(&rest, flags, &a) == SMTP_ADDRESS_OK) {
        ASSERT(in.data[0] == '<' && rest.data[-1] == '>');
        check(&a, in, flags);
    }
    /* Two addresses: equal exactly if their keys are. */
    blank = slice_find(in, '\n');
    if (blank >= 0) {
        struct slice left = slice_head(in, (size_t)blank), right = in;

        slice_advance(&right, (size_t)blank + 1);
        if (smtp_address_parse(left, flags, &a) == SMTP_ADDRESS_OK
            && smtp_address_parse(right, flags, &b) == SMTP_ADDRESS_OK) {
            check(&a, in, flags);
            ASSERT(smtp_address_equal(&a, &b) == same_key(&a, &b));
            ASSERT(smtp_address_equal(&a, &b) == smtp_address_equal(&b, &a));
        }
    }
    (void)smtp_address_safe(in); /* any answer will do */
    return 0;
}
