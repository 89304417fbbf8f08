/* The load of the Modbus benchmark: many devices in one process, each a port of its own on 127.0.0.1.
 *
 *     modbus_load FIRST_PORT DEVICES DEAD
 *
 * Answers function 3 with registers that hold their address plus the number of questions so far. The last DEAD devices take
 * connections and questions and say nothing. Prints {"ready":true}; then, for each line on stdin, what was asked so far.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FDS = 4096, HELD = 4096, REQUEST = 12 };

static struct {
    bool listens, dead;
    size_t held;
    uint8_t bytes[HELD];
} all[FDS];

static long questions, registers;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0) fail("epoll_ctl");
}

static size_t answer(const uint8_t *question, uint8_t *out) {
    int address = question[8] << 8 | question[9], count = question[10] << 8 | question[11];
    questions++;
    memcpy(out, question, 8);
    if (question[7] != 3 || count < 1 || count > 125) {
        out[4] = 0, out[5] = 3, out[7] |= 0x80, out[8] = 3;
        return 9;
    }
    registers += count;
    int length = 3 + 2 * count;
    out[4] = (uint8_t)(length >> 8), out[5] = (uint8_t)length, out[8] = (uint8_t)(2 * count);
    for (int i = 0; i < count; i++) {
        int value = address + i + (int)questions;
        out[9 + 2 * i] = (uint8_t)(value >> 8), out[10 + 2 * i] = (uint8_t)value;
    }
    return (size_t)(9 + 2 * count);
}

static void hear(int fd) {
    static uint8_t out[HELD / REQUEST * 260];
    ssize_t got = read(fd, all[fd].bytes + all[fd].held, HELD - all[fd].held);
    if (got <= 0) {
        if (got < 0 && errno == EAGAIN) return;
        close(fd);
        return;
    }
    all[fd].held += (size_t)got;
    size_t at = 0, ready = 0;
    for (; all[fd].held - at >= REQUEST; at += REQUEST)
        if (!all[fd].dead) ready += answer(all[fd].bytes + at, out + ready);
    all[fd].held -= at;
    memmove(all[fd].bytes, all[fd].bytes + at, all[fd].held);
    if (ready > 0 && write(fd, out, ready) < 0) close(fd);
}

static void tell(void) {
    char line[256];
    if (read(STDIN_FILENO, line, sizeof line) <= 0) exit(0);
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    double cpu = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
    printf("{\"questions\":%ld,\"registers\":%ld,\"cpu_seconds\":%.6f}\n", questions, registers, cpu);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "modbus_load FIRST_PORT DEVICES DEAD\n");
        return 2;
    }
    int first = atoi(argv[1]), devices = atoi(argv[2]), dead = atoi(argv[3]), epoll = epoll_create1(0), yes = 1;
    for (int device = 0; device < devices; device++) {
        int fd = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)(first + device))};
        address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes);
        if (fd < 0 || fd >= FDS || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, 16) < 0) fail("listen");
        all[fd].listens = true;
        all[fd].dead = device >= devices - dead;
        watch(epoll, fd);
    }
    watch(epoll, STDIN_FILENO);
    printf("{\"ready\":true}\n");
    fflush(stdout);
    for (;;) {
        struct epoll_event events[256];
        int count = epoll_wait(epoll, events, 256, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            if (fd == STDIN_FILENO) {
                tell();
            } else if (all[fd].listens) {
                int client = accept4(fd, NULL, NULL, SOCK_NONBLOCK);
                if (client < 0) continue;
                if (client >= FDS) {
                    close(client);
                    continue;
                }
                setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
                all[client].listens = false;
                all[client].dead = all[fd].dead;
                all[client].held = 0;
                watch(epoll, client);
            } else {
                hear(fd);
            }
        }
    }
}
