/*
 * Headers of submitted messages: the first byte is the length of the pieces. In pieces the same leaves as
 * in whole; with the fields that were added and taken out put back, it is what came; and a second pass
 * changes nothing.
 */
#include "base_assert.h"
#include "mail_submission.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void mend(struct slice in, size_t piece, struct mail_submission *f, struct buf *out)
{
    mail_submission_init(f, 1795299590, SLICE_LITERAL("id@mx.example"));
    while (in.len > 0) {
        struct slice head = slice_head(in, piece);

        slice_advance(&in, head.len);
        if (mail_submission_take(f, &head, out))
            ASSERT(buf_append_slice(out, head));
        else
            ASSERT(head.len == 0);
        ASSERT(f->held_len <= MAIL_SUBMISSION_HELD_MAX);
    }
    mail_submission_finish(f, out);
    ASSERT(f->done);
}

/* The longest common beginning and end cover all of what left but for what was added, if nothing was taken
 * out. */
static void check_only_added(struct slice in, struct slice out)
{
    size_t front = 0, back = 0;

    ASSERT(out.len >= in.len);
    while (front < in.len && in.data[front] == out.data[front])
        front++;
    while (back < in.len - front && in.data[in.len - 1 - back] == out.data[out.len - 1 - back])
        back++;
    ASSERT(front + back == in.len);
    ASSERT(out.len - in.len <= 2 + 64 + 32 + 2);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct mail_submission f;
    struct buf whole, pieces, again;
    struct slice in;

    if (size < 1)
        return 0;
    in = slice_of(data + 1, size - 1);
    buf_init(&whole, 0);
    buf_init(&pieces, 0);
    buf_init(&again, 0);
    mend(in, SIZE_MAX, &f, &whole);
    if (f.removed == 0)
        check_only_added(in, buf_slice(&whole));
    mend(in, data[0] > 0 ? data[0] : 1, &f, &pieces);
    ASSERT(slice_equal(buf_slice(&whole), buf_slice(&pieces)));
    mend(buf_slice(&whole), SIZE_MAX, &f, &again);
    ASSERT(f.removed == 0);
    ASSERT(slice_equal(buf_slice(&whole), buf_slice(&again)));
    buf_finish(&whole);
    buf_finish(&pieces);
    buf_finish(&again);
    return 0;
}
