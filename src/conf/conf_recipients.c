#include "conf_recipients_priv.h"

#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "conf_lines_priv.h"

/* Not keyed: a peer chooses what is looked up, but not what is in the table. */
static size_t first_slot(const struct conf_recipients *set, struct slice key)
{
    return hash_stable(key) & set->mask;
}

static bool entry_equals(const struct conf_recipients *set, uint32_t slot, struct slice key)
{
    const char *entry = set->text + (slot - 1);

    /* strncmp: the entry may end before the key does. */
    return strncmp(entry, (const char *)key.data, key.len) == 0 && entry[key.len] == '\0';
}

static bool set_has(const struct conf_recipients *set, struct slice key)
{
    for (size_t i = first_slot(set, key); set->slots[i] != 0; i = (i + 1) & set->mask)
        if (entry_equals(set, set->slots[i], key))
            return true;
    return false;
}

bool conf_recipients_has(const struct conf_recipients *set, struct slice local_part,
                         struct slice domain)
{
    uint8_t key[CONF_LOCAL_PART_MAX + 1 + 255];
    size_t len = local_part.len;

    if (len == 0 || len > CONF_LOCAL_PART_MAX || domain.len > 255)
        return false;
    for (size_t i = 0; i < len; i++) {
        if (local_part.data[i] == '\0')
            return false;
        key[i] = conf_lower(local_part.data[i]);
    }
    if (set_has(set, slice_of(key, len)))
        return true;
    key[len++] = '@';
    if (domain.len > 0)
        memcpy(key + len, domain.data, domain.len);
    return set_has(set, slice_of(key, len + domain.len));
}

/* Reading */

/* Moves the entries together, in lower case. Bad lines are reported. */
static size_t compact(struct conf_recipients *set, struct conf_lines *lines)
{
    struct slice entry, local;
    size_t used = 0;

    while (conf_lines_next(lines, &entry)) {
        if (!conf_is_recipient(entry, &local)) {
            conf_lines_fail(lines, entry, "is neither an address nor a local part");
            continue;
        }
        for (size_t i = 0; i < entry.len; i++)
            set->text[used++] = (char)conf_lower(entry.data[i]);
        set->text[used++] = '\0'; /* at most where the newline, or the NUL of the text, was */
        set->count++;
    }
    return used;
}

static void index_entries(struct conf_recipients *set, size_t used)
{
    size_t capacity = 4;

    while (capacity < set->count * 2)
        capacity *= 2;
    set->mask = capacity - 1;
    set->slots = mem_calloc(capacity, sizeof(*set->slots));
    set->count = 0;
    for (size_t at = 0; at < used;) {
        struct slice entry = slice_str(set->text + at);
        size_t i = first_slot(set, entry);

        while (set->slots[i] != 0 && !entry_equals(set, set->slots[i], entry))
            i = (i + 1) & set->mask;
        if (set->slots[i] == 0) {
            set->slots[i] = (uint32_t)at + 1;
            set->count++;
        }
        at += entry.len + 1;
    }
}

static struct conf_recipients *read_set(struct conf_load *load, const struct conf_domain *domain)
{
    struct conf_place here = conf_place_of(load, &domain->recipients_file);
    struct conf_lines lines;

    if (!conf_lines_open(&lines, load, here, "recipients", domain->recipients_file))
        return NULL;
    struct conf_recipients *set = mem_zalloc(sizeof(*set));
    set->path = mem_strdup(domain->recipients_file);
    set->text = lines.bytes;
    size_t used = compact(set, &lines);
    set->text = mem_realloc(set->text, used > 0 ? used : 1);
    index_entries(set, used);
    if (set->count == 0 && load->error_count == 0)
        conf_warn(load, here, "recipients: %s is empty: all but postmaster are refused", set->path);
    set->next = load->box->recipients_list;
    load->box->recipients_list = set;
    return set;
}

void conf_recipients_load(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;

    for (size_t i = 0; i < conf->domain_count; i++) {
        struct conf_domain *domain = (struct conf_domain *)&conf->domains[i];
        const struct conf_recipients *set = load->box->recipients_list;

        if (domain->recipients_file == NULL)
            continue;
        while (set != NULL && strcmp(set->path, domain->recipients_file) != 0)
            set = set->next;
        domain->recipients = set != NULL ? set : read_set(load, domain);
    }
}

void conf_recipients_destroy(struct conf_recipients *list)
{
    while (list != NULL) {
        struct conf_recipients *next = list->next;

        mem_free(list->path);
        mem_free(list->text);
        mem_free(list->slots);
        mem_free(list);
        list = next;
    }
}
