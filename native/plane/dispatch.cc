// Connections, frames, and the methods that go up to JavaScript.
#include "plane/dispatch.h"

#include <algorithm>
#include <protozero/pbf_reader.hpp>

#include "core/random.h"
#include "plane/sensitive.h"

namespace quorate {

namespace {

// A turn's length, in bytes of payload or what takes as long: a connection that asks much shares the thread.
constexpr size_t kTurn = 1024 * 1024, kRequestCost = 512, kAsymmetricCost = 64 * 1024;
// Frames up to this size are answered also when their uid holds more memory than it may.
constexpr size_t kSmallFrame = 64 * 1024;
constexpr uint32_t kBusyRetryMs = 100;

struct RowIndex {
  const MethodRow* row[256] = {};
  constexpr RowIndex() {
    for (const MethodRow& r : kMethods) row[static_cast<size_t>(r.id)] = &r;
  }
};
constexpr RowIndex kRows;
const MethodRow* rowOf(uint16_t method) { return method < std::size(kRows.row) ? kRows.row[method] : nullptr; }

size_t costOf(const MethodRow& row, size_t bytes) {
  const bool asymmetric = row.id == Method::Sign || row.id == Method::Verify || row.id == Method::Derive || row.id == Method::MechanismSign ||
                          row.id == Method::MechanismVerify || row.id == Method::DeriveObject;
  return kRequestCost + bytes + (asymmetric ? kAsymmetricCost : 0);
}

}  // namespace

Dispatcher::Dispatcher(const PlaneOptions& options, UpcallQueue& upcalls, std::function<void(std::unique_ptr<Job>)> submit)
    : tuning_(options.tuning), release_(options.release), upcalls_(upcalls), submit_(std::move(submit)), grants_(tuning_.grantsMax), keys_(tuning_.keyContextsMax), peers_(2 * tuning_.connectionsMax) {
  uint8_t start[6];  // far from the end of its 64 bits
  randomBytes(start);
  std::memcpy(&epochStart_, start, sizeof(start));
}

Dispatcher::~Dispatcher() {
  failHeld();
  for (auto& [token, pending] : pending_)
    if (cancelUpcall(pending.user->uid, token))
      for (const uint64_t handle : pending.handles) HandleTable::drop(handle);
}

UidPtr Dispatcher::user(uint32_t uid) {
  std::weak_ptr<UidState>& slot = users_[uid];
  UidPtr found = slot.lock();
  if (!found) slot = found = std::make_shared<UidState>(uid, &held_);
  return found;
}

std::unique_ptr<Connection> Dispatcher::connect(int fd, Peer who, int32_t pid) {
  const uint64_t id = ++lastConnection_;
  UidPtr owner = user(who.uid);
  auto session = std::make_unique<Session>(id, owner, &totals_);
  auto c = std::make_unique<Connection>(id, fd, std::move(owner), std::move(session));
  c->pid = pid;
  c->user->connections++;
  connections_.emplace(id, c.get());
  openRow(*c, std::move(who));
  return c;
}

void Dispatcher::disconnect(Connection& c) {
  connections_.erase(c.id);
  std::erase(dirty_, &c);
  c.user->connections--;
  giveUpWaiting(c, Code::OK);
  sessions.remove(c.id);
  c.session.reset();
  if (c.user->connections == 0 && c.user.use_count() == 1) users_.erase(c.user->uid);
}

Connection* Dispatcher::connection(uint64_t id) {
  const auto found = connections_.find(id);
  return found == connections_.end() ? nullptr : found->second;
}

void Dispatcher::markDirty(Connection& c) {
  if (c.dirty) return;
  c.dirty = true;
  dirty_.push_back(&c);
}

bool Dispatcher::hasRoom(const Connection& c) const {
  if (c.out.size() >= tuning_.sendBufferBytesMax) return false;
  return c.out.empty() || (c.user->held.bytes <= tuning_.heldBytesPerUidMax && held_.bytes <= tuning_.heldBytesMax);
}

bool Dispatcher::accepts(const Connection& c) const { return !crowded_ && !c.finishing && c.inFlight < tuning_.inFlightMax && hasRoom(c); }

// The connection's last answer: what follows on the socket cannot be read as frames, or shall not.
void Dispatcher::badFrame(Connection& c, const FrameHeader& header, Code code, const char* detail) {
  malformed_++;
  Reply(c.out, header.id, header.method).fail(code, {detail});
  c.finishing = true;
}

// A frame that the memory for its uid has no room for: answered at once, its bytes thrown away as they come.
bool Dispatcher::refuseLarge(Connection& c, const FrameHeader& header) {
  const size_t bytes = header.frameBytes();
  if (bytes <= kSmallFrame || bytes <= c.in.capacity() || mayHold(c, bytes)) return false;
  refusedBusy_++;
  Reply(c.out, header.id, header.method).fail(Code::BUSY, {"too many bytes are held for this uid", "", kBusyRetryMs});
  c.skip = bytes;
  return true;
}

bool Dispatcher::consume(Connection& c) {
  size_t used = 0, spent = 0;
  const uint64_t before = requests_;
  bool more = false;
  while (accepts(c)) {
    if (audit_ && audit_->isCrowded()) {
      beCrowded();
      break;
    }
    if (spent >= kTurn) {
      more = true;
      break;
    }
    const size_t have = c.in.size() - used;
    if (c.skip > 0) {
      const size_t n = std::min(c.skip, have);
      c.skip -= n;
      used += n;
      if (c.skip > 0 || n == have) break;
      continue;
    }
    FrameHeader header;
    const FrameState state = peekFrame(c.in.data() + used, have, &header);
    if (state == FrameState::incomplete) {
      if (header.length == 0) break;
      if (!c.greeted && (header.method != static_cast<uint16_t>(Method::Hello) || header.frameBytes() > kSmallFrame)) {  // no waiting for the rest of it
        badFrame(c, header, Code::HELLO_REQUIRED, "");
        break;
      }
      if (!refuseLarge(c, header)) break;
    }
    if (state == FrameState::tooShort) {
      badFrame(c, header, Code::BAD_REQUEST, "the frame's length is below 8");
      break;
    }
    if (state == FrameState::tooLarge) {
      if (have >= kFrameHeaderBytes) badFrame(c, header, Code::FRAME_TOO_LARGE, "");
      break;
    }
    const MethodRow* row = rowOf(header.method);
    requests_++;
    if (!c.greeted && header.method != static_cast<uint16_t>(Method::Hello)) {
      badFrame(c, header, Code::HELLO_REQUIRED, "");
      break;
    }
    if (row == nullptr) {
      Reply(c.out, header.id, header.method).fail(Code::UNKNOWN_METHOD, {"method " + std::to_string(header.method)});
    } else if (header.status != 0) {
      malformed_++;
      Reply(c.out, header.id, header.method).fail(Code::BAD_REQUEST, {"the status of a request is 0"});
    } else {
      Ask ask{c, header.id, *row, {c.in.data() + used + kFrameHeaderBytes, header.bodyBytes()}};
      serve(ask);
      spent += costOf(*row, header.bodyBytes());
    }
    used += header.frameBytes();
  }
  c.blocked = c.in.size() > used && !accepts(c);
  if (used > 0) c.frameDeadlineNs = 0;  // a new frame has its own time
  if (requests_ != before) c.session->row.count(requests_ - before, nowNs);
  // One wipe for all frames of this turn.
  c.in.consume(used, c.inSensitive);
  c.inSensitive = false;
  c.in.rest();
  return more;
}

// The one place where what a request throws becomes an answer.
void Dispatcher::serve(Ask& ask) {
  if (ask.row.sensitiveIn[0] != 0) ask.c.inSensitive = true;
  if (ask.row.sensitiveOut[0] != 0) ask.c.outSensitive = true;
  const size_t before = ask.c.out.size();
  Code code;
  try {
    code = answer(ask);
  } catch (const BadField& bad) {
    code = Code::BAD_REQUEST;
    ask.fault = {bad.reason, bad.field};
  } catch (const protozero::exception&) {
    code = Code::BAD_REQUEST;
    ask.fault = {"the body is not the method's message"};
  } catch (const std::bad_alloc&) {
    code = Code::BUSY;
    ask.fault = {"no memory"};
  }
  if (code != Code::OK) {
    if (code == Code::BAD_REQUEST) malformed_++;
    if (code == Code::BUSY) {
      refusedBusy_++;
      ask.fault.retryAfterMs = kBusyRetryMs;
    }
    Reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id)).fail(code, ask.fault);
  }
  if (ask.row.hot && !ask.waits) logHot(ask, code, before);
  else if (code != Code::OK) counters.answered(static_cast<uint16_t>(ask.row.id), code);
}

