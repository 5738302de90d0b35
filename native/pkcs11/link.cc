#include "pkcs11/link.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace quorate::pkcs11 {

namespace {

constexpr int64_t kMsNs = 1'000'000, kAwakeNs = 50'000;
constexpr size_t kLengthBytes = 4, kRestBytes = kHeaderBytes - kLengthBytes;
constexpr size_t kReadBytes = 64 * 1024;

// The upper end of what this process may open, where nothing else is.
int raised(int fd, bool* isHigh) {
  constexpr rlim_t kHighest = 65'536, kLeast = 256, kBelow = 64;
  rlimit limit{};
  *isHigh = false;
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return fd;
  const rlim_t end = std::min(limit.rlim_cur, kHighest);
  if (end < kLeast) return fd;
  const int high = fcntl(fd, F_DUPFD_CLOEXEC, static_cast<int>(end - kBelow));
  if (high < 0) return fd;
  ::close(fd);
  *isHigh = true;
  return high;
}

}  // namespace

int64_t nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

Descriptor::Descriptor(int fd) : fd_(raised(fd, &isHigh_)) {
  struct stat info {};
  if (fstat(fd_, &info) != 0) return;
  device_ = info.st_dev;
  inode_ = info.st_ino;
}

bool Descriptor::isOurs() const {
  struct stat info {};
  return number() >= 0 && fstat(number(), &info) == 0 && info.st_dev == device_ && info.st_ino == inode_;
}

void Descriptor::close() {
  const int fd = isOurs() ? fd_.exchange(-1) : -1;
  if (fd >= 0) ::close(fd);
}

Link::Link(int fd, uint64_t number, std::atomic<uint64_t>* live) : fd_(fd), number_(number), live_(live) { in_.reserve(kReadBytes); }

Link::~Link() { fd_.close(); }

bool Link::hasHungUp() {
  const std::lock_guard guard(lock_);
  if (isDropped_ || !fd_.isSafe()) return true;
  if (hasReader_ || !waiters_.empty()) return false;
  pollfd waiting{fd_.number(), POLLIN, 0};
  return poll(&waiting, 1, 0) != 0;
}

void Link::drop() {
  const std::lock_guard guard(lock_);
  dropLocked();
}

void Link::dropLocked() {
  if (isDropped_.exchange(true)) return;
  uint64_t mine = number_;
  live_->compare_exchange_strong(mine, 0);
  if (fd_.isOurs()) shutdown(fd_.number(), SHUT_RDWR);  // wakes who reads; the number stays taken until the last one is out
  while (!waiters_.empty()) finish(waiters_.back(), Outcome::lost);
}

void Link::finish(Waiter* waiter, Outcome outcome) {
  std::erase(waiters_, waiter);
  waiter->outcome = outcome;
  waiter->isWaiting = false;
  waiter->wake.notify_one();
}

Outcome Link::exchange(Method method, Request* request, int64_t deadlineNs, Answer* answer) {
  Waiter me;
  me.method = static_cast<uint16_t>(method);
  me.answer = answer;
  const Outcome posted = post(&me, request, deadlineNs);
  if (posted != Outcome::answered) {
    drop();
    return posted;
  }
  return collect(&me, deadlineNs);
}

Outcome Link::post(Waiter* me, Request* request, int64_t deadlineNs) {
  const std::lock_guard sending(sending_);
  {
    const std::lock_guard guard(lock_);
    if (isDropped_ || !fd_.isSafe()) return Outcome::lost;
    me->id = nextId_;
    nextId_ = nextId_ == UINT32_MAX ? 1 : nextId_ + 1;
    waiters_.push_back(me);
  }
  const auto length = static_cast<uint32_t>(request->size() - kLengthBytes);
  char* const header = request->head.data();
  std::memcpy(header, &length, 4);
  std::memcpy(header + 4, &me->id, 4);
  std::memcpy(header + 8, &me->method, 2);
  std::memset(header + 10, 0, 2);
  return sendAll(request->head.view(), request->tail, deadlineNs);
}

