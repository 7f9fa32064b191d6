#include "base_codec.h"

#include "base_assert.h"

size_t u64_to_text(uint64_t value, char out[U64_TEXT_SIZE])
{
    /* "00" to "99": two digits a division. */
    static const char pairs[] = "0001020304050607080910111213141516171819"
                                "2021222324252627282930313233343536373839"
                                "4041424344454647484950515253545556575859"
                                "6061626364656667686970717273747576777879"
                                "8081828384858687888990919293949596979899";
    char text[U64_TEXT_SIZE];
    size_t at = sizeof(text);

    while (value >= 100) {
        at -= 2;
        memcpy(text + at, pairs + value % 100 * 2, 2);
        value /= 100;
    }
    if (value >= 10) {
        at -= 2;
        memcpy(text + at, pairs + value * 2, 2);
    } else {
        text[--at] = (char)('0' + value);
    }
    memcpy(out, text + at, sizeof(text) - at);
    return sizeof(text) - at;
}

static const char id_digits[] = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";

void id_to_text(uint64_t id, char out[ID_TEXT_SIZE])
{
    /* 13 digits hold 65 bits, so the first is at most F. */
    for (int i = ID_TEXT_SIZE - 2; i >= 0; i--) {
        out[i] = id_digits[id & 31];
        id >>= 5;
    }
    out[ID_TEXT_SIZE - 1] = '\0';
}

static int id_digit(uint8_t c)
{
    if (c >= 'a' && c <= 'z')
        c = (uint8_t)(c - 'a' + 'A');
    if (c == 'O')
        c = '0';
    if (c == 'I' || c == 'L')
        c = '1';
    const char *at = c == '\0' ? NULL : strchr(id_digits, c);
    return at == NULL ? -1 : (int)(at - id_digits);
}

bool id_from_text(struct slice text, uint64_t *out)
{
    uint64_t id = 0;

    if (text.len != ID_TEXT_SIZE - 1)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        int digit = id_digit(text.data[i]);

        if (digit < 0 || (i == 0 && digit > 15))
            return false;
        id = id << 5 | (uint64_t)digit;
    }
    *out = id;
    return true;
}

/* From the largest; the formatter takes the first that divides. */
struct unit {
    const char *name;
    uint64_t factor;
};

static const struct unit duration_units[] = {
    {"d", 86400000}, {"h", 3600000}, {"m", 60000}, {"s", 1000}, {"ms", 1},
};
static const struct unit size_units[] = {
    {"G", 1 << 30},
    {"M", 1 << 20},
    {"K", 1 << 10},
    {"", 1},
};

/* Digits, then one of the units or nothing, which means `bare`. */
static bool unit_parse(struct slice text, const struct unit *units, size_t count, uint64_t bare,
                       uint64_t *out)
{
    size_t digits = 0;
    uint64_t value;

    while (digits < text.len && (unsigned)text.data[digits] - '0' < 10)
        digits++;
    if (!slice_to_u64(slice_head(text, digits), &value))
        return false;
    slice_advance(&text, digits);

    uint64_t factor = text.len == 0 ? bare : 0;
    for (size_t i = 0; i < count && factor == 0; i++)
        if (slice_equal(text, slice_str(units[i].name)))
            factor = units[i].factor;
    if (factor == 0 || __builtin_mul_overflow(value, factor, &value))
        return false;
    *out = value;
    return true;
}

static void unit_format(uint64_t value, const struct unit *units, size_t count,
                        const char *unit_of_zero, struct buf *out)
{
    const struct unit *unit = units;

    while (value % unit->factor != 0) {
        unit++;
        ASSERT(unit < units + count); /* the last factor is 1 */
    }
    /* A full `out` marks itself; callers of formatters look at its overflow once. */
    (void)buf_append_u64(out, value / unit->factor);
    (void)buf_append_str(out, value == 0 ? unit_of_zero : unit->name);
}

bool duration_parse(struct slice text, uint64_t *out_ms)
{
    return unit_parse(text, duration_units, ARRAY_LEN(duration_units), 1000, out_ms);
}

void duration_format(uint64_t ms, struct buf *out)
{
    unit_format(ms, duration_units, ARRAY_LEN(duration_units), "s", out);
}

bool size_parse(struct slice text, uint64_t *out)
{
    return unit_parse(text, size_units, ARRAY_LEN(size_units), 1, out);
}

void size_format(uint64_t bytes, struct buf *out)
{
    unit_format(bytes, size_units, ARRAY_LEN(size_units), "", out);
}
