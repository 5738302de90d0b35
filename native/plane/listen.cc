// Making the daemon's own listening socket.
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "plane/plane.h"

namespace quorate {

namespace {

constexpr int kBacklog = 1024;
constexpr char kBeside[] = ".new";

Code failed(const std::string& what, std::string* detail) {
  *detail = what + ": " + strerror(errno);
  return Code::SOCKET_UNUSABLE;
}

bool addressOf(const std::string& path, sockaddr_un* address) {
  *address = {};
  address->sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address->sun_path)) return false;
  memcpy(address->sun_path, path.data(), path.size());
  return true;
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

// Nothing is there, or a socket, which `*there` tells; anything else is left as it is.
Code freeOrSocket(const std::string& path, bool* there, std::string* detail) {
  struct stat file {};
  *there = lstat(path.c_str(), &file) == 0;
  if (!*there || S_ISSOCK(file.st_mode)) return Code::OK;
  *detail = path + " is not a socket, and is left as it is";
  return Code::SOCKET_UNUSABLE;
}

Code bindAndListen(int fd, const std::string& path, const sockaddr_un& address, unsigned mode, std::string* detail) {
  // The mode is right from the first moment: fchmod on an unbound socket sets what bind() will give the file, less the umask.
  if (fchmod(fd, mode & 0777) != 0) return failed("fchmod", detail);
  if (bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) return failed("bind " + path, detail);
  if (chmod(path.c_str(), mode & 0777) != 0) return failed("chmod " + path, detail);
  return ::listen(fd, kBacklog) == 0 ? Code::OK : failed("listen " + path, detail);
}

}  // namespace

// bind() makes the file and listen() comes after it: in between whoever has waited for the file is refused. So it is bound under a name
// beside the real one, and gets that when it is served; a stale socket of an earlier daemon is replaced in the same step.
Code listenUnix(const std::string& path, unsigned mode, int* out, std::string* detail) {
  const std::string beside = path + kBeside;
  sockaddr_un address, addressBeside;
  if (!addressOf(path, &address) || !addressOf(beside, &addressBeside)) {
    *detail = "a socket's path has 1 to " + std::to_string(sizeof(address.sun_path) - sizeof(kBeside)) + " bytes: " + path;
    return Code::SOCKET_UNUSABLE;
  }
  bool there = false;
  if (const Code code = freeOrSocket(path, &there, detail); code != Code::OK) return code;
  if (there && isLive(address)) {
    *detail = "somebody answers on " + path;
    return Code::ALREADY_RUNNING;
  }
  if (const Code code = freeOrSocket(beside, &there, detail); code != Code::OK) return code;
  if (there && unlink(beside.c_str()) != 0 && errno != ENOENT) return failed("removing the old " + beside, detail);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd < 0) return failed("socket", detail);
  Code code = bindAndListen(fd, beside, addressBeside, mode, detail);
  if (code == Code::OK && rename(beside.c_str(), path.c_str()) != 0) code = failed("rename to " + path, detail);
  if (code != Code::OK) {
    close(fd);
    unlink(beside.c_str());
    return code;
  }
  *out = fd;
  return Code::OK;
}

}  // namespace quorate
