/* tool_file: see the header. */
#include "tool_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

bool tool_file_read(const char *option, const char *path, struct buf *out, struct buf *out_error)
{
    FILE *file = fopen(path, "re");
    uint8_t *room;
    size_t got = 1;

    errno = file != NULL ? 0 : errno;
    while (file != NULL && got > 0 && (room = buf_reserve(out, 65536)) != NULL) {
        got = fread(room, 1, 65536, file);
        buf_commit(out, got);
    }
    if (file == NULL || ferror(file) || got > 0) {
        (void)buf_printf(out_error, "%s %s: %s", option, path,
                         errno != 0 ? strerror(errno) : "too large");
        if (file != NULL)
            (void)fclose(file); /* only read from */
        return false;
    }
    (void)fclose(file); /* only read from */
    return true;
}
