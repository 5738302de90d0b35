// Keys for the tests of the asymmetric half: one of each type for a whole run, and libcrypto's own view of them.
#pragma once
#include "core/libcrypto.h"

#include <doctest/doctest.h>
#include <openssl/x509.h>

#include <map>

#include "core/key_row.h"
#include "core/keypair.h"
#include "hex.h"

namespace quorate::test {

struct TestPair {
  Secret stored;
  Buffer spki;
};

// RSA of 3072 and 4096 bits take up to seconds, so each is made once.
inline const TestPair& testPair(KeyType type) {
  static std::map<KeyType, TestPair> pairs;
  TestPair& pair = pairs[type];
  if (pair.spki.empty()) REQUIRE(generateKey(type, 0, &pair.stored, &pair.spki) == Code::OK);
  return pair;
}

inline Secret exported(KeyType type, Bytes stored, Bytes spki) {
  Secret out;
  REQUIRE(exportMaterial(type, MaterialFormat::PKCS8, stored, spki, &out) == Code::OK);
  return out;
}

// The same keys as libcrypto's own decoders read them.
inline Pkey evpPrivate(KeyType type, Bytes stored, Bytes spki) {
  const Secret pkcs8 = exported(type, stored, spki);
  const uint8_t* at = pkcs8.data();
  Pkey key(d2i_AutoPrivateKey(nullptr, &at, static_cast<long>(pkcs8.size())));
  REQUIRE(key);
  REQUIRE(at == pkcs8.data() + pkcs8.size());
  return key;
}
inline Pkey evpPublic(Bytes spki) {
  const uint8_t* at = spki.data();
  Pkey key(d2i_PUBKEY(nullptr, &at, static_cast<long>(spki.size())));
  REQUIRE(key);
  REQUIRE(at == spki.data() + spki.size());
  return key;
}

// What an import says: its code, and the detail when it is not OK.
struct Imported {
  Code code;
  std::string detail;
  Secret stored;
  Buffer spki;
};
inline Imported imported(KeyType type, MaterialFormat format, Bytes material) {
  Imported out{Code::INTERNAL, {}, {}, {}};
  out.code = importKey(type, format, material, &out.stored, &out.spki, &out.detail);
  return out;
}
// Refused with KEY_INVALID, and a detail that has these words.
inline void checkRefused(const Imported& result, const std::string& words) {
  CHECK(result.code == Code::KEY_INVALID);
  CHECK_MESSAGE(result.detail.find(words) != std::string::npos, result.detail);
  CHECK(result.stored.empty());
  CHECK(result.spki.empty());
}

inline bool verified(const SignOptions& options, Bytes spki, Bytes input, Bytes signature) {
  bool valid = false;
  REQUIRE(verify(options, spki, input, signature, &valid) == Code::OK);
  return valid;
}

inline Buffer concat(std::initializer_list<Bytes> parts) {
  Buffer out;
  for (const Bytes part : parts) out.insert(out.end(), part.begin(), part.end());
  return out;
}

// A DER element with a minimal length.
inline Buffer element(uint8_t tag, std::initializer_list<Bytes> parts) {
  Buffer content = concat(parts), buffer(content.size() + 4);
  DerWriter writer(buffer);
  writer.element(tag, content);
  const Bytes result = writer.result();
  return Buffer(result.begin(), result.end());
}

}  // namespace quorate::test
