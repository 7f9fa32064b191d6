#include "base_assert.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void assert_failed(const char *expression, const char *file, int line)
{
    char text[512];
    int len = snprintf(text, sizeof(text), "mailring: assertion failed: %s (%s:%d)\n", expression,
                       file, line);

    if (len >= (int)sizeof(text)) {
        len = (int)sizeof(text);
        text[sizeof(text) - 1] = '\n';
    }
    /* Nothing is left to do about an error here, and abort() follows anyway. */
    if (len > 0 && write(STDERR_FILENO, text, (size_t)len) < 0)
        abort();
    abort();
}
