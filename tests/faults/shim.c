/* Laid under the program by LD_PRELOAD: the system fails as a test says.
 *
 * In the folder TRAPLINE_TEST_FAULTS: while a file `eio` is there, whatever is written to a file of the journal, and each
 * of its syncs, fails with EIO; while `erofs` is there, its files cannot be written, cut, removed or opened for writing, as
 * on a file system that the kernel made read-only after an error; while `no-ipv6` is there, no socket of IPv6 can be made. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
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

static int is_kept(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash && strncmp(slash, "/journal.", 9) == 0;
}

static int fails(int fd) {
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, target, sizeof target - 1);
    target[count < 0 ? 0 : count] = 0;
    if (!is_kept(target)) return 0;
    errno = told("eio") ? EIO : told("erofs") ? EROFS : 0;
    return errno != 0;
}

static int is_read_only(const char *path) {
    if (!is_kept(path) || !told("erofs")) return 0;
    errno = EROFS;
    return 1;
}

static int open_at(int folder, const char *path, int flags, mode_t mode) {
    int writes = (flags & O_ACCMODE) != O_RDONLY || (flags & (O_CREAT | O_TRUNC));
    return writes && is_read_only(path) ? -1 : (int)syscall(SYS_openat, folder, path, flags, mode);
}

#define MODE(flags) va_list rest; va_start(rest, flags); mode_t mode = va_arg(rest, mode_t); va_end(rest);

int open(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags, mode); }

int open64(const char *path, int flags, ...) { MODE(flags) return open_at(AT_FDCWD, path, flags | O_LARGEFILE, mode); }

int openat(int folder, const char *path, int flags, ...) { MODE(flags) return open_at(folder, path, flags, mode); }

int unlink(const char *path) {
    return is_read_only(path) ? -1 : (int)syscall(SYS_unlinkat, AT_FDCWD, path, 0);
}

int ftruncate(int fd, off_t size) { return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size); }

int ftruncate64(int fd, off_t size) { return fails(fd) ? -1 : (int)syscall(SYS_ftruncate, fd, size); }

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
