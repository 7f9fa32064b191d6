/*
 * dns_hosts: names that this machine itself gives addresses to (hosts(5)), read once. They count for
 * addresses of hosts, never for mail domains.
 */
#include "base_mem.h"
#include "dns_priv.h"

enum { FILE_MAX = 64 * 1024, NAMES_MAX = 1000 };

/* Takes the next word off the front of a line. */
struct slice dns_next_word(struct slice *line)
{
    struct slice rest = slice_trim(*line);
    size_t len = 0;

    while (len < rest.len && rest.data[len] != ' ' && rest.data[len] != '\t')
        len++;
    *line = rest;
    slice_advance(line, len);
    return slice_head(rest, len);
}

static unsigned parse_line(struct dns *d, struct slice line)
{
    ptrdiff_t comment = slice_find(line, '#');
    char name[DNS_NAME_MAX];
    struct ip_addr ip;
    struct slice word;
    unsigned names = 0;

    if (comment >= 0)
        line.len = (size_t)comment;
    if (line.len > 0 && line.data[line.len - 1] == '\r')
        line.len--;
    word = dns_next_word(&line);
    if (!ip_parse(word, &ip)) /* a line without one, or with a zone, which we cannot use */
        return 0;
    while ((word = dns_next_word(&line)).len > 0) {
        if (!dns_name_clean(word, name))
            continue;
        dns_entry_fix(d, name, &ip);
        names++;
    }
    return names;
}

void dns_hosts_parse(struct dns *d, struct slice text)
{
    unsigned names = 0;

    while (text.len > 0 && names < NAMES_MAX) {
        ptrdiff_t end = slice_find(text, '\n');
        size_t len = end >= 0 ? (size_t)end : text.len;
        names += parse_line(d, slice_head(text, len));
        slice_advance(&text, end >= 0 ? len + 1 : len);
    }
}

int dns_file_read(struct io *io, const char *path, uint8_t *out, size_t size)
{
    struct io_op op = {0};
    int fd, len;

    io_open(io, &op, path, IO_OPEN_READ, 0);
    fd = io_await(io, &op);
    if (fd < 0)
        return fd;
    io_read(io, &op, fd, out, (uint32_t)size, 0);
    len = io_await(io, &op);
    io_close(io, &op, fd);
    (void)io_await(io, &op); /* only read from */
    return len;
}

void dns_hosts_read(struct dns *d, const char *path)
{
    static const char loopback[] = "127.0.0.1 localhost\n";
    uint8_t *text = mem_alloc(FILE_MAX);
    int len = dns_file_read(d->io, path, text, FILE_MAX);

    if (len > 0)
        dns_hosts_parse(d, slice_of(text, (size_t)len));
    mem_free(text);
    if (dns_entry_find(d, DNS_KIND_ADDRESSES, "localhost") == NULL)
        dns_hosts_parse(d, slice_str(loopback));
}
