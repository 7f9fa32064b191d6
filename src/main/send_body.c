/* send_body: see the header. */
#include "send_body.h"

#include <errno.h>

void send_body_init(struct send_body *b)
{
    b->file = NULL;
    b->size = 0;
    b->has_8bit = b->given = false;
    b->error = 0;
    buf_init(&b->memory, SEND_BODY_MEMORY);
}

void send_body_finish(struct send_body *b)
{
    if (b->file != NULL)
        (void)fclose(b->file);
    buf_finish(&b->memory);
}

static bool failed(struct send_body *b)
{
    b->error = errno != 0 ? errno : EIO;
    return false;
}

static bool to_file(struct send_body *b, struct slice bytes)
{
    errno = 0;
    if (b->file == NULL) {
        struct slice so_far = buf_slice(&b->memory);

        b->file = tmpfile();
        if (b->file == NULL)
            return failed(b);
        if (fwrite(so_far.data, 1, so_far.len, b->file) != so_far.len)
            return failed(b);
        buf_clear(&b->memory);
        buf_release(&b->memory);
    }
    if (fwrite(bytes.data, 1, bytes.len, b->file) != bytes.len)
        return failed(b);
    return true;
}

bool send_body_take(struct send_body *b, struct buf *bytes)
{
    struct slice all = buf_slice(bytes);

    if (b->error != 0)
        return false;
    for (size_t i = 0; i < all.len && !b->has_8bit; i++)
        b->has_8bit = all.data[i] >= 0x80;
    b->size += all.len;
    if (b->file != NULL || buf_len(&b->memory) + all.len > SEND_BODY_MEMORY) {
        if (!to_file(b, all))
            return false;
    } else {
        (void)buf_append_slice(&b->memory, all);
    }
    buf_clear(bytes);
    return true;
}

bool send_body_rewind(struct send_body *b)
{
    errno = 0;
    b->given = false;
    if (b->error != 0)
        return false;
    if (b->file != NULL && (fflush(b->file) != 0 || fseek(b->file, 0, SEEK_SET) != 0))
        return failed(b);
    return true;
}

bool send_body_next(struct send_body *b, struct slice *out_piece)
{
    size_t len;

    if (b->file == NULL) {
        *out_piece = b->given ? SLICE_NULL : buf_slice(&b->memory);
        b->given = true;
        return true;
    }
    errno = 0;
    len = fread(b->piece, 1, sizeof(b->piece), b->file);
    if (len == 0 && ferror(b->file))
        return failed(b);
    *out_piece = slice_of(b->piece, len);
    return true;
}
