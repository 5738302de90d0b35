#include "plane/plane.h"

#include <thread>

#include "plane/reactor.h"

namespace quorate {

struct Plane::Impl {
  explicit Impl(const PlaneOptions& options) : upcalls(options.onUpcalls), reactor(options, upcalls) {}

  UpcallQueue upcalls;
  Reactor reactor;
  std::thread thread;
  std::atomic<uint32_t> lastListener{0};
  std::mutex stopMutex, settleMutex, filesMutex;
  std::unordered_map<uint32_t, SocketFile> files;  // of listeners; guarded by filesMutex
  std::atomic<bool> stopped{false};
  std::mutex auditMutex;
  std::shared_ptr<AuditLog> audit;  // guarded by auditMutex

  void listenTo(std::shared_ptr<AuditLog> log) {
    const std::lock_guard lock(auditMutex);
    if (audit) audit->setListener(nullptr);
    audit = std::move(log);
    if (audit) audit->setListener([this] { reactor.post([](Dispatcher&) {}); });  // a round is all that it takes
  }

  void post(Command command) {
    reactor.post(std::move(command));
    if (stopped) settle();  // nobody else will: a late reply's handles are dropped here
  }
  uint32_t addListener(int fd, SocketFile file, CredentialsPtr credentials) {
    const uint32_t number = ++lastListener;
    if (!file.path.empty()) {
      const std::lock_guard lock(filesMutex);
      files.emplace(number, std::move(file));
    }
    reactor.listen(number, fd, std::move(credentials));
    return number;
  }
  void settle() {
    const std::lock_guard lock(settleMutex);
    reactor.settle();
  }
};

Plane::Plane(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

std::unique_ptr<Plane> Plane::start(PlaneOptions options) {
  auto impl = std::make_unique<Impl>(options);
  Impl* running = impl.get();
  running->thread = std::thread([running] { running->reactor.run(); });
  return std::unique_ptr<Plane>(new Plane(std::move(impl)));
}

Plane::~Plane() { stop(0); }

void Plane::stop(uint32_t graceMs) {
  const std::lock_guard lock(impl_->stopMutex);
  if (impl_->stopped) return;
  impl_->reactor.stop(graceMs);
  impl_->thread.join();
  impl_->stopped = true;
  impl_->listenTo(nullptr);
  impl_->settle();
}

uint32_t Plane::listen(int fd, SocketFile file) { return impl_->addListener(fd, std::move(file), nullptr); }

void Plane::unlisten(uint32_t listener) {
  {
    const std::lock_guard lock(impl_->filesMutex);
    const auto file = impl_->files.find(listener);
    if (file != impl_->files.end()) {
      if (!impl_->stopped) removeSocketFile(file->second);  // after stop() the socket is closed, and the inode may be another file's
      impl_->files.erase(file);
    }
  }
  impl_->reactor.unlisten(listener);
}

uint32_t Plane::listenForCredentials(int fd, CredentialMap map, SocketFile file) {
  return impl_->addListener(fd, std::move(file), std::make_shared<const CredentialMap>(std::move(map)));
}

std::vector<Upcall> Plane::drain(size_t max) { return impl_->upcalls.drain(max); }

void Plane::reply(uint64_t token, Code status, Buffer body, Buffer leaf, bool isStored) {
  impl_->post([token, status, body = std::move(body), leaf = std::move(leaf), isStored](Dispatcher& d) { d.replyLogged(token, status, body, leaf, isStored); });
}

void Plane::grant(uint64_t token, const KeyId& keyId, uint32_t lifeMs, uint32_t slice, Buffer leaf) {
  impl_->post([=, leaf = std::move(leaf)](Dispatcher& d) { d.grantLogged(token, keyId, lifeMs, slice, leaf); });
}

void Plane::refuse(uint64_t token, Code status, std::string detail, uint32_t lifeMs, uint32_t slice, Buffer leaf) {
  impl_->post([=, detail = std::move(detail), leaf = std::move(leaf)](Dispatcher& d) { d.refuseLogged(token, status, detail, lifeMs, slice, leaf); });
}

void Plane::setAudit(std::shared_ptr<AuditLog> log, AuditMode mode) {
  impl_->listenTo(log);
  impl_->post([log = std::move(log), mode](Dispatcher& d) { d.setAudit(log, mode); });
}

void Plane::appendLeaf(Buffer leaf, std::function<void(Code, uint64_t)> done) {
  impl_->post([leaf = std::move(leaf), done = std::move(done)](Dispatcher& d) { d.appendLeaf(leaf, done); });
}

void Plane::flushLog(std::function<void(Code)> done) {
  impl_->post([done = std::move(done)](Dispatcher& d) { d.flushLog(done); });
}

void Plane::resume(uint64_t token) {
  impl_->post([=](Dispatcher& d) { d.resume(token); });
}

void Plane::install(InstalledVersion version) {
  impl_->post([version = std::move(version)](Dispatcher& d) { d.install(InstalledVersion(version)); });
}

void Plane::addIvs(const KeyId& keyId, uint32_t version, uint64_t count) {
  impl_->post([=](Dispatcher& d) { d.addIvs(keyId, version, count); });
}

void Plane::voidKey(const KeyId& keyId) {
  impl_->post([=](Dispatcher& d) { d.voidKey(keyId); });
}

void Plane::voidSlice(uint32_t slice) {
  if (slice != 0) impl_->post([=](Dispatcher& d) { d.voidSlice(slice); });
}

void Plane::voidGrants() {
  impl_->post([](Dispatcher& d) { d.voidGrants(); });
}

void Plane::setIdentity(uint64_t session, uint64_t identity, uint64_t lifeMs) {
  impl_->post([=](Dispatcher& d) { d.setIdentity(session, identity, lifeMs); });
}

void Plane::endIdentity(uint64_t identity) {
  impl_->post([=](Dispatcher& d) { d.endIdentity(identity); });
}

std::vector<SessionInfo> Plane::sessions() { return impl_->reactor.sessions().list(bootTimeNs()); }

bool Plane::killSession(uint64_t session) {
  // Gone from the list at once; its objects and its connection as soon as the plane's thread comes to it.
  if (!impl_->reactor.sessions().remove(session)) return false;
  impl_->post([=](Dispatcher& d) { d.endSession(session, "it was ended by an administrator"); });
  return true;
}

void Plane::setMode(PlaneMode mode) {
  impl_->post([=](Dispatcher& d) { d.setMode(mode); });
}

PlaneStats Plane::stats() {
  const PlaneCounters& counters = impl_->reactor.counters();
  const auto get = [](const auto& counter) { return counter.load(std::memory_order_relaxed); };
  PlaneStats stats;
  stats.requests = get(counters.requests);
  stats.upcalls = get(counters.upcalls);
  stats.refusedBusy = get(counters.refusedBusy);
  stats.malformed = get(counters.malformed);
  stats.grants = get(counters.grants);
  stats.keys = get(counters.keys);
  stats.sessionKeys = get(counters.sessionKeys);
  stats.streams = get(counters.streams);
  stats.laneSignatures = get(counters.laneSignatures);
  stats.credentialsGiven = get(counters.credentialsGiven);
  stats.credentialsRefused = get(counters.credentialsRefused);
  stats.connections = stats.sessions = get(counters.connections);
  for (size_t method = 0; method < counters.answers.size(); method++) {
    const auto& [ok, refused] = counters.answers[method];
    if (get(ok) + get(refused) > 0) stats.answers.push_back({static_cast<uint16_t>(method), get(ok), get(refused)});
  }
  return stats;
}

}  // namespace quorate
