/*
 * auth_password: what `mailring passwd` does to a users file: hashes made and compared, lines found and
 * exchanged. Works on text; whoever calls reads and writes the file. Hashes take their time.
 */
#ifndef AUTH_PASSWORD_H
#define AUTH_PASSWORD_H

#include "base_buf.h"

enum auth_scheme {
    AUTH_SCHEME_YESCRYPT, /* the default */
    AUTH_SCHEME_SHA512,
    AUTH_SCHEME_BCRYPT,
    AUTH_SCHEME_SCRAM_SHA_256,
    AUTH_SCHEME_SCRAM_SHA_1,
    AUTH_SCHEME_COUNT
};
extern const char *const auth_scheme_names[AUTH_SCHEME_COUNT]; /* "yescrypt", "scram-sha-256" */

/* Whether a user may have this name in the file, or this password; else *out_why. */
bool auth_user_name_fits(struct slice user, const char **out_why);
bool auth_password_fits(enum auth_scheme scheme, struct slice password, const char **out_why);

/* Appends the hash. `entropy`: 16 random bytes. False: the system's crypt(3) does not have this scheme. */
bool auth_password_hash(enum auth_scheme scheme, struct slice password, const uint8_t entropy[16],
                        struct buf *out);
/* Whether the password fits a hash of the file, of any scheme. */
bool auth_password_is(struct slice hash, struct slice password);

/* The user's hash in the text of a file; false: he is not there. */
bool auth_file_find(struct slice text, struct slice user, struct slice *out_hash);
/* Appends the text with the user's hash in place of his old one, his senders and all other lines as they
 * were; or with a line for him at the end. */
void auth_file_set(struct slice text, struct slice user, struct slice hash, struct buf *out);
/* The text without him. False: he is not there. */
bool auth_file_delete(struct slice text, struct slice user, struct buf *out);

#endif
