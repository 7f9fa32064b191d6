/*
 * base_crc32c: CRC-32C (Castagnoli, RFC 3720 B.4), by SSE4.2 or the ARMv8 CRC instructions where
 * the processor has them, else by tables. crc32c("123456789") is 0xE3069283.
 */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Continues `crc` (0 to begin) over `len` bytes. */
uint32_t crc32c(uint32_t crc, const void *data, size_t len);
/* The same while copying to `to`. The ranges do not overlap. */
uint32_t crc32c_copy(uint32_t crc, void *to, const void *from, size_t len);

#endif
