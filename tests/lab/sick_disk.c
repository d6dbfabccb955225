/* Loaded into a node before its own libraries: a disk whose syncs fail or are
 * slow, as the file named by LAB_DISK says at the moment: "fail", or "slow MS",
 * or anything else for a healthy disk. Writes go through as they are. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static int sync_with(long number, int file)
{
    char order[32] = "";
    const char *path = getenv("LAB_DISK");
    int control = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (control >= 0) {
        ssize_t length = read(control, order, sizeof order - 1);
        order[length > 0 ? length : 0] = 0;
        close(control);
    }
    if (strncmp(order, "fail", 4) == 0) {
        errno = EIO;
        return -1;
    }
    if (strncmp(order, "slow ", 5) == 0) {
        long wait_ms = atol(order + 5);
        struct timespec wait = { wait_ms / 1000, wait_ms % 1000 * 1000000 };
        nanosleep(&wait, NULL);
    }
    return (int)syscall(number, file);
}

int fsync(int file)
{
    return sync_with(SYS_fsync, file);
}

int fdatasync(int file)
{
    return sync_with(SYS_fdatasync, file);
}
