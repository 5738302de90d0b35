#include "addon/system.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <cstring>

namespace quorate::addon {

namespace {

// Closes on every way out.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }
  bool close() {
    const int fd = release();
    return fd < 0 || ::close(fd) == 0;
  }

 private:
  int fd_;
};

Code failed(Code code, const std::string& what, std::string* detail) {
  *detail = what + ": " + std::strerror(errno);
  return code;
}

std::string folderOf(const std::string& path) {
  const size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

bool writeAll(int fd, Bytes content) {
  while (!content.empty()) {
    const ssize_t n = ::write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    content = content.subspan(static_cast<size_t>(n));
  }
  return true;
}

// Up to out.size() bytes, fewer at the end of the file; -1 on error.
ssize_t readAll(int fd, MutBytes out) {
  size_t total = 0;
  while (total < out.size()) {
    const ssize_t n = ::read(fd, out.data() + total, out.size() - total);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return -1;
    if (n == 0) break;
    total += static_cast<size_t>(n);
  }
  return static_cast<ssize_t>(total);
}

// Linux 6.3; older headers do not have it.
constexpr unsigned kNoExecSeal = 0x0008u;

int memoryDescriptor() {
  // Where vm.memfd_noexec is 2 the kernel wants the flag, and an older kernel does not know it.
  constexpr const char* kName = "quorate";
  const int fd = ::memfd_create(kName, MFD_CLOEXEC | MFD_ALLOW_SEALING | kNoExecSeal);
  return fd < 0 && errno == EINVAL ? ::memfd_create(kName, MFD_CLOEXEC | MFD_ALLOW_SEALING) : fd;
}

}  // namespace

Code hardenProcess(std::string* detail) {
  const rlimit none{0, 0};
  if (setrlimit(RLIMIT_CORE, &none) != 0) return failed(Code::INTERNAL, "RLIMIT_CORE", detail);
  if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) != 0) return failed(Code::INTERNAL, "PR_SET_DUMPABLE", detail);
  return Code::OK;
}

Code notifyService(const std::string& message, bool* sent, std::string* detail) {
  *sent = false;
  const char* name = std::getenv("NOTIFY_SOCKET");
  if (name == nullptr || *name == '\0') return Code::OK;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const size_t length = std::strlen(name);
  if ((name[0] != '/' && name[0] != '@') || length < 2 || length >= sizeof address.sun_path) {
    *detail = "NOTIFY_SOCKET is neither a path nor an abstract name";
    return Code::BAD_REQUEST;
  }
  std::memcpy(address.sun_path, name, length);
  if (name[0] == '@') address.sun_path[0] = '\0';
  // An abstract name has no terminator: its length is the address's.
  const socklen_t bytes = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + length + (name[0] == '/' ? 1 : 0));
  Descriptor fd(::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return failed(Code::INTERNAL, "NOTIFY_SOCKET", detail);
  // A service manager that does not read must not hold up the event loop.
  const timeval patience{2, 0};
  setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
  ssize_t n;
  do {
    n = ::sendto(fd.get(), message.data(), message.size(), MSG_NOSIGNAL, reinterpret_cast<const sockaddr*>(&address), bytes);
  } while (n < 0 && errno == EINTR);
  if (n != static_cast<ssize_t>(message.size())) return failed(Code::INTERNAL, "NOTIFY_SOCKET", detail);
  *sent = true;
  return Code::OK;
}

