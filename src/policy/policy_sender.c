/* policy_sender: whose an address is. */
#include "base_assert.h"
#include "policy.h"

enum { FOLDED_MAX = SMTP_PATH_MAX };

/* An address in the one form in which it is compared: no quotes, lower case. Our own domains look at no
 * local part's case, and to take Ann for somebody else than ann would only keep her from writing. */
struct folded {
    uint8_t bytes[FOLDED_MAX];
    struct slice text;
    struct slice domain;
};

static bool fold(const struct smtp_address *address, struct folded *out)
{
    struct buf canonical;
    bool ok;

    buf_init(&canonical, sizeof(out->bytes));
    ok = smtp_address_canonical(address, &canonical);
    out->text = slice_of(out->bytes, 0);
    for (size_t i = 0; ok && i < buf_len(&canonical); i++) {
        uint8_t c = buf_slice(&canonical).data[i];
        out->bytes[out->text.len++] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    buf_finish(&canonical);
    out->domain = slice_of(out->bytes + out->text.len - address->domain.len, address->domain.len);
    return ok;
}

/* "@a.example" and "*@a.example" are all of a domain, "*" is anything. */
static bool entry_gives(struct slice entry, struct slice address, struct slice domain)
{
    if (entry.data[0] == '*') {
        slice_advance(&entry, 1);
        if (entry.len == 0)
            return true;
    }
    if (entry.data[0] == '@') {
        slice_advance(&entry, 1);
        return slice_equal_nocase(entry, domain);
    }
    return slice_equal_nocase(entry, address);
}

/* "ann@a.example, @b.example" */
static bool list_gives(struct slice list, struct slice address, struct slice domain)
{
    while (list.len > 0) {
        ptrdiff_t comma = slice_find(list, ',');
        struct slice entry = comma < 0 ? list : slice_head(list, (size_t)comma);

        slice_advance(&list, comma < 0 ? list.len : entry.len + 1);
        entry = slice_trim(entry);
        if (entry.len > 0 && entry_gives(entry, address, domain))
            return true;
    }
    return false;
}

static bool is_given(const struct policy_client *client, struct slice address, struct slice domain)
{
    uint8_t user[CONF_USER_MAX];

    if (slice_equal_nocase(client->user->name, address)
        || list_gives(client->user->senders, address, domain))
        return true;
    if (client->user->name.len > sizeof(user))
        return false;
    for (size_t i = 0; i < client->user->name.len; i++) {
        uint8_t c = client->user->name.data[i];
        user[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c;
    }
    return conf_may_send(client->conf, slice_of(user, client->user->name.len), address);
}

/* The address without its subaddress; false if it has none. */
static bool without_subaddress(const struct policy_client *client,
                               const struct smtp_address *sender, struct folded *f)
{
    const struct conf_domain *ours = conf_domain_find(client->conf, f->domain);
    struct slice local = slice_head(f->text, f->text.len - f->domain.len - 1);
    struct slice user;

    if (ours == NULL || sender->quoted)
        return false;
    user = conf_domain_user(ours, local);
    if (user.len == local.len)
        return false;
    memmove(f->bytes + user.len, f->bytes + local.len, f->domain.len + 1);
    f->text.len = user.len + 1 + f->domain.len;
    f->domain.data = f->bytes + user.len + 1;
    return true;
}

bool policy_is_own_sender(const struct policy_client *client, const struct smtp_address *sender)
{
    struct folded f;

    ASSERT(policy_logged_in(client));
    if (sender->kind == SMTP_DOMAIN_NONE || !fold(sender, &f))
        return false;
    return is_given(client, f.text, f.domain)
           || (without_subaddress(client, sender, &f) && is_given(client, f.text, f.domain));
}
