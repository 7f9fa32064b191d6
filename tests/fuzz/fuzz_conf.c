/* Configuration files: whatever one holds, loading it answers with a result or with problems. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "base_assert.h"
#include "conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char path[] = "/tmp/mailring-fuzz-conf-XXXXXX";

static void remove_file(void)
{
    (void)unlink(path); /* it is gone or not; nobody needs it */
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
    }
    ASSERT(conf->listener_count > 0);
    ASSERT(conf->hostname.len > 0);
    ASSERT(conf->retry.intervals.count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static int fd = -1;
    struct conf *conf = NULL;
    struct conf_errors errors = {0};

    if (fd < 0) {
        fd = mkstemp(path);
        ASSERT(fd >= 0);
        ASSERT(atexit(remove_file) == 0);
    }
    /* What a file can include is not an input of ours. */
    if (memmem(data, size, "include", 7) != NULL)
        return 0;
    ASSERT(ftruncate(fd, 0) == 0);
    ASSERT(pwrite(fd, data, size, 0) == (ssize_t)size);
    bool ok = conf_load(path, &conf, &errors);
    ASSERT(ok == (conf != NULL));
    ASSERT(ok == (errors.count == errors.warning_count));
    if (ok)
        use_all(conf);
    conf_errors_finish(&errors);
    conf_free(conf);
    return 0;
}
