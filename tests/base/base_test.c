#include "base_test.h"

#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

static size_t page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static size_t edge_size(size_t len)
{
    return (len + page_size() - 1) / page_size() * page_size();
}

struct slice edge_copy(struct slice s)
{
    size_t size = edge_size(s.len);
    uint8_t *memory =
        mmap(NULL, size + page_size(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    ck_assert(memory != MAP_FAILED);
    ck_assert_int_eq(mprotect(memory + size, page_size(), PROT_NONE), 0);
    uint8_t *copy = memory + size - s.len;
    if (s.len > 0)
        memcpy(copy, s.data, s.len);
    return slice_of(copy, s.len);
}

void edge_free(struct slice s)
{
    uint8_t *end = (uint8_t *)(uintptr_t)s.data + s.len;
    size_t size = edge_size(s.len);

    ck_assert_int_eq(munmap(end - size, size + page_size()), 0);
}

uint64_t test_seed(const char *test)
{
    const char *wanted = getenv("TEST_SEED");
    struct timespec now;

    (void)clock_gettime(CLOCK_REALTIME, &now); /* any value will do */
    uint64_t seed = wanted != NULL
                        ? strtoull(wanted, NULL, 0)
                        : (uint64_t)now.tv_nsec ^ (uint64_t)now.tv_sec << 20 ^ (uint64_t)getpid();
    fprintf(stderr, "%s: TEST_SEED=%llu\n", test, (unsigned long long)seed);
    return seed;
}
