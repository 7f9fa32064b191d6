/* main_privileges: see the header. */
#include "main_privileges.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base_mem.h"
#include "main_priv.h"

bool main_user_find(const char *name, struct main_user *out)
{
    const struct passwd *entry;

    *out = (struct main_user){.name = name};
    if (name == NULL)
        return true;
    errno = 0;
    entry = getpwnam(name);
    if (entry == NULL) {
        main_complain("user \"%s\": %s", name,
                      errno != 0 ? strerror(errno) : "no such user; create it or change `user`");
        return false;
    }
    out->uid = entry->pw_uid;
    out->gid = entry->pw_gid;
    out->change = geteuid() != out->uid;
    if (out->change && geteuid() != 0) {
        main_complain("user \"%s\": only root can change to it; start as root or leave `user` out",
                      name);
        return false;
    }
    return true;
}

static bool make_one(const struct main_user *user, const char *path, mode_t mode)
{
    struct stat there;
    mode_t before = umask(022); /* ours is stricter, and these may lead to other things */
    int made = mkdir(path, mode);

    (void)umask(before);
    if (made == 0) {
        /* Not through a link: the directory above may be the user's already. */
        if (user->change && lchown(path, user->uid, user->gid) != 0) {
            main_complain("%s: cannot give it to %s: %s", path, user->name, strerror(errno));
            return false;
        }
        return true;
    }
    if (errno == EEXIST && stat(path, &there) == 0) {
        if (S_ISDIR(there.st_mode))
            return true;
        errno = ENOTDIR;
    }
    main_complain("%s: cannot make this directory: %s", path, strerror(errno));
    return false;
}

bool main_user_make_directory(const struct main_user *user, const char *path, mode_t mode)
{
    char *copy = mem_strdup(path);
    bool ok = true;

    for (char *slash = strchr(copy + 1, '/'); ok && slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        ok = make_one(user, copy, 0755);
        *slash = '/';
    }
    ok = ok && make_one(user, copy, mode);
    mem_free(copy);
    return ok;
}

bool main_user_may_write(const char *path, const char *setting)
{
    if (access(path, R_OK | W_OK | X_OK) == 0)
        return true;
    main_complain("%s \"%s\": %s for user id %u; change its owner or the setting", setting, path,
                  strerror(errno), (unsigned)geteuid());
    return false;
}

bool main_user_become(const struct main_user *user)
{
    if (user->change
        && (initgroups(user->name, user->gid) != 0
            || setresgid(user->gid, user->gid, user->gid) != 0
            || setresuid(user->uid, user->uid, user->uid) != 0)) {
        main_complain("cannot change to user %s: %s", user->name, strerror(errno));
        return false;
    }
    if (user->change && setuid(0) == 0) {
        main_complain("user %s can become root again: refusing to go on", user->name);
        return false;
    }
    (void)prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); /* an old kernel lacks it; then we go without */
    return true;
}

void main_user_hide_memory(void)
{
#ifndef __SANITIZE_ADDRESS__                  /* the leak checker attaches as a debugger does */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* fails for a wrong argument only */
#endif
}

void main_user_look(const char *name, struct main_user *out)
{
    const struct passwd *entry = name == NULL ? NULL : getpwnam(name);

    *out = (struct main_user){.name = name};
    if (entry == NULL)
        return;
    out->uid = entry->pw_uid;
    out->gid = entry->pw_gid;
    out->change = geteuid() != out->uid;
}
