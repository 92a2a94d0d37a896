/* Makes writes or syncs of chosen files fail, or take long, below the storage engine, once a trigger file exists.
 *
 * FAIL_CALL     the call that fails: fdatasync, fsync, pwrite, short (a pwrite that writes half and then fails), or
 *               late (a pwrite up to the end of one of sled's segments, which fails after a while); or
 *               slow, with which nothing fails: each fdatasync takes FAIL_DELAY_MS longer
 * FAIL_FILE     how the path of the file ends, such as /log/db
 * FAIL_ERRNO    the error, as a number
 * FAIL_DELAY_MS how long, in milliseconds; it is over early once the trigger is gone
 * FAIL_TRIGGER  fails only while this file exists
 *
 * It never looks at what is written.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

static int fails(const char *call, int fd) {
    const char *wanted = getenv("FAIL_CALL"), *file = getenv("FAIL_FILE"), *trigger = getenv("FAIL_TRIGGER");
    if (!wanted || !file || !trigger || strcmp(wanted, call) != 0 || access(trigger, F_OK) != 0) return 0;
    char link[64], path[4096];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    size_t suffix = strlen(file);
    return (size_t)length >= suffix && strcmp(path + length - suffix, file) == 0;
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
    return fails("fdatasync", fd) ? fail() : next(fd);
}

int fsync(int fd) {
    static int (*next)(int);
    if (!next) next = (int (*)(int))dlsym(RTLD_NEXT, "fsync");
    return fails("fsync", fd) ? fail() : next(fd);
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
