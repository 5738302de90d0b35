// A hot method's request, decoded without a copy.
#pragma once
#include <string_view>

#include "core/base.h"
#include "core/utf8.h"
#include "plane/methods.gen.h"

namespace quorate {

// The fields of all hot methods under one roof; a method sets those that its message has. Every view points into the
// request's body and lives as long as that.
struct HotFields {
  Method method{};
  std::string_view key, target;
  Bytes data;       // plaintext, ciphertext, message, wrapped, peer_public, payload, chunk, material
  Bytes context, newContext, iv, digest, salt, info, header;
  Bytes signature;  // signature or mac
  Bytes aad, label, peerPublic, shared, ticket, attributes, publicAttributes;
  uint32_t version = 0, tagBytes = 0, hash = 0, format = 0, saltBytes = 0, length = 0, type = 0, scheme = 0;
  uint32_t mechanism = 0, tagBits = 0, counterBits = 0, mgf = 0, macBytes = 0, kdf = 0, bits = 0;
  uint64_t stream = 0;  // or an operation
  bool last = false, exportable = false, withoutPlaintext = false, keepContext = false, generateIv = false, more = false;
};
struct HotRequest : HotFields {
  std::vector<Bytes> ciphertexts;  // Rewrap

  Hash hashOr(Hash otherwise) const { return hash == 0 ? otherwise : static_cast<Hash>(hash); }
};

// Decodes `body` into *out (fully overwritten). Throws protozero::exception for what is not protobuf, and BadField for a field
// with the wrong wire type, an enumeration's unknown value or a string that is not UTF-8. Unknown fields are skipped.
struct BadField {
  const char* field;
  const char* reason;
};
void decodeHotRequest(Method method, Bytes body, HotRequest* out);

}  // namespace quorate
