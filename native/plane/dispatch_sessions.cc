// Who a connection is: Hello, the peer, identities given to it; and how its session ends.
#include <time.h>

#include <algorithm>
#include <protozero/pbf_reader.hpp>

#include "plane/dispatch.h"

namespace quorate {

namespace {

constexpr size_t kClientNameBytesMax = 128;
constexpr int64_t kMsNs = 1'000'000;

int64_t unixTimeMs() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return t.tv_sec * 1000 + t.tv_nsec / kMsNs;
}

// [a-z0-9][a-z0-9-]{0,62}
bool isDomainName(std::string_view name) {
  const auto letterOrDigit = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= limits::domain_name_bytes_max && letterOrDigit(name[0]) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letterOrDigit(c) || c == '-'; });
}

// What is answered after an identity's end: what tells of the daemon, and the way to another identity.
bool outlivesIdentity(Method method) {
  return method == Method::Hello || method == Method::Ping || method == Method::Status || method == Method::Health || method == Method::OpenSession;
}

}  // namespace

void Dispatcher::openRow(Connection& c, Peer who) {
  SessionRow& row = c.session->row;
  row.pid = c.pid;
  row.openedNs = nowNs;
  row.openedMs = unixTimeMs();
  row.usedNs = nowNs;
  row.peer = peers_.intern(std::move(who));
  sessions.add(&row);
}

void Dispatcher::setPeer(Connection& c, Peer who) {
  sessions.setPeer(&c.session->row, peers_.intern(std::move(who)));
  c.forgetFound();
}

Code Dispatcher::hello(Ask& ask) {
  bool shared = false;
  std::string_view domain;
  const auto offer = [&](uint64_t version) { shared = shared || version == limits::protocol_version; };
  protozero::pbf_reader reader{reinterpret_cast<const char*>(ask.body.data()), ask.body.size()};
  while (reader.next()) {
    const bool isText = reader.wire_type() == protozero::pbf_wire_type::length_delimited;
    if (reader.tag() == fields::HelloRequest::versions && isText) {
      for (const uint32_t version : reader.get_packed_uint32()) offer(version);
    } else if (reader.tag() == fields::HelloRequest::versions && reader.wire_type() == protozero::pbf_wire_type::varint) {
      offer(reader.get_uint64());
    } else if (reader.tag() == fields::HelloRequest::client && isText) {
      if (reader.get_view().size() > kClientNameBytesMax) throw BadField{"client", "is longer than 128 bytes"};
    } else if (reader.tag() == fields::HelloRequest::domain) {
      // Never skipped: the connection would speak of another domain than its client believes.
      if (!isText) throw BadField{"domain", "has the wrong wire type"};
      const auto view = reader.get_view();
      domain = {view.data(), view.size()};
    } else {
      reader.skip();
    }
  }
  if (!shared) {
    ask.c.finishing = true;
    ask.fault.detail = "this daemon speaks version " + std::to_string(limits::protocol_version);
    return Code::VERSION_UNSUPPORTED;
  }
  if (const Code code = setDomain(ask.c, domain, &ask.fault); code != Code::OK) return code;
  ask.c.greeted = true;
  namespace F = fields::HelloResponse;
  Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(Method::Hello));
  uint8_t* out = reply.begin(fieldBytes(release_.size()) + 128);
  out = putNumber(out, F::version, limits::protocol_version);
  out = putField(out, F::daemon, std::string_view(release_));
  for (const std::string_view feature : {"streams", "session-keys", "domains"}) out = putField(out, F::features, feature);
  out = putNumber(out, F::frame_bytes_max, limits::frame_bytes_max);
  out = putNumber(out, F::in_flight_max, tuning_.inFlightMax);
  reply.end(putNumber(out, F::sealed, mode_ == PlaneMode::ready ? 0 : 1));
  return Code::OK;
}

// Only the form is looked at; whether there is such a domain is for JavaScript to say, at each upcall. The first Hello decides: grants, session
// keys and answers under way belong to one domain.
Code Dispatcher::setDomain(Connection& c, std::string_view domain, Fault* fault) {
  if (domain.empty() || domain == c.peer()->domain) return Code::OK;
  fault->field = "domain";
  if (!isDomainName(domain)) {
    fault->detail = "a domain's name has 1 to " + std::to_string(limits::domain_name_bytes_max) + " of a-z, 0-9 and -, and does not begin with -";
    return Code::NAME_INVALID;
  }
  if (c.greeted) {
    fault->detail = "a connection keeps the domain of its first Hello";
    return Code::BAD_REQUEST;
  }
  Peer who = *c.peer();
  who.domain = std::string(domain);
  setPeer(c, std::move(who));
  return Code::OK;
}

