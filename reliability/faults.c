/* SPDX-License-Identifier: BSD-3-Clause
 * A disk that fails when it is told to: preloaded, it stands before the calls that change files.
 * Calls are counted from faults_arm() on, on this thread; the at-th one fails, and with `lasting`
 * all after it. A short write writes the first half. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/types.h>
#include <unistd.h>

enum { SHORT_WRITE = -1 };

static __thread int armed, calls, fail_at, fail_with, fail_lasting;

void faults_arm(int at, int error, int lasting) {
    armed = 1;
    calls = 0;
    fail_at = at;
    fail_with = error;
    fail_lasting = lasting;
}

/* How many calls came since; they fail no longer. */
int faults_disarm(void) {
    armed = 0;
    return calls;
}

/* Whether this call has to fail. */
static int failing(void) {
    if (!armed) return 0;
    ++calls;
    return calls == fail_at || (fail_lasting && calls > fail_at);
}

#define NEXT(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

ssize_t write(int file, const void* data, size_t size) {
    if (failing()) {
        if (fail_with != SHORT_WRITE) {
            errno = fail_with;
            return -1;
        }
        if (size > 1) size /= 2;
    }
    return NEXT(write)(file, data, size);
}

#define MAY_FAIL(name, parameters, arguments)           \
    int name parameters {                               \
        if (failing() && fail_with != SHORT_WRITE) {    \
            errno = fail_with;                          \
            return -1;                                  \
        }                                               \
        return NEXT(name) arguments;                    \
    }

MAY_FAIL(fsync, (int file), (file))
MAY_FAIL(fdatasync, (int file), (file))
MAY_FAIL(close, (int file), (file))
MAY_FAIL(rename, (const char* from, const char* to), (from, to))
MAY_FAIL(renameat, (int a, const char* from, int b, const char* to), (a, from, b, to))
MAY_FAIL(unlink, (const char* path), (path))
MAY_FAIL(unlinkat, (int folder, const char* path, int flags), (folder, path, flags))

/* Opening may fail too; a mode comes only with a file that is to be made. */
#define OPEN_MAY_FAIL(name)                                          \
    int name(const char* path, int flags, ...) {                     \
        va_list rest;                                                \
        va_start(rest, flags);                                       \
        const mode_t mode = (flags & O_CREAT) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                \
        if (failing() && fail_with != SHORT_WRITE) {                 \
            errno = fail_with;                                       \
            return -1;                                               \
        }                                                            \
        return NEXT(name)(path, flags, mode);                        \
    }

OPEN_MAY_FAIL(open)
OPEN_MAY_FAIL(open64)
