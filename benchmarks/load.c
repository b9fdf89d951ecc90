/*
 * A load client for WebSockets on 127.0.0.1: one process, one epoll, nothing but libc.
 *
 * It reads commands from standard input, a line each, and answers each with one line of JSON. Between them it
 * goes on reading its connections, answering pings and counting. It leaves when standard input ends.
 *
 *   open COUNT PORT PATH IN_FLIGHT SECONDS [HELLOS]
 *       Opens COUNT connections, at most IN_FLIGHT of them in the handshake at a time. HELLOS is a file with
 *       a text a line: connection i says line i after the upgrade, and is open when `welcome` came.
 *       -> {"opened", "failed", "seconds"}
 *   reset
 *       Forgets what was counted. -> {}
 *   wait COUNT SECONDS
 *       Waits until COUNT marked texts were counted, at most SECONDS. -> {"count", "disorder", "closed",
 *       "close_code", "last", "p50", "p99", "max"}; `last` is the CLOCK_MONOTONIC time of the last one in
 *       nanoseconds, the percentiles are latencies in microseconds.
 *
 * A marked text contains "mark":"N@T" somewhere. N is its number, which must rise by one on each connection:
 * what does not is `disorder`. T is the CLOCK_MONOTONIC nanosecond of its publication, 0 for no latency.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LINKS = 20000, EVENTS = 512, INBOX = 1 << 18, LONGEST_HELLO = 8192 };
enum { SLOWEST = 2000000 };  /* microseconds: what took longer is counted as this long, `max` stays exact */
enum { CONTINUATION = 0, TEXT = 1, CLOSE = 8, PING = 9, PONG = 10 };

typedef enum { DEAD, CONNECTING, UPGRADING, GREETING, OPEN } Phase;

typedef struct {
    int fd;
    Phase phase;
    uint64_t due;    /* the number of the next marked text, 0 while none has come */
    uint8_t *rest;   /* the beginning of a WebSocket frame whose end has not come yet */
    size_t rest_size;
} Link;

typedef struct {
    int opcode;
    const uint8_t *payload;
    size_t size;
} Frame;

static Link links[MAX_LINKS];
static int started, opened, failed, closed, close_code;

static char request[1024];
static size_t request_size;
static struct sockaddr_in address;
static char **hellos;
static int hello_count;

static uint64_t count, disorder, last, samples, slowest;
static uint32_t histogram[SLOWEST + 1];  /* latencies by the microsecond */

static int poller, command_waits;
static uint8_t inbox[INBOX];

static uint64_t now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static uint64_t after(double seconds) { return now() + (uint64_t)(seconds * 1e9); }

static void die(const char *what)
{
    perror(what);
    exit(1);
}

/* ---- counting ---------------------------------------------------------------------------------------- */

static void record(uint64_t nanoseconds)
{
    uint64_t latency = nanoseconds / 1000;
    histogram[latency < SLOWEST ? latency : SLOWEST]++;
    samples++;
    if (latency > slowest)
        slowest = latency;
}

static unsigned percentile(double share)
{
    uint64_t seen = 0, wanted = (uint64_t)(share * samples);
    for (unsigned latency = 0; latency <= SLOWEST; latency++)
        if ((seen += histogram[latency]) > wanted)
            return latency;
    return 0;
}

static uint64_t digits(const uint8_t **at, const uint8_t *end)
{
    uint64_t value = 0;
    while (*at < end && (**at < '0' || **at > '9'))
        ++*at;
    for (; *at < end && **at >= '0' && **at <= '9'; ++*at)
        value = value * 10 + (**at - '0');
    return value;
}

/* Texts of one contender are laid out alike: looking where the last mark was saves reading them whole. */
static const uint8_t *find_mark(const uint8_t *text, size_t size)
{
    static const char mark[] = "\"mark\"";
    static size_t usual;
    if (usual + sizeof mark <= size && !memcmp(text + usual, mark, sizeof mark - 1))
        return text + usual;
    const uint8_t *found = memmem(text, size, mark, sizeof mark - 1);
    if (found)
        usual = found - text;
    return found;
}

static void count_text(Link *link, const uint8_t *text, size_t size, uint64_t time)
{
    const uint8_t *at = find_mark(text, size), *end = text + size;
    if (!at)
        return;
    uint64_t number = digits(&at, end), published = digits(&at, end);
    if (link->due && number != link->due)
        disorder++;
    link->due = number + 1;
    if (published)
        record(time - published);
    count++;
    last = time;
}

static void reset(void)
{
    count = disorder = last = samples = slowest = 0;
    memset(histogram, 0, sizeof histogram);
    for (int i = 0; i < started; i++)
        links[i].due = 0;
    puts("{}");
}

/* ---- one connection ---------------------------------------------------------------------------------- */

