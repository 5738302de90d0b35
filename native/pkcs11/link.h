// One connection to the daemon, shared by the threads of the application. A thread sends its request, and if nobody reads it reads itself,
// handing the answers of others to them until it has its own; otherwise it sleeps until somebody has read its answer or it is its turn to read.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <vector>

#include "pkcs11/request.h"

namespace quorate::pkcs11 {

int64_t nowNs();  // monotonic

enum class Outcome {
  answered,
  lost,    // the connection is gone: somebody closed it
  broken,  // too late, or not an answer
};

// A descriptor that is still what it was. An application that closes every descriptor it does not know may have given the number to
// something else; so the number is made a high one, which that does not happen to, and where it can't be it is looked at before each use.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int fd);
  int number() const { return fd_.load(std::memory_order_relaxed); }
  bool isOurs() const;
  bool isSafe() const { return isHigh_ || isOurs(); }
  void close();

 private:
  bool isHigh_ = false;  // before fd_, whose making sets it
  std::atomic<int> fd_ = -1;
  uint64_t device_ = 0, inode_ = 0;
};

class Link {
 public:
  // Takes the descriptor, a socket that waits for at most `patienceMs` in one call.
  Link(int fd, uint64_t number, std::atomic<uint64_t>* live);
  ~Link();
  Link(const Link&) = delete;
  Link& operator=(const Link&) = delete;

  Outcome exchange(Method method, Request* request, int64_t deadlineNs, Answer* answer);
  bool isUsable() const { return !isDropped_.load(std::memory_order_acquire); }
  // The daemon says nothing unasked but before it closes.
  bool hasHungUp();
  // Ends it for all: who waits for an answer gets `lost`.
  void drop();
  // In a child after fork, where every lock may be held by a thread that is not there.
  void closeInherited() { fd_.close(); }
  uint64_t number() const { return number_; }

 private:
  struct Waiter {
    uint32_t id = 0;
    uint16_t method = 0;
    bool isWaiting = true;
    Outcome outcome = Outcome::lost;
    Answer* answer = nullptr;
    std::condition_variable wake;
  };
  using Lock = std::unique_lock<std::mutex>;

  Outcome post(Waiter* me, Request* request, int64_t deadlineNs);
  Outcome sendAll(std::string_view head, std::string_view tail, int64_t deadlineNs);
  Outcome collect(Waiter* me, int64_t deadlineNs);
  ssize_t receiveSoon(char* to, size_t room) const;
  void readSome(Waiter* me, bool isFirst, int64_t deadlineNs, Lock* lock);
  bool await(short events, int64_t deadlineNs);
  bool takeFrames();
  bool takeFrame(size_t* at);
  void finish(Waiter* waiter, Outcome outcome);
  void dropLocked();

  Descriptor fd_;
  const uint64_t number_;
  std::atomic<uint64_t>* const live_;  // the number of the connection that is usable; 0 when this one, which was it, is dropped
  std::atomic<bool> isDropped_ = false;
  std::mutex sending_;  // held while a frame is written, so that they don't mix
  std::mutex lock_;     // what is below; never held while something is waited for
  uint32_t nextId_ = 1;
  std::vector<Waiter*> waiters_;
  bool hasReader_ = false;
  Buffer in_;  // what was read and not yet handed out; the reader's without the lock
};

}  // namespace quorate::pkcs11
