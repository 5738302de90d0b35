// Preloaded by a test: while the file named by QUORATE_FSYNC_FAULT exists, every fsync fails as a dying disk's does.
#include <errno.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

static int faulty(void) {
  const char* name = getenv("QUORATE_FSYNC_FAULT");
  return name != NULL && access(name, F_OK) == 0;
}

static int refuse(void) {
  errno = EIO;
  return -1;
}

int fsync(int fd) { return faulty() ? refuse() : (int)syscall(SYS_fsync, fd); }
int fdatasync(int fd) { return faulty() ? refuse() : (int)syscall(SYS_fdatasync, fd); }
