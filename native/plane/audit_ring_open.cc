// The ring's file: made whole before it has its name, found again after a restart.
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <bit>
#include <cstring>

#include "core/require.h"
#include "plane/audit_ring.h"

namespace quorate {

namespace {

constexpr char kMagic[4] = {'Q', 'A', 'R', 'R'};
constexpr uint16_t kVersion = 1;
constexpr size_t kDataAt = 4096 + AuditCounts::kBytes;

struct RingHead {
  char magic[4];
  uint16_t version, zero;
  uint64_t bytes;
  StoreId storeId;
};
constexpr size_t kStoreAt = offsetof(RingHead, storeId);

Code unusable(const std::string& path, const char* what, std::string* detail) {
  *detail = path + ": " + what + (errno != 0 ? std::string(": ") + std::strerror(errno) : "");
  return Code::AUDIT_UNAVAILABLE;
}

class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  ~Descriptor() {
    if (fd_ >= 0) close(fd_);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  int operator*() const { return fd_; }

 private:
  int fd_;
};

// Whether the file is a ring of this store. A store id of zeros, on either side, is not known yet.
bool isRing(int fd, const struct stat& s, const StoreId& storeId) {
  RingHead head;
  if (!S_ISREG(s.st_mode) || pread(fd, &head, sizeof(head), 0) != sizeof(head)) return false;
  if (std::memcmp(head.magic, kMagic, sizeof(kMagic)) != 0 || head.version != kVersion) return false;
  if (head.bytes < AuditRing::kBytesMin || !std::has_single_bit(head.bytes) || static_cast<uint64_t>(s.st_size) != kDataAt + head.bytes) return false;
  return head.storeId == storeId || head.storeId == StoreId{} || storeId == StoreId{};
}

// All pages are there from the beginning: a full tmpfs would otherwise end the process with SIGBUS at a store.
bool makeRing(const std::string& path, size_t bytes, const StoreId& storeId) {
  const std::string fresh = path + ".new";
  unlink(fresh.c_str());
  const Descriptor fd(open(fresh.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (*fd < 0) return false;
  if (const int error = posix_fallocate(*fd, 0, static_cast<off_t>(kDataAt + bytes)); error != 0) {
    unlink(fresh.c_str());
    errno = error;
    return false;
  }
  RingHead head{{}, kVersion, 0, bytes, storeId};
  std::memcpy(head.magic, kMagic, sizeof(kMagic));
  const RingTaken first;
  const uint64_t next = 1;
  // The first slot, and the sequence: everything else is zeros.
  if (pwrite(*fd, &head, sizeof(head), 0) != sizeof(head) || pwrite(*fd, &next, sizeof(next), 64) != sizeof(next) || pwrite(*fd, &first, sizeof(first), 128 + 8) != sizeof(first)) return false;
  return rename(fresh.c_str(), path.c_str()) == 0;
}

}  // namespace

Code AuditRing::open(const std::string& path, size_t bytes, const StoreId& storeId, std::unique_ptr<AuditRing>* out, std::string* detail) {
  QUORATE_REQUIRE(bytes >= kBytesMin && std::has_single_bit(bytes));
  for (int round = 0; round < 2; round++) {
    errno = 0;
    const Descriptor fd(::open(path.c_str(), O_RDWR | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    struct stat s {};
    if (*fd >= 0 && fstat(*fd, &s) == 0 && isRing(*fd, s, storeId)) {
      const auto size = static_cast<size_t>(s.st_size);
      void* map = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, *fd, 0);
      if (map == MAP_FAILED) return unusable(path, "it cannot be mapped", detail);
      madvise(map, size, MADV_DONTDUMP);
      std::unique_ptr<AuditRing> ring(new AuditRing(path, static_cast<uint8_t*>(map), size));
      ring->recover();
      if (storeId != StoreId{}) ring->adopt(storeId);
      *out = std::move(ring);
      return Code::OK;
    }
    const std::string old = path + ".old";
    if ((*fd >= 0 || errno != ENOENT) && rename(path.c_str(), old.c_str()) != 0) return unusable(path, "it is no ring of this store, and cannot be put aside", detail);
    if (!makeRing(path, bytes, storeId)) return unusable(path, "it cannot be made", detail);
  }
  return unusable(path, "it changes while it is opened", detail);
}

void AuditRing::adopt(const StoreId& storeId) {
  StoreId mine;
  std::memcpy(mine.data(), map_ + kStoreAt, mine.size());
  if (mine != StoreId{} && mine != storeId) {
    const std::string old = path_ + ".old";
    unlink(old.c_str());
    const Descriptor fd(::open(old.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
    if (*fd >= 0 && write(*fd, map_, mapBytes_) != static_cast<ssize_t>(mapBytes_)) unlink(old.c_str());  // for whoever looks for it; nothing reads it
    put({ownFrom_.position, ownFrom_.sequence, 0, 0});
    tail_.store(ownFrom_.position, std::memory_order_release);
  }
  std::memcpy(map_ + kStoreAt, storeId.data(), storeId.size());
}

}  // namespace quorate
