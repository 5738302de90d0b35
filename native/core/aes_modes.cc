#include <cstring>

#include "core/evp_cipher.h"
#include "core/symmetric.h"

namespace quorate {
namespace {

// 0xff when a < b, else 0; for values below 256.
uint8_t maskLess(unsigned a, unsigned b) { return uint8_t((int(a) - int(b)) >> 8); }

}  // namespace

unsigned paddingBytes(const uint8_t last[16]) {
  const unsigned pad = last[15];
  uint8_t wrong = maskLess(pad, 1) | maskLess(16, pad);
  for (unsigned i = 0; i < 16; i++) wrong |= maskLess(i, pad) & (last[15 - i] ^ last[15]);
  const uint8_t good = maskLess(wrong, 1);
  return pad & good;
}

Code aesEcb(Bytes keyMaterial, bool encrypt, Bytes in, MutBytes out) {
  if (in.size() % 16 != 0) return Code::BAD_REQUEST;
  if (out.size() < in.size()) return Code::INTERNAL;
  EvpCipher cipher;
  if (!cipher.begin(AesMode::ecb, keyMaterial, nullptr, encrypt)) return Code::KEY_INVALID;
  return cipher.update(in, out.data()) ? Code::OK : Code::INTERNAL;
}

Code aesCbc(Bytes keyMaterial, const uint8_t iv[16], bool encrypt, Bytes in, MutBytes out) {
  if (in.size() % 16 != 0) return Code::BAD_REQUEST;
  if (out.size() < in.size()) return Code::INTERNAL;
  EvpCipher cipher;
  if (!cipher.begin(AesMode::cbc, keyMaterial, iv, encrypt)) return Code::KEY_INVALID;
  return cipher.update(in, out.data()) ? Code::OK : Code::INTERNAL;
}

Code aesCbcEncrypt(Bytes keyMaterial, const uint8_t iv[16], Bytes in, MutBytes out, size_t* written) {
  const size_t whole = in.size() / 16 * 16, rest = in.size() - whole;
  if (out.size() < whole + 16) return Code::INTERNAL;
  uint8_t last[16];
  std::memset(last, int(16 - rest), 16);
  if (rest > 0) std::memcpy(last, in.data() + whole, rest);
  EvpCipher cipher;
  if (!cipher.begin(AesMode::cbc, keyMaterial, iv, true)) return Code::KEY_INVALID;
  const bool ok = cipher.update(in.first(whole), out.data()) && cipher.update({last, 16}, out.data() + whole);
  wipe(last, sizeof last);
  if (!ok) return Code::INTERNAL;
  *written = whole + 16;
  return Code::OK;
}

Code aesCbcDecrypt(Bytes keyMaterial, const uint8_t iv[16], Bytes in, MutBytes out, size_t* written) {
  EvpCipher cipher;
  if (!cipher.begin(AesMode::cbc, keyMaterial, iv, false)) return Code::KEY_INVALID;
  if (in.empty() || in.size() % 16 != 0) return Code::CIPHERTEXT_INVALID;
  if (out.size() < in.size()) return Code::INTERNAL;
  if (!cipher.update(in, out.data())) return Code::INTERNAL;
  const unsigned pad = paddingBytes(out.data() + in.size() - 16);
  if (pad == 0) {
    wipe(out.first(in.size()));
    return Code::CIPHERTEXT_INVALID;
  }
  *written = in.size() - pad;
  wipe(out.subspan(*written, pad));
  return Code::OK;
}

Code aesCtr(Bytes keyMaterial, const uint8_t counter[16], Bytes in, MutBytes out) {
  if (out.size() < in.size()) return Code::INTERNAL;
  EvpCipher cipher;
  if (!cipher.begin(AesMode::ctr, keyMaterial, counter, true)) return Code::KEY_INVALID;
  return cipher.update(in, out.data()) ? Code::OK : Code::INTERNAL;
}

}  // namespace quorate
