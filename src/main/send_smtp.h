/*
 * send_smtp: one message to the server at its submit socket, waiting for every answer: for programs that
 * send one message and end, and for the helper that empties the drop directory.
 */
#ifndef SEND_SMTP_H
#define SEND_SMTP_H

#include "send_body.h"
#include "smtp_client.h"

struct send_recipient {
    struct slice address;
    uint16_t code;        /* what became of it: 2yz; 0: nobody said */
    uint16_t enhanced[3]; /* class 0: none */
    char text[400];
};

struct send_mail {
    struct slice hostname; /* for EHLO */
    struct slice sender;   /* empty: the null sender */
    struct send_recipient *recipients;
    size_t recipient_count;
    uint8_t notify; /* a set of enum smtp_notify */
    enum smtp_ret ret;
    struct slice envid;  /* xtext */
    struct slice header; /* without the empty line behind it */
    bool whole;          /* the header is in the body already, with its empty line */
    struct send_body *body;
    bool verbose; /* the dialog on standard error */
};

enum send_outcome {
    SEND_TAKEN,  /* each recipient has its code; some of them may be refused */
    SEND_NOBODY, /* no server answers there */
    SEND_NOT_NOW, /* a server that takes nothing now, or went away before it had said that it has it */
    SEND_BROKEN, /* the message cannot be read back: see body->error */
};

/* Octets of the message. */
uint64_t send_mail_size(const struct send_mail *mail);
/* What stands before its body. */
struct slice send_mail_separator(const struct send_mail *mail);

/* A connection to the socket; -1: nobody answers, and errno says why. */
int send_smtp_connect(const char *path);
/* Speaks until the end and closes `fd`. `why`: for outcomes that are not TAKEN. */
enum send_outcome send_smtp(int fd, struct send_mail *mail, struct buf *why);

#endif
