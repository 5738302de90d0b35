// A strict reader and writer of DER (X.690), for keys and signatures. Own, because libcrypto's decoders copy private
// parts into heap buffers that nobody wipes; and because a signature with two encodings is a signature that can be changed.
// Refused: lengths that are not minimal, indefinite lengths, integers with needless leading bytes, unused bits in a bit string,
// bytes after the end. Tags are one byte. Lengths reach 65535, more than any key has.
#pragma once
#include "core/base.h"

namespace quorate {

namespace der {
inline constexpr uint8_t kInteger = 0x02, kBitString = 0x03, kOctetString = 0x04, kObjectIdentifier = 0x06, kSequence = 0x30;
inline constexpr uint8_t kContext0 = 0xa0, kContext1 = 0xa1;  // constructed
inline constexpr uint8_t kPublicKeyContext = 0x81;            // [1] IMPLICIT BIT STRING of OneAsymmetricKey
}  // namespace der

// Hands out views into its input: nothing is copied. After a false the reader's place is unspecified.
class DerReader {
 public:
  explicit DerReader(Bytes in) : rest_(in) {}
  bool atEnd() const { return rest_.empty(); }
  bool next(uint8_t tag) const { return !rest_.empty() && rest_[0] == tag; }
  bool read(uint8_t tag, Bytes* content);
  // Content of a constructed element, to be read on its own; the caller owes a check that `inner` comes to its end.
  bool enter(uint8_t tag, DerReader* inner);
  // INTEGER >= 0 as a big-endian magnitude without the sign byte; zero is one zero byte. Negative ones are refused.
  bool readUnsigned(Bytes* magnitude);
  // INTEGER that must have this value (versions).
  bool readVersion(uint8_t value);
  // Whole octets under `tag` (BIT STRING, or an implicitly tagged one).
  bool readBits(uint8_t tag, Bytes* octets);

 private:
  Bytes rest_;
};

// Writes from the end of a buffer towards its start, so that every length is known when its header is due, and a private
// key never sits in a second buffer. Callers write the last element first.
class DerWriter {
 public:
  explicit DerWriter(MutBytes buffer) : buffer_(buffer) {}
  size_t size() const { return size_; }
  // False once the buffer was too short; the result is then empty.
  bool fits() const { return fits_; }
  void raw(Bytes bytes);
  // Puts a header before everything written since size() was `from`.
  void close(uint8_t tag, size_t from);
  void element(uint8_t tag, Bytes content);
  void unsignedInteger(Bytes magnitude);  // big-endian, leading zeros allowed; writes the minimal form
  void bits(uint8_t tag, Bytes octets);
  MutBytes result() const { return fits_ ? buffer_.last(size_) : MutBytes{}; }

 private:
  MutBytes buffer_;
  size_t size_ = 0;
  bool fits_ = true;
};

// ECDSA-Sig-Value (RFC 3279 2.2.3): SEQUENCE { r INTEGER, s INTEGER }, to and from r || s, each scalarBytes long (P1363).
// False for anything but the one DER form, or when r or s needs more than scalarBytes. `fixed` has 2 * scalarBytes bytes.
bool readEcdsaSignature(Bytes signature, size_t scalarBytes, MutBytes fixed);
void writeEcdsaSignature(Bytes fixed, Buffer* signature);

}  // namespace quorate
