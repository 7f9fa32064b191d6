/*
 * mail_trace: the trace fields that an MTA puts on top of a message (RFC 5321 4.4). Lines are folded
 * below 78 columns. What peers said (HELO names, addresses) is cleaned of control characters, so
 * that nobody writes header lines of his own into it.
 */
#ifndef MAIL_TRACE_H
#define MAIL_TRACE_H

#include "base_buf.h"
#include "base_codec.h"

struct mail_received {
    bool masked; /* a user whose name and address are not to be told: helo, ip and client_name */
    struct slice helo;
    struct ip_addr ip;        /* the client's */
    struct slice client_name; /* its name in the DNS; empty: not known */
    struct slice hostname;    /* ours */
    struct slice protocol;    /* "ESMTP", "SMTP", "ESMTPS"... (RFC 3848) */
    struct slice tls;         /* words about the cipher for a comment; empty: none */
    struct slice id;          /* our message id */
    struct slice rcpt;        /* the one recipient; empty: several, or not to be told */
    uint64_t unix_seconds;
};

/* Appends "Received: from ... by ... with ... id ... for ...; date" with its line end. */
bool mail_trace_received(const struct mail_received *r, struct buf *out);
/* Appends "Return-Path: <sender>"; only final delivery does so. */
bool mail_trace_return_path(struct slice sender, struct buf *out);

#endif
