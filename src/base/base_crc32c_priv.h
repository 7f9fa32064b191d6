/*
 * The ways to compute CRC-32C, for tests and benchmarks; others call base_crc32c.h, which picks.
 */
#ifndef BASE_CRC32C_PRIV_H
#define BASE_CRC32C_PRIV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

uint32_t crc32c_table(uint32_t crc, const void *data, size_t len);
bool crc32c_hardware_available(void);
/* Copies to `to` on the way unless it is NULL. Only if available. */
uint32_t crc32c_hardware(uint32_t crc, void *to, const void *data, size_t len);

#endif
