/* tool_file: files that options name. */
#ifndef TOOL_FILE_H
#define TOOL_FILE_H

#include "base_buf.h"

/* Appends all of the file. False: *out_error says "--OPTION PATH: why". */
bool tool_file_read(const char *option, const char *path, struct buf *out, struct buf *out_error);

#endif
