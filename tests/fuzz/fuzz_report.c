/*
 * Who wants TLS reports: a TXT record. Targets are addresses without anything that could end a header line
 * or an SMTP command, and https URLs.
 */
#include "base_assert.h"
#include "report_priv.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_target(const struct report_target *t)
{
    struct slice uri = slice_str(t->uri);

    ASSERT(uri.len > 0 && uri.len < REPORT_URI_MAX);
    if (t->https) {
        ASSERT(slice_starts_nocase(uri, SLICE_LITERAL("https://")));
        return;
    }
    ASSERT(slice_find(uri, '@') > 0);
    for (size_t i = 0; i < uri.len; i++)
        ASSERT(uri.data[i] > ' ' && uri.data[i] < 0x7f
               && strchr("<>()[]\\,;:\"", uri.data[i]) == NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct report_target targets[REPORT_TARGETS_MAX];
    size_t count = REPORT_TARGETS_MAX + 1;

    if (!report_record_parse(slice_of(data, size), targets, &count))
        return 0;
    ASSERT(count <= REPORT_TARGETS_MAX);
    for (size_t i = 0; i < count; i++)
        check_target(&targets[i]);
    return 0;
}
