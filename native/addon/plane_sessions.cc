// Sessions and the identities that they act under.
#include "addon/bindings.h"
#include "addon/running.h"

namespace quorate::addon {

namespace {

uint64_t numberOf(const Arguments& in, size_t i, const char* name) { return in.integer(i, name, 1, kHandleMax); }

Napi::Value setIdentity(const Arguments& in) {
  const uint64_t session = numberOf(in, 0, "session"), identity = numberOf(in, 1, "identity");
  const uint64_t lifeMs = in.integer(2, "lifeMs", 1, limits::token_life_ms_max);
  if (Plane* target = planeIfRunning()) target->setIdentity(session, identity, lifeMs);
  return {};
}

Napi::Value endIdentity(const Arguments& in) {
  const uint64_t identity = numberOf(in, 0, "identity");
  if (Plane* target = planeIfRunning()) target->endIdentity(identity);
  return {};
}

Napi::Value listSessions(const Arguments& in) {
  Plane* target = planeIfRunning();
  const std::vector<SessionInfo> sessions = target != nullptr ? target->sessions() : std::vector<SessionInfo>();
  Napi::Array result = Napi::Array::New(in.env(), sessions.size());
  for (uint32_t i = 0; i < sessions.size(); i++) {
    const Napi::HandleScope scope(in.env());
    const SessionInfo& one = sessions[i];
    Napi::Object row = Napi::Object::New(in.env());
    row.Set("session", static_cast<double>(one.session));
    setPeer(row, *one.peer);
    row.Set("pid", one.pid);
    row.Set("openedMs", static_cast<double>(one.openedMs));
    row.Set("idleMs", static_cast<double>(one.idleMs));
    row.Set("requests", static_cast<double>(one.requests));
    row.Set("sessionKeys", one.sessionKeys);
    row.Set("streams", one.streams);
    result.Set(i, row);
  }
  return result;
}

Napi::Value killSession(const Arguments& in) {
  const uint64_t session = numberOf(in, 0, "session");
  Plane* target = planeIfRunning();
  return Napi::Boolean::New(in.env(), target != nullptr && target->killSession(session));
}

constexpr Export kExports[] = {
    {"planeSetIdentity", entry<setIdentity>},
    {"planeEndIdentity", entry<endIdentity>},
    {"planeSessions", entry<listSessions>},
    {"planeKillSession", entry<killSession>},
};

}  // namespace

void setPeer(Napi::Object result, const Peer& peer) {
  result.Set("peer", static_cast<double>(peer.number));
  result.Set("uid", peer.uid);
  result.Set("gid", peer.gid);
  result.Set("listener", peer.listener);
  result.Set("unit", peer.unit);
  result.Set("domain", peer.domain);
  result.Set("identity", static_cast<double>(peer.identity));
}

std::span<const Export> sessionExports() { return kExports; }

}  // namespace quorate::addon
