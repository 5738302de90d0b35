// The audit log's place in the dispatcher: nothing is answered that is not in the ring, and nothing that must be durable before it is.
#include <algorithm>

#include "plane/dispatch.h"
#include "plane/sensitive.h"

namespace quorate {

namespace {

constexpr int64_t kPollNs = 50'000'000;

// Hot methods whose every success is a leaf of its own, durable before the answer: they move key material. A session object's value is its maker's own.
bool isLoggedAlone(Method method, const KeyId& keyId) {
  switch (method) {
    case Method::Wrap:
    case Method::Unwrap:
    case Method::WrapObject:
    case Method::UnwrapObject: return true;
    case Method::GetObjectValue: return keyId != KeyId{};
    default: return false;
  }
}
// Stopped before anything was looked at.
bool isUntouched(Code code) { return code == Code::SEALED || code == Code::UNINITIALISED || code == Code::AUDIT_UNAVAILABLE; }

}  // namespace

void Dispatcher::setAudit(std::shared_ptr<AuditLog> log, AuditMode mode) {
  failHeld();
  audit_ = log ? std::make_unique<AuditGate>(std::move(log), mode) : nullptr;
  if (audit_) audit_->look(nowNs);
}

void Dispatcher::beginRound() {
  if (!audit_) return;
  audit_->look(nowNs);
  if (!unsaid_.empty()) releaseHeld();
  if (crowded_ && !audit_->isCrowded()) {
    crowded_ = false;
    for (const auto& [id, c] : connections_) markDirty(*c);
  }
}

void Dispatcher::endRound() {
  if (audit_) audit_->closeWindow(nowNs);
}

int64_t Dispatcher::auditWakesNs() const {
  if (!audit_) return INT64_MAX;
  const int64_t poll = unsaid_.empty() && !crowded_ ? INT64_MAX : nowNs + kPollNs;  // a log that hangs tells nobody
  return std::min(poll, audit_->windowEndsNs());
}

// Reading waits for the disk.
void Dispatcher::beCrowded() {
  if (crowded_) return;
  crowded_ = true;
  audit_->log().wantRoom();
}

// fn runs when the leaf is durable, with OK; or with AUDIT_UNAVAILABLE when the log does not follow. While the log is locked the ring is
// all there is: enough for an answer, not for a promise that the leaf is on the disk.
void Dispatcher::hold(uint64_t sequence, bool untilDurable, std::function<void(Code)> fn) {
  if (sequence == 0) return fn(Code::AUDIT_UNAVAILABLE);
  if (!untilDurable && audit_->isLocked()) return fn(Code::OK);
  if (!audit_->follows()) return fn(Code::AUDIT_UNAVAILABLE);
  unsaid_.push_back({sequence, untilDurable, std::move(fn)});
  audit_->log().want(sequence);
}

void Dispatcher::releaseHeld() {
  std::deque<Held> held;
  held.swap(unsaid_);
  for (Held& one : held) {
    if (audit_->isDurable(one.sequence) || (!one.untilDurable && audit_->isLocked())) one.fn(Code::OK);
    else if (!audit_->follows()) one.fn(Code::AUDIT_UNAVAILABLE);
    else unsaid_.push_back(std::move(one));
  }
}

void Dispatcher::endAudit() {
  failHeld();
  if (audit_) audit_->end();
}

void Dispatcher::failHeld() {
  std::deque<Held> held;
  held.swap(unsaid_);
  for (Held& one : held) one.fn(Code::AUDIT_UNAVAILABLE);
}

// The pending call cannot be answered as it was meant: what it changed stays changed.
void Dispatcher::replyUnlogged(uint64_t token, Code status, Bytes body) {
  const auto at = pending_.find(token);
  if (at == pending_.end()) return;
  const MethodRow& row = *methodRow(at->second.method);
  const bool isCall = at->second.kind == UpcallKind::call;
  if (isCall && status == Code::OK) dropHandles(row, body);
  const Code code = isCall && status == Code::OK && row.mutates ? Code::OUTCOME_UNKNOWN : Code::AUDIT_UNAVAILABLE;
  reply(token, code, encodeFailure(code, {audit_ ? audit_->reason() : ""}));
}

void Dispatcher::replyLogged(uint64_t token, Code status, Buffer body, Bytes leaf, bool isStored) {
  if (leaf.empty() || !audit_ || audit_->isOff()) return reply(token, status, body);
  const auto at = pending_.find(token);
  const uint16_t method = at == pending_.end() ? 0 : at->second.method;
  if (audit_->collapses(status) && audit_->count({0, {}, 0, method, static_cast<uint16_t>(status), 1})) return reply(token, status, body);
  const uint64_t sequence = audit_->append(leaf);
  // What tells of the log and what repairs it is answered while it cannot be written: its leaf waits in the ring.
  if ((sequence == 0 || !audit_->follows()) && AuditGate::isExempt(static_cast<Method>(method))) return reply(token, status, body);
  if (isStored && sequence != 0 && audit_->follows()) return reply(token, status, body);
  HeldShare share = at == pending_.end() ? HeldShare() : HeldShare(at->second.user, body.size());
  hold(sequence, false, [this, token, status, body = std::move(body), share = std::make_shared<HeldShare>(std::move(share))](Code code) {
    if (code == Code::OK) reply(token, status, body);
    else replyUnlogged(token, status, body);
  });
}

void Dispatcher::grantLogged(uint64_t token, const KeyId& keyId, uint32_t lifeMs, uint32_t slice, Bytes leaf) {
  if (leaf.empty() || !audit_ || audit_->isOff() || audit_->append(leaf) != 0) return grant(token, keyId, lifeMs, slice);
  refuse(token, Code::AUDIT_UNAVAILABLE, audit_->reason(), 0, 0);
}

// The refusal is in force at once, so that a void that comes later ends it; who waits for it is answered when its leaf is durable.
void Dispatcher::refuseLogged(uint64_t token, Code status, const std::string& detail, uint32_t lifeMs, uint32_t slice, Bytes leaf) {
  const auto at = pending_.find(token);
  if (leaf.empty() || !audit_ || audit_->isOff()) return refuse(token, status, detail, lifeMs, slice);
  const uint16_t method = at == pending_.end() ? 0 : at->second.method;
  if (audit_->collapses(status) && audit_->count({0, {}, 0, method, static_cast<uint16_t>(status), 1})) return refuse(token, status, detail, lifeMs, slice);
  const uint64_t sequence = audit_->append(leaf);
  if (at != pending_.end()) keepRefusal(at->second, status, detail, lifeMs, slice);
  hold(sequence, false, [this, token, status, detail](Code code) { refuse(token, code == Code::OK ? status : code, code == Code::OK ? detail : audit_->reason(), 0, 0); });
}

void Dispatcher::appendLeaf(Bytes leaf, std::function<void(Code, uint64_t)> done) {
  if (!audit_ || audit_->isOff()) return done(Code::AUDIT_UNAVAILABLE, 0);
  const uint64_t sequence = audit_->append(leaf);
  hold(sequence, true, [this, sequence, done = std::move(done)](Code code) { done(code, code == Code::OK ? audit_->log().indexOf(sequence) : 0); });
}

void Dispatcher::flushLog(std::function<void(Code)> done) {
  if (!audit_ || audit_->isOff()) return done(Code::AUDIT_UNAVAILABLE);
  const uint64_t last = audit_->lastSequence();
  if (last == 0 || audit_->isDurable(last)) return done(Code::OK);
  hold(last, true, std::move(done));
}

void Dispatcher::logHot(Ask& ask, Code code, size_t before) {
  if (!audit_) return counters.answered(static_cast<uint16_t>(ask.row.id), code);
  if (code == Code::OK && !isLoggedAlone(ask.row.id, ask.keyId) && ask.row.id != Method::Hello && ask.row.id != Method::Ping &&
      audit_->count({ask.c.session->id, ask.keyId, ask.version, static_cast<uint16_t>(ask.row.id), 0, 1})) [[likely]]
    return counters.answered(static_cast<uint16_t>(ask.row.id), code);
  HotCall call{ask.id, ask.row.id, code, ask.keyId, ask.version};
  if (code == Code::OK && (ask.row.id == Method::Wrap || ask.row.id == Method::WrapObject)) call.resource = request_.target;
  logHot(ask.c, call, before);
}

// A hot call was answered behind `before` in c.out. In the ring, or taken back.
void Dispatcher::logHot(Connection& c, const HotCall& call, size_t before) {
  counters.answered(static_cast<uint16_t>(call.method), call.code);
  if (!audit_ || call.method == Method::Hello || call.method == Method::Ping || isUntouched(call.code) || audit_->isOff()) return;
  const auto method = static_cast<uint16_t>(call.method), status = static_cast<uint16_t>(call.code);
  if (call.code != Code::OK || !isLoggedAlone(call.method, call.keyId)) {
    if (!audit_->count({c.session->id, call.keyId, call.version, method, status, 1})) takeBack(c, call, before);
    return;
  }
  LoggedCall leaf;
  leaf.timeMs = auditTimeMs();
  leaf.session = c.session->id;
  leaf.uid = c.user->uid;
  leaf.pid = static_cast<uint32_t>(c.pid);
  leaf.version = call.version;
  leaf.method = method;
  leaf.keyId = call.keyId;
  leaf.resource = call.resource;
  const uint64_t sequence = audit_->append(encodeCall(leaf));
  if (sequence == 0) return takeBack(c, call, before);
  // A wrapped key, the name of a new session key, or a value that may be told: wiped when it is said.
  const size_t bytes = c.out.size() - before;
  const auto answer = std::make_shared<WireBuffer>();
  std::memcpy(answer->room(bytes), c.out.data() + before, bytes);
  answer->extend(bytes);
  c.out.retract(bytes);
  c.inFlight++;
  hold(sequence, false, [this, id = c.id, epoch = c.identityEpoch, call, answer](Code code) {
    Connection* owner = connection(id);
    if (owner == nullptr) return;
    owner->inFlight--;
    markDirty(*owner);
    if (owner->identityEpoch != epoch) code = Code::SESSION_EXPIRED;
    if (code != Code::OK) return Reply(owner->out, call.id, static_cast<uint16_t>(call.method)).fail(code);
    std::memcpy(owner->out.room(answer->size()), answer->data(), answer->size());
    owner->out.extend(answer->size());
    owner->outSensitive = owner->outSensitive || methodRow(static_cast<uint16_t>(call.method))->sensitiveOut[0] != 0;
  });
}

void Dispatcher::takeBack(Connection& c, const HotCall& call, size_t before) {
  c.out.retract(c.out.size() - before);
  Reply(c.out, call.id, static_cast<uint16_t>(call.method)).fail(Code::AUDIT_UNAVAILABLE, {"the audit log: its ring is full"});
}

}  // namespace quorate
