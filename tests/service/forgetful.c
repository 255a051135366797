/* A disk that forgets what was not synced: preloaded into a process, it copies a file into a shadow
 * folder whenever the process syncs it, after the sync and before the call returns. After a "power
 * loss" the shadow is what the disk holds: each file as it was at its last sync, and no file that
 * was never synced. FORGETFUL_FROM is the folder watched, FORGETFUL_TO the shadow. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int remember(int fd) {
    const char *from = getenv("FORGETFUL_FROM"), *to = getenv("FORGETFUL_TO");
    char link[64], path[PATH_MAX], part[PATH_MAX + 64], target[PATH_MAX + 64], buffer[1 << 16];
    if (!from || !to) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    if (length < 0) return 0;
    path[length] = 0;
    size_t prefix = strlen(from);
    if (strncmp(path, from, prefix) || path[prefix] != '/') return 0;
    struct stat about;
    if (fstat(fd, &about) || !S_ISREG(about.st_mode)) return 0;
    /* the ledger lies in the folder itself; of a server's data every folder below counts, and the
     * shadow has the same folders */
    if (strchr(path + prefix + 1, '/') && !getenv("FORGETFUL_BELOW")) return 0;
    snprintf(target, sizeof target, "%s%s", to, path + prefix);
    snprintf(part, sizeof part, "%s.part%d", target, (int)getpid());
    int in = open(path, O_RDONLY), out = open(part, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    if (in < 0 || out < 0) abort(); /* a test that cannot remember must not pass */
    ssize_t got;
    while ((got = read(in, buffer, sizeof buffer)) > 0)
        if (write(out, buffer, got) != got) abort();
    close(in);
    close(out);
    return rename(part, target);
}

int fsync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fsync");
    int result = real(fd);
    return result ? result : remember(fd);
}

int fdatasync(int fd) {
    int (*real)(int) = dlsym(RTLD_NEXT, "fdatasync");
    int result = real(fd);
    return result ? result : remember(fd);
}
