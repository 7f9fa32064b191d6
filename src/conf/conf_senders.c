/*
 * conf_senders: which user may send from which addresses: "address user[, user...]". "@domain" and "*@domain"
 * are all addresses of a domain, "*" is any. Lines add up: each gives, none takes away.
 *
 * Our tables have a key for each address and user, so that neither a domain with a hundred thousand users nor
 * a user with as many addresses is slow. In a CDB, the address is the key and the users are the value.
 */
#include "base_assert.h"
#include "conf_tables_priv.h"
#include "conf_value_priv.h"

enum { KEY_MAX = CONF_LOCAL_PART_MAX + 1 + 255 + 1 + CONF_USER_MAX };

static bool is_separator(uint8_t c)
{
    return c == ' ' || c == '\t' || c == ',';
}

/* The next user of the list, which goes on behind; empty at its end. */
static struct slice next_user(struct slice *list)
{
    struct slice user;
    size_t len = 0;

    while (list->len > 0 && is_separator(list->data[0]))
        slice_advance(list, 1);
    while (len < list->len && !is_separator(list->data[len]))
        len++;
    user = slice_head(*list, len);
    slice_advance(list, len);
    return user;
}

/* Takes "*@domain" as "@domain". */
static bool parse_address(struct slice *word)
{
    struct slice local;

    if (slice_equal(*word, SLICE_LITERAL("*")))
        return true;
    if (word->len > 1 && word->data[0] == '*' && word->data[1] == '@')
        slice_advance(word, 1);
    if (word->len > 0 && word->data[0] == '@')
        return conf_is_name(slice_of(word->data + 1, word->len - 1));
    return conf_is_recipient(*word, &local) && local.len < word->len;
}

static bool is_user(struct slice word)
{
    for (size_t i = 0; i < word.len; i++)
        if (word.data[i] < ' ' || word.data[i] == 127)
            return false;
    return word.len > 0 && word.len <= CONF_USER_MAX;
}

/* "address newline user": no address and no user has a control character in it. */
static struct slice key_of(struct slice user, struct slice address, uint8_t memory[KEY_MAX])
{
    ASSERT(address.len + 1 + user.len <= KEY_MAX);
    memcpy(memory, address.data, address.len);
    memory[address.len] = '\n';
    memcpy(memory + address.len + 1, user.data, user.len);
    return slice_of(memory, address.len + 1 + user.len);
}

/* NULL, or what is wrong. */
static const char *check_users(struct slice list)
{
    struct slice user = next_user(&list);

    if (user.len == 0)
        return "has no user behind the address";
    for (; user.len > 0; user = next_user(&list))
        if (!is_user(user))
            return "holds what cannot be a user's name";
    return NULL;
}

static const char not_an_address[] = "does not begin with an address, @domain or *";

static void add_senders(struct conf_reader *reader, struct slice entry)
{
    uint8_t memory[KEY_MAX];
    struct slice address, list, user;

    table_split(entry, &address, &list);
    const char *wrong = parse_address(&address) ? check_users(list) : not_an_address;
    if (wrong != NULL) {
        conf_reader_fail(reader, entry, "%s", wrong);
        return;
    }
    while ((user = next_user(&list)).len > 0)
        (void)conf_reader_add(reader, key_of(user, address, memory),
                              SLICE_NULL); /* once is enough */
}

static void check_senders(struct conf_reader *reader, struct slice key, struct slice value)
{
    struct slice address = key;
    const char *wrong = parse_address(&address) ? check_users(value) : not_an_address;

    if (wrong != NULL)
        conf_reader_fail(reader, key, "%s", wrong);
    else if (address.len < key.len)
        conf_reader_fail(reader, key, "is never found: a key for a domain begins with @");
}

static const struct conf_format senders_format = {
    .setting = "senders",
    .add = add_senders,
    .check = check_senders,
};

void conf_senders_load(struct conf_load *load)
{
    struct conf_auth *auth = &load->box->conf.auth;

    conf_tables_load(load, &senders_format, &auth->senders, &auth->sender_tables);
}

static bool list_has(struct slice list, struct slice wanted)
{
    struct slice user;

    while ((user = next_user(&list)).len > 0)
        if (slice_equal_nocase(user, wanted))
            return true;
    return false;
}

static bool has(const struct table *table, struct slice user, struct slice address)
{
    uint8_t memory[KEY_MAX];
    struct slice value;

    switch (table_kind(table)) {
    case TABLE_MEMORY: return table_find(table, key_of(user, address, memory), &value);
    case TABLE_CDB: return table_find(table, address, &value) && list_has(value, user);
    }
    UNREACHABLE();
}

bool conf_may_send(const struct conf *conf, struct slice user, struct slice address)
{
    const struct conf_tables *tables = &conf->auth.sender_tables;
    struct slice domain = address;

    if (tables->count == 0 || !is_user(user) || address.len == 0
        || address.len > CONF_LOCAL_PART_MAX + 1 + 255)
        return false;
    for (size_t i = 0; i < address.len; i++)
        if (address.data[i] < ' ')
            return false;
    /* The last '@': a quoted local part may hold others. */
    for (ptrdiff_t at; (at = slice_find(slice_of(domain.data + 1, domain.len - 1), '@')) >= 0;)
        slice_advance(&domain, 1 + (size_t)at);
    for (size_t i = 0; i < tables->count; i++)
        if (has(tables->items[i], user, address) || has(tables->items[i], user, domain)
            || has(tables->items[i], user, SLICE_LITERAL("*")))
            return true;
    return false;
}
