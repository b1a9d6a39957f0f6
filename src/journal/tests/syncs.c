/* Laid under a test by LD_PRELOAD: syncs fail while the test says so, and what became of each is written down.
 *
 * In the folder TRAPLINE_TEST_SYNCS: a file `once-NAME` makes the next sync of NAME fail and goes with it, `always` makes
 * each fail while it is there; `log` gets a line `synced|failed|closed NAME` for each file of the journal. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static const char *told(const char *name, char *path) {
    const char *folder = getenv("TRAPLINE_TEST_SYNCS");
    snprintf(path, 512, "%s/%s", folder ? folder : ".", name);
    return path;
}

/* The name of a file of the journal. */
static int named(int fd, char *name) {
    char link[64], target[512];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t count = readlink(link, target, sizeof target - 1);
    target[count < 0 ? 0 : count] = 0;
    const char *slash = strrchr(target, '/');
    if (!slash || strncmp(slash, "/journal.", 9)) return 0;
    snprintf(name, 128, "%s", slash + 1);
    return 1;
}

static void note(const char *what, const char *name) {
    char line[160], path[512];
    int length = snprintf(line, sizeof line, "%s %s\n", what, name);
    int log = open(told("log", path), O_WRONLY | O_APPEND | O_CREAT, 0600);
    if (write(log, line, length) != length) abort();
    syscall(SYS_close, log);
}

static int fails(const char *name) {
    char once[160], path[512];
    snprintf(once, sizeof once, "once-%s", name);
    return unlink(told(once, path)) == 0 || access(told("always", path), F_OK) == 0;
}

static int sync_by(long call, int fd) {
    char name[128];
    if (!named(fd, name)) return syscall(call, fd);
    if (fails(name)) {
        note("failed", name);
        errno = EIO;
        return -1;
    }
    note("synced", name);
    return syscall(call, fd);
}

int fsync(int fd) { return sync_by(SYS_fsync, fd); }

int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }

int close(int fd) {
    char name[128];
    if (named(fd, name)) note("closed", name);
    return syscall(SYS_close, fd);
}
