/* Makes writes or syncs of chosen files fail, or take long, below the storage engine, once a trigger file exists; or
 * ends or stops the process before a chosen one of the steps by which it changes keys.
 *
 * FAIL_CALL     the call that fails: fdatasync, fsync, pwrite, short (a pwrite that writes half and then fails), or
 *               late (a pwrite up to the end of one of sled's segments, which fails after a while); or
 *               slow, with which nothing fails: each fdatasync takes FAIL_DELAY_MS longer
 * FAIL_FILE     how the path of the file ends, such as /log/db
 * FAIL_ERRNO    the error, as a number
 * FAIL_DELAY_MS how long, in milliseconds; it is over early once the trigger is gone
 * FAIL_TRIGGER  fails only while this file exists
 *
 * STEP_AT       the number of the step, from 1, before which it is over; steps are the writes, syncs, links, renames and
 *               removals of what lies in keys/ and snapshots/, and the syncs of /log/db
 * STEP_SIGNAL   the signal that it is over with, as a number
 * STEP_TRIGGER  steps count only while this file exists
 *
 * It never looks at what is written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int path_of(int fd, char *path, size_t size) {
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, size - 1);
    if (length < 0) return 0;
    path[length] = 0;
    return 1;
}

static int ends_with(const char *path, const char *end) {
    size_t length = strlen(path), suffix = strlen(end);
    return length >= suffix && strcmp(path + length - suffix, end) == 0;
}

static int fails(const char *call, int fd) {
    const char *wanted = getenv("FAIL_CALL"), *file = getenv("FAIL_FILE"), *trigger = getenv("FAIL_TRIGGER");
    if (!wanted || !file || !trigger || strcmp(wanted, call) != 0 || access(trigger, F_OK) != 0) return 0;
    char path[4096];
    return path_of(fd, path, sizeof path) && ends_with(path, file);
}

/* A folder that is synced has no slash at its end. */
static void step_of(const char *path, int is_sync) {
    static atomic_int steps;
    const char *at = getenv("STEP_AT"), *number = getenv("STEP_SIGNAL"), *trigger = getenv("STEP_TRIGGER");
    if (!at || !number || !trigger || access(trigger, F_OK) != 0) return;
    int keys = strstr(path, "/keys/") || ends_with(path, "/keys") || strstr(path, "/snapshots");
    if (!keys && !(is_sync && ends_with(path, "/log/db"))) return;
    if (atomic_fetch_add(&steps, 1) + 1 == atoi(at)) raise(atoi(number));
}

static void step(int fd, int is_sync) {
    char path[4096];
    if (getenv("STEP_AT") && path_of(fd, path, sizeof path)) step_of(path, is_sync);
}

static int fail(void) {
    const char *number = getenv("FAIL_ERRNO");
    errno = number ? atoi(number) : EIO;
    return -1;
}

/* In steps, so that a test does not wait for what it has switched off. */
static void delay(int fd) {
    const char *number = getenv("FAIL_DELAY_MS");
    for (int left = number ? atoi(number) : 0; left > 0 && fails("slow", fd); left -= 10) usleep(10 * 1000);
}

int fdatasync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fdatasync");
    delay(fd);
    step(fd, 1);
    return fails("fdatasync", fd) ? fail() : next(fd);
}

int fsync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    step(fd, 1);
    return fails("fsync", fd) ? fail() : next(fd);
}

ssize_t write(int fd, const void *bytes, size_t count) {
    static ssize_t (*next)(int, const void *, size_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t))dlsym(RTLD_NEXT, "write");
    step(fd, 0);
    return next(fd, bytes, count);
}

int rename(const char *from, const char *to) {
    static int (*next)(const char *, const char *);
    if (!next) next = (int (*)(const char *, const char *))dlsym(RTLD_NEXT, "rename");
    step_of(to, 0);
    return next(from, to);
}

int linkat(int from_folder, const char *from, int to_folder, const char *to, int flags) {
    static int (*next)(int, const char *, int, const char *, int);
    if (!next) next = (int (*)(int, const char *, int, const char *, int))dlsym(RTLD_NEXT, "linkat");
    step_of(to, 0);
    return next(from_folder, from, to_folder, to, flags);
}

int unlink(const char *path) {
    static int (*next)(const char *);
    if (!next) next = (int (*)(const char *))dlsym(RTLD_NEXT, "unlink");
    step_of(path, 0);
    return next(path);
}

static ssize_t write_at(const char *name, int fd, const void *bytes, size_t count, off_t offset) {
    static ssize_t (*next)(int, const void *, size_t, off_t);
    if (!next) next = (ssize_t (*)(int, const void *, size_t, off_t))dlsym(RTLD_NEXT, name);
    if (fails("pwrite", fd)) return fail();
    if ((offset + (off_t)count) % (512 << 10) == 0 && fails("late", fd)) {
        usleep(300 * 1000);
        return fail();
    }
    if (fails("short", fd)) {
        next(fd, bytes, count / 2, offset);
        return fail();
    }
    return next(fd, bytes, count, offset);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset) {
    return write_at("pwrite", fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off_t offset) {
    return write_at("pwrite64", fd, bytes, count, offset);
}
