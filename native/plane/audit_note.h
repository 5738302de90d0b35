// Checkpoints of the audit log: C2SP tlog-checkpoint in a C2SP signed note with one Ed25519 signature (type 0x01).
#pragma once
#include <optional>

#include "core/keypair.h"
#include "plane/audit_tree.h"

namespace quorate {

struct Checkpoint {
  uint64_t size = 0;
  TreeHash root{};
};

// The log's signing key and its name. Any thread.
class AuditSigner {
 public:
  // seed: 32 bytes, RFC 8032 (KEY_INVALID otherwise). origin: what the checkpoints' first line and key name say; neither empty nor with
  // white space or '+' (BAD_REQUEST). ARENA_FULL, SELF_TEST_FAILED
  static Code make(Bytes seed, const std::string& origin, std::shared_ptr<const AuditSigner>* out);
  // The whole note.
  Code sign(const Checkpoint& checkpoint, std::string* note) const;
  // Nothing unless it is a note of this origin with this key's signature.
  std::optional<Checkpoint> open(const std::string& note) const;

 private:
  std::shared_ptr<const PreparedSigner> key_;
  Buffer spki_;
  std::string origin_;
  uint8_t keyId_[4] = {};
};

// RFC 4648, section 4, with padding. Nothing for anything that encodeBase64 does not give.
std::string encodeBase64(Bytes in);
std::optional<Buffer> decodeBase64(std::string_view text);

}  // namespace quorate