Code Dispatcher::checkMode(const MethodRow& row) const {
  if (mode_ == PlaneMode::ready || row.whenSealed) return Code::OK;
  return mode_ == PlaneMode::sealed ? Code::SEALED : Code::UNINITIALISED;
}

Code Dispatcher::answer(Ask& ask) {
  if (const Code code = checkMode(ask.row); code != Code::OK) return code;
  if (nowNs >= ask.c.identityEndsNs) [[unlikely]] {
    if (const Code code = identityEnded(ask); code != Code::OK) return code;
  }
  if (audit_ && !audit_->mayServe() && !AuditGate::isExempt(ask.row.id)) {
    ask.fault.detail = audit_->reason();
    return Code::AUDIT_UNAVAILABLE;
  }
  if (!ask.row.hot) return call(ask);
  if (ask.row.id == Method::Hello) return hello(ask);
  return hot(ask);
}

Code Dispatcher::ping(Ask& ask) {
  Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(Method::Ping));
  const Bytes payload = request_.data;
  reply.end(putField(reply.begin(fieldBytes(payload.size())), fields::PingResponse::payload, payload));
  return Code::OK;
}

// Registers an upcall and queues it for this round's publish().
Code Dispatcher::openUpcall(Ask& ask, Upcall&& upcall, Pending&& pending) {
  UidState& owner = *ask.c.user;
  if (pending_.size() >= tuning_.upcallsMax || owner.upcalls >= tuning_.upcallsPerUidMax) return Code::BUSY;
  const uint64_t token = ++lastToken_;
  upcall.token = token;
  upcall.peer = ask.c.peer();
  upcall.session = ask.c.session->id;
  upcall.pid = ask.c.pid;
  pending.user = ask.c.user;
  pending.peer = ask.c.peer();
  owner.upcalls++;
  upcallCount_++;
  ask.c.inFlight++;
  ask.c.waitingTokens.push_back(token);
  pending_.emplace(token, std::move(pending));
  fresh_.push_back(std::move(upcall));
  return Code::OK;
}

