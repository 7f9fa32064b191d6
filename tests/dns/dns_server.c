/* See the header. */
#include "dns_server.h"

#include <arpa/inet.h>
#include <check.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONNECTIONS = 4, MESSAGE_MAX = 4096 };

struct connection {
    int fd; /* -1: none */
    uint8_t bytes[MESSAGE_MAX];
    size_t len;
};

struct dns_server {
    pthread_t thread;
    dns_server_script *script;
    int udp, tcp;
    int wake[2];
    atomic_uint asked;
    struct connection connections[CONNECTIONS];
};

static bool read_query(const uint8_t *m, size_t len, struct dns_server_query *q)
{
    size_t at = 12, out = 0;

    if (len < 17)
        return false;
    q->id = (uint16_t)(m[0] << 8 | m[1]);
    q->edns = m[11] != 0;
    q->ad = (m[3] & 0x20) != 0;
    while (at < len && m[at] != 0) {
        if (at + 1 + m[at] >= len || out + m[at] + 2 > sizeof(q->name))
            return false;
        if (out > 0)
            q->name[out++] = '.';
        memcpy(q->name + out, m + at + 1, m[at]);
        out += m[at];
        at += 1u + m[at];
    }
    q->name[out] = '\0';
    if (at + 5 > len)
        return false;
    q->type = (uint16_t)(m[at + 1] << 8 | m[at + 2]);
    return true;
}

static enum dns_server_act answer(struct dns_server *s, const uint8_t *m, size_t len, bool tcp,
                                  struct buf *reply)
{
    struct dns_server_query q = {.tcp = tcp};

    if (!read_query(m, len, &q))
        return SERVER_DROP;
    q.before = atomic_fetch_add(&s->asked, 1);
    return s->script(&q, reply);
}

static void serve_udp(struct dns_server *s)
{
    uint8_t m[MESSAGE_MAX];
    struct sockaddr_storage from;
    socklen_t from_len = sizeof(from);
    ssize_t len = recvfrom(s->udp, m, sizeof(m), 0, (struct sockaddr *)&from, &from_len);
    struct buf reply = {0};

    if (len > 0 && answer(s, m, (size_t)len, false, &reply) == SERVER_SEND)
        (void)sendto(s->udp, buf_slice(&reply).data, buf_len(&reply), 0, (struct sockaddr *)&from,
                     from_len);
    buf_finish(&reply);
}

static void connection_close(struct connection *c)
{
    (void)close(c->fd);
    c->fd = -1;
    c->len = 0;
}

/* In two pieces, so that the reader has to put them together. */
static void send_tcp(int fd, struct slice reply)
{
    uint8_t head[2] = {(uint8_t)(reply.len >> 8), (uint8_t)reply.len};

    (void)send(fd, head, 2, MSG_NOSIGNAL);
    (void)send(fd, reply.data, reply.len / 2, MSG_NOSIGNAL);
    (void)usleep(2000);
    (void)send(fd, reply.data + reply.len / 2, reply.len - reply.len / 2, MSG_NOSIGNAL);
}

static void serve_tcp(struct dns_server *s, struct connection *c)
{
    ssize_t got = recv(c->fd, c->bytes + c->len, sizeof(c->bytes) - c->len, 0);
    size_t need;
    struct buf reply = {0};

    if (got <= 0) {
        connection_close(c);
        return;
    }
    c->len += (size_t)got;
    need = c->len >= 2 ? 2 + (size_t)(c->bytes[0] << 8 | c->bytes[1]) : SIZE_MAX;
    if (c->len < need)
        return;
    switch (answer(s, c->bytes + 2, need - 2, true, &reply)) {
    case SERVER_SEND: send_tcp(c->fd, buf_slice(&reply)); break;
    case SERVER_DROP: break;
    case SERVER_CLOSE: connection_close(c); break;
    }
    buf_finish(&reply);
    c->len = 0;
}

static void serve_accept(struct dns_server *s)
{
    int fd = accept(s->tcp, NULL, NULL);

    for (int i = 0; i < CONNECTIONS && fd >= 0; i++) {
        if (s->connections[i].fd < 0) {
            s->connections[i].fd = fd;
            return;
        }
    }
    if (fd >= 0)
        (void)close(fd);
}

static void *serve(void *context)
{
    struct dns_server *s = context;

    for (;;) {
        struct pollfd fds[3 + CONNECTIONS] = {{.fd = s->wake[0], .events = POLLIN},
                                              {.fd = s->udp, .events = POLLIN},
                                              {.fd = s->tcp, .events = POLLIN}};
        for (int i = 0; i < CONNECTIONS; i++)
            fds[3 + i] = (struct pollfd){.fd = s->connections[i].fd, .events = POLLIN};
        if (poll(fds, 3 + CONNECTIONS, -1) < 0)
            continue;
        if (fds[0].revents != 0)
            return NULL;
        if (fds[1].revents != 0)
            serve_udp(s);
        for (int i = 0; i < CONNECTIONS; i++) {
            if (fds[3 + i].fd >= 0 && fds[3 + i].revents != 0)
                serve_tcp(s, &s->connections[i]);
        }
        if (fds[2].revents != 0)
            serve_accept(s);
    }
}

/* A port that is free for both. */
static void open_sockets(struct dns_server *s, struct sockaddr_in *addr)
{
    socklen_t len = sizeof(*addr);

    for (int i = 0; i < 100; i++) {
        *addr =
            (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        s->udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
        s->tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        ck_assert_int_eq(bind(s->udp, (struct sockaddr *)addr, len), 0);
        ck_assert_int_eq(getsockname(s->udp, (struct sockaddr *)addr, &len), 0);
        if (bind(s->tcp, (struct sockaddr *)addr, len) == 0 && listen(s->tcp, 8) == 0)
            return;
        (void)close(s->udp);
        (void)close(s->tcp);
    }
    ck_abort_msg("no port");
}

struct dns_server *dns_server_start(dns_server_script *script, struct io_addr *out_addr)
{
    struct dns_server *s = calloc(1, sizeof(*s));
    struct sockaddr_in addr;

    ck_assert_ptr_nonnull(s);
    s->script = script;
    for (int i = 0; i < CONNECTIONS; i++)
        s->connections[i].fd = -1;
    open_sockets(s, &addr);
    ck_assert_int_eq(pipe(s->wake), 0);
    *out_addr = (struct io_addr){.len = sizeof(addr)};
    memcpy(&out_addr->storage, &addr, sizeof(addr));
    ck_assert_int_eq(pthread_create(&s->thread, NULL, serve, s), 0);
    return s;
}

unsigned dns_server_asked(struct dns_server *s)
{
    return atomic_load(&s->asked);
}

void dns_server_stop(struct dns_server *s)
{
    ck_assert_int_eq(write(s->wake[1], "", 1), 1);
    ck_assert_int_eq(pthread_join(s->thread, NULL), 0);
    for (int i = 0; i < CONNECTIONS; i++) {
        if (s->connections[i].fd >= 0)
            (void)close(s->connections[i].fd);
    }
    (void)close(s->udp);
    (void)close(s->tcp);
    (void)close(s->wake[0]);
    (void)close(s->wake[1]);
    free(s);
}
