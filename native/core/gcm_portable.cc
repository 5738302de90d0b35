// AES-GCM through libcrypto's EVP interface: for CPUs without a kernel of ours, and the reference that the kernels are tested against.
#include <openssl/evp.h>

#include <algorithm>
#include <cassert>
#include <cstdlib>
#include <cstring>

#include "core/gcm_kernels.h"
#include "core/stack_scrub.h"

namespace quorate {
namespace {

struct PortableKey {
  uint8_t keyMaterial[32];
  size_t keyBytes;
};
static_assert(sizeof(PortableKey) <= sizeof(GcmKey));

const PortableKey& view(const GcmKey* key) { return *reinterpret_cast<const PortableKey*>(key->opaque); }

// Data passes through a private buffer of this size: libcrypto reads the ciphertext twice, once to hash and once to
// decrypt (when sealing, it hashes what it reads back), and a writer that shares the memory could swap it in between.
constexpr size_t kBounceBytes = 8192;
// EVP takes lengths as int.
constexpr size_t kAadStep = size_t{1} << 30;

// libcrypto fails here only when it is out of memory or lacks AES-GCM altogether; there is no safe way to go on.
void require(bool ok) {
  if (!ok) std::abort();
}

const EVP_CIPHER* cipherFor(size_t keyBytes) {
  static const EVP_CIPHER* const aes128 = EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr);
  static const EVP_CIPHER* const aes192 = EVP_CIPHER_fetch(nullptr, "AES-192-GCM", nullptr);
  static const EVP_CIPHER* const aes256 = EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr);
  const EVP_CIPHER* cipher = keyBytes == 16 ? aes128 : keyBytes == 24 ? aes192 : aes256;
  require(cipher != nullptr);
  return cipher;
}

bool usable(const CpuFeatures&) { return true; }

void init(GcmKey* out, const uint8_t* key, size_t keyBytes) {
  assert(keyBytes == 16 || keyBytes == 24 || keyBytes == 32);
  wipe(out, sizeof *out);
  withScrubbedStack([&] {
    PortableKey& mine = *reinterpret_cast<PortableKey*>(out->opaque);
    std::memcpy(mine.keyMaterial, key, keyBytes);
    mine.keyBytes = keyBytes;
    return 0;
  });
}

void initOnce(GcmKey* out, const uint8_t* key, size_t keyBytes, size_t) { init(out, key, keyBytes); }

// The functions of the table overwrite what libcrypto, a copy of the key and the bounce buffer leave on the stack and in registers.
// Seen: nothing further down than 1 KiB below the buffer.
static_assert(kBounceBytes + 4096 <= kScrubbedStackBytes);

// A context with key and IV set and the AAD hashed. The caller frees it, which cleanses the key schedule.
EVP_CIPHER_CTX* begin(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, int encrypting) {
  EVP_CIPHER_CTX* context = EVP_CIPHER_CTX_new();
  require(context != nullptr);
  const PortableKey& mine = view(key);
  require(EVP_CipherInit_ex(context, cipherFor(mine.keyBytes), nullptr, mine.keyMaterial, iv, encrypting) == 1);
  for (size_t done = 0; done < aadBytes;) {
    const size_t n = std::min(aadBytes - done, kAadStep);
    int written = 0;
    require(EVP_CipherUpdate(context, nullptr, &written, aad + done, static_cast<int>(n)) == 1);
    done += n;
  }
  return context;
}

void crypt(EVP_CIPHER_CTX* context, const uint8_t* in, size_t len, uint8_t* out) {
  uint8_t bounce[kBounceBytes];
  for (size_t done = 0; done < len;) {
    const size_t n = std::min(len - done, kBounceBytes);
    std::memcpy(bounce, in + done, n);
    int written = 0;
    require(EVP_CipherUpdate(context, bounce, &written, bounce, static_cast<int>(n)) == 1);
    require(static_cast<size_t>(written) == n);
    std::memcpy(out + done, bounce, n);
    done += n;
  }
  wipe(bounce, std::min(len, kBounceBytes));
}

void seal(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out,
          uint8_t tag[16]) {
  withScrubbedStack([&] {
    EVP_CIPHER_CTX* context = begin(key, iv, aad, aadBytes, 1);
    crypt(context, in, len, out);
    uint8_t none[16];
    int written = 0;
    require(EVP_CipherFinal_ex(context, none, &written) == 1);
    require(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, 16, tag) == 1);
    EVP_CIPHER_CTX_free(context);
    return 0;
  });
}

bool open(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out,
          const uint8_t* tag, size_t tagBytes) {
  assert(tagBytes >= 12 && tagBytes <= 16);
  const bool fits = withScrubbedStack([&] {
    EVP_CIPHER_CTX* context = begin(key, iv, aad, aadBytes, 0);
    uint8_t expected[16] = {};
    std::memcpy(expected, tag, tagBytes);
    crypt(context, in, len, out);
    require(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, static_cast<int>(tagBytes), expected) == 1);
    uint8_t none[16];
    int written = 0;
    const bool done = EVP_CipherFinal_ex(context, none, &written) == 1;
    EVP_CIPHER_CTX_free(context);
    return done;
  });
  if (!fits) wipe(out, len);
  return fits;
}

}  // namespace

const GcmImplementation kGcmPortable = {"portable", usable, init, initOnce, seal, open};

}  // namespace quorate
