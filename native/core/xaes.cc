#include "core/xaes.h"

#include <cstring>

#include "core/evp_cipher.h"
#include "core/managed.h"
#include "core/require.h"
#include "core/stack_scrub.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace quorate {
namespace {

// Deriving a message key goes no deeper, where AES is native; libcrypto's frames are overwritten by the AES-GCM that follows, which
// also leaves no register as it was (gcm.h).
constexpr size_t kDeriveStackBytes = 512;

#if defined(__x86_64__)
#define AES_TARGET __attribute__((target("aes,sse4.1")))

AES_TARGET inline __m128i expandStep(__m128i previous, __m128i assist) {
  previous = _mm_xor_si128(previous, _mm_slli_si128(previous, 4));
  previous = _mm_xor_si128(previous, _mm_slli_si128(previous, 8));
  return _mm_xor_si128(previous, assist);
}

// FIPS 197, 5.2 for Nk = 8: even round keys take RotWord, SubWord and Rcon, odd ones SubWord alone.
AES_TARGET void expandNative(const uint8_t keyMaterial[32], uint8_t out[240]) {
  __m128i* keys = reinterpret_cast<__m128i*>(out);
  __m128i even = _mm_loadu_si128(reinterpret_cast<const __m128i*>(keyMaterial));
  __m128i odd = _mm_loadu_si128(reinterpret_cast<const __m128i*>(keyMaterial + 16));
  _mm_store_si128(keys, even);
  _mm_store_si128(keys + 1, odd);
#define EXPAND(i, rcon)                                                                       \
  even = expandStep(even, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(odd, rcon), 0xff));      \
  _mm_store_si128(keys + i, even);                                                            \
  if (i < 14) {                                                                               \
    odd = expandStep(odd, _mm_shuffle_epi32(_mm_aeskeygenassist_si128(even, 0), 0xaa));        \
    _mm_store_si128(keys + i + 1, odd);                                                       \
  }
  EXPAND(2, 0x01)
  EXPAND(4, 0x02)
  EXPAND(6, 0x04)
  EXPAND(8, 0x08)
  EXPAND(10, 0x10)
  EXPAND(12, 0x20)
  EXPAND(14, 0x40)
#undef EXPAND
}

AES_TARGET void encryptTwoNative(const uint8_t roundKeys[240], const uint8_t in[32], uint8_t out[32]) {
  const __m128i* keys = reinterpret_cast<const __m128i*>(roundKeys);
  __m128i a = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in)), keys[0]);
  __m128i b = _mm_xor_si128(_mm_loadu_si128(reinterpret_cast<const __m128i*>(in + 16)), keys[0]);
  for (int i = 1; i < 14; i++) {
    a = _mm_aesenc_si128(a, keys[i]);
    b = _mm_aesenc_si128(b, keys[i]);
  }
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out), _mm_aesenclast_si128(a, keys[14]));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(out + 16), _mm_aesenclast_si128(b, keys[14]));
}

// QUORATE_CPU=portable keeps to libcrypto here too.
bool nativeAllowed() {
  static const bool allowed = cpuFeatures().aesni && std::string(gcm().name) != "portable";
  return allowed;
}
#else
void expandNative(const uint8_t*, uint8_t*) {}
void encryptTwoNative(const uint8_t*, const uint8_t*, uint8_t*) {}
bool nativeAllowed() { return false; }
#endif

void encryptTwo(const XaesKey& key, const uint8_t in[32], uint8_t out[32]) {
  if (key.aesni) return encryptTwoNative(key.roundKeys, in, out);
  EvpCipher ecb;
  QUORATE_REQUIRE(ecb.begin(AesMode::ecb, {key.roundKeys, 32}, nullptr, true) && ecb.update({in, 32}, out));
}

}  // namespace

