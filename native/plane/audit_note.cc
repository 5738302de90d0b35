#include "plane/audit_note.h"

#include <algorithm>
#include <charconv>

namespace quorate {

namespace {

constexpr char kAlphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kDash[] = "\xe2\x80\x94 ";  // an em dash and a space
constexpr uint8_t kEd25519 = 1;
constexpr size_t kPublicBytes = 32, kSignatureBytes = 64;

std::string textOf(const std::string& origin, const Checkpoint& checkpoint) {
  return origin + "\n" + std::to_string(checkpoint.size) + "\n" + encodeBase64(checkpoint.root) + "\n";
}

// The text before `end`, taken off the front with it. Nothing when there is no `end`.
std::optional<std::string_view> takeUntil(std::string_view* in, std::string_view end) {
  const size_t at = in->find(end);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view out = in->substr(0, at);
  in->remove_prefix(at + end.size());
  return out;
}

}  // namespace

std::string encodeBase64(Bytes in) {
  std::string out;
  for (size_t i = 0; i < in.size(); i += 3) {
    const size_t n = std::min<size_t>(3, in.size() - i);
    const uint32_t bits = static_cast<uint32_t>(in[i] << 16 | (n > 1 ? in[i + 1] << 8 : 0) | (n > 2 ? in[i + 2] : 0));
    for (size_t k = 0; k < 4; k++) out += k <= n ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=';
  }
  return out;
}

std::optional<Buffer> decodeBase64(std::string_view text) {
  Buffer out;
  uint32_t bits = 0;
  size_t filled = 0;
  for (const char c : text.substr(0, text.find('='))) {
    const char* place = std::find(kAlphabet, kAlphabet + 64, c);
    if (place == kAlphabet + 64) return std::nullopt;
    bits = bits << 6 | static_cast<uint32_t>(place - kAlphabet);
    filled += 6;
    if (filled < 8) continue;
    filled -= 8;
    out.push_back(static_cast<uint8_t>(bits >> filled));
  }
  return encodeBase64(out) == text ? std::optional(out) : std::nullopt;
}

Code AuditSigner::make(Bytes seed, const std::string& origin, std::shared_ptr<const AuditSigner>* out) {
  if (origin.empty() || std::any_of(origin.begin(), origin.end(), [](char c) { return c <= ' ' || c == '+' || c == 0x7f; })) return Code::BAD_REQUEST;
  auto made = std::make_shared<AuditSigner>();
  made->origin_ = origin;
  Secret stored;
  std::string detail;
  if (const Code code = importKey(KeyType::ED25519, MaterialFormat::RAW, seed, &stored, &made->spki_, &detail); code != Code::OK) return code;
  if (const Code code = PreparedSigner::prepare(KeyType::ED25519, stored, &made->key_); code != Code::OK) return code;
  // The key id: SHA-256 of name, newline, type and public key, its first four bytes.
  std::string named = origin + "\n" + static_cast<char>(kEd25519);
  named.append(made->spki_.end() - kPublicBytes, made->spki_.end());  // SubjectPublicKeyInfo ends with the raw key (RFC 8410, section 4)
  uint8_t hash[32];
  if (const Code code = digest(Hash::SHA_256, bytesOf(named), hash); code != Code::OK) return code;
  std::copy(hash, hash + sizeof(made->keyId_), made->keyId_);
  *out = std::move(made);
  return Code::OK;
}

Code AuditSigner::sign(const Checkpoint& checkpoint, std::string* note) const {
  const std::string text = textOf(origin_, checkpoint);
  Buffer signature;
  if (const Code code = key_->sign({KeyType::ED25519, KeyScheme::EDDSA}, bytesOf(text), &signature); code != Code::OK) return code;
  Buffer both(keyId_, keyId_ + sizeof(keyId_));
  both.insert(both.end(), signature.begin(), signature.end());
  *note = text + "\n" + kDash + origin_ + " " + encodeBase64(both) + "\n";
  return Code::OK;
}

std::optional<Checkpoint> AuditSigner::open(const std::string& note) const {
  std::string_view rest = note;
  const auto origin = takeUntil(&rest, "\n"), size = takeUntil(&rest, "\n"), root = takeUntil(&rest, "\n");
  const auto start = takeUntil(&rest, kDash), name = takeUntil(&rest, " "), both = takeUntil(&rest, "\n");
  if (!origin || !size || !root || !start || !name || !both || *origin != origin_ || *start != "\n" || *name != origin_ || !rest.empty()) return std::nullopt;
  Checkpoint out;
  const auto [end, error] = std::from_chars(size->data(), size->data() + size->size(), out.size);
  const auto hash = decodeBase64(*root), signature = decodeBase64(*both);
  if (error != std::errc() || !hash || hash->size() != out.root.size() || !signature || signature->size() != sizeof(keyId_) + kSignatureBytes) return std::nullopt;
  std::copy(hash->begin(), hash->end(), out.root.begin());
  const Bytes bytes = *signature;
  if (!std::equal(keyId_, keyId_ + sizeof(keyId_), bytes.begin())) return std::nullopt;
  const std::string text = textOf(origin_, out);
  bool valid = false;
  const Code code = verify({KeyType::ED25519, KeyScheme::EDDSA}, spki_, bytesOf(text), bytes.subspan(sizeof(keyId_)), &valid);
  // The text that verifies is the one that the numbers give: another writing of them is not what was signed.
  return code == Code::OK && valid && note.starts_with(text) ? std::optional(out) : std::nullopt;
}

}  // namespace quorate
