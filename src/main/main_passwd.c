/*
 * main_passwd: mailring passwd [--scheme=NAME | --delete | --check] USER. The users file is written whole
 * beside the old one, synced and renamed, so that a reader sees the old or the new, also after a power
 * cut; two of these at once wait for each other.
 */
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <termios.h>
#include <unistd.h>

#include "auth_password.h"
#include "base_mem.h"
#include "main_priv.h"
#include "main_privileges.h"

enum { PASSWORD_MAX = 1024 };

/* ---- the password -------------------------------------------------------------------------- */

static struct termios terminal; /* as it was */
static volatile sig_atomic_t caught;

static void on_signal(int number)
{
    caught = number;
}

static void catch_signals(bool catch)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
    struct sigaction action = {.sa_handler = catch ? on_signal : SIG_DFL};

    for (size_t i = 0; i < sizeof(numbers) / sizeof(numbers[0]); i++)
        (void)sigaction(numbers[i], &action, NULL); /* they are signals that can be caught */
}

/* A line of at most PASSWORD_MAX bytes, without its end, byte by byte so that no buffer keeps it. False: no
 * line, or too long. */
static bool read_line(int fd, char line[PASSWORD_MAX + 1], struct slice *out)
{
    size_t len = 0;
    ssize_t got;

    while (caught == 0 && len <= PASSWORD_MAX && (got = read(fd, line + len, 1)) != 0) {
        if (got < 0)
            return false;
        if (line[len] == '\n')
            break;
        len++;
    }
    if (len > 0 && line[len - 1] == '\r')
        len--;
    *out = slice_of(line, len);
    return caught == 0 && len > 0 && len <= PASSWORD_MAX;
}

static bool ask(int fd, const char *prompt, char line[PASSWORD_MAX + 1], struct slice *out)
{
    struct termios silent = terminal;
    bool ok;

    silent.c_lflag &= ~(tcflag_t)ECHO;
    silent.c_lflag |= ECHONL;
    if (tcsetattr(fd, TCSAFLUSH, &silent) != 0)
        return false;
    (void)dprintf(fd, "%s: ", prompt);
    ok = read_line(fd, line, out);
    (void)tcsetattr(fd, TCSAFLUSH, &terminal);
    return ok;
}

static bool read_from_terminal(int fd, bool twice, char line[PASSWORD_MAX + 1], struct slice *out)
{
    char again[PASSWORD_MAX + 1];
    struct slice second;
    bool ok;

    if (tcgetattr(fd, &terminal) != 0)
        return false;
    catch_signals(true);
    ok = ask(fd, "Password", line, out);
    if (ok && twice) {
        ok = ask(fd, "Again", again, &second);
        if (ok && !slice_equal(*out, second)) {
            main_complain("these are two different passwords; nothing is changed");
            ok = false;
        }
    }
    mem_wipe(again, sizeof(again));
    catch_signals(false);
    if (caught != 0)
        (void)raise(caught);
    return ok;
}

/* From the terminal if there is one, else the first line of standard input. */
static bool read_password(bool twice, char line[PASSWORD_MAX + 1], struct slice *out)
{
    int fd = isatty(STDIN_FILENO) ? open("/dev/tty", O_RDWR | O_CLOEXEC) : -1;
    bool ok;

    if (fd < 0) {
        ok = read_line(STDIN_FILENO, line, out);
    } else {
        ok = read_from_terminal(fd, twice, line, out);
        (void)close(fd);
    }
    if (!ok)
        main_complain("no password");
    return ok;
}

/* ---- the file ------------------------------------------------------------------------------ */

struct file {
    char *path; /* no link */
    char *folder;
    int lock; /* the folder, held while the file is exchanged */
    bool there;
    struct stat status;
    struct buf text;
};

static void file_finish(struct file *f)
{
    if (f->lock >= 0)
        (void)close(f->lock);
    if (f->text.data != NULL)
        mem_wipe(f->text.data, f->text.capacity);
    buf_finish(&f->text);
    free(f->path);
    free(f->folder);
}

static bool file_trouble(const char *path)
{
    main_complain("%s: %s", path, strerror(errno));
    return false;
}

