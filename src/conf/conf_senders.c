#include "conf_senders_priv.h"

#include "base_assert.h"
#include "base_hash.h"
#include "base_mem.h"
#include "conf_lines_priv.h"
#include "conf_value_priv.h"

/* Not keyed: a peer chooses what is looked up, but not what is in the table. */
static size_t first_slot(const struct conf_senders *map, struct slice user, struct slice address)
{
    return hash_u64(hash_stable(address) + 3 * hash_stable(user)) & map->mask;
}

/* Texts end with a control character: NUL, or a newline behind the last user of a line. */
static bool is_end(char c)
{
    return (unsigned char)c < ' ';
}

static struct slice text_at(const struct conf_senders *map, size_t at)
{
    size_t len = 0;

    while (!is_end(map->text[at + len]))
        len++;
    return slice_of(map->text + at, len);
}

static bool text_is(const struct conf_senders *map, uint32_t at, struct slice s)
{
    const char *text = map->text + at;

    /* strncmp: the text may end before the slice does, which holds no control characters. */
    return strncmp(text, (const char *)s.data, s.len) == 0 && is_end(text[s.len]);
}

static bool is_text(struct slice s)
{
    for (size_t i = 0; i < s.len; i++)
        if (is_end((char)s.data[i]))
            return false;
    return s.len > 0;
}

/* The pair's slot, or the empty one where it would be. */
static struct conf_sender_pair *find(const struct conf_senders *map, struct slice user,
                                     struct slice address)
{
    size_t i = first_slot(map, user, address);

    while (map->pairs[i].address != 0
           && !(text_is(map, map->pairs[i].address - 1, address)
                && text_is(map, map->pairs[i].user, user)))
        i = (i + 1) & map->mask;
    return &map->pairs[i];
}

bool conf_may_send(const struct conf *conf, struct slice user, struct slice address)
{
    const struct conf_senders *map = conf->auth.senders_map;
    struct slice domain = address;

    if (map == NULL || !is_text(user) || !is_text(address))
        return false;
    /* The last '@': a quoted local part may hold others. */
    for (ptrdiff_t at; (at = slice_find(slice_of(domain.data + 1, domain.len - 1), '@')) >= 0;)
        slice_advance(&domain, 1 + (size_t)at);
    return find(map, user, address)->address != 0 || find(map, user, domain)->address != 0
           || find(map, user, SLICE_LITERAL("*"))->address != 0;
}

/* Reading */

static bool is_separator(uint8_t c)
{
    return c == ' ' || c == '\t' || c == ',';
}

/* The next word of the line, which goes on behind the separator; empty at its end. */
static struct slice next_word(struct slice *line, bool address)
{
    struct slice word;
    size_t len = 0;

    while (line->len > 0 && is_separator(line->data[0]))
        slice_advance(line, 1);
    while (len < line->len
           && (address ? line->data[len] != ' ' && line->data[len] != '\t'
                       : !is_separator(line->data[len])))
        len++;
    word = slice_head(*line, len);
    slice_advance(line, len < line->len ? len + 1 : len);
    return word;
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
    return is_text(word) && slice_find(word, 127) < 0 && word.len <= CONF_USER_MAX;
}

static void keep(struct conf_senders *map, struct slice word, size_t *used)
{
    for (size_t i = 0; i < word.len; i++)
        map->text[(*used)++] = (char)conf_lower(word.data[i]);
    map->text[(*used)++] = '\0'; /* at most where what was behind the word stood */
}

/* NULL, or what is wrong with the line. */
static const char *check_line(struct slice line, size_t *out_users)
{
    struct slice word = next_word(&line, true);

    *out_users = 0;
    if (!parse_address(&word))
        return "does not begin with an address, @domain or *";
    while ((word = next_word(&line, false)).len > 0) {
        if (!is_user(word))
            return "holds what cannot be a user's name";
        ++*out_users;
    }
    return *out_users > 0 ? NULL : "has no user behind the address";
}

/* "address NUL user NUL user newline" for each good line. */
static size_t compact(struct conf_senders *map, struct conf_lines *lines)
{
    struct slice line, word;
    size_t used = 0, users;

    while (conf_lines_next(lines, &line)) {
        const char *wrong = check_line(line, &users);

        if (wrong != NULL) {
            conf_lines_fail(lines, line, wrong);
            continue;
        }
        word = next_word(&line, true);
        (void)parse_address(&word); /* it is one */
        keep(map, word, &used);
        while ((word = next_word(&line, false)).len > 0)
            keep(map, word, &used);
        map->text[used - 1] = '\n';
        map->count += users;
    }
    return used;
}

static void index_pairs(struct conf_senders *map, size_t used)
{
    size_t capacity = 4;

    while (capacity < map->count * 2)
        capacity *= 2;
    map->mask = capacity - 1;
    map->pairs = mem_calloc(capacity, sizeof(*map->pairs));
    map->count = 0;
    for (size_t at = 0; at < used;) {
        struct slice address = text_at(map, at);
        uint32_t address_at = (uint32_t)at + 1;

        do {
            at += text_at(map, at).len + 1;
            struct slice user = text_at(map, at);
            struct conf_sender_pair *pair = find(map, user, address);

            if (pair->address == 0) {
                *pair = (struct conf_sender_pair){address_at, (uint32_t)at};
                map->count++;
            }
            at += user.len;
        } while (map->text[at] != '\n');
        at++;
    }
}

void conf_senders_load(struct conf_load *load)
{
    struct conf *conf = &load->box->conf;
    struct conf_place here = conf_place_of(load, &conf->auth.senders);
    struct conf_lines lines;

    if (conf->auth.senders == NULL
        || !conf_lines_open(&lines, load, here, "senders", conf->auth.senders))
        return;
    struct conf_senders *map = mem_zalloc(sizeof(*map));
    map->text = lines.bytes;
    size_t used = compact(map, &lines);
    map->text = mem_realloc(map->text, used > 0 ? used : 1);
    index_pairs(map, used);
    conf->auth.senders_map = load->box->senders = map;
}

void conf_senders_destroy(struct conf_senders *map)
{
    if (map == NULL)
        return;
    mem_free(map->text);
    mem_free(map->pairs);
    mem_free(map);
}
