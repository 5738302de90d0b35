#include "core/managed.h"

#include <cstring>

#include "core/random.h"
#include "core/stack_scrub.h"
#include "core/symmetric.h"
#include "core/xaes.h"

namespace quorate {
namespace {

// Offsets in the header. H, which commitment and aad cover, is bytes 0..23, then the domain.
constexpr size_t kFormatAt = 2, kSuiteAt = 3, kIdAt = 4, kVersionAt = 20, kNonceAt = 24, kCommitmentAt = 48;
constexpr uint8_t kMagic[2] = {0x51, 0xa1};
constexpr uint8_t kSuite = 1;
constexpr uint64_t kGcmBytesMax = (1ull << 36) - 32;
constexpr size_t kHeaderAadMax = 4 + kNonceAt + 1 + limits::name_bytes_max;
constexpr size_t kTagBytes = 16;

void storeLittleEndian(uint32_t value, uint8_t out[4]) {
  for (int i = 0; i < 4; i++) out[i] = uint8_t(value >> (8 * i));
}

Buffer makeHeaderAad(ManagedFormat format, const KeyIdentity& identity) {
  Buffer aad(4 + kNonceAt + 1 + identity.domain.size());
  storeLittleEndian(uint32_t(aad.size() - 4), aad.data());
  uint8_t* h = aad.data() + 4;
  std::memcpy(h, kMagic, 2);
  h[kFormatAt] = uint8_t(format);
  h[kSuiteAt] = kSuite;
  std::memcpy(h + kIdAt, identity.id.data(), identity.id.size());
  storeLittleEndian(identity.version, h + kVersionAt);
  h[kNonceAt] = uint8_t(identity.domain.size());
  std::memcpy(h + kNonceAt + 1, identity.domain.data(), identity.domain.size());
  return aad;
}

// The whole aad of one message, on the stack: contexts are short and bounded.
struct MessageAad {
  uint8_t bytes[kHeaderAadMax + limits::context_bytes_max];
  size_t size;
  MessageAad(Bytes header, Bytes context) : size(header.size() + context.size()) {
    std::memcpy(bytes, header.data(), header.size());
    if (!context.empty()) std::memcpy(bytes + header.size(), context.data(), context.size());
  }
  operator Bytes() const { return {bytes, size}; }
};

}  // namespace

struct ManagedKey::Prepared {
  XaesKey xaes;
  HmacSha256State commitment;
  uint8_t encryptKey[32];  // for the streams' HKDF
};

Code parseManagedHeader(Bytes ciphertext, ManagedHeader* out) {
  if (ciphertext.size() < kManagedHeaderBytes) return Code::CIPHERTEXT_INVALID;
  const uint8_t* h = ciphertext.data();
  if (h[0] != kMagic[0] || h[1] != kMagic[1] || h[kSuiteAt] != kSuite) return Code::CIPHERTEXT_INVALID;
  const auto format = ManagedFormat(h[kFormatAt]);
  if (format != ManagedFormat::message && format != ManagedFormat::stream) return Code::CIPHERTEXT_INVALID;
  out->format = format;
  std::memcpy(out->id.data(), h + kIdAt, out->id.size());
  out->version = 0;
  for (int i = 3; i >= 0; i--) out->version = out->version << 8 | h[kVersionAt + i];
  return out->version == 0 ? Code::CIPHERTEXT_INVALID : Code::OK;  // versions begin at 1; 0 asks for the current one
}

Code ManagedKey::prepare(Bytes stored, const KeyIdentity& identity, std::shared_ptr<const ManagedKey>* out) {
  static_assert(limits::name_bytes_max <= 255);  // the domain's length is one byte
  if (stored.size() != 32) return Code::KEY_INVALID;
  if (identity.domain.size() > limits::name_bytes_max) return Code::NAME_INVALID;
  std::shared_ptr<ManagedKey> made(new ManagedKey);
  if (Code code = Secret::make(sizeof(Prepared), &made->prepared_); code != Code::OK) return code;
  made->identity_ = identity;
  made->messageAad_ = makeHeaderAad(ManagedFormat::message, identity);
  made->streamAad_ = makeHeaderAad(ManagedFormat::stream, identity);

  auto* prepared = reinterpret_cast<Prepared*>(made->prepared_.data());
  static const std::string kEncrypt = "quorate/v1/managed/encrypt", kCommit = "quorate/v1/managed/commit";
  uint8_t commitKey[32];
  hkdf(Hash::SHA_256, stored, {}, bytesOf(kEncrypt), prepared->encryptKey);
  hkdf(Hash::SHA_256, stored, {}, bytesOf(kCommit), commitKey);
  xaesPrepare(prepared->encryptKey, &prepared->xaes);
  hmacSha256Prepare(commitKey, &prepared->commitment);
  wipe(commitKey, sizeof commitKey);
  scrubStack();
  *out = std::move(made);
  return Code::OK;
}

ManagedKey::~ManagedKey() = default;

const ManagedKey::Prepared& ManagedKey::prepared() const { return *reinterpret_cast<const Prepared*>(prepared_.data()); }

Bytes ManagedKey::headerAad(ManagedFormat format) const { return format == ManagedFormat::message ? messageAad_ : streamAad_; }

void ManagedKey::writeHeader(ManagedFormat format, const uint8_t nonce[24], uint8_t header[kManagedHeaderBytes]) const {
  const Bytes h = headerAad(format).subspan(4);
  std::memcpy(header, h.data(), kNonceAt);
  std::memcpy(header + kNonceAt, nonce, 24);
  hmacSha256(prepared().commitment, {nonce, 24}, h, header + kCommitmentAt);
}

// The commitment binds the ciphertext to this one key before GCM, which would open under several keys, is asked.
Code ManagedKey::checkHeader(ManagedFormat format, const uint8_t header[kManagedHeaderBytes]) const {
  ManagedHeader parsed;
  if (Code code = parseManagedHeader({header, kManagedHeaderBytes}, &parsed); code != Code::OK) return code;
  if (parsed.format != format) return Code::CIPHERTEXT_INVALID;
  if (parsed.id != identity_.id || parsed.version != identity_.version) return Code::CIPHERTEXT_WRONG_KEY;
  uint8_t commitment[32];
  hmacSha256(prepared().commitment, {header + kNonceAt, 24}, headerAad(format).subspan(4), commitment);
  return equalConstantTime({commitment, 32}, {header + kCommitmentAt, 32}) ? Code::OK : Code::CIPHERTEXT_INVALID;
}

Code ManagedKey::seal(Bytes context, Bytes plaintext, MutBytes out) const {
  alignas(16) uint8_t nonce[24];
  randomNonce(nonce);
  return sealWithNonce(context, nonce, plaintext, out);
}

Code ManagedKey::sealWithNonce(Bytes context, const uint8_t nonce[24], Bytes plaintext, MutBytes out) const {
  if (context.size() > limits::context_bytes_max) return Code::CONTEXT_TOO_LONG;
  if (plaintext.size() > kGcmBytesMax) return Code::INPUT_TOO_LONG;
  if (out.size() != plaintext.size() + kManagedOverheadBytes) return Code::INTERNAL;
  writeHeader(ManagedFormat::message, nonce, out.data());
  const MessageAad aad(messageAad_, context);
  uint8_t* ciphertext = out.data() + kManagedHeaderBytes;
  xaesSealPrepared(prepared().xaes, nonce, aad, plaintext, ciphertext, ciphertext + plaintext.size());
  return Code::OK;
}

Code ManagedKey::open(Bytes context, Bytes ciphertext, MutBytes out) const {
  const auto fail = [&](Code code) {
    wipe(out);
    return code;
  };
  if (context.size() > limits::context_bytes_max) return fail(Code::CONTEXT_TOO_LONG);
  if (ciphertext.size() < kManagedOverheadBytes) return fail(Code::CIPHERTEXT_INVALID);
  if (out.size() != ciphertext.size() - kManagedOverheadBytes) return fail(Code::INTERNAL);
  // A copy: were the memory shared, its writer could otherwise change the nonce between the check and the use.
  uint8_t header[kManagedHeaderBytes];
  std::memcpy(header, ciphertext.data(), sizeof header);
  if (Code code = checkHeader(ManagedFormat::message, header); code != Code::OK) return fail(code);
  const MessageAad aad(messageAad_, context);
  const Bytes body = ciphertext.subspan(kManagedHeaderBytes, out.size());
  const uint8_t* tag = ciphertext.data() + ciphertext.size() - kTagBytes;
  const bool ok = xaesOpenPrepared(prepared().xaes, header + kNonceAt, aad, body, tag, out.data());
  return ok ? Code::OK : fail(Code::CIPHERTEXT_INVALID);
}

// One AES-256-GCM key for each file, so that chunk numbers can be its IVs.
Code ManagedKey::streamKey(const uint8_t nonce[24], Secret* out) const {
  Secret made;
  if (Code code = Secret::make(sizeof(GcmKey), &made); code != Code::OK) return code;
  const Bytes h = headerAad(ManagedFormat::stream).subspan(4);
  constexpr char kInfo[] = "quorate/v1/stream";
  uint8_t info[sizeof kInfo - 1 + kHeaderAadMax];
  std::memcpy(info, kInfo, sizeof kInfo - 1);
  std::memcpy(info + sizeof kInfo - 1, h.data(), h.size());
  uint8_t fileKey[32];
  hkdf(Hash::SHA_256, {prepared().encryptKey, 32}, {nonce, 24}, {info, sizeof kInfo - 1 + h.size()}, fileKey);
  gcm().init(reinterpret_cast<GcmKey*>(made.data()), fileKey, 32);
  wipe(fileKey, sizeof fileKey);
  scrubStack();
  *out = std::move(made);
  return Code::OK;
}

Code ManagedKey::sealStream(std::shared_ptr<const ManagedKey> self, Bytes context, uint8_t header[kManagedHeaderBytes],
                            std::unique_ptr<StreamSealer>* out) {
  uint8_t nonce[24];
  randomNonce(nonce);
  return self->sealStreamWithNonce(context, nonce, header, out);
}

Code ManagedKey::sealStreamWithNonce(Bytes context, const uint8_t nonce[24], uint8_t header[kManagedHeaderBytes],
                                     std::unique_ptr<StreamSealer>* out) const {
  if (context.size() > limits::context_bytes_max) return Code::CONTEXT_TOO_LONG;
  std::unique_ptr<StreamSealer> made(new StreamSealer);
  if (Code code = streamKey(nonce, &made->gcmKey_); code != Code::OK) return code;
  made->aad_ = streamAad_;
  made->aad_.insert(made->aad_.end(), context.begin(), context.end());
  writeHeader(ManagedFormat::stream, nonce, header);
  *out = std::move(made);
  return Code::OK;
}

Code ManagedKey::openStream(std::shared_ptr<const ManagedKey> self, Bytes context, Bytes header, std::unique_ptr<StreamOpener>* out) {
  if (context.size() > limits::context_bytes_max) return Code::CONTEXT_TOO_LONG;
  if (header.size() != kManagedHeaderBytes) return Code::CIPHERTEXT_INVALID;
  uint8_t copy[kManagedHeaderBytes];
  std::memcpy(copy, header.data(), sizeof copy);
  if (Code code = self->checkHeader(ManagedFormat::stream, copy); code != Code::OK) return code;
  std::unique_ptr<StreamOpener> made(new StreamOpener);
  if (Code code = self->streamKey(copy + kNonceAt, &made->gcmKey_); code != Code::OK) return code;
  made->aad_ = self->streamAad_;
  made->aad_.insert(made->aad_.end(), context.begin(), context.end());
  *out = std::move(made);
  return Code::OK;
}

}  // namespace quorate