Outcome Link::sendAll(std::string_view head, std::string_view tail, int64_t deadlineNs) {
  while (!head.empty() || !tail.empty()) {
    iovec parts[] = {{const_cast<char*>(head.data()), head.size()}, {const_cast<char*>(tail.data()), tail.size()}};
    msghdr message{};
    message.msg_iov = parts;
    message.msg_iovlen = tail.empty() ? 1 : 2;
    const ssize_t sent = tail.empty() ? ::send(fd_.number(), head.data(), head.size(), MSG_NOSIGNAL | MSG_DONTWAIT) : sendmsg(fd_.number(), &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (sent > 0) {
      const size_t ofHead = std::min<size_t>(static_cast<size_t>(sent), head.size());
      head.remove_prefix(ofHead);
      tail.remove_prefix(static_cast<size_t>(sent) - ofHead);
    } else if (sent < 0 && errno == EAGAIN) {
      if (!await(POLLOUT, deadlineNs)) return isUsable() ? Outcome::broken : Outcome::lost;
    } else if (sent == 0 || errno != EINTR) {
      return Outcome::lost;
    }
  }
  return Outcome::answered;
}

bool Link::await(short events, int64_t deadlineNs) {
  for (;;) {
    const int64_t left = deadlineNs - nowNs();
    if (left <= 0) return false;
    pollfd waiting{fd_.number(), events, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(left / kMsNs) + 1);
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

Outcome Link::collect(Waiter* me, int64_t deadlineNs) {
  Lock lock(lock_);
  for (bool isFirst = true; me->isWaiting; isFirst = false) {
    if (!hasReader_) {
      hasReader_ = true;
      readSome(me, isFirst, deadlineNs, &lock);
      hasReader_ = false;
      continue;
    }
    const auto left = std::chrono::nanoseconds(deadlineNs - nowNs());
    if (left.count() > 0) {
      me->wake.wait_for(lock, left);
    } else if (me->isWaiting) {
      finish(me, Outcome::broken);
      dropLocked();
    }
  }
  if (!hasReader_ && !waiters_.empty()) waiters_.front()->wake.notify_one();  // to read in turn
  return me->outcome;
}

// Most answers come within microseconds, and a processor that fell asleep meanwhile takes longer than that to wake. So the thread stays awake for a moment, and lets the
// daemon run where both share a processor.
ssize_t Link::receiveSoon(char* to, size_t room) const {
  const int64_t until = nowNs() + kAwakeNs;
  do {
    const ssize_t got = recv(fd_.number(), to, room, MSG_DONTWAIT);
    if (got >= 0 || (errno != EAGAIN && errno != EINTR)) return got;
    sched_yield();
  } while (nowNs() < until);
  return -1;
}

// One recv(), without the lock. The first one needs no poll(): the socket itself gives up after a deadline's time.
void Link::readSome(Waiter* me, bool isFirst, int64_t deadlineNs, Lock* lock) {
  const bool isAlone = waiters_.size() == 1;  // else the daemon has enough to do for this processor to be awake
  lock->unlock();
  size_t room = kReadBytes;
  if (in_.size() >= kLengthBytes) {
    uint32_t length;
    std::memcpy(&length, in_.data(), 4);
    // Of a long answer just its rest, so that it can be handed over as it is.
    if (length + kLengthBytes > in_.size() && length <= limits::frame_bytes_max) room = length + kLengthBytes - in_.size();
  }
  char* const to = in_.room(room);
  ssize_t got = -1;
  int error = EAGAIN;
  if (isFirst && isAlone) got = receiveSoon(to, room);
  if (got < 0 && (isFirst || await(POLLIN, deadlineNs))) {
    got = recv(fd_.number(), to, room, isFirst ? 0 : MSG_DONTWAIT);
    error = errno;
  }
  if (got > 0) in_.added(static_cast<size_t>(got));
  lock->lock();
  const bool isOver = got == 0 || (got < 0 && error != EINTR && error != EAGAIN);
  const bool isLate = got < 0 && nowNs() >= deadlineNs;
  if (!isOver && !isLate && takeFrames()) return;
  // The others lose the connection too, and repeat what they asked on the next one.
  if (me->isWaiting) finish(me, isOver ? Outcome::lost : Outcome::broken);
  dropLocked();
}

// False: what came is not an answer.
bool Link::takeFrames() {
  size_t at = 0;
  const size_t had = in_.size();
  while (!isDropped_ && in_.size() - at >= kHeaderBytes) {
    const size_t from = at;
    if (!takeFrame(&at)) return false;
    if (at == from) break;
    if (in_.size() != had) return true;  // handed over as a whole
  }
  if (at == 0) return true;
  const size_t left = in_.size() - at;
  if (left != 0) std::memmove(in_.data(), in_.data() + at, left);
  if (left != 0) {
    explicit_bzero(in_.data() + left, at);
    in_.resize(left);
  } else {
    in_.clear();
  }
  return true;
}

bool Link::takeFrame(size_t* at) {
  const char* const frame = in_.data() + *at;
  uint32_t length, id;
  uint16_t method;
  std::memcpy(&length, frame, 4);
  std::memcpy(&id, frame + 4, 4);
  std::memcpy(&method, frame + 8, 2);
  if (length < kRestBytes || length > limits::frame_bytes_max - kLengthBytes) return false;
  // An answer with another number is not to a question of ours; what the daemon says of the connection itself (id 0) ends it.
  const auto found = std::find_if(waiters_.begin(), waiters_.end(), [&](const Waiter* w) { return w->id == id && w->method == method; });
  if (found == waiters_.end()) return false;
  const size_t whole = length + kLengthBytes;
  if (in_.size() - *at < whole) return true;
  Answer& answer = *(*found)->answer;
  std::memcpy(&answer.status, frame + 10, 2);
  answer.bytes.clear();
  if (whole > kReadBytes / 4 && whole == in_.size()) {
    answer.from = kHeaderBytes;
    answer.bytes.swap(in_);
    in_.reserve(kReadBytes);
  } else {
    answer.from = 0;
    answer.bytes.append(std::string_view(frame + kHeaderBytes, whole - kHeaderBytes));
  }
  finish(*found, Outcome::answered);
  *at += whole;
  return true;
}

}  // namespace quorate::pkcs11
