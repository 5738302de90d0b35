// Managed encryption: XAES-256-GCM (C2SP) with a key commitment, for messages and, chunked (STREAM), for files.
// Every byte is fixed in docs/FORMAT.md.
#pragma once
#include <array>
#include <memory>

#include "core/gcm.h"
#include "core/secret.h"

namespace quorate {

using KeyId = std::array<uint8_t, 16>;
struct KeyIdentity {
  std::string domain;
  KeyId id{};
  uint32_t version = 0;
};

inline constexpr size_t kManagedHeaderBytes = 80;    // magic 2, format 1, suite 1, key id 16, version 4, nonce 24, commitment 32
inline constexpr size_t kManagedOverheadBytes = 96;  // header and tag
enum class ManagedFormat : uint8_t { message = 1, stream = 2 };

struct ManagedHeader {
  ManagedFormat format = ManagedFormat::message;
  KeyId id{};
  uint32_t version = 0;
};
// Reads the public part without any key; kManagedHeaderBytes are enough. CIPHERTEXT_INVALID when it is not one of Quorate's
// or cut short.
Code parseManagedHeader(Bytes ciphertext, ManagedHeader* out);

class StreamSealer;
class StreamOpener;

// One version of a managed AES-256 key, prepared in the arena. Immutable once made: any thread may use it.
class ManagedKey {
 public:
  // stored: 32 bytes. HKDF splits it into an encryption and a commitment key. ARENA_FULL; KEY_INVALID for another length;
  // NAME_INVALID for a domain over limits::name_bytes_max.
  static Code prepare(Bytes stored, const KeyIdentity& identity, std::shared_ptr<const ManagedKey>* out);
  ~ManagedKey();

  // out has plaintext.size() + kManagedOverheadBytes bytes, and does not overlap the plaintext. A fresh 192-bit nonce for each call.
  // CONTEXT_TOO_LONG; INPUT_TOO_LONG past GCM's 2^36 - 32 bytes.
  Code seal(Bytes context, Bytes plaintext, MutBytes out) const;
  // The commitment is checked first, in constant time, then the tag. out: ciphertext.size() - kManagedOverheadBytes bytes; zeros on
  // failure. CIPHERTEXT_INVALID, CIPHERTEXT_WRONG_KEY (another key id or version), CONTEXT_TOO_LONG.
  Code open(Bytes context, Bytes ciphertext, MutBytes out) const;

  // Begins a file: writes kManagedHeaderBytes bytes.
  static Code sealStream(std::shared_ptr<const ManagedKey> self, Bytes context, uint8_t header[kManagedHeaderBytes], std::unique_ptr<StreamSealer>* out);
  static Code openStream(std::shared_ptr<const ManagedKey> self, Bytes context, Bytes header, std::unique_ptr<StreamOpener>* out);

  const KeyIdentity& identity() const { return identity_; }

 private:
  friend struct ManagedKeyTest;  // fixed nonces, for C2SP's vectors
  friend class StreamSealer;
  friend class StreamOpener;
  struct Prepared;
  ManagedKey() = default;
  const Prepared& prepared() const;
  Bytes headerAad(ManagedFormat format) const;  // u32 LE length of H, H
  void writeHeader(ManagedFormat format, const uint8_t nonce[24], uint8_t header[kManagedHeaderBytes]) const;
  Code checkHeader(ManagedFormat format, const uint8_t header[kManagedHeaderBytes]) const;
  Code streamKey(const uint8_t nonce[24], Secret* out) const;
  Code sealWithNonce(Bytes context, const uint8_t nonce[24], Bytes plaintext, MutBytes out) const;
  Code sealStreamWithNonce(Bytes context, const uint8_t nonce[24], uint8_t header[kManagedHeaderBytes], std::unique_ptr<StreamSealer>* out) const;
  KeyIdentity identity_;
  Buffer messageAad_, streamAad_;
  Secret prepared_;
};

// Chunks in order; each but the last has exactly limits::stream_chunk_bytes of plaintext; the last has 0 to that many, and 0
// only when it is also the first. out: data.size() + 16. STREAM_INVALID after the last or for a wrong length (which leaves
// the stream as it was); INPUT_TOO_LONG past limits::stream_chunks_max. One thread at a time.
class StreamSealer {
 public:
  Code chunk(Bytes data, bool last, MutBytes out);

 private:
  friend class ManagedKey;
  StreamSealer() = default;
  Secret gcmKey_;
  Buffer aad_;
  uint64_t next_ = 0;
  bool ended_ = false;
};
// The mirror; out: data.size() - 16, zeros on failure. CIPHERTEXT_INVALID (also for a last chunk that no sealer makes: under
// 16 bytes, or empty after others) ends the stream for good. STREAM_INVALID as above: the caller cut the file in a wrong place.
class StreamOpener {
 public:
  Code chunk(Bytes data, bool last, MutBytes out);
  // True when the last chunk has been opened: only then is the file whole.
  bool whole() const { return whole_; }

 private:
  friend class ManagedKey;
  StreamOpener() = default;
  Secret gcmKey_;
  Buffer aad_;
  uint64_t next_ = 0;
  bool ended_ = false, whole_ = false;
};

// Plain XAES-256-GCM (C2SP), 24-byte nonce, no commitment: exposed for its vectors.
Code xaesSeal(Bytes keyMaterial, const uint8_t nonce[24], Bytes aad, Bytes in, MutBytes out);  // out: in + 16
Code xaesOpen(Bytes keyMaterial, const uint8_t nonce[24], Bytes aad, Bytes in, MutBytes out);  // out: in - 16

}  // namespace quorate
