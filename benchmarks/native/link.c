/* A link with a delay and a bandwidth between two network namespaces.
 *
 *     link NAMESPACE NAME NAMESPACE NAME DELAY_MICROSECONDS BITS_PER_SECOND
 *
 * Makes a TUN device of that name in each namespace and carries packets between them, each way with
 * the delay and at the bandwidth, as `tc netem delay rate` does where a kernel has it. Packets are
 * taken over as the kernel hands them to a card that segments by itself (IFF_VNET_HDR), so TCP works
 * with segments of the usual size and few system calls. It prints "ready" and ends with its input.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

enum { SLOTS = 8192, LARGEST = 65536 + 64, QUEUE_MICROSECONDS = 100000 };

struct packet {
    int64_t due; /* nanoseconds of the monotonic clock */
    size_t n;
    char *bytes;
};

struct way {
    int from, to;
    struct packet ring[SLOTS];
    size_t head, tail; /* head: next to be delivered; tail: next free */
    pthread_mutex_t lock;
    pthread_cond_t filled;
};

static int64_t delay, picoseconds_per_byte;

static void fail(const char *what) {
    perror(what);
    exit(1);
}

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int device(const char *namespace, const char *name) {
    int there = open(namespace, O_RDONLY | O_CLOEXEC);
    if (there < 0 || setns(there, CLONE_NEWNET)) fail(namespace);
    close(there);
    int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    if (tun < 0) fail("/dev/net/tun");
    struct ifreq asked = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    strncpy(asked.ifr_name, name, IFNAMSIZ - 1);
    if (ioctl(tun, TUNSETIFF, &asked)) fail("TUNSETIFF");
    if (ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4)) fail("TUNSETOFFLOAD");
    return tun;
}

static void *take(void *argument) {
    struct way *way = argument;
    int64_t sent = 0; /* when the last packet has left */
    char buffer[LARGEST];
    for (ssize_t n; (n = read(way->from, buffer, sizeof buffer)) > 0;) {
        int64_t begin = now();
        if (sent < begin) sent = begin;
        pthread_mutex_lock(&way->lock);
        size_t waiting = way->tail - way->head;
        if (waiting < SLOTS && sent - begin < QUEUE_MICROSECONDS * 1000LL) {
            sent += n * picoseconds_per_byte / 1000;
            char *bytes = malloc(n);
            memcpy(bytes, buffer, n);
            way->ring[way->tail++ % SLOTS] = (struct packet){sent + delay, n, bytes};
            if (!waiting) pthread_cond_signal(&way->filled);
        } /* else the queue is full and the packet lost, as on any link */
        pthread_mutex_unlock(&way->lock);
    }
    exit(1);
}

static void *give(void *argument) {
    struct way *way = argument;
    prctl(PR_SET_TIMERSLACK, 1);
    for (;;) {
        pthread_mutex_lock(&way->lock);
        while (way->head == way->tail) pthread_cond_wait(&way->filled, &way->lock);
        struct packet packet = way->ring[way->head % SLOTS];
        pthread_mutex_unlock(&way->lock);
        struct timespec due = {packet.due / 1000000000, packet.due % 1000000000};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR) continue;
        if (write(way->to, packet.bytes, packet.n) < 0 && errno != EIO) fail("write");
        free(packet.bytes);
        pthread_mutex_lock(&way->lock);
        way->head++;
        pthread_mutex_unlock(&way->lock);
    }
    return NULL;
}

int main(int argc, char **argv) {
    if (argc != 7) return 2;
    delay = atoll(argv[5]) * 1000;
    picoseconds_per_byte = 8000000000000LL / atoll(argv[6]);
    int one = device(argv[1], argv[2]), other = device(argv[3], argv[4]);
    static struct way ways[2];
    for (int i = 0; i < 2; i++) {
        ways[i].from = i ? other : one;
        ways[i].to = i ? one : other;
        pthread_mutex_init(&ways[i].lock, NULL);
        pthread_cond_init(&ways[i].filled, NULL);
        pthread_t thread;
        pthread_create(&thread, NULL, take, &ways[i]);
        pthread_create(&thread, NULL, give, &ways[i]);
    }
    puts("ready");
    fflush(stdout);
    for (char c; read(0, &c, 1) > 0;) continue;
    return 0;
}