Code lockFile(const std::string& path, int* fd, std::string* detail) {
  Descriptor file(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return failed(Code::STORE_IO, path, detail);
  int result;
  do {
    result = ::flock(file.get(), LOCK_EX | LOCK_NB);
  } while (result != 0 && errno == EINTR);
  if (result != 0) {
    if (errno != EWOULDBLOCK) return failed(Code::STORE_IO, path, detail);
    *detail = path + " is locked";
    return Code::ALREADY_RUNNING;
  }
  *fd = file.release();
  return Code::OK;
}

Code readSecretFile(const std::string& path, size_t bytesMax, Secret* out, std::string* detail) {
  // O_NONBLOCK: a FIFO in the file's place must not hang the daemon; it is then refused below.
  Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  struct stat status{};
  if (!file.valid() || ::fstat(file.get(), &status) != 0) return failed(Code::STORE_IO, path, detail);
  if (!S_ISREG(status.st_mode)) {
    *detail = path + " is not a regular file";
    return Code::STORE_IO;
  }
  Secret secret;
  if (Code code = Secret::make(bytesMax, &secret); code != Code::OK) return code;
  const ssize_t n = readAll(file.get(), secret.span());
  if (n < 0) return failed(Code::STORE_IO, path, detail);
  uint8_t beyond = 0;
  const bool longer = static_cast<size_t>(n) == bytesMax && readAll(file.get(), {&beyond, 1}) != 0;
  wipe(&beyond, 1);
  if (n == 0 || longer) {
    *detail = path + (longer ? " is longer than " + std::to_string(bytesMax) + " bytes" : " is empty");
    return Code::STORE_IO;
  }
  secret.truncate(static_cast<size_t>(n));
  *out = std::move(secret);
  return Code::OK;
}

Code writeSecretFile(const std::string& path, Bytes content, std::string* detail) {
  Descriptor folder(::open(folderOf(path).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!folder.valid()) return failed(Code::STORE_IO, folderOf(path), detail);
  Descriptor file(::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!file.valid()) return failed(Code::STORE_IO, path, detail);
  // fchmod: a umask can only have taken bits away, and the owner must be able to read it back.
  if (::fchmod(file.get(), 0600) == 0 && writeAll(file.get(), content) && ::fsync(file.get()) == 0 && file.close() && ::fsync(folder.get()) == 0) {
    return Code::OK;
  }
  const Code code = failed(Code::STORE_IO, path, detail);
  ::unlink(path.c_str());
  return code;
}

Code sealedFile(Bytes content, int* fd, std::string* detail) {
  const auto refused = [detail](const char* what) { return failed(Code::OUTPUT_UNWRITABLE, std::string("a sealed file in memory: ") + what, detail); };
  Descriptor file(memoryDescriptor());
  if (!file.valid()) return refused("memfd_create");
  if (::fchmod(file.get(), 0400) != 0 || !writeAll(file.get(), content)) return refused("write");
  if (::fcntl(file.get(), F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) != 0) return refused("F_ADD_SEALS");
  // Opened anew: a position of its own, and not for writing.
  Descriptor reading(::open(("/proc/self/fd/" + std::to_string(file.get())).c_str(), O_RDONLY | O_CLOEXEC));
  if (!reading.valid()) return refused("/proc/self/fd");
  *fd = reading.release();
  return Code::OK;
}

Code checkListening(int fd, std::string* detail) {
  const auto option = [fd](int name) {
    int value = -1;
    socklen_t bytes = sizeof value;
    return ::getsockopt(fd, SOL_SOCKET, name, &value, &bytes) == 0 ? value : -1;
  };
  if (option(SO_DOMAIN) == AF_UNIX && option(SO_TYPE) == SOCK_STREAM && option(SO_ACCEPTCONN) == 1) return Code::OK;
  *detail = "descriptor " + std::to_string(fd) + " is not a listening Unix socket";
  return Code::BAD_REQUEST;
}

std::string socketPath(int fd) {
  sockaddr_un address{};
  socklen_t bytes = sizeof(address);
  const size_t head = offsetof(sockaddr_un, sun_path);
  if (::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &bytes) != 0 || address.sun_family != AF_UNIX || bytes <= head || bytes > sizeof(address)) return "";
  return std::string(address.sun_path, strnlen(address.sun_path, bytes - head));
}

}  // namespace quorate::addon
