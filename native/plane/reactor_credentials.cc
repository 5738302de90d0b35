// The sockets on which systemd asks for credentials (credentials.h): connections that are read from never, and answered once.
#include <stddef.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <protozero/pbf_reader.hpp>

#include "core/json_field.h"
#include "plane/reactor.h"

namespace quorate {

namespace {

// Who is not root gets no more places than these.
constexpr size_t kStrangersMax = 16;
// The value goes out in one piece, so that nothing that happens later can cut it short.
constexpr int kSendBufferBytes = 256 * 1024;
constexpr uint8_t kZeros[64 * 1024] = {};

bool isStranger(const Connection& c) { return c.credential != nullptr && c.user->uid != 0; }

// The bare value, or the field of it.
Code readAnswer(Bytes body, const std::string& field, WireBuffer* out, std::string* detail) {
  Bytes value;
  for (protozero::pbf_reader reader{reinterpret_cast<const char*>(body.data()), body.size()}; reader.next();) {
    if (reader.tag() != fields::FetchSecretResponse::value || reader.wire_type() != protozero::pbf_wire_type::length_delimited) {
      reader.skip();
      continue;
    }
    const auto view = reader.get_view();
    value = {reinterpret_cast<const uint8_t*>(view.data()), view.size()};
  }
  if (field.empty()) {
    if (!value.empty()) std::memcpy(out->room(value.size()), value.data(), value.size());
    out->extend(value.size());
    return Code::OK;
  }
  const size_t room = value.size() + kJsonFieldRoom;
  size_t written = 0;
  const JsonField found = jsonField(value, field, {out->room(room), room}, &written);
  out->extend(written);
  switch (found) {
    case JsonField::found: return Code::OK;
    case JsonField::absent: *detail = "it has no field " + field; return Code::SECRET_NOT_FOUND;
    case JsonField::notJson: *detail = "it is no JSON, and has no field " + field; return Code::BAD_REQUEST;
    case JsonField::compound: *detail = "its field " + field + " is an object or an array"; return Code::BAD_REQUEST;
  }
  return Code::INTERNAL;
}

std::string detailOf(Bytes failure) {
  for (protozero::pbf_reader reader{reinterpret_cast<const char*>(failure.data()), failure.size()}; reader.next();) {
    if (reader.tag() == fields::Failure::detail && reader.wire_type() == protozero::pbf_wire_type::length_delimited) return reader.get_string();
    reader.skip();
  }
  return "";
}

}  // namespace

// Before a connection is taken: one that is not taken waits in the kernel's queue, and systemd with it, and is answered later. Whoever stopped
// reading makes room, if it is nobody or was still for longer than a frame may take; nobody who reads is cut short.
bool Reactor::makeCredentialRoom() {
  const PlaneTuning& tuning = dispatcher_.tuning();
  if (connections_.size() >= tuning.connectionsMax) return false;
  if (credentials_ < tuning.credentialConnectionsMax) return true;
  const int64_t patienceNs = static_cast<int64_t>(tuning.receiveTimeoutMs) * 1'000'000;
  for (const auto& [id, c] : connections_) {
    if (c->credential == nullptr || !c->credential->isAnswered) continue;
    if (!isStranger(*c) && dispatcher_.nowNs - c->credential->progressNs < patienceNs) continue;
    close(*c);
    return true;
  }
  return false;
}

void Reactor::keepStrangersFew() {
  size_t count = 0;
  Connection* oldest = nullptr;
  for (const auto& [id, c] : connections_) {
    if (!isStranger(*c)) continue;
    count++;
    if (oldest == nullptr || id < oldest->id) oldest = c.get();
  }
  if (count > kStrangersMax) close(*oldest);
}

void Reactor::adoptCredential(const Listener& listener, int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  sockaddr_un address{};
  socklen_t addressBytes = sizeof(address);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0 || getpeername(fd, reinterpret_cast<sockaddr*>(&address), &addressBytes) != 0) {
    peer.uid = UINT32_MAX;
    addressBytes = 0;
  }
  setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &kSendBufferBytes, sizeof(kSendBufferBytes));
  const size_t head = offsetof(sockaddr_un, sun_path);
  const size_t nameBytes = addressBytes > head ? std::min<size_t>(addressBytes - head, sizeof(address.sun_path)) : 0;
  CredentialName name;
  const char* fault = nullptr;
  const bool isNamed = readCredentialAddress({reinterpret_cast<const uint8_t*>(address.sun_path), nameBytes}, &name, &fault);
  std::unique_ptr<Connection> made = dispatcher_.connect(fd, Peer{.uid = peer.uid, .gid = peer.gid, .listener = listener.number, .domain = listener.credentials->domain, .unit = peer.uid == 0 ? name.unit : ""}, peer.pid);
  Connection& c = *made;
  c.credential = std::make_unique<CredentialAnswer>();
  c.credential->name = name.credential;
  connections_.emplace(c.id, std::move(made));
  credentials_++;
  c.polling = 0;
  epoll_event event{0, {&c}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  carefully(c, [&] {
    if (peer.uid != 0) {
      refuseCredential(c, Code::DENIED, "uid " + std::to_string(peer.uid) + " is not root" + (isNamed ? ", and may not ask for " + name.unit : ""));
      return keepStrangersFew();
    }
    if (!isNamed) return refuseCredential(c, Code::BAD_REQUEST, fault);
    CredentialSource source = listener.credentials->find(name);
    c.credential->field = std::move(source.field);
    dispatcher_.askForSecret(c, source.path);
    turn(c);
  });
}

