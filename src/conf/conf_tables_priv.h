/*
 * conf_tables: settings that are tables, read into what is looked up. Each has a format, which says what an
 * entry is; files, databases and entries in the configuration itself are all one to it. A file that several
 * settings of one kind name is read once, and not at all if the configuration before has it, unchanged.
 */
#ifndef CONF_TABLES_PRIV_H
#define CONF_TABLES_PRIV_H

#include "conf_load_priv.h"
#include "table_text.h"

struct conf_reader;

struct conf_format {
    const char *setting;
    bool continued; /* a line that begins with a blank goes on with the one before */
    bool guarded;   /* a file that everybody may write to is refused */
    /* Adds what the entry says to the reader's builder, or reports with conf_reader_fail(). */
    void (*add)(struct conf_reader *reader, struct slice entry);
    /* The same for a record of a CDB, which needs no adding. */
    void (*check)(struct conf_reader *reader, struct slice key, struct slice value);
};

/* One table being read. */
struct conf_reader {
    struct conf_load *load;
    const struct conf_format *format;
    struct table_builder *builder; /* NULL: a CDB */
    struct conf_place place;       /* of the entry */
    unsigned owner;                /* of the file */
    unsigned bad;                  /* entries */
};

/* Reads all tables of a setting. */
void conf_tables_load(struct conf_load *load, const struct conf_format *format,
                      const struct conf_paths *paths, struct conf_tables *out);
/* Fills conf->table_files, once all are read. */
void conf_tables_list_files(struct conf_load *load);
void conf_tables_finish(struct conf_box *box);

/* Something is wrong with the entry: `"ENTRY" what`. */
void conf_reader_fail(struct conf_reader *reader, struct slice entry, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Adds to the builder; what cannot be added is reported. False: the key was there, and stays as it was, or
 * it could not be added. */
bool conf_reader_add(struct conf_reader *reader, struct slice key, struct slice value);

/* A place for problems in a file that is not configuration text. */
struct conf_text *conf_text_of_file(struct conf_load *load, const char *path);

/* "local_part@domain", then "local_part", in any case. */
bool conf_tables_find_recipient(const struct conf_tables *tables, struct slice local_part,
                                struct slice domain, const struct table **out_table,
                                struct slice *out_value);

/* The settings, each with its format in a file of its own. */
void conf_recipients_load(struct conf_load *load);
void conf_senders_load(struct conf_load *load);
void conf_aliases_load(struct conf_load *load);
void conf_values_load(struct conf_load *load); /* `destinations` */
/* Aliases that lead to nobody or in circles: warnings. Domains and routes are sorted. */
void conf_alias_check(struct conf_load *load);
/* The same for catch_all, whose place is known before they are sorted only. */
void conf_catch_all_check(struct conf_load *load);

enum { CONF_LOCAL_PART_MAX = 256 }; /* RFC 5321 4.5.3.1.1 says 64; old systems have longer ones */

/* A local part, or one with '@' and a domain behind it: out_local gets the local part. */
bool conf_is_recipient(struct slice text, struct slice *out_local);

#endif
