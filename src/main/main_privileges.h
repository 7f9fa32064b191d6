/* main_privileges: the user that the server runs as, and what belongs to it. */
#ifndef MAIN_PRIVILEGES_H
#define MAIN_PRIVILEGES_H

#include <stdbool.h>
#include <sys/types.h>

struct main_user {
    bool change; /* a user is configured and we are not it */
    uid_t uid;
    gid_t gid;
    const char *name;
};

/* Looks up `name` (NULL: stay as started). False after a complaint. */
bool main_user_find(const char *name, struct main_user *out);
/* Makes the directory and its parents if they are missing; what was made belongs to the user. False
 * after a complaint that names the path. */
bool main_user_make_directory(const struct main_user *user, const char *path, mode_t mode);
/* The user may write there (asked as the user). False after a complaint. */
bool main_user_may_write(const char *path, const char *setting);
/* For good: groups, gid, uid, no new privileges. */
bool main_user_become(const struct main_user *user);
/* What the process has in memory is not for a core file, nor for a debugger of the same user. */
void main_user_hide_memory(void);
/* As main_user_find(), for who only wants to know: a user that is not there changes nothing. */
void main_user_look(const char *name, struct main_user *out);

#endif
