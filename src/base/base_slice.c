#include "base_slice.h"

static uint8_t ascii_lower(uint8_t c)
{
    return (uint8_t)(c - 'A') < 26 ? (uint8_t)(c | 0x20) : c;
}

static bool bytes_equal_nocase(const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        if (a[i] != b[i] && ascii_lower(a[i]) != ascii_lower(b[i]))
            return false;
    return true;
}

bool slice_equal_nocase(struct slice a, struct slice b)
{
    return a.len == b.len && bytes_equal_nocase(a.data, b.data, a.len);
}

bool slice_starts_nocase(struct slice s, struct slice prefix)
{
    return s.len >= prefix.len && bytes_equal_nocase(s.data, prefix.data, prefix.len);
}

ptrdiff_t slice_find(struct slice s, uint8_t byte)
{
    const uint8_t *at = s.len == 0 ? NULL : memchr(s.data, byte, s.len);

    return at == NULL ? -1 : at - s.data;
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

struct slice slice_trim(struct slice s)
{
    while (s.len > 0 && is_blank(s.data[0]))
        slice_advance(&s, 1);
    while (s.len > 0 && is_blank(s.data[s.len - 1]))
        s.len--;
    return s;
}

bool slice_to_u64(struct slice s, uint64_t *out)
{
    uint64_t value = 0;

    if (s.len == 0)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        unsigned digit = (unsigned)s.data[i] - '0';

        if (digit > 9 || __builtin_mul_overflow(value, 10, &value)
            || __builtin_add_overflow(value, digit, &value))
            return false;
    }
    *out = value;
    return true;
}
