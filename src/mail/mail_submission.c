/* mail_submission: see the header. A state for each piece of a line; only names are looked at octet by
 * octet. */
#include "mail_submission.h"

#include "base_assert.h"
#include "base_codec.h"

enum state {
    FIRST_LINE, /* at the start of the first line */
    KEPT_LINE,  /* at the start of a line, behind a field that stays */
    GONE_LINE,  /* the same, behind one that was taken out */
    EMPTY_CR,   /* held: a CR at the start of a line */
    NAME,       /* held: a name so far */
    NAME_BLANK, /* held: a name and blanks, RFC 5322 4.5 */
    KEPT_VALUE,
    GONE_VALUE,
};

void mail_submission_init(struct mail_submission *f, uint64_t date, struct slice message_id)
{
    ASSERT(message_id.len > 0);
    f->message_id = message_id;
    f->date = date;
    f->removed = 0;
    f->done = f->has_date = f->has_message_id = false;
    f->state = FIRST_LINE;
    f->held_len = f->name_len = 0;
}

static bool name_is(const struct mail_submission *f, const char *name)
{
    return slice_equal_nocase(slice_of(f->held, f->name_len), slice_str(name));
}

static void release(struct mail_submission *f, struct buf *out)
{
    (void)buf_append(out, f->held, f->held_len);
    f->held_len = 0;
}

/* True if there was anything to add. */
static bool add_fields(const struct mail_submission *f, struct buf *out)
{
    char date[DATE_TEXT_SIZE];

    if (!f->has_date) {
        date_format(f->date, date);
        (void)buf_append_str(out, "Date: ");
        (void)buf_append_str(out, date);
        (void)buf_append_str(out, "\r\n");
    }
    if (!f->has_message_id) {
        (void)buf_append_str(out, "Message-ID: <");
        (void)buf_append_slice(out, f->message_id);
        (void)buf_append_str(out, ">\r\n");
    }
    return !f->has_date || !f->has_message_id;
}

/* What is held begins a line that is no field, and so the body. */
static void no_field(struct mail_submission *f, struct buf *out)
{
    if (add_fields(f, out))
        (void)buf_append_str(out, "\r\n");
    release(f, out);
    f->done = true;
}

/* What is held is the empty line. */
static void empty_line(struct mail_submission *f, struct buf *out)
{
    (void)add_fields(f, out);
    release(f, out);
    f->done = true;
}

/* The name, held with its colon, is complete. */
static void begin_value(struct mail_submission *f, struct buf *out)
{
    if (name_is(f, "bcc") || name_is(f, "resent-bcc")) {
        f->removed++;
        f->held_len = 0;
        f->state = GONE_VALUE;
        return;
    }
    f->has_date |= name_is(f, "date");
    f->has_message_id |= name_is(f, "message-id");
    release(f, out);
    f->state = KEPT_VALUE;
}

static bool is_name(uint8_t c)
{
    return c > 32 && c < 127 && c != ':';
}

static bool is_blank(uint8_t c)
{
    return c == ' ' || c == '\t';
}

/* The octet is not taken yet; false if it shall not be. */
static bool hold(struct mail_submission *f, uint8_t c, struct buf *out)
{
    if (f->held_len == sizeof(f->held)) {
        no_field(f, out);
        return false;
    }
    f->held[f->held_len++] = c;
    return true;
}

/* The first octet of a line that does not continue a field. */
static bool line_start(struct mail_submission *f, uint8_t c, struct buf *out)
{
    if (c == '\r') {
        f->state = EMPTY_CR;
    } else if (c == '\n') {
        empty_line(f, out);
        return false;
    } else if (is_name(c)) {
        f->state = NAME;
    } else {
        no_field(f, out);
        return false;
    }
    f->name_len = 0;
    return hold(f, c, out);
}

/* One octet of what is held. False: the section ended before it. */
static bool take(struct mail_submission *f, uint8_t c, struct buf *out)
{
    switch ((enum state)f->state) {
    case FIRST_LINE:
    case KEPT_LINE:
    case GONE_LINE: return line_start(f, c, out);
    case EMPTY_CR:
        if (c == '\n' && hold(f, c, out))
            empty_line(f, out);
        else
            no_field(f, out);
        return c == '\n';
    case NAME:
        if (is_name(c))
            return hold(f, c, out);
        f->name_len = f->held_len;
        f->state = NAME_BLANK; /* and as there: */
        /* fall through */
    case NAME_BLANK:
        if (is_blank(c))
            return hold(f, c, out);
        if (c != ':') {
            no_field(f, out);
            return false;
        }
        if (hold(f, c, out))
            begin_value(f, out);
        return !f->done;
    case KEPT_VALUE:
    case GONE_VALUE: break;
    }
    UNREACHABLE();
}

/* The rest of a line, or as much of it as there is. */
static void take_value(struct mail_submission *f, struct slice *in, struct buf *out)
{
    ptrdiff_t lf = slice_find(*in, '\n');
    size_t len = lf < 0 ? in->len : (size_t)lf + 1;
    bool kept = f->state == KEPT_VALUE;

    if (kept)
        (void)buf_append_slice(out, slice_head(*in, len));
    slice_advance(in, len);
    if (lf >= 0)
        f->state = kept ? KEPT_LINE : GONE_LINE;
}

bool mail_submission_take(struct mail_submission *f, struct slice *in, struct buf *out)
{
    while (!f->done && in->len > 0) {
        if (is_blank(in->data[0])) { /* at the start of a line: the field goes on */
            if (f->state == KEPT_LINE)
                f->state = KEPT_VALUE;
            else if (f->state == GONE_LINE)
                f->state = GONE_VALUE;
        }
        if (f->state == KEPT_VALUE || f->state == GONE_VALUE)
            take_value(f, in, out);
        else if (take(f, in->data[0], out))
            slice_advance(in, 1);
    }
    return f->done;
}

void mail_submission_finish(struct mail_submission *f, struct buf *out)
{
    if (f->done)
        return;
    switch ((enum state)f->state) {
    case EMPTY_CR:
    case NAME:
    case NAME_BLANK: no_field(f, out); return;
    case KEPT_VALUE: /* its line has no end */
        if (!f->has_date || !f->has_message_id)
            (void)buf_append_str(out, "\r\n");
        /* fall through */
    case FIRST_LINE:
    case KEPT_LINE:
    case GONE_LINE:
    case GONE_VALUE:
        (void)add_fields(f, out);
        f->done = true;
        return;
    }
    UNREACHABLE();
}
