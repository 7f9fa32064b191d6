/* main_spool: `mailring spool verify`, of a spool that no server uses, and `dump`, of any. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "io_uring_ring.h"
#include "main_priv.h"
#include "spool.h"

static void print_line(void *context, const char *text)
{
    (void)context;
    (void)puts(text); /* checked at the end, by fflush */
}

static int verify(struct io *io, const char *path)
{
    struct spool_verify_report report = {0};
    int error = spool_verify(io, path, print_line, NULL, &report);

    if (error == -EBUSY)
        return error; /* nothing was looked at */
    printf("%llu directories, %llu segments, %llu records, %llu messages of which %llu are queued, "
           "%llu bytes torn, %llu bad records\n",
           (unsigned long long)report.directories, (unsigned long long)report.segments,
           (unsigned long long)report.records, (unsigned long long)report.messages,
           (unsigned long long)report.live, (unsigned long long)report.torn_bytes,
           (unsigned long long)report.bad_records);
    return error;
}

static int run(struct io *io, const struct main_options *o, uint64_t id, const char *path)
{
    if (strcmp(o->words[0], "verify") == 0)
        return verify(io, path);
    return spool_dump(io, path, id, print_line, NULL);
}

static bool check_words(const struct main_options *o, uint64_t *out_id)
{
    if (o->word_count == 2 && strcmp(o->words[0], "dump") == 0
        && !id_from_text(slice_str(o->words[1]), out_id)) {
        main_complain("\"%s\" is not a message id", o->words[1]);
        return false;
    }
    if (o->word_count >= 1 && strcmp(o->words[0], "verify") == 0 && o->word_count == 1)
        return true;
    if (o->word_count >= 1 && strcmp(o->words[0], "dump") == 0 && o->word_count <= 2)
        return true;
    main_complain("usage: mailring spool verify | mailring spool dump [ID]");
    return false;
}

int main_spool(const struct main_options *o)
{
    struct io_uring_options options = {.recv_buffers = 2, .recv_buffer_len = 4096, .cpu = -1};
    struct conf *conf;
    struct buf text;
    struct io *io;
    uint64_t id = 0;
    int exit_code = EX_OSERR, error;

    if (!check_words(o, &id))
        return EX_USAGE;
    conf = main_load_conf(o);
    if (conf == NULL)
        return EX_CONFIG;
    buf_init(&text, 0);
    io = io_uring_create(&options, &text, &exit_code);
    if (io == NULL) {
        main_complain("%.*s", SLICE_ARG(buf_slice(&text)));
    } else {
        error = io_uring_start(io);
        if (error == 0)
            error = run(io, o, id, conf->spool);
        if (error == -EBUSY)
            main_complain("%s: a server is using this spool; stop it first", conf->spool);
        else if (error == -EBADMSG)
            main_complain("%s: what is named above is damaged; the rest can be served",
                          conf->spool);
        else if (error != 0)
            main_complain("%s: %s", conf->spool, strerror(-error));
        exit_code = error == -EBUSY ? EX_UNAVAILABLE : error != 0 ? EX_DATAERR : EX_OK;
        if (fflush(stdout) != 0 && exit_code == EX_OK)
            exit_code = EX_IOERR;
        io_destroy(io);
    }
    buf_finish(&text);
    conf_free(conf);
    return exit_code;
}
