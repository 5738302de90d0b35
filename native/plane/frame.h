// The frame, little endian:
//
//   offset 0  u32 length       bytes after this field: 8 (the rest of the header) + the body
//          4  u32 request id   chosen by the client, repeated in the answer; 0 in an answer is about the connection itself
//          8  u16 method       repeated in the answer
//         10  u16 status       0 in requests; a Code in answers
//         12  protobuf body    the method's message, or Failure when the status is not 0
//
// The length rule: 8 <= length <= frame_bytes_max - 4, so that a whole frame has at most frame_bytes_max bytes, its header
// included. A length below 8 is BAD_REQUEST, one above the limit FRAME_TOO_LARGE; both close the connection, because
// the place where the next frame begins is lost. Golden frames for every client: test/golden/frames.txt.
#pragma once
#include <cstring>

#include "core/base.h"

namespace quorate {

inline constexpr size_t kFrameHeaderBytes = limits::frame_header_bytes;
inline constexpr size_t kFrameLengthBytes = 4;                                    // not counted by `length`
inline constexpr size_t kFrameRestBytes = kFrameHeaderBytes - kFrameLengthBytes;  // counted by `length`
inline constexpr size_t kFrameBodyBytesMax = limits::frame_bytes_max - kFrameHeaderBytes;

struct FrameHeader {
  uint32_t length = 0, id = 0;
  uint16_t method = 0, status = 0;

  size_t frameBytes() const { return kFrameLengthBytes + static_cast<size_t>(length); }
  size_t bodyBytes() const { return length - kFrameRestBytes; }
};

// The host is little endian (x86-64, arm64), as the frame is; asserted at compile time in frame.cc.
inline FrameHeader readFrameHeader(const uint8_t in[kFrameHeaderBytes]) {
  FrameHeader header;
  std::memcpy(&header.length, in, 4);
  std::memcpy(&header.id, in + 4, 4);
  std::memcpy(&header.method, in + 8, 2);
  std::memcpy(&header.status, in + 10, 2);
  return header;
}

inline void writeFrameHeader(uint8_t out[kFrameHeaderBytes], uint32_t id, uint16_t method, uint16_t status, size_t bodyBytes) {
  const uint32_t length = static_cast<uint32_t>(kFrameRestBytes + bodyBytes);
  std::memcpy(out, &length, 4);
  std::memcpy(out + 4, &id, 4);
  std::memcpy(out + 8, &method, 2);
  std::memcpy(out + 10, &status, 2);
}

enum class FrameState { incomplete, ready, tooShort, tooLarge };
// Looks at the first bytes of a stream of frames. `ready`: *header is set and the whole frame is there. `incomplete`: *header
// is set when `have` covers it (its length is then within the rule), else its length is 0. `tooShort`, `tooLarge`: the rule is
// broken; *header has the id and method when they are there.
FrameState peekFrame(const uint8_t* in, size_t have, FrameHeader* header);

}  // namespace quorate