void xaesPrepare(const uint8_t keyMaterial[32], XaesKey* out) {
  out->aesni = nativeAllowed();
  if (out->aesni) expandNative(keyMaterial, out->roundKeys);
  else std::memcpy(out->roundKeys, keyMaterial, 32);
  const uint8_t zeros[32] = {};
  uint8_t l[32];
  encryptTwo(*out, zeros, l);
  const uint8_t carry = uint8_t(-(l[0] >> 7)) & 0x87;  // no branch on the secret bit
  for (int i = 0; i < 15; i++) out->subkey[i] = uint8_t(l[i] << 1 | l[i + 1] >> 7);
  out->subkey[15] = uint8_t(l[15] << 1) ^ carry;
  wipe(l, sizeof l);
}

void xaesDerive(const XaesKey& key, const uint8_t nonce[24], uint8_t out[32]) {
  alignas(16) uint8_t blocks[32] = {0, 1, 'X', 0};
  std::memcpy(blocks + 4, nonce, 12);
  std::memcpy(blocks + 16, blocks, 16);
  blocks[17] = 2;
  for (int i = 0; i < 32; i++) blocks[i] ^= key.subkey[i % 16];
  encryptTwo(key, blocks, out);
  wipe(blocks, sizeof blocks);
}

void xaesSealPrepared(const XaesKey& key, const uint8_t nonce[24], Bytes aad, Bytes in, uint8_t* ciphertext, uint8_t* tag) {
  alignas(16) uint8_t messageKey[32];
  GcmKey gcmKey;
  xaesDerive(key, nonce, messageKey);
  const GcmImplementation& implementation = gcm();
  implementation.initOnce(&gcmKey, messageKey, 32, in.size());
  implementation.seal(&gcmKey, nonce + 12, aad.data(), aad.size(), in.data(), in.size(), ciphertext, tag);
  wipe(messageKey, sizeof messageKey);
  wipe(&gcmKey, sizeof gcmKey);
  quorateScrubStack(kDeriveStackBytes);
}

bool xaesOpenPrepared(const XaesKey& key, const uint8_t nonce[24], Bytes aad, Bytes ciphertext, const uint8_t* tag, uint8_t* out) {
  alignas(16) uint8_t messageKey[32];
  GcmKey gcmKey;
  xaesDerive(key, nonce, messageKey);
  const GcmImplementation& implementation = gcm();
  implementation.initOnce(&gcmKey, messageKey, 32, ciphertext.size());
  const bool ok = implementation.open(&gcmKey, nonce + 12, aad.data(), aad.size(), ciphertext.data(), ciphertext.size(), out, tag, 16);
  wipe(messageKey, sizeof messageKey);
  wipe(&gcmKey, sizeof gcmKey);
  quorateScrubStack(kDeriveStackBytes);
  return ok;
}

Code xaesSeal(Bytes keyMaterial, const uint8_t nonce[24], Bytes aad, Bytes in, MutBytes out) {
  if (keyMaterial.size() != 32) return Code::KEY_INVALID;
  if (out.size() != in.size() + 16) return Code::INTERNAL;
  XaesKey key;
  xaesPrepare(keyMaterial.data(), &key);
  xaesSealPrepared(key, nonce, aad, in, out.data(), out.data() + in.size());
  wipe(&key, sizeof key);
  return Code::OK;
}

Code xaesOpen(Bytes keyMaterial, const uint8_t nonce[24], Bytes aad, Bytes in, MutBytes out) {
  if (keyMaterial.size() != 32) return Code::KEY_INVALID;
  if (in.size() < 16) return Code::CIPHERTEXT_INVALID;
  if (out.size() != in.size() - 16) return Code::INTERNAL;
  XaesKey key;
  xaesPrepare(keyMaterial.data(), &key);
  const Bytes ciphertext = in.first(out.size());
  const bool ok = xaesOpenPrepared(key, nonce, aad, ciphertext, in.data() + ciphertext.size(), out.data());
  wipe(&key, sizeof key);
  return ok ? Code::OK : Code::CIPHERTEXT_INVALID;
}

}  // namespace quorate
