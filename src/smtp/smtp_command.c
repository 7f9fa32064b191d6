/* smtp_command: the verbs and the parameters we know, each in a table. */
#include "smtp_command.h"

#include "base_assert.h"
#include "smtp_capability.h"
#include "smtp_dsn.h"

static const struct {
    const char *name;
    enum smtp_verb verb;
} verbs[] = {
    {"EHLO", SMTP_VERB_EHLO},
    {"HELO", SMTP_VERB_HELO},
    {"MAIL", SMTP_VERB_MAIL},
    {"RCPT", SMTP_VERB_RCPT},
    {"DATA", SMTP_VERB_DATA},
    {"RSET", SMTP_VERB_RSET},
    {"NOOP", SMTP_VERB_NOOP},
    {"VRFY", SMTP_VERB_VRFY},
    {"EXPN", SMTP_VERB_EXPN},
    {"HELP", SMTP_VERB_HELP},
    {"QUIT", SMTP_VERB_QUIT},
    {"STARTTLS", SMTP_VERB_STARTTLS},
    {"AUTH", SMTP_VERB_AUTH},
    {"BDAT", SMTP_VERB_BDAT},
    {"ETRN", SMTP_VERB_ETRN},
    /* Browsers and proxies that are tricked into talking to us (RFC 9110 9, RFC 9113 3.4). */
    {"GET", SMTP_VERB_FOREIGN},
    {"POST", SMTP_VERB_FOREIGN},
    {"PUT", SMTP_VERB_FOREIGN},
    {"HEAD", SMTP_VERB_FOREIGN},
    {"CONNECT", SMTP_VERB_FOREIGN},
    {"OPTIONS", SMTP_VERB_FOREIGN},
    {"DELETE", SMTP_VERB_FOREIGN},
    {"TRACE", SMTP_VERB_FOREIGN},
    {"PATCH", SMTP_VERB_FOREIGN},
    {"PRI", SMTP_VERB_FOREIGN},
};

enum smtp_verb smtp_command_verb(struct slice line, struct slice *argument)
{
    struct slice name;
    size_t len = 0;

    while (len < line.len && line.data[len] != ' ' && line.data[len] != '\t')
        len++;
    name = slice_head(line, len);
    *argument = slice_trim(slice_of(line.data + len, line.len - len));
    for (size_t i = 0; i < ARRAY_LEN(verbs); i++)
        if (slice_equal_nocase(name, slice_str(verbs[i].name)))
            return verbs[i].verb;
    return SMTP_VERB_UNKNOWN;
}

/* RFC 1870 6: 1*20DIGIT. Twenty nines do not fit in 64 bits, but they are surely too much. */
static bool param_size(struct slice value, struct smtp_params *out)
{
    if (value.len == 0 || value.len > 20)
        return false;
    for (size_t i = 0; i < value.len; i++)
        if (value.data[i] < '0' || value.data[i] > '9')
            return false;
    if (!slice_to_u64(value, &out->size))
        out->size = UINT64_MAX;
    return true;
}

/* RFC 6152 2 */
static bool param_body(struct slice value, struct smtp_params *out)
{
    if (slice_equal_nocase(value, SLICE_LITERAL("7BIT")))
        out->body = SMTP_BODY_7BIT;
    else if (slice_equal_nocase(value, SLICE_LITERAL("8BITMIME")))
        out->body = SMTP_BODY_8BITMIME;
    else
        return false;
    return true;
}

/* RFC 8689 2: no value. */
static bool param_require_tls(struct slice value, struct smtp_params *out)
{
    out->require_tls = true;
    return value.len == 0;
}

static int hex_digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* One octet off the front of an xtext; -1: it is none. */
static int take_xtext(struct slice *text)
{
    uint8_t c = text->data[0];
    int high, low;

    if (c < 33 || c > 126 || c == '=')
        return -1;
    slice_advance(text, 1);
    if (c != '+')
        return c;
    if (text->len < 2)
        return -1;
    high = hex_digit(text->data[0]);
    low = hex_digit(text->data[1]);
    slice_advance(text, 2);
    return high < 0 || low < 0 ? -1 : high << 4 | low;
}

bool smtp_xtext_decode(struct slice text, struct buf *out)
{
    while (text.len > 0) {
        int octet = take_xtext(&text);

        if (octet < 0)
            return false;
        (void)buf_append_byte(out, (uint8_t)octet);
    }
    return !out->overflow;
}

/* RFC 4954 5 */
static bool param_auth(struct slice value, struct smtp_params *out)
{
    out->auth = value;
    while (value.len > 0)
        if (take_xtext(&value) < 0)
            return false;
    return out->auth.len > 0;
}

