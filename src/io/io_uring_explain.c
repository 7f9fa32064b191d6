/* What to tell the operator when the kernel refuses a ring: the cause, and the remedy. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <sysexits.h>

#include "base_assert.h"
#include "io_uring_priv.h"

static void explain_forbidden(const struct uring_facts *facts, struct buf *out)
{
    (void)buf_append_str(out, "io_uring: not permitted: ");
    if (facts->disabled == 1)
        (void)buf_append_str(out,
                             "kernel.io_uring_disabled is 1 and this process is neither privileged "
                             "nor in kernel.io_uring_group; set it to 0 or add the group");
    else if (facts->disabled > 1)
        (void)buf_printf(out, "kernel.io_uring_disabled is %d; set it to 0 (sysctl)",
                         facts->disabled);
    else
        (void)buf_append_str(out,
                             "a seccomp filter forbids it; in a container allow io_uring_setup, "
                             "io_uring_enter and io_uring_register in the seccomp profile, under "
                             "systemd name them in SystemCallFilter=");
}

static void explain_memory(const struct uring_facts *facts, struct buf *out)
{
    (void)buf_append_str(out,
                         "io_uring: not enough lockable memory: the limit (RLIMIT_MEMLOCK) is ");
    if (facts->memlock == UINT64_MAX)
        (void)buf_append_str(out, "unlimited");
    else
        (void)buf_printf(out, "%" PRIu64 " KiB for all processes of this user",
                         facts->memlock / 1024);
    if (facts->need > 0)
        (void)buf_printf(out, ", and %" PRIu64 " KiB are needed here", (facts->need + 1023) / 1024);
    (void)buf_append_str(out,
                         "; set LimitMEMLOCK=infinity in the unit, or start the container with "
                         "--ulimit memlock=-1");
}

void uring_explain_facts(int error, const struct uring_facts *facts, struct buf *out_error,
                         int *out_exit)
{
    /* The configuration of the host can be put right; a kernel without the feature cannot. */
    int code = EX_OSERR;

    /* A text that does not fit the caller's buffer is cut by it; there is nobody else to tell. */
    switch (error < 0 ? -error : error) {
    case EPERM:
    case EACCES:
        explain_forbidden(facts, out_error);
        code = EX_CONFIG;
        break;
    case ENOMEM:
        explain_memory(facts, out_error);
        code = EX_CONFIG;
        break;
    case ENOSYS:
        (void)buf_printf(
            out_error,
            "io_uring: this system (%s) does not have it: kernel 6.1 or newer, built with "
            "CONFIG_IO_URING, is needed (gVisor and old seccomp profiles hide it too)",
            facts->release);
        break;
    case EINVAL:
        (void)buf_printf(out_error,
                         "io_uring: kernel %s lacks what is needed (deferred task work, "
                         "IORING_SETUP_DEFER_TASKRUN): use 6.1 or newer",
                         facts->release);
        break;
    case EMFILE:
    case ENFILE:
        (void)buf_append_str(out_error,
                             "io_uring: no file descriptor left: raise LimitNOFILE= in the "
                             "unit, or ulimit -n");
        code = EX_CONFIG;
        break;
    default:
        (void)buf_printf(out_error, "io_uring: cannot make a ring on kernel %s: %s", facts->release,
                         strerror(error < 0 ? -error : error));
        break;
    }
    *out_exit = code;
}

static int read_disabled(void)
{
    FILE *file = fopen("/proc/sys/kernel/io_uring_disabled", "re");
    int value;

    if (file == NULL)
        return -1;
    if (fscanf(file, "%d", &value) != 1)
        value = -1;
    (void)fclose(file); /* only read from */
    return value;
}

void uring_explain(int error, uint64_t need, struct buf *out_error, int *out_exit)
{
    struct uring_facts facts = {.disabled = read_disabled(), .memlock = UINT64_MAX, .need = need};
    struct utsname name;
    struct rlimit limit;

    facts.release = uname(&name) == 0 ? name.release : "unknown";
    if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY)
        facts.memlock = limit.rlim_cur;
    uring_explain_facts(error, &facts, out_error, out_exit);
}

void io_uring_explain(int error, struct buf *out_error, int *out_exit)
{
    uring_explain(error, 0, out_error, out_exit);
}
