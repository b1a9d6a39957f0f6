/* Laid under the program by LD_PRELOAD: the system fails as a test says.
 *
 * In the folder TRAPLINE_TEST_FAULTS: while a file `eio` is there, whatever is written to a file of the journal, and each
 * of its syncs, fails with EIO; while `no-ipv6` is there, no socket of IPv6 can be made. */
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

static int told(const char *name) {
    const char *folder = getenv("TRAPLINE_TEST_FAULTS");
    char path[512];
    snprintf(path, sizeof path, "%s/%s", folder ? folder : ".", name);
    return access(path, F_OK) == 0;
}

static int fails(int fd) {
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, target, sizeof target - 1);
    target[count < 0 ? 0 : count] = 0;
    const char *slash = strrchr(target, '/');
    if (!slash || strncmp(slash, "/journal.", 9) || !told("eio")) return 0;
    errno = EIO;
    return 1;
}

ssize_t write(int fd, const void *bytes, size_t count) {
    return fails(fd) ? -1 : syscall(SYS_write, fd, bytes, count);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t at) {
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t at) {
    return fails(fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, count, at);
}

int fsync(int fd) { return fails(fd) ? -1 : syscall(SYS_fsync, fd); }

int fdatasync(int fd) { return fails(fd) ? -1 : syscall(SYS_fdatasync, fd); }

int socket(int domain, int type, int protocol) {
    if (domain == AF_INET6 && told("no-ipv6")) {
        errno = EAFNOSUPPORT;
        return -1;
    }
    return syscall(SYS_socket, domain, type, protocol);
}