/* RFC 3461 4.3 */
static bool param_ret(struct slice value, struct smtp_params *out)
{
    if (slice_equal_nocase(value, SLICE_LITERAL("FULL")))
        out->ret = SMTP_RET_FULL;
    else if (slice_equal_nocase(value, SLICE_LITERAL("HDRS")))
        out->ret = SMTP_RET_HDRS;
    else
        return false;
    return true;
}

static bool param_envid(struct slice value, struct smtp_params *out)
{
    out->envid = value;
    return smtp_envid_valid(value);
}

static bool param_notify(struct slice value, struct smtp_params *out)
{
    return smtp_notify_parse(value, &out->notify);
}

/* Octets beyond ASCII are here only where SMTPUTF8 lets them into a value. */
static bool param_orcpt(struct slice value, struct smtp_params *out)
{
    out->orcpt = value;
    return smtp_orcpt_valid(value, SMTP_PATH_UTF8);
}

static const struct {
    const char *keyword;
    enum smtp_verb verb;
    uint32_t extension;
    bool (*parse)(struct slice value, struct smtp_params *out); /* value empty: there was none */
} params[] = {
    {"SIZE", SMTP_VERB_MAIL, SMTP_EXT_SIZE, param_size},
    {"BODY", SMTP_VERB_MAIL, SMTP_EXT_8BITMIME, param_body},
    {"AUTH", SMTP_VERB_MAIL, SMTP_EXT_AUTH, param_auth},
    {"REQUIRETLS", SMTP_VERB_MAIL, SMTP_EXT_REQUIRETLS, param_require_tls},
    {"RET", SMTP_VERB_MAIL, SMTP_EXT_DSN, param_ret},
    {"ENVID", SMTP_VERB_MAIL, SMTP_EXT_DSN, param_envid},
    {"NOTIFY", SMTP_VERB_RCPT, SMTP_EXT_DSN, param_notify},
    {"ORCPT", SMTP_VERB_RCPT, SMTP_EXT_DSN, param_orcpt},
};

static bool is_keyword_byte(uint8_t c, bool first)
{
    return (c >= '0' && c <= '9') || ((c | 0x20) >= 'a' && (c | 0x20) <= 'z')
           || (!first && c == '-');
}

/* esmtp-param = esmtp-keyword ["=" esmtp-value] (RFC 5321 4.1.2); RFC 6531 3.3 lets octets beyond ASCII
 * into a value. */
static bool split_param(struct slice word, bool utf8, struct slice *keyword, struct slice *value)
{
    size_t len = 0;

    while (len < word.len && is_keyword_byte(word.data[len], len == 0))
        len++;
    if (len == 0)
        return false;
    *keyword = slice_head(word, len);
    slice_advance(&word, len);
    *value = SLICE_NULL;
    if (word.len == 0)
        return true;
    if (word.data[0] != '=' || word.len == 1)
        return false;
    slice_advance(&word, 1);
    for (size_t i = 0; i < word.len; i++)
        if (word.data[i] < 33 || word.data[i] == 127 || word.data[i] == '='
            || (word.data[i] > 127 && !utf8))
            return false;
    *value = word;
    return true;
}

static enum smtp_params_result take_param(enum smtp_verb verb, uint32_t extensions,
                                          struct slice word, uint32_t *seen,
                                          struct smtp_params *out)
{
    struct slice keyword, value;

    if (!split_param(word, extensions & SMTP_EXT_SMTPUTF8, &keyword, &value))
        return SMTP_PARAMS_SYNTAX;
    for (size_t i = 0; i < ARRAY_LEN(params); i++) {
        if (params[i].verb != verb || !(extensions & params[i].extension)
            || !slice_equal_nocase(keyword, slice_str(params[i].keyword)))
            continue;
        if (*seen & 1u << i)
            return SMTP_PARAMS_SYNTAX;
        *seen |= 1u << i;
        return params[i].parse(value, out) ? SMTP_PARAMS_OK : SMTP_PARAMS_VALUE;
    }
    return SMTP_PARAMS_UNKNOWN;
}

enum smtp_params_result smtp_params_parse(enum smtp_verb verb, uint32_t extensions,
                                          struct slice text, struct smtp_params *out)
{
    _Static_assert(ARRAY_LEN(params) <= 32, "seen is a set of 32");
    struct smtp_params found = {0};
    uint32_t seen = 0;

    for (;;) {
        size_t len = 0;
        enum smtp_params_result result;

        text = slice_trim(text);
        if (text.len == 0)
            break;
        while (len < text.len && text.data[len] != ' ' && text.data[len] != '\t')
            len++;
        result = take_param(verb, extensions, slice_head(text, len), &seen, &found);
        if (result != SMTP_PARAMS_OK)
            return result;
        slice_advance(&text, len);
    }
    *out = found;
    return SMTP_PARAMS_OK;
}