// The first line is for whoever finds it where a credential should be: it is there only if somebody cut the rest off.
void Reactor::refuseCredential(Connection& c, Code code, const std::string& detail) {
  CredentialAnswer& answer = *c.credential;
  answer.isAnswered = true;
  answer.padding = kCredentialRefusalBytes;
  answer.progressNs = dispatcher_.nowNs;
  dispatcher_.giveUp(c);
  c.out.release();
  answer.bytes.release();
  const std::string line = std::string("quorate refused this credential: ") + codeName(code) + "\n";
  std::memcpy(answer.bytes.room(line.size()), line.data(), line.size());
  answer.bytes.extend(line.size());
  dispatcher_.credentialRefused(c, code, detail);
  flushCredential(c);
}

// No memory: a refusal takes none.
void Reactor::abandon(Connection& c) {
  if (c.credential == nullptr || c.credential->isAnswered) return close(c);
  c.credential->isAnswered = true;
  c.credential->padding = kCredentialRefusalBytes;
  dispatcher_.giveUp(c);
  c.out.release();
  lookCredential(c);
}

// The dispatcher's frame becomes what systemd reads.
void Reactor::takeCredential(Connection& c) {
  CredentialAnswer& answer = *c.credential;
  FrameHeader header;
  std::string detail;
  Code code = Code::INTERNAL;
  if (peekFrame(c.out.data(), c.out.size(), &header) == FrameState::ready) {
    const Bytes body{c.out.data() + kFrameHeaderBytes, header.bodyBytes()};
    code = static_cast<Code>(header.status);
    if (code == Code::OK) code = readAnswer(body, answer.field, &answer.bytes, &detail);
    else detail = detailOf(body);
  }
  if (code != Code::OK) return refuseCredential(c, code, detail);
  c.out.release();
  answer.isAnswered = true;
  answer.progressNs = dispatcher_.nowNs;
  dispatcher_.credentialGiven();
}

void Reactor::flushCredential(Connection& c) {
  CredentialAnswer& answer = *c.credential;
  if (!answer.isAnswered) {
    if (c.out.empty()) return;
    takeCredential(c);
    if (c.closed) return;
  }
  while (!answer.bytes.empty() || answer.padding > 0) {
    const bool isValue = !answer.bytes.empty();
    const uint8_t* from = isValue ? answer.bytes.data() : kZeros;
    const size_t bytes = isValue ? answer.bytes.size() : std::min(answer.padding, sizeof(kZeros));
    const ssize_t n = send(c.fd, from, bytes, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) return close(c);  // a reader that has had enough: a refused one stops at 1 MiB
    answer.progressNs = dispatcher_.nowNs;
    if (isValue) answer.bytes.consume(static_cast<size_t>(n), true);
    else answer.padding -= static_cast<size_t>(n);
  }
  close(c);
}

// As look(). A peer that hangs up is told by epoll whatever it was asked for.
void Reactor::lookCredential(Connection& c) {
  if (c.blocked && dispatcher_.accepts(c)) {
    c.blocked = false;
    beReady(c);
  }
  const CredentialAnswer& answer = *c.credential;
  if (!answer.isAnswered && c.finishing && c.out.empty() && (stopping_ || c.inFlight == 0)) {
    refuseCredential(c, stopping_ ? Code::BUSY : Code::SESSION_EXPIRED, stopping_ ? "the daemon is stopping" : "");
    if (c.closed) return;
  }
  const uint32_t events = answer.isAnswered ? static_cast<uint32_t>(EPOLLOUT) : 0u;
  if (events == c.polling) return;
  c.polling = events;
  epoll_event event{events, {&c}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event);
}

}  // namespace quorate
