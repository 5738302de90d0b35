// From a request's key reference to a prepared key: sessions, grants, and the wait for JavaScript when there is none.
#include <algorithm>

#include "plane/dispatch.h"
#include "plane/usage.h"

namespace quorate {

namespace {
// Upcalls for one request before it is told to come again: grants and versions may be evicted or voided while it waits. A grant for one
// request alone is void with any change at all, and Wrap needs two that stand together.
constexpr unsigned kUpcallsPerRequest = 16;
constexpr uint32_t kOvertakenRetryMs = 20;

FoundKey& slotOf(Connection& c, uint16_t use, std::string_view ref) {
  const size_t mix = use + ref.size() + (ref.empty() ? 0 : static_cast<uint8_t>(ref.back()));
  return c.found[mix % std::size(c.found)];
}

uint16_t useOf(const auto& ask) { return static_cast<uint16_t>(static_cast<uint16_t>(ask.row.id) | (ask.asTarget ? kTargetUse : 0)); }
// What a grant's name has of a request's version.
uint32_t grantVersion(Method method, uint32_t version) { return method == Method::FetchSecret ? version : 0; }
void append(std::string* out, const void* p, size_t n) { out->append(static_cast<const char*>(p), n); }
}  // namespace

Code Dispatcher::find(Ask& ask, std::string_view ref, uint32_t version, const KeyId* named, const char* field, PreparedKey** out) {
  *out = nullptr;
  const uint16_t use = useOf(ask);
  FoundKey& slot = slotOf(ask.c, use, ref);
  if (slot.key != nullptr && slot.use == use && slot.version == version && slot.refBytes == ref.size() && slot.keysEpoch == keys_.epoch() &&
      slot.grantsEpoch == grants_.epoch() && nowNs < slot.expiresNs && std::memcmp(slot.ref, ref.data(), ref.size()) == 0 && (named == nullptr || *named == slot.key->id)) {
    slot.key->used = true;
    *out = slot.key;
    return Code::OK;
  }
  ask.fault.field = field;
  if (ref.empty()) {
    ask.fault.detail = "the request must name a key";
    return Code::BAD_REQUEST;
  }
  if (ref.size() > limits::name_bytes_max) return Code::NAME_INVALID;
  if (!validUtf8(ref)) {
    ask.fault.detail = "the key reference is not UTF-8";
    return Code::BAD_REQUEST;
  }
  FoundKey fresh;
  fresh.use = use;
  fresh.version = version;
  // Nothing of a session is a secret, whatever that is called.
  const bool inSession = ref.starts_with(kSessionPrefix) && ask.row.id != Method::FetchSecret;
  const Code code = inSession ? findSessionKey(ask, ref, &fresh, out) : findGranted(ask, ref, version, named, &fresh, out);
  if (code != Code::OK || *out == nullptr) return code;
  ask.fault.field = "";
  if (fresh.expiresNs != 0 && ref.size() <= FoundKey::kRefBytesMax) {
    fresh.key = *out;
    fresh.keysEpoch = keys_.epoch();
    fresh.grantsEpoch = grants_.epoch();
    fresh.refBytes = static_cast<uint8_t>(ref.size());
    std::memcpy(fresh.ref, ref.data(), ref.size());
    slot = fresh;
  }
  return Code::OK;
}

Code Dispatcher::findSessionKey(Ask& ask, std::string_view ref, FoundKey* slot, PreparedKey** out) {
  PreparedKey* key = ask.c.session->key(sessionKeyNumber(ref));
  if (key == nullptr) return Code::KEY_NOT_FOUND;
  // A managed ciphertext of another key may name any version; open() says that it is another's.
  if (key->scheme != KeyScheme::MANAGED && slot->version > key->version) return Code::KEY_VERSION_NOT_FOUND;
  slot->expiresNs = INT64_MAX;
  *out = key;
  return Code::OK;
}

Code Dispatcher::granted(Ask& ask, const GrantName& name, const KeyId** keyId, int64_t* expiresNs) {
  *keyId = nullptr;
  if (ask.parked) {
    for (const OneGrant& one : ask.parked->granted) {
      if (one.use != name.use || one.version != name.version || one.ref != name.ref || one.voids != voids_) continue;
      *keyId = &one.keyId;
      *expiresNs = 0;  // for this request alone
      return Code::OK;
    }
  }
  const Grant* grant = grants_.find(name, nowNs);
  if (grant == nullptr) return Code::OK;
  if (grant->refused != Code::OK) {
    ask.fault.detail = grant->detail;
    return grant->refused;
  }
  *keyId = &grant->keyId;
  *expiresNs = grant->expiresNs;
  return Code::OK;
}

Code Dispatcher::findGranted(Ask& ask, std::string_view ref, uint32_t version, const KeyId* named, FoundKey* slot, PreparedKey** out) {
  const uint16_t use = useOf(ask);
  const KeyId* keyId;
  if (const Code code = granted(ask, {ask.c.peer()->number, use, ref, grantVersion(ask.row.id, version)}, &keyId, &slot->expiresNs); code != Code::OK) return code;
  if (keyId == nullptr) return wait(ask, UpcallKind::grant, ref, use, version, named);
  if (named != nullptr && *named != *keyId) {
    // The ciphertext is another key's, if this key makes ciphertexts that name one.
    const PreparedKey* other = keys_.any(*keyId);
    if (other != nullptr && other->scheme == KeyScheme::MANAGED) return Code::CIPHERTEXT_WRONG_KEY;
    version = slot->version = request_.version;
  }
  PreparedKey* key = keys_.find(*keyId, version, nowNs);
  if (key == nullptr) return wait(ask, UpcallKind::grant, ref, use, version, nullptr);
  if (key->failed != Code::OK) return key->failed;
  // Whatever was installed under this id: no method but FetchSecret sees a secret's value, and that one sees nothing else.
  if (key->isValue() != (ask.row.id == Method::FetchSecret)) return Code::KEY_USAGE_DENIED;
  *out = key;
  return Code::OK;
}

// One random IV of the key's reserve. SP 800-38D, 8.3: no more than 2^32 for one key, over all hosts and restarts; hence blocks
// that are reserved durably before they are used.
Code Dispatcher::takeIv(Ask& ask, PreparedKey* key, bool* waits) {
  *waits = false;
  if (key->ivs == 0) {
    if (key->session) return Code::KEY_EXHAUSTED;
    *waits = true;
    return wait(ask, UpcallKind::reserve, "", static_cast<uint16_t>(ask.row.id), key->version, &key->id);
  }
  key->ivs--;
  if (key->session || key->reserving || key->ivs > limits::iv_block / 2) return Code::OK;
  reserveAhead(ask.c, key);
  return Code::OK;
}

// Once for half a million requests: its registers are not theirs to save.
__attribute__((noinline)) void Dispatcher::reserveAhead(const Connection& c, PreparedKey* key) {
  key->reserving = true;
  Upcall ahead{};
  ahead.kind = UpcallKind::reserve;
  ahead.peer = c.peer();
  ahead.session = c.session->id;
  ahead.version = key->version;
  ahead.keyId = key->id;
  fresh_.push_back(std::move(ahead));
}

bool Dispatcher::mayHold(const Connection& c, size_t n) const {
  return c.user->held.bytes + n <= tuning_.heldBytesPerUidMax && held_.bytes + n <= tuning_.heldBytesMax;
}

Code Dispatcher::wait(Ask& ask, UpcallKind kind, std::string_view ref, uint16_t use, uint32_t version, const KeyId* keyId) {
  // A batch may need a version for each of its ciphertexts.
  const size_t most = kUpcallsPerRequest + (ask.row.id == Method::Rewrap ? request_.ciphertexts.size() : 0);
  if (ask.parked && ask.parked->upcalls >= most) {
    ask.fault.detail = "no grant or version came after " + std::to_string(most) + " tries";
    ask.fault.retryAfterMs = kOvertakenRetryMs;
    return Code::BUSY;
  }
  const uint64_t peer = ask.c.peer()->number;
  std::string shareName;
  append(&shareName, &kind, sizeof(kind));
  append(&shareName, &peer, sizeof(peer));
  append(&shareName, &ask.c.pid, sizeof(ask.c.pid));  // a policy may look at it: what is decided for one process is no other's
  append(&shareName, &use, sizeof(use));
  append(&shareName, &version, sizeof(version));
  if (keyId != nullptr) append(&shareName, keyId->data(), keyId->size());
  shareName.push_back(keyId != nullptr ? 1 : 0);
  shareName.append(ref);
  if (!ask.parked) {
    if (!mayHold(ask.c, ask.body.size())) return Code::BUSY;
    auto parked = std::make_unique<Parked>();
    parked->connection = ask.c.id;
    parked->id = ask.id;
    parked->method = static_cast<uint16_t>(ask.row.id);
    parked->user = ask.c.user;
    parked->body = HeldRequest(ask.body, &parked->user->held);
    ask.parked = std::move(parked);
  }
  const auto known = shared_.find(shareName);
  uint64_t token = 0;
  if (known != shared_.end()) {
    token = known->second;
    ask.c.inFlight++;
    ask.c.waitingTokens.push_back(token);
  } else {
    Upcall upcall{};
    upcall.kind = kind;
    upcall.method = use & ~kTargetUse;
    upcall.target = (use & kTargetUse) != 0;
    upcall.keyRef = std::string(ref);
    upcall.version = version;
    if (keyId != nullptr) upcall.keyId = *keyId;
    Pending pending;
    pending.kind = kind;
    pending.method = upcall.method;
    pending.use = use;
    if (kind == UpcallKind::grant) pending.version = grantVersion(ask.row.id, version);
    pending.ref = std::string(ref);
    pending.shareName = shareName;
    if (const Code code = openUpcall(ask, std::move(upcall), std::move(pending)); code != Code::OK) return code;
    token = lastToken_;
    shared_.emplace(std::move(shareName), token);
  }
  ask.waits = true;
  ask.parked->upcalls++;
  pending_.at(token).parked.push_back(std::move(ask.parked));
  return Code::OK;
}

}  // namespace quorate
