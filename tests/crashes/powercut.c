/* A power cut, and a failing disk, for the files of one folder. Loaded into a process with LD_PRELOAD.
 *
 *   POWERCUT_DIR     the folder, absolute and without symbolic links
 *   POWERCUT_SHADOW  a folder elsewhere: every file as it was at its last successful fsync or fdatasync
 *   POWERCUT_EIO     a file that need not exist; while it does, "KIND N" in it makes the Nth call of that kind and all
 *                    further ones fail with EIO. KIND is "write" or "sync". N counts from the file's appearance.
 *
 * After the process was killed, the folder with the content of the shadow is what a disk may hold after a power cut.
 * Names are kept: creating, renaming and removing count as durable at once, as journalling file systems nearly do it, and
 * a file that was never synced is empty. sync_file_range and msync do not count: neither waits for the disk's own cache.
 * A file is copied before the real sync, so that nothing written after the sync gets into its shadow.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

static const char *dir, *shadow, *eio;
static size_t dir_length;
static atomic_int matching_calls;
static atomic_uint copies;

__attribute__((constructor)) static void begin(void) {
    dir = getenv("POWERCUT_DIR");
    shadow = getenv("POWERCUT_SHADOW");
    eio = getenv("POWERCUT_EIO");
    dir_length = dir ? strlen(dir) : 0;
}

/* The part of a path below the folder, or NULL. */
static const char *below(const char *path) {
    if (!dir_length || strncmp(path, dir, dir_length) != 0 || path[dir_length] != '/') return NULL;
    return path + dir_length + 1;
}

/* The path of an open file below the folder, in `path`; NULL for any other. */
static const char *path_of(int fd, char *path) {
    char link[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0) return NULL;
    path[length] = 0;
    return below(path);
}

static int in_shadow(const char *name, char *out) {
    return shadow && snprintf(out, PATH_MAX, "%s/%s", shadow, name) < PATH_MAX;
}

static void make_parents(char *path) {
    for (char *slash = path + strlen(shadow) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = 0;
        mkdir(path, 0700);
    }
}

static void give_up(const char *what) {
    dprintf(2, "powercut: %s: %s\n", what, strerror(errno));
    abort();
}

/* Copies an open file beside its shadow; returns 1 and the name of the copy. */
static int copy_now(int fd, char *name_out, char *copy_out) {
    char path[PATH_MAX], from[32];
    struct stat status;
    const char *name = path_of(fd, path);
    if (!name || fstat(fd, &status) != 0 || !S_ISREG(status.st_mode) || status.st_nlink == 0) return 0;
    if (!in_shadow(name, name_out)) return 0;
    make_parents(name_out);
    if (snprintf(copy_out, PATH_MAX, "%s.copy-%d-%u", shadow, (int)getpid(), atomic_fetch_add(&copies, 1)) >= PATH_MAX)
        return 0;
    snprintf(from, sizeof from, "/proc/self/fd/%d", fd);
    int in = syscall(SYS_openat, AT_FDCWD, from, O_RDONLY | O_CLOEXEC, 0);
    int out = syscall(SYS_openat, AT_FDCWD, copy_out, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (in < 0 || out < 0) give_up("the shadow cannot be opened");
    static __thread char buffer[1 << 16];
    ssize_t length;
    while ((length = syscall(SYS_read, in, buffer, sizeof buffer)) > 0)
        if (syscall(SYS_write, out, buffer, length) != length) give_up("the shadow cannot be written");
    if (length < 0) give_up("the file cannot be read");
    syscall(SYS_close, in);
    syscall(SYS_close, out);
    return 1;
}

/* True when this call has to fail. */
static int fails(const char *kind, int fd) {
    char path[PATH_MAX], text[64] = {0}, wanted[16];
    int number;
    if (!eio) return 0;
    int file = syscall(SYS_openat, AT_FDCWD, eio, O_RDONLY | O_CLOEXEC, 0);
    if (file < 0) {
        atomic_store(&matching_calls, 0);
        return 0;
    }
    syscall(SYS_read, file, text, sizeof text - 1);
    syscall(SYS_close, file);
    if (sscanf(text, "%15s %d", wanted, &number) != 2 || strcmp(wanted, kind) != 0 || !path_of(fd, path)) return 0;
    if (atomic_fetch_add(&matching_calls, 1) + 1 < number) return 0;
    errno = EIO;
    return 1;
}

static int synced(int fd, long call) {
    char name[PATH_MAX], copy[PATH_MAX];
    if (fails("sync", fd)) return -1;
    int copied = copy_now(fd, name, copy);
    int result = syscall(call, fd);
    int problem = errno;
    if (copied && result == 0 && syscall(SYS_rename, copy, name) != 0) give_up("the shadow cannot be renamed");
    if (copied && result != 0) syscall(SYS_unlink, copy);
    errno = problem;
    return result;
}

int fsync(int fd) { return synced(fd, SYS_fsync); }
int fdatasync(int fd) { return synced(fd, SYS_fdatasync); }

ssize_t write(int fd, const void *bytes, size_t length) {
    return fails("write", fd) ? -1 : syscall(SYS_write, fd, bytes, length);
}
ssize_t pwrite64(int fd, const void *bytes, size_t length, off64_t at) {
    return fails("write", fd) ? -1 : syscall(SYS_pwrite64, fd, bytes, length, at);
}
ssize_t pwrite(int fd, const void *bytes, size_t length, off_t at) { return pwrite64(fd, bytes, length, at); }
ssize_t writev(int fd, const struct iovec *parts, int count) {
    return fails("write", fd) ? -1 : syscall(SYS_writev, fd, parts, count);
}
int ftruncate64(int fd, off64_t length) { return fails("write", fd) ? -1 : syscall(SYS_ftruncate, fd, length); }
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static void moved(const char *from, const char *to) {
    char old[PATH_MAX], fresh[PATH_MAX];
    const char *old_name = below(from), *fresh_name = below(to);
    if (!fresh_name || !in_shadow(fresh_name, fresh)) return;
    syscall(SYS_unlink, fresh); /* what stood there is gone, whether or not the file was synced */
    if (!old_name || !in_shadow(old_name, old)) return;
    make_parents(fresh);
    syscall(SYS_rename, old, fresh);
}

int rename(const char *from, const char *to) {
    int result = syscall(SYS_rename, from, to);
    int problem = errno;
    if (result == 0) moved(from, to);
    errno = problem;
    return result;
}
int renameat(int from_dir, const char *from, int to_dir, const char *to) {
    int result = syscall(SYS_renameat, from_dir, from, to_dir, to);
    int problem = errno;
    if (result == 0) moved(from, to);
    errno = problem;
    return result;
}

static void removed(const char *path) {
    char gone[PATH_MAX];
    const char *name = below(path);
    if (name && in_shadow(name, gone)) syscall(SYS_unlink, gone);
}

int unlink(const char *path) {
    int result = syscall(SYS_unlink, path);
    int problem = errno;
    if (result == 0) removed(path);
    errno = problem;
    return result;
}
int unlinkat(int at, const char *path, int flags) {
    char below_at[PATH_MAX], whole[PATH_MAX * 2];
    snprintf(whole, sizeof whole, "%s", path);
    if (path[0] != '/' && at != AT_FDCWD && path_of(at, below_at))
        snprintf(whole, sizeof whole, "%s/%s", below_at, path);
    int result = syscall(SYS_unlinkat, at, path, flags);
    int problem = errno;
    if (result == 0 && !(flags & AT_REMOVEDIR)) removed(whole);
    errno = problem;
    return result;
}
