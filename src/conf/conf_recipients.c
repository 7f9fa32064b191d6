/* conf_recipients: the recipients that exist. The value of a key is empty, or what a CDB has there. */
#include "conf_tables_priv.h"

#include "conf_value_priv.h"

/* A list of addresses where one belongs, or one in brackets, is a mistake; other oddities exist. */
static bool has_special(struct slice local)
{
    for (size_t i = 0; i < local.len && local.data[0] != '"'; i++)
        if (strchr("@,;:<>()[]\\\"", local.data[i]) != NULL)
            return true;
    return false;
}

bool conf_is_recipient(struct slice text, struct slice *out_local)
{
    size_t at = text.len;

    for (size_t i = 0; i < text.len; i++) {
        if (text.data[i] <= ' ' || text.data[i] == 127)
            return false;
        if (text.data[i] == '@')
            at = i;
    }
    *out_local = slice_head(text, at);
    if (at == 0 || at > CONF_LOCAL_PART_MAX || has_special(*out_local))
        return false;
    return at == text.len || conf_is_name(slice_of(text.data + at + 1, text.len - at - 1));
}

static void check_recipient(struct conf_reader *reader, struct slice key, struct slice value)
{
    struct slice local;

    (void)value;
    if (!conf_is_recipient(key, &local))
        conf_reader_fail(reader, key, "is neither an address nor a local part");
}

static void add_recipient(struct conf_reader *reader, struct slice entry)
{
    unsigned bad = reader->bad;

    check_recipient(reader, entry, SLICE_NULL);
    if (reader->bad == bad)
        (void)conf_reader_add(reader, entry, SLICE_NULL); /* once is enough */
}

static const struct conf_format recipients_format = {
    .setting = "recipients",
    .add = add_recipient,
    .check = check_recipient,
};

void conf_recipients_load(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;

    for (size_t i = 0; i < conf->domain_count; i++) {
        struct conf_domain *domain = (struct conf_domain *)&conf->domains[i];
        size_t count = 0;

        conf_tables_load(load, &recipients_format, &domain->recipients, &domain->recipient_tables);
        for (size_t j = 0; j < domain->recipient_tables.count; j++)
            count += table_count(domain->recipient_tables.items[j]);
        if (domain->recipients.count > 0 && count == 0 && load->error_count == 0
            && domain->aliases.count == 0 && domain->catch_all.len == 0)
            conf_warn(load, conf_place_of(load, &domain->recipients),
                      "recipients: %s is empty: all but postmaster are refused",
                      domain->recipients.items[0]);
    }
}

static bool is_known(const struct conf_domain *domain, struct slice local_part)
{
    const struct table *table;
    struct slice value;

    return slice_equal_nocase(local_part, SLICE_LITERAL("postmaster"))
           || conf_tables_find_recipient(&domain->recipient_tables, local_part, domain->name,
                                         &table, &value);
}

bool conf_domain_has_recipient(const struct conf_domain *domain, struct slice local_part)
{
    if (domain->recipients.count == 0 || is_known(domain, local_part))
        return true;
    struct slice user = conf_domain_user(domain, local_part);
    return user.len < local_part.len && is_known(domain, user);
}
