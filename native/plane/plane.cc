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
  std::mutex stopMutex, settleMutex;
  std::atomic<bool> stopped{false};

  void post(Command command) {
    reactor.post(std::move(command));
    if (stopped) settle();  // nobody else will: a late reply's handles are dropped here
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
  impl_->settle();
}

uint32_t Plane::listen(int fd) {
  const uint32_t number = ++impl_->lastListener;
  impl_->reactor.listen(number, fd);
  return number;
}

void Plane::unlisten(uint32_t listener) { impl_->reactor.unlisten(listener); }

std::vector<Upcall> Plane::drain(size_t max) { return impl_->upcalls.drain(max); }

void Plane::reply(uint64_t token, Code status, Buffer body) {
  impl_->post([token, status, body = std::move(body)](Dispatcher& d) { d.reply(token, status, body); });
}

void Plane::grant(uint64_t token, const KeyId& keyId, uint32_t lifeMs) {
  impl_->post([=](Dispatcher& d) { d.grant(token, keyId, lifeMs); });
}

void Plane::refuse(uint64_t token, Code status, std::string detail, uint32_t lifeMs) {
  impl_->post([=, detail = std::move(detail)](Dispatcher& d) { d.refuse(token, status, detail, lifeMs); });
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

void Plane::voidPrincipal(uint32_t uid) {
  impl_->post([=](Dispatcher& d) { d.voidPrincipal(uid); });
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
  stats.connections = stats.sessions = get(counters.connections);
  return stats;
}

}  // namespace quorate