static bool file_read(struct file *f)
{
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    ssize_t got = 0;

    f->there = fd >= 0;
    if (fd < 0)
        return errno == ENOENT || file_trouble(f->path);
    if (fstat(fd, &f->status) == 0 && S_ISREG(f->status.st_mode)) {
        uint8_t *room = buf_reserve(&f->text, (size_t)f->status.st_size + 1);

        while (room != NULL
               && (got = read(fd, room, (size_t)f->status.st_size + 1 - buf_len(&f->text))) > 0) {
            buf_commit(&f->text, (size_t)got);
            room += got;
        }
    } else {
        got = -1;
        errno = EINVAL;
    }
    if (got < 0)
        (void)file_trouble(f->path);
    (void)close(fd);
    return got >= 0;
}

/* The file itself and not a link to it, which the rename would replace. */
static bool file_open(struct file *f, const char *path)
{
    *f = (struct file){.lock = -1};
    buf_init(&f->text, 0);
    f->path = realpath(path, NULL);
    if (f->path == NULL)
        f->path = strdup(path);
    f->folder = f->path == NULL ? NULL : strdup(f->path);
    if (f->folder == NULL)
        return file_trouble(path);
    f->lock = open(dirname(f->folder), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->lock < 0 || flock(f->lock, LOCK_EX) != 0)
        return file_trouble(f->folder);
    return file_read(f);
}

/* As it was, without what others could do; a new one is for root and the server's group, which reads it at a
 * reload, or for its owner alone. */
static bool set_owner(int fd, const struct file *f, const struct main_user *user)
{
    mode_t mode = f->there ? f->status.st_mode & 0640 : 0600;

    if (f->there && fchown(fd, f->status.st_uid, f->status.st_gid) != 0)
        return false;
    if (!f->there && user->change && geteuid() == 0) {
        mode = 0640;
        if (fchown(fd, 0, user->gid) != 0)
            return false;
    }
    return fchmod(fd, mode) == 0;
}

static bool write_all(int fd, struct slice text)
{
    while (text.len > 0) {
        ssize_t wrote = write(fd, text.data, text.len);

        if (wrote < 0)
            return false;
        slice_advance(&text, (size_t)wrote);
    }
    return fsync(fd) == 0;
}

static bool file_replace(struct file *f, struct slice text, const struct main_user *user)
{
    struct buf name;
    const char *path;
    int fd;
    bool ok;

    buf_init(&name, 0);
    (void)buf_printf(&name, "%s.new", f->path);
    (void)buf_append_byte(&name, '\0');
    path = (const char *)buf_slice(&name).data;
    (void)unlink(path); /* of one that did not end: the lock is ours */
    fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    ok = fd >= 0 && set_owner(fd, f, user) && write_all(fd, text) && rename(path, f->path) == 0
         && fsync(f->lock) == 0;
    if (!ok) {
        (void)file_trouble(path);
        (void)unlink(path);
    }
    if (fd >= 0)
        (void)close(fd); /* synced */
    buf_finish(&name);
    return ok;
}

/* ---- the command --------------------------------------------------------------------------- */

static bool find_scheme(const char *name, enum auth_scheme *out)
{
    for (unsigned i = 0; i < AUTH_SCHEME_COUNT; i++) {
        *out = (enum auth_scheme)i;
        if (name == NULL || strcmp(name, auth_scheme_names[i]) == 0)
            return true;
    }
    main_complain("--scheme=%s: known are yescrypt, sha512, bcrypt, scram-sha-256 and scram-sha-1",
                  name);
    return false;
}

/* What is typed takes its time: before the file is locked, here and below. */
static int check(const char *path, struct slice user)
{
    char line[PASSWORD_MAX + 1];
    struct slice password, hash;
    struct file f;
    bool there, fits;
    int exit_code = EX_NOINPUT;

    if (!read_password(false, line, &password))
        return EX_DATAERR;
    if (file_open(&f, path)) {
        there = auth_file_find(buf_slice(&f.text), user, &hash);
        fits = there && auth_password_is(hash, password);
        (void)puts(!there ? "there is no such user"
                   : fits ? "this is the password"
                          : "wrong password");
        exit_code = fits ? EX_OK : 1;
    }
    file_finish(&f);
    mem_wipe(line, sizeof(line));
    return exit_code;
}

