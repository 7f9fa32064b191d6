#include "conf_recipients_priv.h"

#include <errno.h>
#include <stdio.h>

#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "conf_value_priv.h"

enum {
    LOCAL_PART_MAX = 256, /* RFC 5321 4.5.3.1.1 says 64; lists of old systems have longer ones */
    BAD_LINES_MAX = 10,   /* then it is the wrong file */
};
#define FILE_SIZE_MAX ((size_t)2 << 30) /* offsets have 32 bits */

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
    uint8_t key[LOCAL_PART_MAX + 1 + 255];
    size_t len = local_part.len;

    if (len == 0 || len > LOCAL_PART_MAX || domain.len > 255)
        return false;
    for (size_t i = 0; i < len; i++) {
        uint8_t c = local_part.data[i];

        if (c == '\0')
            return false;
        key[i] = c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
    }
    if (set_has(set, slice_of(key, len)))
        return true;
    key[len++] = '@';
    if (domain.len > 0)
        memcpy(key + len, domain.data, domain.len);
    return set_has(set, slice_of(key, len + domain.len));
}

/* Reading */

/* "# comment", alone or behind an entry. In an address '#' is a character like others. */
static struct slice without_comment(struct slice line)
{
    for (size_t i = 0; i < line.len; i++)
        if (line.data[i] == '#' && (i == 0 || line.data[i - 1] == ' ' || line.data[i - 1] == '\t'))
            line.len = i;
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    return slice_trim(line);
}

static bool is_entry(struct slice entry)
{
    size_t at = entry.len;

    for (size_t i = 0; i < entry.len; i++) {
        if (entry.data[i] <= ' ' || entry.data[i] == 127)
            return false;
        if (entry.data[i] == '@')
            at = i;
    }
    if (at == 0 || at > LOCAL_PART_MAX)
        return false;
    return at == entry.len || conf_is_name(slice_of(entry.data + at + 1, entry.len - at - 1));
}

/* Moves the entries of `text` together, in lower case. Bad lines are reported. */
static size_t compact(struct conf_load *load, struct conf_recipients *set, size_t len,
                      const struct conf_text *file)
{
    struct slice rest = slice_of(set->text, len);
    struct conf_place place = {file, 0};
    unsigned bad = 0;
    size_t used = 0;

    while (rest.len > 0 && bad < BAD_LINES_MAX) {
        ptrdiff_t newline = slice_find(rest, '\n');
        struct slice line = newline < 0 ? rest : slice_head(rest, (size_t)newline);
        struct slice entry = without_comment(line);

        place.line++;
        slice_advance(&rest, newline < 0 ? rest.len : line.len + 1);
        if (entry.len == 0)
            continue;
        if (!is_entry(entry)) {
            conf_fail(load, place, "\"%.*s\" is neither an address nor a local part",
                      SLICE_ARG(slice_head(entry, 80)));
            bad++;
            continue;
        }
        for (size_t i = 0; i < entry.len; i++) {
            uint8_t c = entry.data[i];

            set->text[used++] = (char)(c >= 'A' && c <= 'Z' ? c - 'A' + 'a' : c);
        }
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

/* A file that is not configuration text, but in which problems can be. */
static struct conf_text *place_holder(struct conf_load *load, const char *path)
{
    struct conf_text *text = mem_zalloc(sizeof(*text));
    struct conf_text **end = &load->texts;

    text->path = mem_strdup(path);
    for (; *end != NULL; end = &(*end)->next)
        text->number = (*end)->number + 1;
    *end = text;
    return text;
}

static struct conf_recipients *read_set(struct conf_load *load, const struct conf_domain *domain)
{
    struct conf_place here = conf_place_of(load, &domain->recipients_file);
    char why[128];
    size_t len = 0;
    char *text = NULL;
    FILE *file = fopen(domain->recipients_file, "re");

    if (file == NULL)
        (void)snprintf(why, sizeof(why), "%s", strerrordesc_np(errno));
    else
        text = conf_read_all(file, FILE_SIZE_MAX, &len, why, sizeof(why));
    if (file != NULL)
        (void)fclose(file); /* only read from */
    if (text == NULL) {
        conf_fail(load, here, "recipients: cannot read %s: %s", domain->recipients_file, why);
        return NULL;
    }
    struct conf_recipients *set = mem_zalloc(sizeof(*set));
    set->path = mem_strdup(domain->recipients_file);
    set->text = text;
    size_t used = compact(load, set, len, place_holder(load, set->path));
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
