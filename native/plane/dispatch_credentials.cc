// What systemd asks for a unit is one FetchSecret like any other: modes, grants, policies, limits and the audit log see no difference.
#include "plane/dispatch.h"

namespace quorate {

namespace {
constexpr uint64_t kToldPerSecond = 20;
constexpr int64_t kSecondNs = 1'000'000'000;
}  // namespace

void Dispatcher::askForSecret(Connection& c, std::string_view path) {
  const size_t bytes = fieldBytes(path.size());
  uint8_t* out = c.in.room(kFrameHeaderBytes + bytes);
  writeFrameHeader(out, 1, static_cast<uint16_t>(Method::FetchSecret), 0, bytes);
  putField(out + kFrameHeaderBytes, fields::FetchSecretRequest::key, path);
  c.in.extend(kFrameHeaderBytes + bytes);
  c.greeted = true;
}

void Dispatcher::giveUp(Connection& c) { giveUpWaiting(c, Code::OK); }

void Dispatcher::credentialRefused(const Connection& c, Code code, const std::string& detail) {
  credentialsRefused_++;
  if (nowNs - tellingSinceNs_ >= kSecondNs) {
    tellingSinceNs_ = nowNs;
    refusalsTold_ = 0;
  }
  if (refusalsTold_++ >= kToldPerSecond) return;
  Upcall told{};
  told.kind = UpcallKind::refused;
  told.peer = c.peer();
  told.session = c.session->id;
  told.pid = c.pid;
  told.method = static_cast<uint16_t>(Method::FetchSecret);
  told.status = code;
  told.keyRef = c.credential->name;
  told.body = encodeFailure(code, {detail});
  fresh_.push_back(std::move(told));
}

}  // namespace quorate
