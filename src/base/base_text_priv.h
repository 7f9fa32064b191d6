/*
 * base_text: what JSON strings and quoted log values share. A measuring pass and a writing pass, so
 * that a value goes into a buffer of fixed size as a whole or not at all.
 */
#ifndef BASE_TEXT_PRIV_H
#define BASE_TEXT_PRIV_H

#include "base_slice.h"

/* With `out` NULL it only measures. Quotes included. */
size_t json_string_write(struct slice s, uint8_t *out);

#endif
