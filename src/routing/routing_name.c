/* routing_name: see the header. RFC 5321 2.4 for case, 4.1.2 for quotes. */
#include "base_assert.h"
#include "routing_priv.h"

void routing_split(struct slice address, struct slice *local, struct slice *domain)
{
    for (size_t i = address.len; i > 0; i--) {
        if (address.data[i - 1] == '@') {
            *local = slice_head(address, i - 1);
            *domain = slice_of(address.data + i, address.len - i);
            return;
        }
    }
    *local = address;
    *domain = SLICE_NULL;
}

/* "ann" in quotes and ann without are one local part. But one that holds an '@' keeps its quotes: in a table it
 * would look like another address. Answers the length. */
static size_t append_local(struct slice local, uint8_t *out)
{
    bool quoted = local.len >= 2 && local.data[0] == '"' && local.data[local.len - 1] == '"'
                  && slice_find(local, '@') < 0;
    size_t len = 0;

    if (quoted)
        local = slice_of(local.data + 1, local.len - 2);
    for (size_t i = 0; i < local.len; i++) {
        if (quoted && local.data[i] == '\\' && i + 1 < local.len)
            i++;
        out[len++] = routing_lower(local.data[i]);
    }
    return len;
}

void routing_spell(struct slice local, struct slice domain, struct routing_name *out)
{
    size_t len;

    ASSERT(local.len <= SMTP_LOCAL_MAX && domain.len <= SMTP_DOMAIN_MAX);
    len = append_local(local, out->bytes);
    out->local = out->user = slice_of(out->bytes, len);
    out->bytes[len++] = '@';
    out->domain = slice_of(out->bytes + len, domain.len);
    for (size_t i = 0; i < domain.len; i++)
        out->bytes[len++] = routing_lower(domain.data[i]);
    out->whole = slice_of(out->bytes, len);
    out->ours = NULL;
    out->spelled = local;
}

bool routing_name_of(const struct conf *conf, struct slice local, struct slice domain,
                     struct routing_name *out)
{
    if (local.len == 0 || local.len > SMTP_LOCAL_MAX || domain.len > SMTP_DOMAIN_MAX)
        return false;
    routing_spell(local, domain, out);
    out->ours = conf_domain_find(conf, out->domain);
    if (out->ours != NULL)
        out->user = conf_domain_user(out->ours, out->local);
    return true;
}