// Ends what a connection waits for, as far as nobody has begun it: requests for a grant, and calls that JavaScript has not taken.
// OK: nobody is there to be told.
void Dispatcher::giveUpWaiting(Connection& c, Code code) {
  std::vector<uint64_t> tokens;
  tokens.swap(c.waitingTokens);
  const auto tell = [&](uint32_t id, uint16_t method) {
    c.inFlight--;
    if (code != Code::OK) Reply(c.out, id, method).fail(code);
  };
  for (const uint64_t token : tokens) {
    const auto at = pending_.find(token);
    if (at == pending_.end()) continue;  // the token of several of its requests
    Pending& pending = at->second;
    std::erase_if(pending.parked, [&](const auto& parked) {
      if (parked->connection != c.id) return false;
      tell(parked->id, parked->method);
      return true;
    });
    if (!pending.parked.empty()) continue;  // others wait for it
    const bool isCall = pending.kind == UpcallKind::call;
    if (!cancelUpcall(pending.user->uid, token)) {  // JavaScript has it
      if (isCall) c.waitingTokens.push_back(token);
      continue;
    }
    if (isCall) tell(pending.id, pending.method);
    for (const uint64_t handle : pending.handles) HandleTable::drop(handle);
    shared_.erase(pending.shareName);
    pending.user->upcalls--;
    pending_.erase(at);
  }
}

// What was made, asked or computed under the identity that a connection had goes with it: ending that identity later must reach all of it.
void Dispatcher::leaveIdentity(Connection& c) {
  c.identityEpoch++;
  giveUpWaiting(c, Code::SESSION_EXPIRED);
  c.session->clear();
  c.forgetFound();
  markDirty(c);
}

void Dispatcher::setIdentity(uint64_t session, uint64_t identity, uint64_t lifeMs) {
  Connection* c = connection(session);
  if (c == nullptr || c->sessionEnded || mode_ != PlaneMode::ready) return;  // sealed since: nothing may come back
  if (c->peer()->identity != identity) {
    leaveIdentity(*c);
    Peer who = *c->peer();
    who.identity = identity;
    setPeer(*c, std::move(who));
  }
  c->identityEndsNs = nowNs + static_cast<int64_t>(lifeMs) * kMsNs;
}

// Back to the peer without an identity, for what outlivesIdentity() alone.
void Dispatcher::expireIdentity(Connection& c) {
  leaveIdentity(c);
  Peer who = *c.peer();
  who.identity = 0;
  setPeer(c, std::move(who));
  c.identityEndsNs = 0;
}

void Dispatcher::endIdentity(uint64_t identity) {
  if (identity == 0) return;
  for (const auto& [id, c] : connections_)
    if (c->peer()->identity == identity) expireIdentity(*c);
  peers_.forgetIdentity(identity);
}

Code Dispatcher::identityEnded(Ask& ask) {
  if (ask.c.peer()->identity != 0) expireIdentity(ask.c);
  if (outlivesIdentity(ask.row.id)) return Code::OK;
  ask.fault.detail = "the access token's time is over, or it was revoked";
  return Code::SESSION_EXPIRED;
}

// The reactor closes the connection when nothing is owed to it any more; `why` is then its last frame.
void Dispatcher::endSession(Connection& c, const char* why) {
  if (c.sessionEnded) return;
  c.sessionEnded = true;
  sessions.remove(c.id);
  leaveIdentity(c);
  c.farewell = why;
  c.finishing = true;
  c.blocked = false;
}

void Dispatcher::endSession(uint64_t session, const char* why) {
  if (Connection* c = connection(session)) endSession(*c, why);
}

void Dispatcher::endSessionsOf(uint32_t listener) {
  for (const auto& [id, c] : connections_)
    if (c->peer()->listener == listener) endSession(*c, "its socket was removed");
}

void Dispatcher::endOldSessions() {
  const auto idleNs = static_cast<int64_t>(tuning_.sessionIdleMs) * kMsNs, lifeNs = static_cast<int64_t>(tuning_.sessionLifeMs) * kMsNs;
  for (const auto& [id, c] : connections_) {
    if (c->sessionEnded) continue;
    SessionRow& row = c->session->row;
    if (c->inFlight > 0 || !c->out.empty()) row.count(0, nowNs);  // who is owed an answer is not idle
    if (nowNs - row.openedNs >= lifeNs) endSession(*c, "it was open for as long as a session may be");
    else if (nowNs - row.usedNs.load(std::memory_order_relaxed) >= idleNs) endSession(*c, "it was idle for as long as a session may be");
    else if (c->peer()->identity != 0 && nowNs >= c->identityEndsNs) expireIdentity(*c);
  }
}

}  // namespace quorate
