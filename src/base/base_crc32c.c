#include "base_crc32c.h"

#include <string.h>

#include "base_codec.h"
#include "base_crc32c_priv.h"

/* tables[n][b]: what byte b adds to the checksum when n more bytes follow it. */
static uint32_t tables[8][256];
static bool use_hardware;

/* Before main(), so that no thread finds it half done. */
__attribute__((constructor)) static void crc32c_setup(void)
{
    for (uint32_t byte = 0; byte < 256; byte++) {
        uint32_t crc = byte;

        for (int bit = 0; bit < 8; bit++)
            crc = crc >> 1 ^ (crc & 1 ? 0x82F63B78 : 0); /* RFC 3720's polynomial, bits reversed */
        tables[0][byte] = crc;
    }
    for (int n = 1; n < 8; n++)
        for (int byte = 0; byte < 256; byte++)
            tables[n][byte] = tables[n - 1][byte] >> 8 ^ tables[0][tables[n - 1][byte] & 0xFF];
    use_hardware = crc32c_hardware_available();
}

uint32_t crc32c_table(uint32_t crc, const void *data, size_t len)
{
    const uint8_t *p = data;

    crc = ~crc;
    for (; len >= 8; p += 8, len -= 8) {
        uint32_t low = crc ^ get_le32(p);
        uint32_t high = get_le32(p + 4);

        crc = tables[7][low & 0xFF] ^ tables[6][low >> 8 & 0xFF] ^ tables[5][low >> 16 & 0xFF]
              ^ tables[4][low >> 24] ^ tables[3][high & 0xFF] ^ tables[2][high >> 8 & 0xFF]
              ^ tables[1][high >> 16 & 0xFF] ^ tables[0][high >> 24];
    }
    for (; len > 0; p++, len--)
        crc = crc >> 8 ^ tables[0][(crc ^ *p) & 0xFF];
    return ~crc;
}

uint32_t crc32c(uint32_t crc, const void *data, size_t len)
{
    if (use_hardware)
        return crc32c_hardware(crc, NULL, data, len);
    return crc32c_table(crc, data, len);
}

uint32_t crc32c_copy(uint32_t crc, void *to, const void *from, size_t len)
{
    if (len == 0)
        return crc;
    if (use_hardware)
        return crc32c_hardware(crc, to, from, len);
    memcpy(to, from, len);
    return crc32c_table(crc, to, len);
}
