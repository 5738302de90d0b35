// What JavaScript and the workers tell the plane, in the order in which they told it.
#include <algorithm>
#include <protozero/exception.hpp>

#include "plane/dispatch.h"
#include "plane/sensitive.h"

namespace quorate {

namespace {
constexpr uint32_t kBusyRetryMs = 100;
}

bool Dispatcher::takePending(uint64_t token, Pending* out) {
  const auto at = pending_.find(token);
  if (at == pending_.end()) return false;  // answered twice, or given up when the plane was sealed
  *out = std::move(at->second);
  pending_.erase(at);
  if (!out->shareName.empty()) shared_.erase(out->shareName);
  out->user->upcalls--;
  const auto forget = [&](uint64_t id) {
    Connection* c = connection(id);
    if (c == nullptr) return;
    const auto mark = std::find(c->waitingTokens.begin(), c->waitingTokens.end(), token);
    if (mark == c->waitingTokens.end()) return;
    c->waitingTokens.erase(mark);
    c->inFlight--;
    markDirty(*c);
  };
  if (out->kind == UpcallKind::call) forget(out->connection);
  for (const auto& parked : out->parked) forget(parked->connection);
  return true;
}

void Dispatcher::runParked(std::vector<std::unique_ptr<Parked>>&& parked) {
  for (std::unique_ptr<Parked>& one : parked) {
    Connection* c = connection(one->connection);
    if (c == nullptr) continue;
    if (!hasRoom(*c)) {  // all that waited for one grant runs at once: no more of it than the peer may leave unread
      Reply(c->out, one->id, one->method).fail(Code::BUSY, {"", "", kBusyRetryMs});
      continue;
    }
    // The copy lives in *one or, when it waits again, wherever that went: the request's views stay good.
    const MutBytes body = one->body.span();
    const uint32_t id = one->id;
    const MethodRow& row = *methodRow(one->method);
    Ask ask{*c, id, row, body, std::move(one)};
    serve(ask);
  }
}

void Dispatcher::failParked(std::vector<std::unique_ptr<Parked>>&& parked, Code status, Bytes failure) {
  for (const std::unique_ptr<Parked>& one : parked) {
    Connection* c = connection(one->connection);
    if (c == nullptr) continue;
    const size_t before = c->out.size();
    Reply(c->out, one->id, one->method).forward(status, failure);
    logHot(*c, {one->id, static_cast<Method>(one->method), status}, before);
    const auto method = static_cast<Method>(one->method);
    if (method != Method::StreamChunk && method != Method::MechanismUpdate) continue;
    decodeHotRequest(method, one->body.span(), &request_);  // it decoded before it was parked
    if (method == Method::StreamChunk) c->session->endStream(request_.stream);
    else c->session->endOperation(request_.stream);
  }
}

void Dispatcher::reply(uint64_t token, Code status, Bytes body) {
  const auto at = pending_.find(token);
  const MethodRow* row = at == pending_.end() ? nullptr : methodRow(at->second.method);
  Pending pending;
  if (!takePending(token, &pending)) return;
  if (pending.kind != UpcallKind::call) {
    const Buffer failure = status == Code::OK ? encodeFailure(Code::INTERNAL, {"an upcall for a grant was answered as a call"}) : Buffer(body.begin(), body.end());
    failParked(std::move(pending.parked), status == Code::OK ? Code::INTERNAL : status, failure);
    return;
  }
  Connection* c = connection(pending.connection);
  if (c == nullptr) {
    if (status == Code::OK) dropHandles(*row, body);
    return;
  }
  Reply answer(c->out, pending.id, pending.method);
  if (status != Code::OK) {
    counters.answered(pending.method, status);
    return answer.forward(status, body);
  }
  c->outSensitive = c->outSensitive || row->sensitiveOut[0] != 0;
  Code code = Code::OK;
  Buffer ticket;
  try {
    if (pending.method == static_cast<uint16_t>(Method::AuthenticateUse)) {
      code = makeTicket(*c, pending, body, &ticket);
      body = ticket;
    }
    if (code == Code::OK) code = swapOut(*row, body, answer);
  } catch (const protozero::exception&) {
    dropHandles(*row, body);
    code = Code::INTERNAL;
  }
  counters.answered(pending.method, code);
  if (code != Code::OK) return answer.fail(code, {code == Code::INTERNAL ? "the answer could not be encoded" : ""});
  if (pending.object != 0 && c->session->destroyKey(pending.object)) keys_.touch();  // it is kept: the session's is not needed
}

void Dispatcher::grant(uint64_t token, const KeyId& keyId, uint32_t lifeMs, uint32_t slice) {
  Pending pending;
  if (!takePending(token, &pending)) return;
  if (pending.kind != UpcallKind::grant) return failParked(std::move(pending.parked), Code::INTERNAL, encodeFailure(Code::INTERNAL, {"grant() for another kind of upcall"}));
  const int64_t life = std::min<int64_t>(lifeMs, limits::grant_life_ms);
  if (life > 0)
    grants_.put({.peer = pending.peer->number, .use = pending.use, .version = pending.version, .ref = pending.ref, .uid = pending.user->uid, .slice = slice, .keyId = keyId, .expiresNs = nowNs + life * 1'000'000});
  for (const auto& parked : pending.parked) parked->granted.push_back({pending.use, pending.version, pending.ref, keyId, voids_});
  runParked(std::move(pending.parked));
}

void Dispatcher::refuse(uint64_t token, Code status, const std::string& detail, uint32_t lifeMs, uint32_t slice) {
  Pending pending;
  if (!takePending(token, &pending)) return;
  if (status == Code::OK) status = Code::INTERNAL;
  // There was no room to open it in: what is prepared and was not used for long makes some, and it is asked for again.
  if (status == Code::ARENA_FULL && pending.kind == UpcallKind::grant && keys_.makeRoom()) return runParked(std::move(pending.parked));
  keepRefusal(pending, status, detail, lifeMs, slice);
  failParked(std::move(pending.parked), status, encodeFailure(status, {detail}));
}

void Dispatcher::keepRefusal(const Pending& pending, Code status, const std::string& detail, uint32_t lifeMs, uint32_t slice) {
  const int64_t life = std::min<int64_t>(lifeMs, limits::negative_grant_life_ms);
  if (life == 0 || pending.kind != UpcallKind::grant || status == Code::OK) return;
  grants_.put({.peer = pending.peer->number, .use = pending.use, .version = pending.version, .ref = pending.ref, .uid = pending.user->uid, .slice = slice, .refused = status, .detail = detail, .expiresNs = nowNs + life * 1'000'000});
}

void Dispatcher::resume(uint64_t token) {
  Pending pending;
  if (takePending(token, &pending)) runParked(std::move(pending.parked));
}

void Dispatcher::install(InstalledVersion&& version) {
  if (mode_ == PlaneMode::ready) keys_.install(std::move(version), nowNs);  // else sealed since: nothing may come back
}

void Dispatcher::challenge(const KeyId* keyId) {
  if (totals_.streams == 0 && totals_.operations == 0) return;
  for (const auto& [id, c] : connections_) c->session->challenge(keyId);
}

void Dispatcher::voidKey(const KeyId& keyId) {
  voids_++;
  grants_.voidKey(keyId);
  keys_.voidKey(keyId);
  challenge(&keyId);
}

void Dispatcher::voidSlice(uint32_t slice) {
  voids_++;
  grants_.voidSlice(slice);
  challenge(nullptr);
}

void Dispatcher::voidGrants() {
  voids_++;
  grants_.clear();
  challenge(nullptr);
}

void Dispatcher::setMode(PlaneMode mode) {
  const bool leaves = mode_ == PlaneMode::ready && mode != PlaneMode::ready;
  mode_ = mode;
  if (!leaves) return;
  readyEpoch_++;
  voids_++;
  grants_.clear();
  keys_.clear();
  for (const auto& [id, c] : connections_) c->session->clear();
  const Code code = mode == PlaneMode::sealed ? Code::SEALED : Code::UNINITIALISED;
  std::vector<uint64_t> waiting;
  for (const auto& [token, pending] : pending_)
    if (pending.kind != UpcallKind::call) waiting.push_back(token);
  for (const uint64_t token : waiting) {
    Pending pending;
    takePending(token, &pending);
    cancelUpcall(pending.user->uid, token);
    failParked(std::move(pending.parked), code, encodeFailure(code, {}));
  }
  for (const auto& [id, c] : connections_)
    if (c->peer()->identity != 0) expireIdentity(*c);  // whoever comes after the seal looks at its token anew
}

void Dispatcher::finished(std::unique_ptr<Job> job) {
  jobs_--;
  job->user->jobs--;
  Connection* c = connection(job->connection);
  if (c == nullptr) return;
  c->inFlight--;
  markDirty(*c);
  Code code = job->readyEpoch != readyEpoch_ ? Code::SEALED : job->identityEpoch != c->identityEpoch ? Code::SESSION_EXPIRED : job->code;
  const size_t before = c->out.size();
  if (code == Code::OK && audit_ && !audit_->follows()) code = Code::AUDIT_UNAVAILABLE;
  if (job->operation) takeBackOperation(*c, *job, code);
  if (code == Code::OK && job->makesKey()) code = adopt(*c, job->id, job->request.method, std::move(job->made));
  else if (code == Code::OK) {
    const size_t n = job->answer.size();
    std::memcpy(c->out.room(n), job->answer.data(), n);
    c->out.extend(n);
    c->outSensitive = c->outSensitive || methodRow(static_cast<uint16_t>(job->request.method))->sensitiveOut[0] != 0;
  }
  if (code != Code::OK) Reply(c->out, job->id, static_cast<uint16_t>(job->request.method)).fail(code, code == job->code ? job->fault : Fault{});
  if (!audit_) return;
  const PreparedKey* key = job->key && !job->key->session ? job->key.get() : nullptr;
  logHot(*c, {job->id, job->request.method, code, key ? key->id : KeyId{}, key ? key->version : 0, std::string(job->request.target)}, before);
}

}  // namespace quorate
