// Preloaded by a test: while the file named by QUORATE_FSYNC_FAULT exists, every fsync fails as a dying disk's does; with
// QUORATE_FSYNC_SUFFIX only those of files whose names end so; with QUORATE_FSYNC_ONCE the first one alone.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int isChosen(int fd) {
  const char* suffix = getenv("QUORATE_FSYNC_SUFFIX");
  if (suffix == NULL) return 1;
  char link[64], path[4096];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  const ssize_t n = readlink(link, path, sizeof path - 1);
  const size_t want = strlen(suffix);
  return n >= (ssize_t)want && memcmp(path + n - want, suffix, want) == 0;
}

static int faulty(int fd) {
  const char* name = getenv("QUORATE_FSYNC_FAULT");
  if (name == NULL || access(name, F_OK) != 0 || !isChosen(fd)) return 0;
  if (getenv("QUORATE_FSYNC_ONCE") != NULL) unlink(name);
  return 1;
}

static int refuse(void) {
  errno = EIO;
  return -1;
}

int fsync(int fd) { return faulty(fd) ? refuse() : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return faulty(fd) ? refuse() : (int)syscall(SYS_fdatasync, fd); }