static void end_link(Link *link)
{
    if (link->phase == OPEN)
        closed++;
    else
        failed++;
    link->phase = DEAD;
    close(link->fd);  /* this takes it out of the poller, too */
    free(link->rest);
    link->rest = NULL;
    link->rest_size = 0;
}

/* Messages of a client are short and rare, so a socket that does not take all of it at once is broken. */
static int say(Link *link, const void *data, size_t size)
{
    return send(link->fd, data, size, MSG_NOSIGNAL) == (ssize_t)size;
}

static int say_frame(Link *link, int opcode, const void *payload, size_t size)
{
    static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
    uint8_t out[LONGEST_HELLO + 8];
    size_t head = 2;
    if (size > LONGEST_HELLO)
        return 0;
    out[0] = 0x80 | opcode;
    if (size < 126) {
        out[1] = 0x80 | size;
    } else {
        out[1] = 0x80 | 126;
        out[2] = size >> 8;
        out[3] = size & 0xff;
        head = 4;
    }
    memcpy(out + head, mask, 4);
    for (size_t i = 0; i < size; i++)
        out[head + 4 + i] = ((const uint8_t *)payload)[i] ^ mask[i % 4];
    return say(link, out, head + 4 + size);
}

/* Returns the size of the whole WebSocket frame, 0 if its end is still to come, -1 if it is none. */
static ssize_t read_frame(const uint8_t *data, size_t size, Frame *frame)
{
    size_t head = 2, wide;
    if (size < head)
        return 0;
    if (data[0] & 0x70 || data[1] & 0x80 || ((data[0] & 0x0f) > 2 && (data[0] & 0x0f) < 8))
        return -1;
    frame->opcode = data[0] & 0x0f;
    frame->size = data[1];
    wide = data[1] == 126 ? 2 : data[1] == 127 ? 8 : 0;
    if (size < head + wide)
        return 0;
    if (wide)
        for (frame->size = 0; head < 2 + wide; head++)
            frame->size = frame->size << 8 | data[head];
    frame->payload = data + head;
    if (frame->size > INBOX / 2)
        return -1;
    return size < head + frame->size ? 0 : (ssize_t)(head + frame->size);
}

/* Returns 0 if the connection is over. Messages in several WebSocket frames are not joined. */
static int take_frame(Link *link, const Frame *frame, uint64_t time)
{
    if (frame->opcode == CLOSE) {
        close_code = frame->size < 2 ? 1005 : frame->payload[0] << 8 | frame->payload[1];
        return 0;
    }
    if (frame->opcode == PING)
        return say_frame(link, PONG, frame->payload, frame->size);
    if (frame->opcode == PONG)
        return 1;
    if (link->phase == OPEN) {
        count_text(link, frame->payload, frame->size, time);
    } else if (memmem(frame->payload, frame->size, "welcome", 7)) {
        link->phase = OPEN;
        opened++;
    }
    return 1;
}

/* Returns the size of the answer to the upgrade, 0 if its end is still to come, -1 if it was refused. */
static ssize_t take_upgrade(Link *link, const uint8_t *data, size_t size)
{
    const uint8_t *end = memmem(data, size, "\r\n\r\n", 4);
    if (!end)
        return 0;
    if (memcmp(data, "HTTP/1.1 101", 12))
        return -1;
    link->phase = hello_count ? GREETING : OPEN;
    if (!hello_count)
        opened++;
    const char *hello = hello_count ? hellos[(link - links) % hello_count] : NULL;
    if (hello && !say_frame(link, TEXT, hello, strlen(hello)))
        return -1;
    return end + 4 - data;
}

/* Returns how many bytes were used up, or -1 if the connection is over. */
static ssize_t take_bytes(Link *link, const uint8_t *data, size_t size, uint64_t time)
{
    size_t used = 0;
    while (used < size) {
        Frame frame;
        int upgrading = link->phase == UPGRADING;
        ssize_t step = upgrading ? take_upgrade(link, data + used, size - used)
                                 : read_frame(data + used, size - used, &frame);
        if (step < 0 || (step > 0 && !upgrading && !take_frame(link, &frame, time)))
            return -1;
        if (!step)
            break;
        used += step;
    }
    return used;
}

static void read_link(Link *link)
{
    memcpy(inbox, link->rest, link->rest_size);
    ssize_t got = recv(link->fd, inbox + link->rest_size, INBOX - link->rest_size, 0);
    if (got < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    size_t size = link->rest_size + (got > 0 ? got : 0);
    ssize_t used = got > 0 ? take_bytes(link, inbox, size, now()) : -1;
    if (used < 0) {
        end_link(link);
        return;
    }
    link->rest_size = size - used;
    link->rest = realloc(link->rest, link->rest_size + 1);
    if (!link->rest)
        die("realloc");
    memcpy(link->rest, inbox + used, link->rest_size);
}

static void watch(Link *link, int action, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.ptr = link};
    if (epoll_ctl(poller, action, link->fd, &event))
        die("epoll_ctl");
}

