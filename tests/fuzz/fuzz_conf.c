/*
 * Configuration files: whatever one holds, loading it answers with a result or with problems. And the files that
 * one names: an input whose first line is "#@aliases" is a file of aliases, and so for the other tables.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_assert.h"
#include "conf_alias.h"
#include "table.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "/tmp/mailring-fuzz-conf-XXXXXX";
static char table_path[] = "/tmp/mailring-fuzz-table-XXXXXX";

/* First lines, and the configurations that name such a file as %s. */
static const struct {
    const char *mark, *conf;
} kinds[] = {
    {"#@aliases\n", "hostname = mx.example\ndomain a.example { to = mx recipients = ann "
                    "subaddress = \"+\" aliases = \"%s\" }"},
    {"#@virtual\n", "hostname = mx.example\ndomain a.example { to = mx } virtual_aliases = \"%s\""},
    {"#@recipients\n", "hostname = mx.example\ndomain a.example { to = mx recipients = \"%s\" }"},
    {"#@destinations\n",
     "hostname = mx.example\ndomain a.example { to = mx destinations = \"%s\" }"},
    {"#@senders\n", "hostname = mx.example\nauth { senders = \"%s\" }"},
    {"#@cdb\n", "hostname = mx.example\ndomain a.example { to = mx aliases = \"cdb:%s\" "
                "recipients = \"cdb:%s\" destinations = \"cdb:%s\" } "
                "virtual_aliases = \"cdb:%s\" auth { senders = \"cdb:%s\" }"},
};

static void remove_file(void)
{
    (void)unlink(path); /* they are gone or not; nobody needs them */
    (void)unlink(table_path);
}

static void use_targets(struct conf_targets *targets)
{
    uint8_t memory[CONF_TARGET_MEMORY_MAX];
    struct conf_target target;
    struct slice whole;

    while (conf_targets_next(targets, &target)) {
        ASSERT(target.address.len > 0 && target.address.len <= CONF_ADDRESS_MAX);
        ASSERT(conf_target_address(&target, SLICE_LITERAL("x"), SLICE_LITERAL("y.example"), memory,
                                   &whole));
        ASSERT(slice_find(whole, '@') > 0 && slice_find(whole, '\n') < 0);
    }
}

/* Each key that a table has is found, whatever it is. */
static void use_tables(const struct conf *conf, const struct conf_domain *domain)
{
    struct conf_targets targets;
    struct slice key, value;
    size_t cursor = 0;

    for (size_t i = 0; i < domain->alias_tables.count; i++, cursor = 0) {
        while (table_next(domain->alias_tables.items[i], &cursor, &key, &value)) {
            if (conf_alias_find(domain, key, &targets))
                use_targets(&targets);
        }
    }
    for (size_t i = 0; i < conf->virtual_tables.count; i++, cursor = 0) {
        while (table_next(conf->virtual_tables.items[i], &cursor, &key, &value)) {
            if (conf_virtual_find(conf, key, &targets))
                use_targets(&targets);
        }
    }
    for (size_t i = 0; i < domain->destination_tables.count; i++, cursor = 0) {
        while (table_next(domain->destination_tables.items[i], &cursor, &key, &value)) {
            const struct conf_destinations *to = conf_domain_destination(domain, key);

            ASSERT(to == NULL || to->count == 1);
        }
    }
}

static void use_all(const struct conf *conf)
{
    static const char *const names[] = {"", "a.example", "b.a.example", "*"};

    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct slice name = slice_str(names[i]);
        const struct conf_domain *domain = conf_domain_find(conf, name);

        ASSERT(conf_route_find(conf, name)->to.count > 0);
        if (domain != NULL)
            ASSERT(conf_domain_user(domain, SLICE_LITERAL("ann+news")).len > 0);
        if (domain != NULL)
            (void)conf_domain_has_recipient(domain, name); /* any answer will do */
        if (domain != NULL)
            use_tables(conf, domain);
        (void)conf_may_send(conf, SLICE_LITERAL("ann"), name); /* here too */
    }
    ASSERT(conf->listener_count > 0);
    ASSERT(conf->hostname.len > 0);
    ASSERT(conf->retry.intervals.count > 0);
}

static void put(int fd, const void *data, size_t size)
{
    ASSERT(ftruncate(fd, 0) == 0);
    ASSERT(pwrite(fd, data, size, 0) == (ssize_t)size);
}

/* What the configuration is, and the table beside it if the input is one. */
static void put_input(int fd, int table_fd, const uint8_t *data, size_t size)
{
    char text[1000];

    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        size_t len = strlen(kinds[i].mark);

        if (size < len || memcmp(data, kinds[i].mark, len) != 0)
            continue;
        int used = snprintf(text, sizeof(text), kinds[i].conf, table_path, table_path, table_path,
                            table_path, table_path);
        ASSERT(used > 0 && (size_t)used < sizeof(text));
        put(fd, text, (size_t)used);
        put(table_fd, data + len, size - len);
        return;
    }
    put(fd, data, size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1, table_fd = -1;
    struct conf *conf = NULL;
    struct conf_errors errors = {0};

    if (fd < 0) {
        fd = mkstemp(path);
        table_fd = mkstemp(table_path);
        ASSERT(fd >= 0 && table_fd >= 0);
        ASSERT(atexit(remove_file) == 0);
    }
    /* What a file can include is not an input of ours. */
    if (memmem(data, size, "include", 7) != NULL)
        return 0;
    put_input(fd, table_fd, data, size);
    bool ok = conf_load(path, &conf, &errors);
    ASSERT(ok == (conf != NULL));
    ASSERT(ok == (errors.count == errors.warning_count));
    if (ok)
        use_all(conf);
    conf_errors_finish(&errors);
    conf_free(conf);
    return 0;
}
