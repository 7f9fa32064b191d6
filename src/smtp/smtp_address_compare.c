/* smtp_address_compare: when two mailboxes are one, and whether text is safe to show to others. */
#include "base_assert.h"
#include "smtp_address.h"

static uint8_t fold(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
}

/* The local part without the quotes around it. */
static struct slice unquoted(const struct smtp_address *a)
{
    if (!a->quoted)
        return a->local;
    ASSERT(a->local.len >= 2);
    return slice_of(a->local.data + 1, a->local.len - 2);
}

/* The next octet that the local part means: quotes and backslashes are only its spelling (RFC 5321
 * 4.1.2: sending systems should use the simplest form, so "a"@x and a@x are the same). -1: the end. */
static int next_octet(struct slice *rest, bool quoted)
{
    uint8_t c;

    if (rest->len == 0)
        return -1;
    if (quoted && rest->data[0] == '\\' && rest->len > 1)
        slice_advance(rest, 1);
    c = rest->data[0];
    slice_advance(rest, 1);
    return c;
}

/* RFC 5321 4.5.1: "postmaster" is the one local part that has no case. */
static bool is_postmaster(const struct smtp_address *a)
{
    static const char name[] = "postmaster";
    struct slice rest = unquoted(a);

    for (size_t i = 0; i < sizeof(name) - 1; i++) {
        int c = next_octet(&rest, a->quoted);

        if (c < 0 || fold((uint8_t)c) != name[i])
            return false;
    }
    return next_octet(&rest, a->quoted) < 0;
}

bool smtp_address_equal(const struct smtp_address *a, const struct smtp_address *b)
{
    struct slice left = unquoted(a), right = unquoted(b);
    int x, y;

    if (!slice_equal_nocase(a->domain, b->domain))
        return false;
    if (is_postmaster(a) && is_postmaster(b))
        return true;
    do {
        x = next_octet(&left, a->quoted);
        y = next_octet(&right, b->quoted);
        if (x != y)
            return false;
    } while (x >= 0);
    return true;
}

bool smtp_address_canonical(const struct smtp_address *a, struct buf *out)
{
    bool postmaster = is_postmaster(a);
    struct slice rest = unquoted(a);
    int c;

    while ((c = next_octet(&rest, a->quoted)) >= 0)
        (void)buf_append_byte(out, postmaster ? fold((uint8_t)c) : (uint8_t)c);
    if (a->domain.len > 0)
        (void)buf_append_byte(out, '@');
    for (size_t i = 0; i < a->domain.len; i++)
        (void)buf_append_byte(out, fold(a->domain.data[i]));
    return !out->overflow; /* sticky: asked once for all the parts */
}

bool smtp_address_safe(struct slice text)
{
    bool quoted = false;

    for (size_t i = 0; i < text.len; i++) {
        uint8_t c = text.data[i];

        if (c < 32 || c == 127)
            return false;
        if (quoted && c == '\\') {
            if (++i == text.len || text.data[i] < 32 || text.data[i] == 127)
                return false;
        } else if (c == '"') {
            quoted = !quoted;
        } else if (!quoted && (c == ' ' || c == '<' || c == '>')) {
            return false;
        }
    }
    return !quoted;
}
