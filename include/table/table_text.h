/*
 * table_text: text files that list something, read whole and then line by line.
 *
 *     struct table_text text;
 *     struct table_lines lines;
 *     struct slice entry;
 *     if (!table_text_read(path, &text, why, sizeof(why))) ...
 *     table_lines_init(&lines, &text, false);
 *     while (table_lines_next(&lines, &entry)) ...
 *     table_text_finish(&text);
 *
 * "# comment" stands alone or, behind a blank, at the end of a line, not in double quotes. Blanks around an
 * entry do not count. The last line needs no end.
 */
#ifndef TABLE_TEXT_H
#define TABLE_TEXT_H

#include "table.h"

#define TABLE_TEXT_MAX ((size_t)2 << 30)  /* octets of a file */
#define TABLE_LINE_MAX ((size_t)16 << 20) /* and of an entry, with the lines that continue it */

struct table_text {
    uint8_t *bytes;
    size_t len;
    struct table_stamp stamp;
    unsigned mode; /* permissions: 0644 */
    unsigned owner;
};
/* False and `why` ("No such file or directory") if it cannot be read, is no regular file, or did not stand
 * still while it was read. */
bool table_text_read(const char *path, struct table_text *out, char *why, size_t why_size);
void table_text_finish(struct table_text *text); /* also fine on zeroed memory */

struct table_lines {
    struct slice rest;
    unsigned line;  /* where the entry that was told last begins, from 1 */
    unsigned lines; /* read */
    bool continued; /* a line that begins with a blank goes on with the one before */
    /* NULL, or why the entry that was told last, of which only the beginning was told, is none. */
    const char *wrong;
};
/* Comments become blanks in the text's own bytes. */
void table_lines_init(struct table_lines *lines, struct table_text *text, bool continued);
/* The next entry that is not empty. Line ends in it are blanks like others. */
bool table_lines_next(struct table_lines *lines, struct slice *out_entry);

/* "key value": the value is empty if there is nothing behind the key. */
void table_split(struct slice entry, struct slice *out_key, struct slice *out_value);

#endif
