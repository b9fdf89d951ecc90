/*
 * Posts one HTTP request over and over to 127.0.0.1, on several kept connections at once: nothing but libc.
 *
 *   post PORT CONNECTIONS SECONDS MARKER REQUEST
 *
 * REQUEST is a file with the whole request, head and body. Each connection has one request under way at a
 * time. Prints one line of JSON: {"requests", "refused", "broken", "accepted", "seconds"}. `requests` were
 * answered in full, `refused` of them with a status other than 2xx, `broken` connections ended too early,
 * and `accepted` says how often MARKER was seen in the bodies of the answers.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINKS = 256, CHUNK = 1 << 16 };

typedef struct {
    int fd;
    size_t sent;     /* bytes of the request that the kernel has taken */
    char *answer;    /* what came so far, with a final zero */
    size_t size, room;
} Link;

static Link links[MAX_LINKS];
static struct sockaddr_in address;
static char *request;
static size_t request_size;
static const char *marker;
static uint64_t requests, refused, broken, accepted;
static int poller;

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec + time.tv_nsec / 1e9;
}

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void watch(Link *link, int action, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = link};
    if (epoll_ctl(poller, action, link->fd, &event))
        die("epoll_ctl");
}

static void open_link(Link *link)
{
    int yes = 1;
    link->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (link->fd < 0 || connect(link->fd, (struct sockaddr *)&address, sizeof address))
        die("connect");
    setsockopt(link->fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
    link->sent = link->size = 0;
    watch(link, EPOLL_CTL_ADD, EPOLLIN | EPOLLOUT);
}

static void reopen_link(Link *link)
{
    close(link->fd);
    open_link(link);
}

static void send_request(Link *link)
{
    ssize_t sent = send(link->fd, request + link->sent, request_size - link->sent,
                        MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent < 0 && errno != EAGAIN) {
        broken++;
        reopen_link(link);
        return;
    }
    link->sent += sent > 0 ? sent : 0;
    watch(link, EPOLL_CTL_MOD, link->sent == request_size ? EPOLLIN : EPOLLIN | EPOLLOUT);
}

/* Returns the body of an answer that is all there, else NULL. */
static const char *whole_body(const Link *link)
{
    static const char last_chunk[] = "0\r\n\r\n";
    size_t tail = sizeof last_chunk - 1;
    char *body = strstr(link->answer, "\r\n\r\n");
    if (!body)
        return NULL;
    body += 4;
    size_t size = link->size - (body - link->answer);
    const char *length = strcasestr(link->answer, "\r\nContent-Length:");
    if (length && length < body)
        return size >= strtoul(length + 17, NULL, 10) ? body : NULL;
    return size >= tail && !memcmp(body + size - tail, last_chunk, tail) ? body : NULL;
}

static void count_answer(Link *link, const char *body)
{
    requests++;
    refused += strncmp(link->answer, "HTTP/1.1 2", 10) != 0;
    for (const char *at = body; (at = strstr(at, marker)); at += strlen(marker))
        accepted++;
}

static void read_answer(Link *link)
{
    if (link->room < link->size + CHUNK + 1) {
        link->room = link->room * 2 + CHUNK + 1;
        if (!(link->answer = realloc(link->answer, link->room)))
            die("realloc");
    }
    ssize_t got = recv(link->fd, link->answer + link->size, CHUNK, MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN)
        return;
    if (got <= 0) {
        broken += link->sent > 0;
        reopen_link(link);
        return;
    }
    link->size += got;
    link->answer[link->size] = 0;
    const char *body = whole_body(link);
    if (body) {
        count_answer(link, body);
        link->sent = link->size = 0;
        send_request(link);
    }
}

static void read_request(const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file || fseek(file, 0, SEEK_END))
        die(path);
    request_size = ftell(file);
    rewind(file);
    if (!(request = malloc(request_size)) || fread(request, 1, request_size, file) != request_size)
        die(path);
    fclose(file);
}

static void run(int count, double deadline)
{
    struct epoll_event events[MAX_LINKS];
    for (int i = 0; i < count; i++)
        open_link(&links[i]);
    while (now() < deadline) {
        int ready = epoll_wait(poller, events, MAX_LINKS, 100);
        for (int i = 0; i < ready; i++)
            if (events[i].events & EPOLLOUT)
                send_request(events[i].data.ptr);
            else
                read_answer(events[i].data.ptr);
    }
}

int main(int argc, char **argv)
{
    if (argc != 6 || atoi(argv[2]) > MAX_LINKS)
        return 2;
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(atoi(argv[1]))};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    marker = argv[4];
    read_request(argv[5]);
    if ((poller = epoll_create1(0)) < 0)
        die("epoll_create1");
    double begin = now();
    run(atoi(argv[2]), begin + atof(argv[3]));
    printf("{\"requests\": %lu, \"refused\": %lu, \"broken\": %lu, \"accepted\": %lu, \"seconds\": %.6f}\n",
           requests, refused, broken, accepted, now() - begin);
    return 0;
}
