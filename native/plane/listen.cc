// Making a listening socket of the daemon's own, and removing its file.
#include <errno.h>
#include <fcntl.h>
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

struct Fd {
  int number = -1;
  ~Fd() {
    if (number >= 0) close(number);
  }
  int give() {
    const int given = number;
    number = -1;
    return given;
  }
};

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

// Mode and owner of the file that bind() made. It is opened without following links and looked at first: whoever may write the folder could
// put a link in its place, and a daemon that runs as root would hand the link's target over.
Code setAccess(const std::string& path, const SocketAccess& access, SocketFile* made, std::string* detail) {
  Fd file{open(path.c_str(), O_PATH | O_NOFOLLOW | O_CLOEXEC)};
  struct stat found {};
  if (file.number < 0 || fstat(file.number, &found) != 0) return failed("looking at " + path, detail);
  if (!S_ISSOCK(found.st_mode) || found.st_uid != geteuid()) {
    *detail = path + " was replaced by somebody else";
    return Code::SOCKET_UNUSABLE;
  }
  *made = {path, found.st_dev, found.st_ino};
  const std::string same = "/proc/self/fd/" + std::to_string(file.number);
  const auto owner = [](int64_t id) { return id < 0 ? static_cast<uid_t>(-1) : static_cast<uid_t>(id); };
  // The mode last: a chown may take bits away. Nobody can connect before listen().
  // Not asked for, not called: a service manager's filter may refuse it altogether.
  const bool chowns = access.uid >= 0 || access.gid >= 0;
  if (chowns && fchownat(file.number, "", owner(access.uid), owner(access.gid), AT_EMPTY_PATH) != 0) return failed("chown " + path, detail);
  if (chmod(same.c_str(), access.mode & 0777) != 0) return failed("chmod " + path, detail);
  return Code::OK;
}

}  // namespace

// bind() makes the file and listen() comes after it: in between whoever has waited for the file is refused. So it is bound under a name
// beside the real one, and gets that when it is served; a stale socket of an earlier daemon is replaced in the same step.
Code listenUnix(const std::string& path, const SocketAccess& access, int* out, std::string* detail, SocketFile* made) {
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
  Fd fd{socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0)};
  if (fd.number < 0) return failed("socket", detail);
  // No more than the mode from the first moment: fchmod on an unbound socket sets what bind() will give the file, less the umask.
  if (fchmod(fd.number, access.mode & 0777) != 0) return failed("fchmod", detail);
  if (bind(fd.number, reinterpret_cast<const sockaddr*>(&addressBeside), sizeof(addressBeside)) != 0) return failed("bind " + path, detail);
  SocketFile file;
  Code code = setAccess(beside, access, &file, detail);
  if (code == Code::OK && ::listen(fd.number, kBacklog) != 0) code = failed("listen " + path, detail);
  if (code == Code::OK && rename(beside.c_str(), path.c_str()) != 0) code = failed("rename to " + path, detail);
  if (code != Code::OK) {
    removeSocketFile(file);
    return code;
  }
  file.path = path;
  if (made != nullptr) *made = file;
  *out = fd.give();
  return Code::OK;
}

// The bound socket keeps its inode from being given to another file: call this before it is closed.
bool removeSocketFile(const SocketFile& file) {
  struct stat found {};
  if (file.path.empty() || lstat(file.path.c_str(), &found) != 0) return false;
  if (!S_ISSOCK(found.st_mode) || found.st_dev != file.device || found.st_ino != file.inode) return false;
  return unlink(file.path.c_str()) == 0;
}

}  // namespace quorate