// What is kept free of prepared keys is a quarter of the arena: so much of it one uid's long values under way may take.
Code Dispatcher::holdLongValue(Ask& ask, HeldShare* share) {
  if (ask.body.size() <= limits::secret_bytes_max || sensitiveBytesMax(ask.row.id) <= limits::secret_bytes_max) return Code::OK;
  const size_t bytes = std::min(ask.body.size(), sensitiveBytesMax(ask.row.id));
  if (ask.c.user->longValues.bytes + bytes > Arena::stats().bytesMax / 4) return Code::BUSY;
  *share = HeldShare(ask.c.user, bytes, &UidState::longValues);
  return Code::OK;
}

Code Dispatcher::call(Ask& ask) {
  if (!mayHold(ask.c, ask.body.size())) return Code::BUSY;
  const auto method = static_cast<uint16_t>(ask.row.id);
  Upcall upcall{};
  upcall.kind = UpcallKind::call;
  upcall.method = method;
  Pending pending;
  pending.kind = UpcallKind::call;
  pending.connection = ask.c.id;
  pending.id = ask.id;
  pending.method = method;
  if (const Code code = holdLongValue(ask, &pending.longValue); code != Code::OK) return code;
  const auto dropAll = [](std::vector<uint64_t>& handles) {
    for (const uint64_t handle : handles) HandleTable::drop(handle);
  };
  std::vector<uint64_t> handles;
  Code code;
  try {
    if (ask.row.id == Method::AuthenticateUse) readUse(ask, &pending);
    if (ask.row.id == Method::StoreObject) code = fillStoreObject(ask, &upcall.body, &pending.object, &handles);
    else code = swapIn(ask.row, ask.body, &upcall.body, &handles, &ask.fault);
    while (code == Code::ARENA_FULL && ask.row.id != Method::StoreObject && keys_.evictOne()) {
      dropAll(handles);
      handles.clear();
      upcall.body.clear();
      code = swapIn(ask.row, ask.body, &upcall.body, &handles, &ask.fault);
    }
  } catch (...) {
    dropAll(handles);
    throw;
  }
  pending.handles = handles;
  pending.held = HeldShare(ask.c.user, upcall.body.size());
  if (code == Code::OK) code = openUpcall(ask, std::move(upcall), std::move(pending));
  if (code != Code::OK) dropAll(handles);
  return code;
}

bool Dispatcher::cancelUpcall(uint32_t uid, uint64_t token) {
  if (std::erase_if(fresh_, [token](const Upcall& upcall) { return upcall.token == token; }) > 0) return true;
  Upcall upcall;
  return upcalls_.cancel(uid, token, &upcall);
}

void Dispatcher::publish() { upcalls_.publish(&fresh_); }

void Dispatcher::updateCounters() {
  const auto put = [](auto& counter, auto value) { counter.store(value, std::memory_order_relaxed); };
  put(counters.requests, requests_);
  put(counters.upcalls, upcallCount_);
  put(counters.refusedBusy, refusedBusy_);
  put(counters.malformed, malformed_);
  put(counters.grants, static_cast<uint64_t>(grants_.size()));
  put(counters.keys, static_cast<uint64_t>(keys_.size()));
  put(counters.sessionKeys, totals_.keys);
  put(counters.streams, totals_.streams);
  put(counters.laneSignatures, laneSignatures_);
  put(counters.credentialsGiven, credentialsGiven_);
  put(counters.credentialsRefused, credentialsRefused_);
  put(counters.connections, static_cast<uint32_t>(connections_.size()));
}

}  // namespace quorate
