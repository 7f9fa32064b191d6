/*
 * base_text: what JSON strings and quoted log values share. A measuring pass and a writing pass, so
 * that a value goes into a buffer of fixed size as a whole or not at all.
 */
#ifndef BASE_TEXT_PRIV_H
#define BASE_TEXT_PRIV_H

#include "base_slice.h"

/* Bytes of the UTF-8 character at the start of `s`; *valid is false for a byte or a cut character
 * that is none (Unicode 3.9, table 3-7: no surrogates, no long forms). `s` is not empty. */
size_t utf8_length(struct slice s, bool *valid);

/* With `out` NULL it only measures. Quotes included. */
size_t json_string_write(struct slice s, uint8_t *out);

#endif
