#include "plane/wire_buffer.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace quorate {

namespace {
constexpr size_t kGrain = 64 * 1024;
// What counts as held: the first size of every buffer is the connection's own, bounded by connections_max.
size_t counted(size_t capacity) { return capacity > WireBuffer::kFirstBytes ? capacity : 0; }
}  // namespace

WireBuffer::~WireBuffer() { release(); }

WireBuffer::WireBuffer(WireBuffer&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)),
      capacity_(std::exchange(other.capacity_, 0)),
      begin_(std::exchange(other.begin_, 0)),
      end_(std::exchange(other.end_, 0)),
      held_(std::exchange(other.held_, nullptr)) {}

void WireBuffer::release() {
  if (memory_ == nullptr) return;
  wipe(memory_ + begin_, end_ - begin_);
  if (held_ != nullptr) held_->remove(counted(capacity_));
  delete[] memory_;
  memory_ = nullptr;
  capacity_ = begin_ = end_ = 0;
}

void WireBuffer::retract(size_t n) {
  end_ -= n;
  wipe(memory_ + end_, n);
}

void WireBuffer::consume(size_t n, bool wipeThem) {
  if (wipeThem && n > 0) wipe(memory_ + begin_, n);
  begin_ += n;
  if (begin_ == end_) begin_ = end_ = 0;
}

void WireBuffer::makeRoom(size_t n) {
  const size_t content = end_ - begin_;
  if (begin_ > 0 && capacity_ - content >= n && begin_ >= content) {  // moving is cheap, and no larger memory is needed
    std::memcpy(memory_, memory_ + begin_, content);
    wipe(memory_ + begin_, content);
  } else {
    size_t wanted = std::max(kFirstBytes, content + n);
    // By half at least: growing by a constant would copy and wipe a long output once for every answer that is added to it.
    size_t grown = std::min(2 * capacity_, capacity_ + std::max<size_t>(kKeptBytes, capacity_ / 2));
    // Not past what is kept, where that is enough: a client that fills so much again and again would have it made anew each time.
    if (content + n <= kKeptBytes) grown = std::min(grown, kKeptBytes);
    if (wanted > kFirstBytes) wanted = (std::max(wanted, grown) + kGrain - 1) / kGrain * kGrain;
    uint8_t* larger = new uint8_t[wanted];
    if (content > 0) {
      std::memcpy(larger, memory_ + begin_, content);
      wipe(memory_ + begin_, content);
    }
    if (held_ != nullptr) {
      held_->remove(counted(capacity_));
      held_->add(counted(wanted));
    }
    delete[] memory_;
    memory_ = larger;
    capacity_ = wanted;
  }
  begin_ = 0;
  end_ = content;
}

HeldRequest::HeldRequest(Bytes from, HeldBytes* held) : memory_(new uint8_t[from.size() + 1]), size_(from.size()), held_(held) {
  if (size_ > 0) std::memcpy(memory_, from.data(), size_);
  if (held_ != nullptr) held_->add(size_);
}

HeldRequest::HeldRequest(HeldRequest&& other) noexcept
    : memory_(std::exchange(other.memory_, nullptr)), size_(std::exchange(other.size_, 0)), held_(std::exchange(other.held_, nullptr)) {}

HeldRequest& HeldRequest::operator=(HeldRequest&& other) noexcept {
  if (this != &other) {
    clear();
    memory_ = std::exchange(other.memory_, nullptr);
    size_ = std::exchange(other.size_, 0);
    held_ = std::exchange(other.held_, nullptr);
  }
  return *this;
}

HeldRequest::~HeldRequest() { clear(); }

void HeldRequest::clear() {
  if (memory_ == nullptr) return;
  wipe(memory_, size_);
  if (held_ != nullptr) held_->remove(size_);
  held_ = nullptr;
  delete[] memory_;
  memory_ = nullptr;
  size_ = 0;
}

}  // namespace quorate
