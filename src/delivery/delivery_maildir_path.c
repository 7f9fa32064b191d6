/*
 * delivery_maildir_path: which directory and which file. What senders wrote becomes part of a path
 * here, so each piece is checked to be one plain name (conf_mailbox.c).
 */
#include "base_log.h"
#include "delivery_maildir_priv.h"

enum { HOSTNAME_MAX_BYTES = 200 };

static void split(struct slice address, struct slice *out_local, struct slice *out_domain)
{
    *out_local = address;
    *out_domain = SLICE_NULL;
    /* From the end: a quoted local part may hold '@'. */
    for (size_t i = address.len; i > 0; i--) {
        if (address.data[i - 1] != '@')
            continue;
        *out_local = slice_head(address, i - 1);
        *out_domain = slice_of(address.data + i, address.len - i);
        return;
    }
}

static bool append_user(const struct conf_domain *ours, struct slice local, struct buf *out)
{
    uint8_t memory[CONF_MAILBOX_NAME_MAX];
    struct slice user;

    return conf_mailbox_name(ours, local, memory, &user) && buf_append_slice(out, user);
}

static bool append_domain(struct slice domain, struct buf *out)
{
    if (!conf_is_plain_name(domain))
        return false;
    for (size_t i = 0; i < domain.len; i++) {
        uint8_t c = domain.data[i];
        (void)buf_append_byte(out, c >= 'A' && c <= 'Z' ? (uint8_t)(c | 0x20) : c);
    }
    return !out->overflow;
}

bool delivery_maildir_path(const struct conf *conf, struct slice pattern, struct slice address,
                           struct buf *out)
{
    struct slice local, domain;
    bool good = true;

    split(address, &local, &domain);
    for (size_t i = 0; i < pattern.len && good; i++) {
        uint8_t next = i + 1 < pattern.len ? pattern.data[i + 1] : 0;
        if (pattern.data[i] != '%') {
            good = buf_append_byte(out, pattern.data[i]);
        } else if (next == 'u') {
            good = append_user(conf_domain_find(conf, domain), local, out);
            i++;
        } else if (next == 'd') {
            good = append_domain(domain, out);
            i++;
        } else {
            good = buf_append_byte(out, '%'); /* %%; others were refused by conf */
            i += next == '%';
        }
    }
    return good;
}

/* The conventions of maildir(5): time, what makes it unique on this host, host. It holds nothing of the
 * moment of delivery, so that a delivery which is repeated because its outcome was lost in a crash
 * replaces its own file instead of adding a second one. */
void delivery_maildir_name(const struct conf *conf, uint32_t arrived_s, uint64_t id,
                           uint32_t recipient, struct buf *out)
{
    struct slice host = slice_head(conf->hostname, HOSTNAME_MAX_BYTES);
    char id_text[ID_TEXT_SIZE];

    id_to_text(id, id_text);
    (void)buf_printf(out, "%u.%sR%u.", (unsigned)arrived_s, id_text, (unsigned)recipient);
    for (size_t i = 0; i < host.len; i++) {
        if (host.data[i] == '/')
            (void)buf_append_str(out, "\\057");
        else if (host.data[i] == ':')
            (void)buf_append_str(out, "\\072");
        else
            (void)buf_append_byte(out, host.data[i]);
    }
}
