// Bytes on their way to the daemon and back. They may be keys, plaintexts or PINs: wiped when they go, and when they move to a larger place.
#pragma once
#include <strings.h>

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string_view>

namespace quorate::pkcs11 {

class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(std::string_view bytes) { append(bytes); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  ~Buffer() { clear(); }

  char* data() { return bytes_.get(); }
  const char* data() const { return bytes_.get(); }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_; }
  bool empty() const { return size_ == 0; }
  std::string_view view() const { return {bytes_.get(), size_}; }
  void reserve(size_t capacity) {
    if (capacity <= capacity_) return;
    capacity = capacity < 2 * capacity_ ? 2 * capacity_ : capacity;
    std::unique_ptr<char[]> larger(new char[capacity]);
    if (size_ != 0) std::memcpy(larger.get(), bytes_.get(), size_);
    if (used_ != 0) explicit_bzero(bytes_.get(), used_);
    bytes_ = std::move(larger);
    capacity_ = capacity;
    used_ = size_;
  }
  // What is added has any content.
  void resize(size_t size) {
    reserve(size);
    size_ = size;
    if (used_ < size_) used_ = size_;
  }
  // Where so many bytes may be written, of which added() then counts in those that were.
  char* room(size_t more) {
    reserve(size_ + more);
    return bytes_.get() + size_;
  }
  void added(size_t bytes) { resize(size_ + bytes); }
  void append(std::string_view bytes) {
    if (bytes.size() > kMostBytes) throw std::bad_alloc();
    if (!bytes.empty()) std::memcpy(room(bytes.size()), bytes.data(), bytes.size());
    added(bytes.size());
  }
  void push(char byte) {
    resize(size_ + 1);
    bytes_[size_ - 1] = byte;
  }
  // The place stays, unless it is large.
  void clear() {
    if (used_ != 0) explicit_bzero(bytes_.get(), used_);
    size_ = used_ = 0;
    if (capacity_ <= kKeptBytes) return;
    bytes_.reset();
    capacity_ = 0;
  }
  void swap(Buffer& other) noexcept {
    std::swap(bytes_, other.bytes_);
    std::swap(size_, other.size_);
    std::swap(used_, other.used_);
    std::swap(capacity_, other.capacity_);
  }

 private:
  static constexpr size_t kKeptBytes = 128 * 1024, kMostBytes = size_t{1} << 40;
  std::unique_ptr<char[]> bytes_;
  size_t size_ = 0, used_ = 0, capacity_ = 0;  // used_: as far as it was ever written
};

}  // namespace quorate::pkcs11
