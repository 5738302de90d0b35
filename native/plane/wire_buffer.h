// Bytes on their way in or out of one connection. Heap memory: it may carry plaintexts and imported material for the time
// of one request, so nothing may stay behind in it.
//
// Invariant: outside [data, data + size) there are no secret bytes. Growing, moving and dying wipe what they leave;
// consume(n, true) wipes what was used.
#pragma once
#include <atomic>

#include "core/base.h"

namespace quorate {

// Heap bytes that are held for one uid (requests that wait, buffers beyond their first size), part of a total for all.
struct HeldBytes {
  HeldBytes* total = nullptr;
  size_t bytes = 0;

  void add(size_t n) {
    bytes += n;
    if (total != nullptr) total->bytes += n;
  }
  void remove(size_t n) {
    bytes -= n;
    if (total != nullptr) total->bytes -= n;
  }
};

class WireBuffer {
 public:
  static constexpr size_t kFirstBytes = 32 * 1024;
  static constexpr size_t kKeptBytes = 640 * 1024;  // an empty buffer larger than this gives its memory back: two stream chunks fit

  WireBuffer() = default;
  explicit WireBuffer(HeldBytes* held) : held_(held) {}
  ~WireBuffer();
  WireBuffer(WireBuffer&& other) noexcept;
  WireBuffer& operator=(WireBuffer&&) = delete;

  uint8_t* data() { return memory_ + begin_; }
  const uint8_t* data() const { return memory_ + begin_; }
  size_t size() const { return end_ - begin_; }
  bool empty() const { return begin_ == end_; }
  size_t capacity() const { return capacity_; }
  size_t roomLeft() const { return capacity_ - end_; }

  // At least n writable bytes behind the content; earlier pointers are void. Throws std::bad_alloc.
  uint8_t* room(size_t n) {
    if (capacity_ - end_ < n) makeRoom(n);
    return memory_ + end_;
  }
  // n bytes of the room have been written.
  void extend(size_t n) { end_ += n; }
  // Takes the last n bytes back, wiped.
  void retract(size_t n);
  // The first n bytes have been used.
  void consume(size_t n, bool wipeThem);
  // Gives memory back when the buffer is empty and large.
  void rest() {
    if (begin_ == end_ && capacity_ > kKeptBytes) release();
  }
  // Wipes everything and gives all memory back.
  void release();

 private:
  void makeRoom(size_t n);

  uint8_t* memory_ = nullptr;
  size_t capacity_ = 0, begin_ = 0, end_ = 0;
  HeldBytes* held_ = nullptr;
};

// An owned copy of a request that waits or runs on a worker; wiped when it dies. Made and destroyed on the plane's thread,
// which owns the count.
class HeldRequest {
 public:
  HeldRequest() = default;
  HeldRequest(Bytes from, HeldBytes* held);
  ~HeldRequest();
  HeldRequest(HeldRequest&& other) noexcept;
  HeldRequest& operator=(HeldRequest&& other) noexcept;
  MutBytes span() { return {memory_, size_}; }
  size_t size() const { return size_; }

 private:
  void clear();
  uint8_t* memory_ = nullptr;
  size_t size_ = 0;
  HeldBytes* held_ = nullptr;
};

}  // namespace quorate
