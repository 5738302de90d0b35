// One message to the daemon and its answer: protobuf fields, written behind room for the frame's header.
#pragma once
#include <initializer_list>
#include <string>

#include "core/errors.gen.h"
#include "core/limits.gen.h"
#include "pkcs11/buffer.h"
#include "plane/methods.gen.h"

namespace quorate::pkcs11 {

inline constexpr size_t kHeaderBytes = limits::frame_header_bytes;
inline constexpr size_t kIdempotencyBytes = 16;

class Request {
 public:
  Request() { restart(); }

  void restart() {
    head.clear();
    head.resize(kHeaderBytes);
    tail = {};
  }
  // Drops what was written after `size` bytes of head.
  void cutTo(size_t size) {
    head.resize(size);
    tail = {};
  }
  void number(uint32_t tag, uint64_t value) {
    varint(tag << 3);
    varint(value);
  }
  void bytes(uint32_t tag, std::string_view value) {
    varint(tag << 3 | 2);
    varint(value.size());
    head.append(value);
  }
  void bytes(uint32_t tag, std::string_view first, std::string_view second) {
    varint(tag << 3 | 2);
    varint(first.size() + second.size());
    head.append(first);
    head.append(second);
  }
  // The last field. What is long is sent from where it lies.
  void last(uint32_t tag, std::string_view value) {
    constexpr size_t kCopiedBytes = 4096;
    if (value.size() <= kCopiedBytes) return bytes(tag, value);
    varint(tag << 3 | 2);
    varint(value.size());
    tail = value;
  }
  size_t size() const { return head.size() + tail.size(); }

  Buffer head;
  std::string_view tail;
  // The connection that the message makes sense on: of a session object or an operation in the daemon. 0: any.
  uint64_t epoch = 0;
  // How many times the deadline of an answer it is given: what makes an RSA key takes long.
  int deadlines = 1;
  // Has an idempotency key: may be repeated unchanged when its outcome is unknown.
  bool isIdempotent = false;

 private:
  void varint(uint64_t value) {
    for (; value >= 0x80; value >>= 7) head.push(static_cast<char>(value | 0x80));
    head.push(static_cast<char>(value));
  }
};

// An answer's body, where it was received.
class Answer {
 public:
  std::string_view body() const { return bytes.view().substr(from); }
  Buffer bytes;
  size_t from = 0;
  uint16_t status = 0;
};

}  // namespace quorate::pkcs11
