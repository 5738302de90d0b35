// One row for each mechanism (core/mechanisms.def); lists, information, checks, requests and lengths derive from it.
#pragma once
#include <span>

#include "pkcs11/entries.h"

namespace quorate::pkcs11 {

enum Use : uint32_t {
  kEncrypt = 1, kDecrypt = 2, kSign = 4, kVerify = 8, kDigest = 16, kWrap = 32, kUnwrap = 64, kDerive = 128, kGenerate = 256, kGeneratePair = 512,
};
enum class MechanismKind : uint8_t {
  generate, generatePair, digest, aesEcb, aesCbc, aesCbcPad, aesCtr, aesGcm, aesCmac, aesCmacGeneral, aesKeyWrap, aesKeyWrapPad,
  hmac, hmacGeneral, rsaPkcs, rsaRaw, rsaOaep, rsaPss, rsaAesKeyWrap, ecdsa, eddsa, ecdh,
};
enum class KeyFamily : uint8_t { none, aes, secret, rsa, ec, edwards, montgomery };

struct MechanismRow {
  CK_MECHANISM_TYPE type;
  MechanismKind kind;
  Hash hash;
  KeyFamily key;
  CK_ULONG least, most;
  uint32_t uses;

  CK_FLAGS flags() const;
  // Whether it takes keys of that type: ECDH takes Montgomery's too.
  bool takes(KeyType type) const;
  // Data that comes in parts may be sent in parts: not for AES-GCM, whose plaintext nobody may see before its tag is checked, nor for signatures
  // of what is no hash.
  bool isStreamed() const;
};
std::span<const MechanismRow> mechanisms();
const MechanismRow* mechanismRow(CK_MECHANISM_TYPE type);
size_t hashBytes(Hash hash);
// Unspecified when that is no hash.
Hash hashOf(CK_MECHANISM_TYPE digest);

// What of the parameters decides lengths.
struct MechanismFacts {
  uint32_t tagBytes = 0, macBytes = 0;
  Hash oaepHash = Hash::HASH_UNSPECIFIED;
};
// Checks a mechanism's parameters, their size first, and writes them into the request. CKR_MECHANISM_PARAM_INVALID. AES-GCM without parameters is
// right for the message functions alone, which give them with each message: `byMessage`.
CK_RV writeParameters(const CK_MECHANISM& mechanism, const MechanismRow& row, bool byMessage, Request* request, MechanismFacts* facts);

// How long a result is.
struct ResultLength {
  size_t most = 0;
  bool isExact = true;  // false: only the content tells
};
ResultLength resultLength(const MechanismRow& row, const MechanismFacts& facts, Use use, KeyType key, size_t inputBytes);

}  // namespace quorate::pkcs11
