// The hot methods themselves, by family. Those that only compute run on the plane's thread or on a worker; those that touch the
// session run on the plane's thread alone.
#pragma once
#include "plane/encode.h"
#include "plane/hot_request.h"
#include "plane/session.h"

namespace quorate {

// One part of an operation.
struct OperationStep {
  MechanismOperation* operation = nullptr;
  uint64_t number = 0;       // told in the answer; 0: not
  Use use{};
  uint32_t version = 0;      // of the key; 0: there is none
  bool last = false;
};

// What a method computes with: keys were found, granted and checked against usage.
struct Work {
  const HotRequest& request;
  const PreparedKey* key = nullptr;
  const PreparedKey* target = nullptr;                // Wrap
  std::span<const PreparedKey* const> versions = {};  // Rewrap: the version of each ciphertext; `key` is the current one
  Fault fault = {};
  const PlannedObject* plan = nullptr;  // the object that is made
  OperationStep step = {};              // one part of many
};

// Key material for a new session key.
struct NewKey {
  KeyType type{};
  KeyScheme scheme{};
  bool exportable = false;
  bool imported = true;
  Secret stored;
  Buffer spki;
  // Set: an object with attributes, complete; type, scheme and exportable mean nothing then.
  std::unique_ptr<PlannedObject> plan;
  ObjectOrigin origin{};
};

// The rules for a request's parameters under its key's scheme; the codes that docs/PROTOCOL.md names for each method.
Code checkRequest(Work& work);
// Whether a request belongs on the worker. key may be null (CreateSessionKey, ImportSessionKey, Random).
bool isSlow(const HotRequest& request, const PreparedKey* key);
// Encrypt ... Rewrap: writes the answer. On an error nothing was written, and what was begun is wiped.
Code compute(Work& work, Reply& reply);
// Unwrap, CreateSessionKey, ImportSessionKey: the material.
Code makeNewKey(Work& work, NewKey* out);

// methods_mechanism.cc, methods_object.cc
bool isByMechanism(Method method);
Use mechanismUse(Method method);
// The mechanism that a request names, with views into it. madeIv: for generate_iv.
Mechanism mechanismOf(const HotRequest& request, Bytes madeIv);
MechanismKey mechanismKeyOf(const PreparedKey* key, const Mechanism& mechanism);
// Whether the request's mechanism, parameters, key and attributes go together. sheets: the key's; nullptr without a key.
Code checkByMechanism(Work& work, const KeySheets* sheets);
bool isSlowByMechanism(const HotRequest& request, const PreparedKey* key);
bool isSlowStep(const HotRequest& request, const PreparedKey* key, bool last);  // key: null for a digest
Code computeByMechanism(Work& work, Reply& reply);
// WrapObject's two keys. On the plane's thread.
Code checkWrapObject(Work& work, const KeySheets& wrapping, const KeySheets& target);
// What the template asks for. base: the unwrapping or base key's sheet. On the plane's thread.
Code planObject(Work& work, const Sheet* base, PlannedObject* plan);
bool isSlowPlan(const PlannedObject& plan);
Code makeObject(Work& work, NewKey* out);
// The sheets of a request: ATTRIBUTE_VALUE_INVALID and the like.
Code readTemplate(Work& work, Bytes encoded, const char* field, Sheet* out);
Code refuseByRule(Work& work, Code code, const char* field, const RuleFault& fault);
Code objectValue(Work& work, const KeySheets& sheets, Reply& reply);

// methods_fetch.cc
Code fetchSecret(Work& work, Reply& reply);

// methods_aead.cc
Code encrypt(Work& work, Reply& reply);
Code decrypt(Work& work, Reply& reply);
Code generateDataKey(Work& work, Reply& reply);
Code rewrap(Work& work, Reply& reply);
// methods_sign.cc
// Whether this Sign or MechanismSign is made of a digest and a P-256 key, so that it can be made together with others.
bool signsInLanes(const Work& work);
// What it signs, and how the signature is answered; sign()'s and mechanismSign()'s codes.
struct LaneRequest {
  uint8_t digest[64];
  size_t digestBytes = 0;
  SignatureFormat format{};
};
Code laneRequestOf(const Work& work, LaneRequest* out);
// signature: r and s as ecdsaP256SignSome() gives them.
void answerLane(Method method, const PreparedKey& key, SignatureFormat format, Bytes signature, Reply& reply);
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
