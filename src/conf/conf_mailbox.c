/*
 * conf_mailbox: which mailbox a local part names. Policy asks while the sender is still there, delivery
 * when it makes the path, and both get one answer.
 */
#include "conf.h"

/* RFC 5321 4.1.2: "ann" in quotes and ann without are one mailbox. Answers the length. */
static size_t unquote_and_fold(struct slice local, uint8_t out[CONF_MAILBOX_NAME_MAX])
{
    bool quoted = local.len >= 2 && local.data[0] == '"' && local.data[local.len - 1] == '"';
    size_t len = 0;

    if (quoted)
        local = slice_of(local.data + 1, local.len - 2);
    for (size_t i = 0; i < local.len && len < CONF_MAILBOX_NAME_MAX; i++) {
        uint8_t c = local.data[i];
        if (quoted && c == '\\' && i + 1 < local.len)
            c = local.data[++i];
        out[len++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    return len;
}

bool conf_is_plain_name(struct slice name)
{
    if (name.len == 0 || name.len > CONF_MAILBOX_NAME_MAX || name.data[0] == '.')
        return false;
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c == '/' || c < 0x20 || c == 0x7f)
            return false;
    }
    return true;
}

bool conf_mailbox_name(const struct conf_domain *domain, struct slice local_part,
                       uint8_t memory[CONF_MAILBOX_NAME_MAX], struct slice *out_name)
{
    struct slice name;

    if (local_part.len > CONF_MAILBOX_NAME_MAX)
        return false;
    name = slice_of(memory, unquote_and_fold(local_part, memory));
    if (domain != NULL)
        name = conf_domain_user(domain, name);
    if (!conf_is_plain_name(name))
        return false;
    *out_name = name;
    return true;
}
