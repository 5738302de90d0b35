// Protobuf messages written by hand into memory that is large enough (protobuf encoding guide: varint, length-delimited),
// and the answer to one request, built in place behind the answers that wait on the same connection.
#pragma once
#include <bit>
#include <cstring>
#include <string_view>

#include "plane/frame.h"
#include "plane/wire_buffer.h"

namespace quorate {

inline constexpr size_t kVarintBytesMax = 10;

inline constexpr size_t varintBytes(uint64_t value) { return (static_cast<size_t>(std::bit_width(value | 1)) + 6) / 7; }
// Bytes that a field of n bytes takes, for field numbers up to 15 (every field of an answer).
inline constexpr size_t fieldBytes(size_t n) { return 1 + varintBytes(n) + n; }
inline constexpr size_t kNumberFieldBytesMax = 1 + kVarintBytesMax;

inline uint8_t* putVarint(uint8_t* out, uint64_t value) {
  for (; value >= 0x80; value >>= 7) *out++ = static_cast<uint8_t>(value | 0x80);
  *out++ = static_cast<uint8_t>(value);
  return out;
}
// The tag and length of a length-delimited field; its n bytes are the caller's to write at the returned place.
inline uint8_t* putFieldHeader(uint8_t* out, uint32_t field, size_t n) {
  *out++ = static_cast<uint8_t>(field << 3 | 2);
  return putVarint(out, n);
}
inline uint8_t* putField(uint8_t* out, uint32_t field, Bytes content) {
  if (content.empty()) return out;
  out = putFieldHeader(out, field, content.size());
  std::memcpy(out, content.data(), content.size());
  return out + content.size();
}
inline uint8_t* putField(uint8_t* out, uint32_t field, std::string_view text) {
  return putField(out, field, Bytes{reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}
// Zero is proto3's default and is not written.
inline uint8_t* putNumber(uint8_t* out, uint32_t field, uint64_t value) {
  if (value == 0) return out;
  *out++ = static_cast<uint8_t>(field << 3);
  return putVarint(out, value);
}

// A field whose content's length is only known after it was written: gives the place for up to `most` bytes of content, and
// moves it when the length's varint turns out shorter.
class OpenField {
 public:
  OpenField(uint8_t* out, uint32_t field, size_t most) : start_(out), content_(putFieldHeader(out, field, most)), most_(most) {}
  uint8_t* content() { return content_; }
  // n bytes were written. Returns the end of the field; what lies behind it up to `most` is wiped.
  uint8_t* close(uint32_t field, size_t n) {
    if (n == 0) {
      wipe(content_, most_);
      return start_;
    }
    uint8_t* place = putFieldHeader(start_, field, n);
    if (place != content_) std::memmove(place, content_, n);
    wipe(place + n, static_cast<size_t>(content_ + most_ - (place + n)));
    return place + n;
  }

 private:
  uint8_t* start_;
  uint8_t* content_;
  size_t most_;
};

// The fact behind an error, for the Failure message: names, never secret values.
struct Fault {
  std::string detail;      // empty: the error table's sentence
  const char* field = "";  // the request field at fault
  uint32_t retryAfterMs = 0;
};

// The answer to one request. begin() and end() for a success, or fail(); exactly one of them.
class Reply {
 public:
  Reply(WireBuffer& out, uint32_t id, uint16_t method) : out_(out), id_(id), method_(method) {}

  // Room for a body of at most n bytes; valid until anything else is written to the buffer.
  uint8_t* begin(size_t n) {
    start_ = out_.room(kFrameHeaderBytes + n) + kFrameHeaderBytes;
    return start_;
  }
  // `stop` is one past the body's last byte.
  void end(const uint8_t* stop) {
    const size_t n = static_cast<size_t>(stop - start_);
    writeFrameHeader(start_ - kFrameHeaderBytes, id_, method_, 0, n);
    out_.extend(kFrameHeaderBytes + n);
  }
  // begin() was called and the work failed: bytes written so far are wiped by whoever wrote them.
  void fail(Code code, const Fault& fault = {});
  // An answer whose body was made elsewhere.
  void forward(Code code, Bytes body);

 private:
  WireBuffer& out_;
  uint8_t* start_ = nullptr;
  uint32_t id_;
  uint16_t method_;
};

// A Failure message's body.
Buffer encodeFailure(Code code, const Fault& fault);

}  // namespace quorate
