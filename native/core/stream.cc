// The chunks of a file (STREAM: Hoang, Reyhanitabar, Rogaway, Vizar, CRYPTO 2015). The chunk's number and whether it is the
// last are its IV, so that chunks cannot be reordered, dropped, repeated, appended, nor the file cut between two.
#include "core/managed.h"

namespace quorate {
namespace {

constexpr size_t kChunkBytes = limits::stream_chunk_bytes, kTagBytes = 16;

struct ChunkIv {
  uint8_t bytes[12] = {};
  ChunkIv(uint64_t index, bool last) {  // 11 bytes big-endian, then the flag
    for (int i = 0; i < 8; i++) bytes[10 - i] = uint8_t(index >> (8 * i));
    bytes[11] = last ? 1 : 0;
  }
};

const GcmKey* gcmKeyOf(const Secret& secret) { return reinterpret_cast<const GcmKey*>(secret.data()); }

}  // namespace

Code StreamSealer::chunk(Bytes data, bool last, MutBytes out) {
  if (ended_ || data.size() > kChunkBytes || (!last && data.size() != kChunkBytes)) return Code::STREAM_INVALID;
  if (data.empty() && next_ > 0) return Code::STREAM_INVALID;
  if (next_ >= limits::stream_chunks_max) return Code::INPUT_TOO_LONG;
  if (out.size() != data.size() + kTagBytes) return Code::INTERNAL;
  const ChunkIv iv(next_, last);
  gcm().seal(gcmKeyOf(gcmKey_), iv.bytes, aad_.data(), aad_.size(), data.data(), data.size(), out.data(), out.data() + data.size());
  next_++;
  ended_ = last;
  if (ended_) gcmKey_ = Secret();
  return Code::OK;
}

Code StreamOpener::chunk(Bytes data, bool last, MutBytes out) {
  const auto fail = [&](Code code) {
    wipe(out);
    return code;
  };
  const auto end = [&] {
    ended_ = true;
    gcmKey_ = Secret();
  };
  if (ended_ || data.size() > kChunkBytes + kTagBytes || (!last && data.size() != kChunkBytes + kTagBytes)) return fail(Code::STREAM_INVALID);
  if (data.size() < kTagBytes || (data.size() == kTagBytes && next_ > 0) || next_ >= limits::stream_chunks_max) {
    end();
    return fail(Code::CIPHERTEXT_INVALID);
  }
  const size_t n = data.size() - kTagBytes;
  if (out.size() != n) return fail(Code::INTERNAL);
  const ChunkIv iv(next_, last);
  const bool ok = gcm().open(gcmKeyOf(gcmKey_), iv.bytes, aad_.data(), aad_.size(), data.data(), n, out.data(), data.data() + n, kTagBytes);
  if (!ok) {
    end();
    return fail(Code::CIPHERTEXT_INVALID);
  }
  next_++;
  whole_ = last;
  if (last) end();
  return Code::OK;
}

}  // namespace quorate
