/* The limit: a poem server of C and epoll, as small as it can be while every byte arrives.
 *
 *     server MODE PORT FILE THREADS [BYTES MILLISECONDS]
 *
 * MODE close   write what fits, close (a reader who talks first is cut off: the fastest, and wrong)
 *      linger  poem and FIN in one segment, then read until the reader leaves: ends as correctly as byron
 *      slow    BYTES every MILLISECONDS, on a ring of timers, then as linger
 *
 * Each thread has a listening socket of its own (SO_REUSEPORT), as byron has one for each arbiter. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BACKLOG = 4096, EVENTS = 256, BATCH = 64, FDS = 1 << 16 };

static enum { CLOSE, LINGER, SLOW } mode;
static int port;
static char *poem;
static size_t poem_len;
static size_t step = 10;
static long step_ms = 100;

/* What is known of a connection, by its descriptor: how much is sent, when the next bytes are due. */
static struct { size_t sent; long due; int next; int is_out; } conn[FDS];

static void die(const char *what) { perror(what); exit(1); }

static long now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static int listener(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
    struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&at, sizeof at) || listen(fd, BACKLOG)) die("listen");
    return fd;
}

static void watch(int epoll, int fd, uint32_t events, int op) {
    struct epoll_event e = { .events = events, .data.fd = fd };
    if (epoll_ctl(epoll, op, fd, &e)) die("epoll_ctl");
}

/* Sends up to `until`; 1 when it is all there, 0 when the kernel takes no more, -1 when the reader is gone. */
static int send_until(int fd, size_t until, int flags) {
    while (conn[fd].sent < until) {
        ssize_t n = send(fd, poem + conn[fd].sent, until - conn[fd].sent, MSG_NOSIGNAL | flags);
        if (n < 0) return errno == EAGAIN ? 0 : -1;
        conn[fd].sent += n;
    }
    return 1;
}

/* Reads and forgets what the reader says; 1 when it has left. */
static int has_left(int fd) {
    char said[4096];
    for (;;) {
        ssize_t n = recv(fd, said, sizeof said, MSG_DONTWAIT);
        if (n == 0 || (n < 0 && errno != EAGAIN)) return 1;
        if (n < 0) return 0;
    }
}

/* The poem is sent: from here on the reader leaves when it likes. Those who linger are looked at every 10 ms,
 * unregistered, oldest first. */
static void end(int fd, int *head, int *tail) {
    if (mode == CLOSE) { close(fd); return; }
    shutdown(fd, SHUT_WR);
    conn[fd].due = now_ms() + 10;
    conn[fd].next = -1;
    if (*tail >= 0) conn[*tail].next = fd; else *head = fd;
    *tail = fd;
}

static void *serve(void *unused) {
    int epoll = epoll_create1(0), listen_fd = listener();
    int linger_head = -1, linger_tail = -1, slow_head = -1, slow_tail = -1;
    struct epoll_event events[EVENTS];
    watch(epoll, listen_fd, EPOLLIN, EPOLL_CTL_ADD);
    for (;;) {
        long wait = -1, now = now_ms();
        if (linger_head >= 0) wait = conn[linger_head].due - now;
        if (slow_head >= 0 && (wait < 0 || conn[slow_head].due - now < wait)) wait = conn[slow_head].due - now;
        if ((linger_head >= 0 || slow_head >= 0) && wait < 0) wait = 0;
        int n = epoll_wait(epoll, events, EVENTS, (int)wait);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd != listen_fd) {
                int sent = send_until(fd, poem_len, 0);
                if (sent == 0) continue;
                watch(epoll, fd, 0, EPOLL_CTL_DEL);
                if (sent < 0) close(fd); else end(fd, &linger_head, &linger_tail);
                continue;
            }
            for (int taken = 0; taken < BATCH; taken++) {
                int reader = accept4(listen_fd, 0, 0, SOCK_NONBLOCK);
                if (reader < 0) break;
                if (reader >= FDS) { close(reader); continue; }
                conn[reader].sent = 0;
                if (mode == SLOW) {
                    conn[reader].due = now_ms();
                    conn[reader].next = -1;
                    if (slow_tail >= 0) conn[slow_tail].next = reader; else slow_head = reader;
                    slow_tail = reader;
                    continue;
                }
                int sent = send_until(reader, poem_len, mode == LINGER ? MSG_MORE : 0);
                if (sent > 0) end(reader, &linger_head, &linger_tail);
                else if (sent < 0) close(reader);
                else watch(epoll, reader, EPOLLOUT, EPOLL_CTL_ADD);
            }
        }
        now = now_ms();
        while (slow_head >= 0 && conn[slow_head].due <= now) {
            int fd = slow_head;
            slow_head = conn[fd].next;
            if (slow_head < 0) slow_tail = -1;
            size_t until = conn[fd].sent + step < poem_len ? conn[fd].sent + step : poem_len;
            if (send_until(fd, until, 0) < 0) { close(fd); continue; }
            if (conn[fd].sent == poem_len) { end(fd, &linger_head, &linger_tail); continue; }
            conn[fd].due += step_ms;
            conn[fd].next = -1;
            if (slow_tail >= 0) conn[slow_tail].next = fd; else slow_head = fd;
            slow_tail = fd;
        }
        while (linger_head >= 0 && conn[linger_head].due <= now) {
            int fd = linger_head;
            linger_head = conn[fd].next;
            if (linger_head < 0) linger_tail = -1;
            if (has_left(fd)) { close(fd); continue; }
            conn[fd].due = now + 10;
            conn[fd].next = -1;
            if (linger_tail >= 0) conn[linger_tail].next = fd; else linger_head = fd;
            linger_tail = fd;
        }
    }
    return unused;
}

int main(int argc, char **argv) {
    if (argc < 5) { fprintf(stderr, "server close|linger|slow PORT FILE THREADS [BYTES MILLISECONDS]\n"); return 2; }
    mode = !strcmp(argv[1], "close") ? CLOSE : !strcmp(argv[1], "linger") ? LINGER : SLOW;
    port = atoi(argv[2]);
    int file = open(argv[3], O_RDONLY);
    struct stat status;
    if (file < 0 || fstat(file, &status)) die(argv[3]);
    poem_len = status.st_size;
    poem = malloc(poem_len + 1);
    for (size_t got = 0; got < poem_len;) {
        ssize_t n = read(file, poem + got, poem_len - got);
        if (n <= 0) die("read");
        got += n;
    }
    if (argc > 6) { step = atol(argv[5]); step_ms = atol(argv[6]); }
    int threads = atoi(argv[4]);
    for (int i = 1; i < threads; i++) {
        pthread_t thread;
        if (pthread_create(&thread, 0, serve, 0)) die("pthread_create");
    }
    serve(0);
}
