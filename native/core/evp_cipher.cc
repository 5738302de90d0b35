#include "core/evp_cipher.h"

#include <algorithm>

namespace quorate {
namespace {

constexpr const char* kNames[3][3] = {
    {"AES-128-CBC", "AES-192-CBC", "AES-256-CBC"},
    {"AES-128-CTR", "AES-192-CTR", "AES-256-CTR"},
    {"AES-128-ECB", "AES-192-ECB", "AES-256-ECB"},
};

struct Fetched {
  const EVP_CIPHER* ciphers[3][3];
  Fetched() {
    for (int mode = 0; mode < 3; mode++) {
      for (int size = 0; size < 3; size++) ciphers[mode][size] = EVP_CIPHER_fetch(nullptr, kNames[mode][size], nullptr);
    }
  }
};

}  // namespace

const EVP_CIPHER* aesCipher(AesMode mode, size_t keyBytes) {
  static const Fetched* const fetched = new Fetched;  // never freed: libcrypto may be torn down first
  if (keyBytes != 16 && keyBytes != 24 && keyBytes != 32) return nullptr;
  return fetched->ciphers[int(mode)][keyBytes / 8 - 2];
}

bool EvpCipher::begin(AesMode mode, Bytes keyMaterial, const uint8_t* iv, bool encrypt) {
  const EVP_CIPHER* cipher = aesCipher(mode, keyMaterial.size());
  if (context_ == nullptr || cipher == nullptr) return false;
  return EVP_CipherInit_ex(context_, cipher, nullptr, keyMaterial.data(), iv, encrypt ? 1 : 0) == 1 &&
         EVP_CIPHER_CTX_set_padding(context_, 0) == 1;
}

bool EvpCipher::restart(const uint8_t* iv) { return EVP_CipherInit_ex(context_, nullptr, nullptr, nullptr, iv, -1) == 1; }

bool EvpCipher::update(Bytes in, uint8_t* out) {
  while (!in.empty()) {
    const size_t n = std::min(in.size(), size_t(1) << 30);  // libcrypto counts in int
    int produced = 0;
    if (EVP_CipherUpdate(context_, out, &produced, in.data(), int(n)) != 1) return false;
    out += n;
    in = in.subspan(n);
  }
  return true;
}

}  // namespace quorate
