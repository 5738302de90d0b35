#include "plane/frame.h"

#include <bit>

namespace quorate {

static_assert(std::endian::native == std::endian::little, "frame headers are copied as they are");
static_assert(kFrameHeaderBytes == 12);

FrameState peekFrame(const uint8_t* in, size_t have, FrameHeader* header) {
  *header = FrameHeader{};
  if (have < kFrameLengthBytes) return FrameState::incomplete;
  uint32_t length;
  std::memcpy(&length, in, sizeof(length));
  if (have >= kFrameHeaderBytes) *header = readFrameHeader(in);
  if (length < kFrameRestBytes) return FrameState::tooShort;
  if (length > limits::frame_bytes_max - kFrameLengthBytes) return FrameState::tooLarge;
  return have >= kFrameLengthBytes + static_cast<size_t>(length) ? FrameState::ready : FrameState::incomplete;
}

}  // namespace quorate
