// Mechanisms in tests: one call, and the same in parts.
#pragma once
#include "key_fixtures.h"

#include "core/mechanism.h"
#include "object_sheets.h"

namespace quorate::test {

struct Run {
  Code code = Code::INTERNAL;
  Buffer out;
};
inline Mechanism mechanism(uint32_t number, MechanismParams params = {}) { return {mechanismRow(number), params}; }
inline MechanismKey symmetric(Bytes stored) {
  const KeyType type = stored.size() == 16 ? KeyType::AES_128 : stored.size() == 24 ? KeyType::AES_192 : KeyType::AES_256;
  return {.type = type, .stored = stored, .spki = {}};
}
inline MechanismKey secretKey(Bytes stored) { return {.type = KeyType::HMAC, .stored = stored, .spki = {}}; }
inline MechanismKey pairKey(KeyType type) { return {.type = type, .stored = testPair(type).stored, .spki = testPair(type).spki}; }

inline Run encrypted(const Mechanism& m, const MechanismKey& key, Bytes in) {
  Run run;
  run.out.resize(resultBytes(m, kEncrypt, key.type, in.size()));
  size_t written = 0;
  run.code = mechanismEncrypt(m, key, in, run.out, &written);
  run.out.resize(run.code == Code::OK ? written : 0);
  return run;
}
inline Run decrypted(const Mechanism& m, const MechanismKey& key, Bytes in) {
  Run run;
  run.out.assign(resultBytes(m, kDecrypt, key.type, in.size()), 0xaa);
  size_t written = 0;
  run.code = mechanismDecrypt(m, key, in, run.out, &written);
  if (run.code == Code::OK) run.out.resize(written);
  return run;
}
inline Run signedBy(const Mechanism& m, const MechanismKey& key, Bytes in) {
  Run run;
  run.code = mechanismSign(m, key, in, &run.out);
  if (run.code == Code::OK) CHECK(run.out.size() == resultBytes(m, kSign, key.type, in.size()));
  return run;
}
inline bool verifies(const Mechanism& m, const MechanismKey& key, Bytes in, Bytes signature) {
  bool valid = true;
  const Code code = mechanismVerify(m, key, in, signature, &valid);
  CHECK(code == Code::OK);
  return valid;
}
// In parts of lengths that follow from the seed.
inline Run inParts(const Mechanism& m, Use use, const MechanismKey& key, Bytes in, uint32_t seed, Bytes signature = {}, bool* valid = nullptr) {
  Run run;
  std::unique_ptr<MechanismOperation> operation;
  run.code = MechanismOperation::begin(m, use, key, &operation);
  if (run.code != Code::OK) return run;
  Buffer room;
  size_t written = 0;
  while (!in.empty() && run.code == Code::OK) {
    seed = seed * 1664525 + 1013904223;
    const size_t n = std::min<size_t>(in.size(), (seed >> 16) % ((seed >> 8) % 3 == 0 ? 5 : 70));
    room.resize(operation->room(n));
    run.code = operation->update(in.first(n), room, &written);
    if (run.code != Code::OK) return run;
    REQUIRE(written <= room.size());
    run.out.insert(run.out.end(), room.begin(), room.begin() + ptrdiff_t(written));
    in = in.subspan(n);
  }
  room.resize(operation->room(0));
  bool unused = false;
  run.code = operation->finish(signature, room, &written, valid == nullptr ? &unused : valid);
  if (run.code == Code::OK) run.out.insert(run.out.end(), room.begin(), room.begin() + ptrdiff_t(written));
  CHECK(operation->finish(signature, room, &written, &unused) == Code::OPERATION_INVALID);
  CHECK(operation->update({}, room, &written) == Code::OPERATION_INVALID);
  return run;
}

}  // namespace quorate::test
