#include "plane/encode.h"

#include "plane/methods.gen.h"

namespace quorate {

namespace {
constexpr size_t kDetailBytesMax = 1024;

uint8_t* putFailure(uint8_t* out, Code code, const Fault& fault) {
  std::string_view detail = fault.detail;
  if (detail.empty()) detail = codeMessage(code);
  out = putField(out, fields::Failure::detail, detail.substr(0, kDetailBytesMax));
  out = putNumber(out, fields::Failure::retry_after_ms, fault.retryAfterMs);
  return putField(out, fields::Failure::field, std::string_view(fault.field));
}

size_t failureBytesMax(const Fault& fault) { return fieldBytes(kDetailBytesMax) + kNumberFieldBytesMax + fieldBytes(std::strlen(fault.field)); }
}  // namespace

void Reply::fail(Code code, const Fault& fault) {
  uint8_t* start = out_.room(kFrameHeaderBytes + failureBytesMax(fault)) + kFrameHeaderBytes;
  const size_t n = static_cast<size_t>(putFailure(start, code, fault) - start);
  writeFrameHeader(start - kFrameHeaderBytes, id_, method_, static_cast<uint16_t>(code), n);
  out_.extend(kFrameHeaderBytes + n);
}

void Reply::forward(Code code, Bytes body) {
  uint8_t* start = out_.room(kFrameHeaderBytes + body.size());
  writeFrameHeader(start, id_, method_, static_cast<uint16_t>(code), body.size());
  if (!body.empty()) std::memcpy(start + kFrameHeaderBytes, body.data(), body.size());
  out_.extend(kFrameHeaderBytes + body.size());
}

Buffer encodeFailure(Code code, const Fault& fault) {
  Buffer out(failureBytesMax(fault));
  out.resize(static_cast<size_t>(putFailure(out.data(), code, fault) - out.data()));
  return out;
}

}  // namespace quorate
