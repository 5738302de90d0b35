// One row for each mechanism; lists, information, checks and requests derive from it.
#pragma once
#include <span>
#include <string>

#include "core/types.gen.h"
#include "pkcs11/keys.h"

namespace quorate::pkcs11 {

// What the application gives: the message, its digest, or the digest in a DigestInfo.
enum class InputForm { message, digest, digestInfo };

struct MechanismRow {
  CK_MECHANISM_TYPE type;
  KeyScheme scheme;
  InputForm input;
  Hash hash;  // of `message`; unspecified: the key's own (EdDSA), the parameter's (PSS) or whichever fits the digest's length
  CK_ULONG minBits, maxBits;
  CK_FLAGS flags;
};

std::span<const MechanismRow> mechanisms();
const MechanismRow* mechanismRow(CK_MECHANISM_TYPE type);

// A mechanism with its parameters, checked for a key.
struct Chosen {
  const MechanismRow* row = nullptr;
  Hash hash{};
  uint32_t saltBytes = 0;  // PSS
};
// CKR_MECHANISM_INVALID, CKR_MECHANISM_PARAM_INVALID, CKR_KEY_TYPE_INCONSISTENT. PSS: the hash of MGF1 is that of the message, and the salt
// has at least one byte.
CK_RV choose(const CK_MECHANISM& mechanism, const KeyEntry& key, Chosen* out);

// What is signed, as the wire wants it. CKR_DATA_LEN_RANGE, CKR_DATA_INVALID
struct SignInput {
  std::string_view bytes;
  bool isDigest = false;
  Hash hash{};
};
CK_RV inputOf(const Chosen& chosen, std::string_view given, SignInput* out);

size_t keyBits(KeyType type);
// Of every signature that a key of the type makes: r || s for ECDSA.
size_t signatureBytes(KeyType type);
size_t hashBytes(Hash hash);

}  // namespace quorate::pkcs11
