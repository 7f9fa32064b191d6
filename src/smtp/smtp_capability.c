/* smtp_capability: one table for what is announced and what is understood. */
#include "smtp_capability.h"

#include "base_assert.h"

/* In the order in which they are announced. */
static const struct capability {
    const char *keyword;
    enum smtp_extension extension;
} capabilities[] = {
    {"PIPELINING", SMTP_EXT_PIPELINING},
    {"SIZE", SMTP_EXT_SIZE},
    {"8BITMIME", SMTP_EXT_8BITMIME},
    {"ENHANCEDSTATUSCODES", SMTP_EXT_ENHANCED},
    {"STARTTLS", SMTP_EXT_STARTTLS},
    {"AUTH", SMTP_EXT_AUTH},
    {"CHUNKING", SMTP_EXT_CHUNKING},
    {"SMTPUTF8", SMTP_EXT_SMTPUTF8},
    {"DSN", SMTP_EXT_DSN},
    {"REQUIRETLS", SMTP_EXT_REQUIRETLS},
};

static const struct {
    const char *name;
    enum smtp_mechanism mechanism;
} mechanisms[] = {
    {"PLAIN", SMTP_MECHANISM_PLAIN},
    {"LOGIN", SMTP_MECHANISM_LOGIN},
    {"SCRAM-SHA-1", SMTP_MECHANISM_SCRAM_SHA_1},
    {"SCRAM-SHA-256", SMTP_MECHANISM_SCRAM_SHA_256},
    {"SCRAM-SHA-1-PLUS", SMTP_MECHANISM_SCRAM_SHA_1_PLUS},
    {"SCRAM-SHA-256-PLUS", SMTP_MECHANISM_SCRAM_SHA_256_PLUS},
    {"XOAUTH2", SMTP_MECHANISM_XOAUTH2},
    {"OAUTHBEARER", SMTP_MECHANISM_OAUTHBEARER},
    {"EXTERNAL", SMTP_MECHANISM_EXTERNAL},
};

bool smtp_capabilities_format(const struct smtp_capabilities *c, struct slice hostname,
                              struct slice auth, struct buf *out)
{
    uint32_t left = c->extensions;

    (void)buf_append_str(out, left == 0 ? "250 " : "250-");
    (void)buf_append_slice(out, hostname);
    (void)buf_append_str(out, "\r\n");
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++) {
        const struct capability *row = &capabilities[i];

        if (!(left & row->extension))
            continue;
        left &= ~(uint32_t)row->extension;
        (void)buf_append_str(out, left == 0 ? "250 " : "250-");
        (void)buf_append_str(out, row->keyword);
        if (row->extension == SMTP_EXT_SIZE && c->size_max > 0) {
            (void)buf_append_byte(out, ' ');
            (void)buf_append_u64(out, c->size_max);
        }
        if (row->extension == SMTP_EXT_AUTH) {
            (void)buf_append_byte(out, ' ');
            (void)buf_append_slice(out, auth);
        }
        (void)buf_append_str(out, "\r\n");
    }
    ASSERT(left == 0); /* every extension has a row */
    return !out->overflow;
}

static uint32_t parse_mechanisms(struct slice text)
{
    uint32_t found = 0;

    for (text = slice_trim(text); text.len > 0; text = slice_trim(text)) {
        ptrdiff_t blank = slice_find(text, ' ');
        struct slice name = blank < 0 ? text : slice_head(text, (size_t)blank);

        for (size_t i = 0; i < ARRAY_LEN(mechanisms); i++)
            if (slice_equal_nocase(name, slice_str(mechanisms[i].name)))
                found |= mechanisms[i].mechanism;
        slice_advance(&text, name.len);
    }
    return found;
}

void smtp_capabilities_parse_line(struct smtp_capabilities *c, struct slice line)
{
    ptrdiff_t blank;
    struct slice keyword, value = SLICE_NULL;

    line = slice_trim(line);
    blank = slice_find(line, ' ');
    /* "AUTH=LOGIN PLAIN" was how it was done before RFC 2554, and some servers still say it beside the
     * other form, or alone. */
    if (slice_starts_nocase(line, SLICE_LITERAL("AUTH=")))
        blank = sizeof("AUTH") - 1;
    keyword = blank < 0 ? line : slice_head(line, (size_t)blank);
    if (blank >= 0)
        value = slice_trim(slice_of(line.data + blank + 1, line.len - (size_t)blank - 1));
    for (size_t i = 0; i < ARRAY_LEN(capabilities); i++) {
        if (!slice_equal_nocase(keyword, slice_str(capabilities[i].keyword)))
            continue;
        c->extensions |= capabilities[i].extension;
        if (capabilities[i].extension == SMTP_EXT_SIZE && !slice_to_u64(value, &c->size_max))
            c->size_max = 0; /* no number, or none that makes sense: as if there were no limit */
        if (capabilities[i].extension == SMTP_EXT_AUTH)
            c->mechanisms |= parse_mechanisms(value);
    }
}
