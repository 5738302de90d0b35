// Making the daemon's own listening socket.
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "plane/plane.h"

namespace quorate {

namespace {

constexpr int kBacklog = 1024;

Code failed(int fd, const std::string& what, std::string* detail) {
  *detail = what + ": " + strerror(errno);
  if (fd >= 0) close(fd);
  return Code::SOCKET_UNUSABLE;
}

// Somebody answers on the socket file.
bool isLive(const sockaddr_un& address) {
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return true;  // not known: do not remove it
  const int rc = connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  const int error = rc == 0 ? 0 : errno;
  close(fd);
  return error != ECONNREFUSED && error != ENOENT;  // a full backlog (EAGAIN) is a live daemon
}

}  // namespace

Code listenUnix(const std::string& path, unsigned mode, int* out, std::string* detail) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    *detail = "a socket's path has 1 to " + std::to_string(sizeof(address.sun_path) - 1) + " bytes: " + path;
    return Code::SOCKET_UNUSABLE;
  }
  memcpy(address.sun_path, path.data(), path.size());
  struct stat file {};
  if (lstat(path.c_str(), &file) == 0) {
    if (!S_ISSOCK(file.st_mode)) {
      *detail = path + " is not a socket, and is left as it is";
      return Code::SOCKET_UNUSABLE;
    }
    if (isLive(address)) {
      *detail = "somebody answers on " + path;
      return Code::ALREADY_RUNNING;
    }
    if (unlink(path.c_str()) != 0 && errno != ENOENT) return failed(-1, "removing the old " + path, detail);
  }
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return failed(-1, "socket", detail);
  // The mode is right from the first moment: fchmod on an unbound socket sets what bind() will give the file, less the umask.
  if (fchmod(fd, mode & 0777) != 0) return failed(fd, "fchmod", detail);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return failed(fd, "bind " + path, detail);
  if (chmod(path.c_str(), mode & 0777) != 0) return failed(fd, "chmod " + path, detail);
  if (::listen(fd, kBacklog) != 0) return failed(fd, "listen " + path, detail);
  *out = fd;
  return Code::OK;
}

}  // namespace quorate
