#include "base_codec.h"

static const char alphabet[64] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

bool base64_encode(struct slice s, struct buf *out)
{
    size_t len = (s.len + 2) / 3 * 4;
    uint8_t *to = len == 0 ? NULL : buf_reserve(out, len);

    if (len == 0)
        return true;
    if (to == NULL) {
        out->overflow = true;
        return false;
    }
    for (size_t i = 0; i < s.len; i += 3) {
        size_t left = s.len - i;
        uint32_t bits = (uint32_t)s.data[i] << 16 | (left > 1 ? (uint32_t)s.data[i + 1] << 8 : 0)
                        | (left > 2 ? s.data[i + 2] : 0);

        *to++ = (uint8_t)alphabet[bits >> 18];
        *to++ = (uint8_t)alphabet[bits >> 12 & 63];
        *to++ = left > 1 ? (uint8_t)alphabet[bits >> 6 & 63] : '=';
        *to++ = left > 2 ? (uint8_t)alphabet[bits & 63] : '=';
    }
    buf_commit(out, len);
    return true;
}

/* 0-63, or -1. Computed, not looked up: what is decoded here may be a password, and a table's cache lines
 * could tell about it. */
static int value_of(uint8_t c)
{
    int v = -1;

    v += (c >= 'A' && c <= 'Z') * (c - 'A' + 1);
    v += (c >= 'a' && c <= 'z') * (c - 'a' + 27);
    v += (c >= '0' && c <= '9') * (c - '0' + 53);
    v += (c == '+') * 63;
    v += (c == '/') * 64;
    return v;
}

bool base64_decode(struct slice text, uint8_t *out, size_t *out_len)
{
    size_t pad = 0, len = 0;
    int bad = 0;

    if (text.len % 4 != 0)
        return false;
    while (pad < 2 && pad < text.len && text.data[text.len - 1 - pad] == '=')
        pad++;
    for (size_t i = 0; i < text.len; i += 4) {
        size_t digits = i + 4 == text.len ? 4 - pad : 4;
        uint32_t bits = 0;

        for (size_t d = 0; d < 4; d++) {
            int v = d < digits ? value_of(text.data[i + d]) : 0;

            bad |= v < 0;
            bits = bits << 6 | ((uint32_t)v & 63);
        }
        for (size_t d = 0; d < 3; d++) {
            uint8_t byte = (uint8_t)(bits >> (16 - 8 * d));

            if (d + 1 < digits)
                out[len++] = byte;
            else
                bad |= byte != 0;
        }
    }
    if (bad)
        return false;
    *out_len = len;
    return true;
}
