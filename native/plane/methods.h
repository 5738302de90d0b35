// The hot methods themselves, by family. Those that only compute run on the plane's thread or on a worker; those that touch the
// session run on the plane's thread alone.
#pragma once
#include "plane/encode.h"
#include "plane/hot_request.h"
#include "plane/session.h"

namespace quorate {

// What a method computes with: keys were found, granted and checked against usage.
struct Work {
  const HotRequest& request;
  const PreparedKey* key = nullptr;
  const PreparedKey* target = nullptr;                // Wrap
  std::span<const PreparedKey* const> versions = {};  // Rewrap: the version of each ciphertext; `key` is the current one
  Fault fault = {};
};

// Key material for a new session key.
struct NewKey {
  KeyType type{};
  KeyScheme scheme{};
  bool exportable = false;
  Secret stored;
  Buffer spki;
};

// The rules for a request's parameters under its key's scheme; the codes that docs/PROTOCOL.md names for each method.
Code checkRequest(Work& work);
// Whether a request belongs on the worker. key may be null (CreateSessionKey, ImportSessionKey, Random).
bool isSlow(const HotRequest& request, const PreparedKey* key);
// Encrypt ... Rewrap: writes the answer. On an error nothing was written, and what was begun is wiped.
Code compute(Work& work, Reply& reply);
// Unwrap, CreateSessionKey, ImportSessionKey: the material.
Code makeNewKey(Work& work, NewKey* out);

// methods_aead.cc
Code encrypt(Work& work, Reply& reply);
Code decrypt(Work& work, Reply& reply);
Code generateDataKey(Work& work, Reply& reply);
Code rewrap(Work& work, Reply& reply);
// methods_sign.cc
Code signMessage(Work& work, Reply& reply);
Code verifySignature(Work& work, Reply& reply);
Code mac(Work& work, Reply& reply);
Code verifyMac(Work& work, Reply& reply);
// methods_wrap.cc
Code wrap(Work& work, Reply& reply);
Code unwrapMaterial(Work& work, Secret* material);
Code derive(Work& work, Reply& reply);
Code random(Work& work, Reply& reply);
// methods_stream.cc; owner: the prepared key that began the stream.
Code beginStream(Work& work, Session& session, uint64_t sessionKey, Reply& reply);
Code streamChunk(const HotRequest& request, Session& session, Reply& reply);

}  // namespace quorate
