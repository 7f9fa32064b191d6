/*
 * Dots: the first two bytes choose the mode and the cuts. The decoder does the same as one that looks
 * at one byte after the other, and encoding is undone by decoding.
 */
#include "base_assert.h"
#include "base_buf.h"
#include "smtp_dot.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Decodes in pieces; answers how many bytes it took up to the end, or all of them. */
static bool decode(struct smtp_dot *dot, struct slice in, size_t piece, struct buf *body,
                   size_t *taken)
{
    const uint8_t *start = in.data;

    *taken = in.len;
    while (in.len > 0) {
        struct slice head = slice_head(in, piece);

        slice_advance(&in, head.len);
        while (head.len > 0) {
            struct slice part, before = head;
            bool end = smtp_dot_decode(dot, &head, &part) == SMTP_DOT_END;

            ASSERT(buf_append_slice(body, part));
            if (end) {
                *taken = (size_t)(head.data - start);
                return true;
            }
            ASSERT(head.len < before.len || part.len > 0);
        }
    }
    return false;
}

static void check_decoder(struct slice in, bool normalize, size_t piece)
{
    struct smtp_dot fast, slow;
    struct buf a, b;
    size_t taken_a, taken_b;
    bool end_a, end_b;

    buf_init(&a, 0);
    buf_init(&b, 0);
    smtp_dot_init(&fast, normalize);
    smtp_dot_init(&slow, normalize);
    end_a = decode(&fast, in, piece, &a, &taken_a);
    end_b = decode(&slow, in, 1, &b, &taken_b);
    ASSERT(end_a == end_b && taken_a == taken_b);
    ASSERT(fast.facts == slow.facts && fast.state == slow.state);
    ASSERT(slice_equal(buf_slice(&a), buf_slice(&b)));
    /* In normalize mode nothing bare is left. */
    for (size_t i = 0; normalize && i < buf_len(&a); i++) {
        const uint8_t *p = buf_slice(&a).data;

        ASSERT(p[i] != '\n' || (i > 0 && p[i - 1] == '\r'));
        ASSERT(p[i] != '\r' || (i + 1 < buf_len(&a) && p[i + 1] == '\n'));
    }
    buf_finish(&a);
    buf_finish(&b);
}

static void check_identity(struct slice in, size_t piece)
{
    struct smtp_dot_encoder e;
    struct smtp_dot dot;
    struct buf wire, back;
    size_t taken, whole = in.len;
    struct slice rest = in;
    bool line_end = whole == 0 || (whole > 1 && memcmp(in.data + whole - 2, "\r\n", 2) == 0);

    buf_init(&wire, 0);
    buf_init(&back, 0);
    smtp_dot_encoder_init(&e);
    while (rest.len > 0) {
        struct slice head = slice_head(rest, piece);

        slice_advance(&rest, head.len);
        while (head.len > 0)
            ASSERT(buf_append_slice(&wire, smtp_dot_encode(&e, &head)));
    }
    ASSERT(buf_append_slice(&wire, smtp_dot_encode_end(&e)));
    smtp_dot_init(&dot, false);
    ASSERT(decode(&dot, buf_slice(&wire), 4096, &back, &taken));
    ASSERT(taken == buf_len(&wire));
    ASSERT(buf_len(&back) == whole + (line_end ? 0 : 2));
    ASSERT(slice_equal(slice_head(buf_slice(&back), whole), in));
    ASSERT(!(dot.facts & SMTP_DOT_LEADING) || buf_len(&wire) > buf_len(&back) + 3);
    buf_finish(&wire);
    buf_finish(&back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t piece;

    if (size < 2)
        return 0;
    piece = data[1] == 0 ? size : data[1];
    check_decoder(slice_of(data + 2, size - 2), data[0] & 1, piece);
    check_identity(slice_of(data + 2, size - 2), piece);
    return 0;
}
