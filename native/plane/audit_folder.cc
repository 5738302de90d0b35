#include "plane/audit_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <memory>

#include "plane/audit_leaf.h"

namespace quorate {

namespace {

constexpr int kSafely = O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
constexpr size_t kSegmentNameBytes = 24;
constexpr uint64_t kRoomBytesMin = 64 * 1024;

bool segmentIndex(std::string_view name, uint64_t* out) {
  if (name.size() != kSegmentNameBytes || name.substr(20) != ".log") return false;
  const auto [end, error] = std::from_chars(name.data(), name.data() + 20, *out);
  return error == std::errc() && end == name.data() + 20;
}

AuditFault replaced(const std::string& name, const char* fact) { return {AuditFaultKind::replaced, name + ": " + fact}; }

AuditFault checkKind(const std::string& name, const struct stat& s) {
  if (!S_ISREG(s.st_mode)) return replaced(name, "it is no regular file");
  if (s.st_nlink > 1) return replaced(name, "it has another name too");
  return {};
}

}  // namespace

const char* auditFaultWord(AuditFaultKind kind) {
  static constexpr const char* kWords[] = {"", "sealed", "absent", "missing", "replaced", "changed", "corrupt", "full", "io", "stalled"};
  return kWords[static_cast<size_t>(kind)];
}

AuditFault systemFault(const std::string& what) {
  AuditFaultKind kind = AuditFaultKind::io;
  if (errno == ENOENT || errno == ESTALE) kind = AuditFaultKind::missing;
  if (errno == ELOOP || errno == ENXIO || errno == ENOTDIR || errno == EISDIR || errno == ENODEV) kind = AuditFaultKind::replaced;
  if (errno == ENOSPC || errno == EDQUOT || errno == EFBIG) kind = AuditFaultKind::full;
  return {kind, what + ": " + std::strerror(errno)};
}

void FileDescriptor::reset(int fd) {
  if (fd_ >= 0) ::close(fd_);
  fd_ = fd;
}

std::string segmentName(uint64_t firstIndex) {
  char name[32];
  std::snprintf(name, sizeof(name), "%020llu.log", static_cast<unsigned long long>(firstIndex));
  return name;
}

AuditFault writeEnd(int fd, const std::string& name, Bytes bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return systemFault(name);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return {};
}

AuditFault readAt(int fd, const std::string& name, uint64_t offset, MutBytes out, size_t* got) {
  *got = 0;
  while (*got < out.size()) {
    const ssize_t n = pread(fd, out.data() + *got, out.size() - *got, static_cast<off_t>(offset + *got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return systemFault(name);
    if (n == 0) break;
    *got += static_cast<size_t>(n);
  }
  return {};
}

AuditFault AuditFolder::open(bool create) {
  folder_.reset();
  if (create && mkdir(path_.c_str(), 0700) == 0) {
    const FileDescriptor parent(::open((path_ + "/..").c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!parent.isOpen() || fsync(parent.get()) != 0) return systemFault(path_);
  }
  folder_.reset(::open(path_.c_str(), O_RDONLY | O_DIRECTORY | kSafely));
  return folder_.isOpen() ? AuditFault{} : systemFault(path_);
}

AuditFault AuditFolder::check() const {
  struct stat mine {}, named {};
  if (fstat(folder_.get(), &mine) != 0 || lstat(path_.c_str(), &named) != 0) return systemFault(path_);
  if (mine.st_dev != named.st_dev || mine.st_ino != named.st_ino) return replaced(path_, "it is another folder");
  return {};
}

AuditFault AuditFolder::checkRoom() const {
  struct statvfs s {};
  if (fstatvfs(folder_.get(), &s) != 0) return systemFault(path_);
  if (s.f_blocks == 0 || static_cast<uint64_t>(s.f_bavail) * s.f_frsize >= kRoomBytesMin) return {};  // no blocks: it does not say
  return {AuditFaultKind::full, path_ + ": the disk has less than 64 KiB left"};
}

AuditFault AuditFolder::openFile(const std::string& name, int flags, FileDescriptor* out, uint64_t* bytes) const {
  FileDescriptor fd(openat(folder_.get(), name.c_str(), flags | kSafely));
  struct stat s {};
  if (!fd.isOpen() || fstat(fd.get(), &s) != 0) return systemFault(name);
  if (AuditFault fault = checkKind(name, s)) return fault;
  *bytes = static_cast<uint64_t>(s.st_size);
  *out = std::move(fd);
  return {};
}

AuditFault AuditFolder::createFile(const std::string& name, uint64_t spareBytes, FileDescriptor* out) const {
  FileDescriptor there;
  uint64_t bytes = 0;
  if (!openFile(name, O_RDONLY, &there, &bytes) && bytes <= spareBytes) unlinkat(folder_.get(), name.c_str(), 0);
  FileDescriptor fd(openat(folder_.get(), name.c_str(), O_RDWR | O_APPEND | O_CREAT | O_EXCL | kSafely, 0600));
  if (!fd.isOpen()) return errno == EEXIST ? replaced(name, "something is in the place of a new file") : systemFault(name);
  *out = std::move(fd);
  return {};
}

AuditFault AuditFolder::checkFile(const std::string& name, int fd, uint64_t bytes) const {
  struct stat mine {}, named {};
  if (fstat(fd, &mine) != 0 || fstatat(folder_.get(), name.c_str(), &named, AT_SYMLINK_NOFOLLOW) != 0) return systemFault(name);
  if (AuditFault fault = checkKind(name, named)) return fault;
  if (mine.st_dev != named.st_dev || mine.st_ino != named.st_ino) return replaced(name, "it is another file");
  if (static_cast<uint64_t>(named.st_size) == bytes) return {};
  return {AuditFaultKind::changed, name + ": it has " + std::to_string(named.st_size) + " bytes, and " + std::to_string(bytes) + " were written"};
}

AuditFault AuditFolder::replace(const std::string& name, Bytes content) const {
  const std::string fresh = name + ".new";
  unlinkat(folder_.get(), fresh.c_str(), 0);
  FileDescriptor fd;
  if (AuditFault fault = createFile(fresh, 0, &fd)) return fault;
  if (AuditFault fault = writeEnd(fd.get(), fresh, content)) return fault;
  if (fdatasync(fd.get()) != 0 || renameat(folder_.get(), fresh.c_str(), folder_.get(), name.c_str()) != 0) return systemFault(name);
  return {};
}

AuditFault AuditFolder::append(const std::string& name, Bytes content) const {
  FileDescriptor fd(openat(folder_.get(), name.c_str(), O_RDWR | O_APPEND | O_CREAT | kSafely, 0600));
  struct stat s {};
  if (!fd.isOpen() || fstat(fd.get(), &s) != 0) return systemFault(name);
  if (AuditFault fault = checkKind(name, s)) return fault;
  if (AuditFault fault = writeEnd(fd.get(), name, content)) {
    [[maybe_unused]] const int taken = ftruncate(fd.get(), s.st_size);  // a half one would not be read
    return fault;
  }
  return fdatasync(fd.get()) == 0 ? AuditFault{} : systemFault(name);
}

AuditFault AuditFolder::readEnd(const std::string& name, size_t most, std::optional<Buffer>* out, uint64_t* bytes) const {
  out->reset();
  FileDescriptor fd;
  uint64_t size = 0;
  if (AuditFault fault = openFile(name, O_RDONLY, &fd, &size)) return fault.kind == AuditFaultKind::missing ? AuditFault{} : fault;
  if (bytes != nullptr) *bytes = size;
  Buffer content(static_cast<size_t>(std::min<uint64_t>(size, most)));
  size_t got = 0;
  if (AuditFault fault = readAt(fd.get(), name, size - content.size(), content, &got)) return fault;
  content.resize(got);
  *out = std::move(content);
  return {};
}

AuditFault AuditFolder::putAside(const std::string& name) const {
  const std::string aside = name + ".lost-" + std::to_string(auditTimeMs());
  if (renameat2(folder_.get(), name.c_str(), folder_.get(), aside.c_str(), RENAME_NOREPLACE) != 0 && errno != ENOENT) return systemFault(name);
  return {};
}

AuditFault AuditFolder::sync() const { return fsync(folder_.get()) == 0 ? AuditFault{} : systemFault(path_); }

AuditFault AuditFolder::list(std::vector<uint64_t>* out) const {
  out->clear();
  const int copy = openat(folder_.get(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(copy < 0 ? nullptr : fdopendir(copy), closedir);
  if (!entries) {
    AuditFault fault = systemFault(path_);
    if (copy >= 0) ::close(copy);
    return fault;
  }
  errno = 0;
  uint64_t index = 0;
  while (const dirent* entry = readdir(entries.get()))
    if (segmentIndex(entry->d_name, &index)) out->push_back(index);
  if (errno != 0) return systemFault(path_);
  std::sort(out->begin(), out->end());
  return {};
}

std::string AuditFolder::fingerprint() const {
  std::string out;
  std::vector<std::string> names{".", "checkpoint", "frontier", "segments", "checkpoints.log"};
  std::vector<uint64_t> indexes;
  if (list(&indexes)) return out;
  for (const uint64_t index : indexes) names.push_back(segmentName(index));
  for (const std::string& name : names) {
    struct stat s {};
    if (fstatat(folder_.get(), name.c_str(), &s, AT_SYMLINK_NOFOLLOW) != 0) continue;
    const uint64_t numbers[] = {s.st_ino, s.st_mode, static_cast<uint64_t>(s.st_size), static_cast<uint64_t>(s.st_ctim.tv_sec), static_cast<uint64_t>(s.st_ctim.tv_nsec)};
    out += name;
    out.append(reinterpret_cast<const char*>(numbers), sizeof(numbers));
  }
  return out;
}

}  // namespace quorate
