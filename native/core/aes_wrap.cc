#include "core/evp_cipher.h"
#include "core/symmetric.h"

namespace quorate {
namespace {

constexpr size_t kWrapBytesMax = 1u << 30;  // libcrypto's wrap takes one update of at most 2^31 bytes

}  // namespace

Code aesWrap(Bytes kek, bool padded, Bytes in, MutBytes out, size_t* written) {
  if (padded ? in.empty() : in.size() < 16 || in.size() % 8 != 0) return Code::BAD_REQUEST;
  if (in.size() > kWrapBytesMax) return Code::INPUT_TOO_LONG;
  if (out.size() < (in.size() + 7) / 8 * 8 + 8) return Code::INTERNAL;
  EvpCipher cipher;
  if (!cipher.begin(padded ? AesMode::wrapPadded : AesMode::wrap, kek, nullptr, true)) return Code::KEY_INVALID;
  return cipher.update(in, out.data(), written) ? Code::OK : Code::INTERNAL;
}

// libcrypto compares the integrity block in constant time, and unwraps nothing on a mismatch.
Code aesUnwrap(Bytes kek, bool padded, Bytes in, MutBytes out, size_t* written) {
  if (kek.size() != 16 && kek.size() != 24 && kek.size() != 32) return Code::KEY_INVALID;
  if (in.size() > kWrapBytesMax) return Code::INPUT_TOO_LONG;
  if (in.size() % 8 != 0 || in.size() < (padded ? 16 : 24)) return Code::CIPHERTEXT_INVALID;
  if (out.size() < in.size() - 8) return Code::INTERNAL;
  EvpCipher cipher;
  if (!cipher.begin(padded ? AesMode::wrapPadded : AesMode::wrap, kek, nullptr, false)) return Code::INTERNAL;
  if (cipher.update(in, out.data(), written)) return Code::OK;
  wipe(out.first(in.size() - 8));
  return Code::CIPHERTEXT_INVALID;
}

}  // namespace quorate
