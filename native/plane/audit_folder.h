// The folder of the audit log and its files, opened so that whatever was put in their place is noticed and nothing waits for it.
#pragma once
#include <sys/stat.h>

#include <optional>

#include "core/base.h"

namespace quorate {

// Why the log cannot be written.
enum class AuditFaultKind : uint8_t {
  none,
  sealed,    // its keys are not here
  absent,    // there is no log, where there was one
  missing,   // a file or the folder is gone
  replaced,  // something else stands in its place: another file, a link, a FIFO
  changed,   // shorter or longer than it was written
  corrupt,   // its content is not what was written
  full,      // no room
  io,        // the system refuses in another way
  stalled,   // the disk does not answer
};
const char* auditFaultWord(AuditFaultKind kind);

struct AuditFault {
  AuditFaultKind kind = AuditFaultKind::none;
  std::string detail = {};
  explicit operator bool() const { return kind != AuditFaultKind::none; }
};
// Of errno, right after the call that failed.
AuditFault systemFault(const std::string& what);

class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  ~FileDescriptor() { reset(); }
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  int get() const { return fd_; }
  bool isOpen() const { return fd_ >= 0; }
  void reset(int fd = -1);
  int release() {
    const int fd = fd_;
    fd_ = -1;
    return fd;
  }

 private:
  int fd_ = -1;
};

class AuditFolder {
 public:
  explicit AuditFolder(std::string path) : path_(std::move(path)) {}
  // create: makes the folder (0700) if there is none, in a folder that exists.
  AuditFault open(bool create);
  // Still the folder that stands at its path.
  AuditFault check() const;
  // Its disk has room for a few files more. The log's own room is reserved: this tells that what comes next will not have any.
  AuditFault checkRoom() const;
  void close() { folder_.reset(); }
  const std::string& path() const { return path_; }

  // A regular file with one name, never through a link, never waiting for the other end of a FIFO. O_CLOEXEC is added.
  AuditFault openFile(const std::string& name, int flags, FileDescriptor* out, uint64_t* bytes) const;
  // A new file, 0600. What is there and holds at most `spareBytes` is removed first: the beginning of one that was never finished.
  AuditFault createFile(const std::string& name, uint64_t spareBytes, FileDescriptor* out) const;
  // That the open file is still the one of that name, alone, and has that many bytes.
  AuditFault checkFile(const std::string& name, int fd, uint64_t bytes) const;
  // By write, fsync, rename; sync() makes the new name durable.
  AuditFault replace(const std::string& name, Bytes content) const;
  // At the end, fsynced.
  AuditFault append(const std::string& name, Bytes content) const;
  // Nothing: there is no such file. `most` bytes at most are read, from the end of the file.
  AuditFault readEnd(const std::string& name, size_t most, std::optional<Buffer>* out, uint64_t* bytes = nullptr) const;
  // To "<name>.lost-<Unix milliseconds>". Nothing there: no fault.
  AuditFault putAside(const std::string& name) const;
  AuditFault sync() const;
  // First indexes of the segments, ascending.
  AuditFault list(std::vector<uint64_t>* out) const;
  // Changes whenever a file in the folder does: names, numbers, sizes, times.
  std::string fingerprint() const;

 private:
  std::string path_;
  FileDescriptor folder_;
};

// All of it, at the end of a file that was opened with O_APPEND: whoever cuts the file cannot have us fill the hole, so its size tells.
AuditFault writeEnd(int fd, const std::string& name, Bytes bytes);
// As much of `out` as the file has from there on; *got says how much.
AuditFault readAt(int fd, const std::string& name, uint64_t offset, MutBytes out, size_t* got);

std::string segmentName(uint64_t firstIndex);  // 20 digits and ".log"

}  // namespace quorate
