/* A switch between hosts that can be far apart: it holds packets back, doubles
 * some, and lets some be overtaken. Each argument is the path of a network
 * namespace and the address of its host; a TUN device `far` appears in each.
 * Orders are lines on standard input, and the end of them is the end of it:
 *
 *   FROM TO DELAY_US JITTER_US DOUBLED_PERCENT OVERTAKEN_PERCENT
 *
 * with hosts by their place from 0. "ready" is said when the devices are there,
 * and "done" after each order. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <poll.h>
#include <sched.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define HOSTS_MAX 8
#define HELD_MAX 65536 /* packets; what comes on top is lost, as in a real one */
#define PACKET_BYTES_MAX 2048
#define DESTINATION_OFFSET 16 /* in a header of IPv4 */
#define HEADER_BYTES 20

struct path {
    long delay_us, jitter_us, doubled, overtaken;
    int64_t latest; /* nothing arrives before what was sent before it */
};

struct packet {
    int64_t due;
    uint64_t number;
    int to;
    size_t length;
    unsigned char bytes[];
};

static int device[HOSTS_MAX], hosts;
static uint32_t address[HOSTS_MAX];
static struct path paths[HOSTS_MAX][HOSTS_MAX];
static struct packet *held[HELD_MAX];
static int held_count;
static uint64_t numbers;

static int64_t now_us(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000000LL + now.tv_nsec / 1000;
}

static int is_before(const struct packet *one, const struct packet *other)
{
    return one->due != other->due ? one->due < other->due : one->number < other->number;
}

/* A heap, the first due on top. */
static void hold(struct packet *packet)
{
    int n = held_count++;
    for (; n > 0 && is_before(packet, held[(n - 1) / 2]); n = (n - 1) / 2)
        held[n] = held[(n - 1) / 2];
    held[n] = packet;
}

static struct packet *take(void)
{
    struct packet *first = held[0], *last = held[--held_count];
    int n = 0;
    for (;;) {
        int child = 2 * n + 1;
        if (child + 1 < held_count && is_before(held[child + 1], held[child]))
            child++;
        if (child >= held_count || !is_before(held[child], last))
            break;
        held[n] = held[child];
        n = child;
    }
    held[n] = last;
    return first;
}

static int chance(long percent)
{
    return rand() % 100 < percent;
}

static void carry(int from, const unsigned char *bytes, size_t length)
{
    uint32_t destination;
    int to = 0;
    if (length < HEADER_BYTES || bytes[0] >> 4 != 4)
        return; /* not IPv4 */
    memcpy(&destination, bytes + DESTINATION_OFFSET, sizeof destination);
    while (to < hosts && address[to] != destination)
        to++;
    if (to == hosts)
        return;
    struct path *path = &paths[from][to];
    for (int copies = chance(path->doubled) ? 2 : 1; copies > 0; copies--) {
        if (held_count == HELD_MAX)
            return;
        struct packet *packet = malloc(sizeof *packet + length);
        if (!packet)
            return;
        int64_t due = now_us() + path->delay_us;
        if (path->jitter_us > 0)
            due += rand() % (2 * path->jitter_us + 1) - path->jitter_us;
        if (chance(path->overtaken))
            due += 5000 + path->delay_us; /* and those behind it do not wait */
        else if (due < path->latest)
            due = path->latest;
        else
            path->latest = due;
        packet->due = due;
        packet->number = numbers++;
        packet->to = to;
        packet->length = length;
        memcpy(packet->bytes, bytes, length);
        hold(packet);
    }
}

static int obey(const char *line)
{
    int from, to;
    struct path path = { 0 };
    int read = sscanf(line, "%d %d %ld %ld %ld %ld", &from, &to, &path.delay_us, &path.jitter_us,
                      &path.doubled, &path.overtaken);
    if (read != 6 || from < 0 || from >= hosts || to < 0 || to >= hosts)
        return 0;
    paths[from][to] = path;
    return 1;
}

static int open_device(const char *namespace)
{
    struct ifreq request = { .ifr_flags = IFF_TUN | IFF_NO_PI };
    int file = open(namespace, O_RDONLY | O_CLOEXEC);
    strcpy(request.ifr_name, "far");
    if (file < 0 || setns(file, CLONE_NEWNET) != 0)
        return -1;
    close(file);
    file = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (file < 0 || ioctl(file, TUNSETIFF, &request) != 0)
        return -1;
    return file;
}

int main(int count, char **arguments)
{
    struct pollfd ready[HOSTS_MAX + 1];
    char line[256];
    hosts = (count - 1) / 2;
    if (hosts < 1 || hosts > HOSTS_MAX)
        return 2;
    for (int n = 0; n < hosts; n++) {
        device[n] = open_device(arguments[1 + 2 * n]);
        if (device[n] < 0 || inet_pton(AF_INET, arguments[2 + 2 * n], &address[n]) != 1) {
            perror(arguments[1 + 2 * n]);
            return 1;
        }
        ready[n] = (struct pollfd){ .fd = device[n], .events = POLLIN };
    }
    ready[hosts] = (struct pollfd){ .fd = STDIN_FILENO, .events = POLLIN };
    setvbuf(stdin, NULL, _IONBF, 0);
    setvbuf(stdout, NULL, _IOLBF, 0);
    puts("ready");
    for (;;) {
        struct timespec wait, *limit = NULL;
        while (held_count > 0 && held[0]->due <= now_us()) {
            struct packet *packet = take();
            if (write(device[packet->to], packet->bytes, packet->length) < 0) {
                /* The host's device is down or full: the packet is lost. */
            }
            free(packet);
        }
        if (held_count > 0) {
            int64_t left = held[0]->due - now_us();
            left = left > 0 ? left : 0;
            wait = (struct timespec){ left / 1000000, left % 1000000 * 1000 };
            limit = &wait;
        }
        if (ppoll(ready, hosts + 1, limit, NULL) < 0 && errno != EINTR)
            return 1;
        for (int n = 0; n < hosts; n++) {
            unsigned char bytes[PACKET_BYTES_MAX];
            ssize_t length = 0;
            /* A few from each, so that none waits for a host that never stops. */
            for (int turn = 0; turn < 32; turn++) {
                length = read(device[n], bytes, sizeof bytes);
                if (length <= 0)
                    break;
                carry(n, bytes, (size_t)length);
            }
        }
        if (ready[hosts].revents) {
            if (!fgets(line, sizeof line, stdin))
                return 0;
            puts(obey(line) ? "done" : "what?");
        }
    }
}