static void start_link(void)
{
    Link *link = &links[started++];
    link->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (link->fd < 0)
        die("socket");
    link->phase = CONNECTING;
    link->rest = malloc(1);
    if (connect(link->fd, (struct sockaddr *)&address, sizeof address) && errno != EINPROGRESS)
        end_link(link);
    else
        watch(link, EPOLL_CTL_ADD, EPOLLOUT);
}

static void upgrade(Link *link)
{
    link->phase = UPGRADING;
    if (say(link, request, request_size))
        watch(link, EPOLL_CTL_MOD, EPOLLIN);
    else
        end_link(link);
}

/* ---- commands ---------------------------------------------------------------------------------------- */

/* Serves the connections until something happened or the deadline (nanoseconds; 0: none) is there. */
static void turn(uint64_t deadline)
{
    struct epoll_event events[EVENTS];
    uint64_t time = now();
    int timeout = !deadline ? -1 : deadline <= time ? 0 : (int)((deadline - time) / 1000000) + 1;
    int ready = epoll_wait(poller, events, EVENTS, timeout);
    for (int i = 0; i < ready; i++) {
        Link *link = events[i].data.ptr;
        if (!link)
            command_waits = 1;
        else if (link->phase == CONNECTING)
            upgrade(link);
        else
            read_link(link);
    }
}

static void read_hellos(const char *path)
{
    char line[LONGEST_HELLO];
    FILE *file = fopen(path, "r");
    if (!file || !(hellos = calloc(MAX_LINKS, sizeof *hellos)))
        die(path);
    for (hello_count = 0; hello_count < MAX_LINKS && fgets(line, sizeof line, file); hello_count++) {
        line[strcspn(line, "\n")] = 0;
        hellos[hello_count] = strdup(line);
    }
    fclose(file);
}

static void open_links(int wanted, int in_flight, double seconds)
{
    int first = started;
    uint64_t begin = now(), deadline = after(seconds);
    if (wanted > MAX_LINKS - started)
        wanted = MAX_LINKS - started;
    opened = failed = 0;
    while (opened + failed < wanted && now() < deadline && !command_waits) {
        while (started - first < wanted && started - first - opened - failed < in_flight)
            start_link();
        turn(deadline);
    }
    printf("{\"opened\": %d, \"failed\": %d, \"seconds\": %.6f}\n", opened, failed, (now() - begin) / 1e9);
}

static void prepare(int port, const char *path, const char *hello_file)
{
    address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    request_size = snprintf(request, sizeof request,
                            "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%d\r\n"
                            "Connection: Upgrade\r\nUpgrade: websocket\r\n"
                            "Sec-WebSocket-Version: 13\r\n"
                            "Sec-WebSocket-Key: bm90aWZpZXItbG9hZGluZw==\r\n\r\n",
                            path, port);
    if (*hello_file && !hello_count)
        read_hellos(hello_file);
}

static void wait_for(uint64_t wanted, double seconds)
{
    uint64_t deadline = after(seconds);
    while (count < wanted && now() < deadline && !command_waits)
        turn(deadline);
    printf("{\"count\": %lu, \"disorder\": %lu, \"closed\": %d, \"close_code\": %d, \"last\": %lu, "
           "\"p50\": %u, \"p99\": %u, \"max\": %lu}\n",
           count, disorder, closed, close_code, last, percentile(0.50), percentile(0.99), slowest);
}

static void run_command(const char *line)
{
    int wanted, port, in_flight;
    uint64_t texts;
    double seconds;
    char path[256], hello_file[1024] = "";
    if (sscanf(line, "open %d %d %255s %d %lf %1023s",
               &wanted, &port, path, &in_flight, &seconds, hello_file) >= 5) {
        prepare(port, path, hello_file);
        open_links(wanted, in_flight, seconds);
    } else if (sscanf(line, "wait %lu %lf", &texts, &seconds) == 2) {
        wait_for(texts, seconds);
    } else if (!strcmp(line, "reset\n")) {
        reset();
    } else {
        printf("{\"error\": \"unknown command\"}\n");
    }
}

int main(void)
{
    char line[2048];
    poller = epoll_create1(0);
    setvbuf(stdin, NULL, _IONBF, 0);  /* so that the poller knows of every line that was not read */
    setvbuf(stdout, NULL, _IOLBF, 0);
    struct epoll_event commands = {.events = EPOLLIN, .data.ptr = NULL};
    if (poller < 0 || epoll_ctl(poller, EPOLL_CTL_ADD, STDIN_FILENO, &commands))
        die("epoll");
    for (;;) {
        command_waits = 0;
        while (!command_waits)
            turn(0);
        if (!fgets(line, sizeof line, stdin))
            return 0;
        command_waits = 0;
        run_command(line);
    }
}