static int delete_locked(struct file *f, struct slice user, const struct main_user *owner)
{
    struct buf text;
    int exit_code = EX_OK;

    buf_init(&text, 0);
    if (!auth_file_delete(buf_slice(&f->text), user, &text)) {
        main_complain("%.*s is not in %s", SLICE_ARG(user), f->path);
        exit_code = 1;
    } else if (!file_replace(f, buf_slice(&text), owner)) {
        exit_code = EX_IOERR;
    }
    if (text.data != NULL)
        mem_wipe(text.data, text.capacity);
    buf_finish(&text);
    return exit_code;
}

static int delete_user(const char *path, struct slice user, const struct main_user *owner)
{
    struct file f;
    int exit_code = file_open(&f, path) ? delete_locked(&f, user, owner) : EX_NOINPUT;

    file_finish(&f);
    return exit_code;
}

static int set_hash(struct file *f, struct slice user, struct slice hash,
                    const struct main_user *owner)
{
    struct buf text;
    bool ok;

    buf_init(&text, 0);
    (void)buf_reserve(&text, buf_len(&f->text) + user.len + hash.len + 16);
    auth_file_set(buf_slice(&f->text), user, hash, &text);
    ok = file_replace(f, buf_slice(&text), owner);
    mem_wipe(text.data, text.capacity);
    buf_finish(&text);
    return ok ? EX_OK : EX_IOERR;
}

static int make_hash(enum auth_scheme scheme, struct slice password, struct buf *hash)
{
    const char *why = NULL;
    uint8_t entropy[16];

    if (!auth_password_fits(scheme, password, &why)) {
        main_complain("%s", why);
        return EX_DATAERR;
    }
    if (getrandom(entropy, sizeof(entropy), 0) != (ssize_t)sizeof(entropy)) {
        main_complain("the kernel gives no randomness: %s", strerror(errno));
        return EX_OSERR;
    }
    if (!auth_password_hash(scheme, password, entropy, hash)) {
        main_complain("crypt(3) of this system does not have %s", auth_scheme_names[scheme]);
        return EX_UNAVAILABLE;
    }
    return EX_OK;
}

static int set_password(const char *path, struct slice user, enum auth_scheme scheme,
                        const struct main_user *owner)
{
    char line[PASSWORD_MAX + 1];
    struct slice password;
    struct file f;
    struct buf hash;
    int exit_code = EX_DATAERR;

    if (!read_password(true, line, &password))
        return exit_code;
    buf_init(&hash, 0);
    exit_code = make_hash(scheme, password, &hash);
    mem_wipe(line, sizeof(line));
    if (exit_code == EX_OK) {
        exit_code = file_open(&f, path) ? set_hash(&f, user, buf_slice(&hash), owner) : EX_NOINPUT;
        file_finish(&f);
    }
    buf_finish(&hash);
    return exit_code;
}

static int run(const struct main_options *o, const struct conf *conf, enum auth_scheme scheme)
{
    struct slice user = slice_str(o->words[0]);
    struct main_user owner;

    if (conf->auth.users == NULL) {
        main_complain("%s has no file of users: auth { users = ... }", o->conf_path);
        return EX_CONFIG;
    }
    main_user_look(conf->user, &owner);
    if (o->check_user)
        return check(conf->auth.users, user);
    if (o->delete_user)
        return delete_user(conf->auth.users, user, &owner);
    return set_password(conf->auth.users, user, scheme, &owner);
}

int main_passwd(const struct main_options *o)
{
    enum auth_scheme scheme;
    struct conf *conf;
    const char *why;
    int exit_code;

    if (o->word_count != 1 || (o->delete_user && o->check_user)
        || (o->scheme != NULL && (o->delete_user || o->check_user))) {
        main_complain("usage: mailring passwd [-c FILE] [--scheme=NAME | --delete | --check] USER");
        return EX_USAGE;
    }
    if (!find_scheme(o->scheme, &scheme))
        return EX_USAGE;
    if (!auth_user_name_fits(slice_str(o->words[0]), &why)) {
        main_complain("%s", why);
        return EX_USAGE;
    }
    conf = main_load_conf(o);
    if (conf == NULL)
        return EX_CONFIG;
    exit_code = run(o, conf, scheme);
    conf_free(conf);
    return exit_code;
}
