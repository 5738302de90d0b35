#include "plane/audit_log.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

#include "plane/worker.h"

namespace quorate {

namespace {

constexpr int64_t kMsNs = 1'000'000, kRetryNs = 100 * kMsNs;

int64_t bootNs() {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

}  // namespace

AuditLog::AuditLog(AuditOptions options, std::unique_ptr<AuditRing> ring)
    : tuning_(options.tuning), ring_(std::move(ring)), wakeFd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)), writer_(std::move(options.folder), *ring_, options.tuning) {
  synced_ = ring_->taken().sequence;
  fresh_ = bootNs();
  stats_.detail = "its keys are not here yet";
  stats_.ringBytes = ring_->bytes();
  stats_.recovered = ring_->recovered();
  stats_.ringDamaged = ring_->damaged();
}

AuditLog::~AuditLog() {
  if (wakeFd_ >= 0) ::close(wakeFd_);
}

Code AuditLog::open(AuditOptions options, std::shared_ptr<AuditLog>* out, std::string* detail) {
  std::unique_ptr<AuditRing> ring;
  if (const Code code = AuditRing::open(options.ring, options.tuning.ringBytes, options.storeId, &ring, detail); code != Code::OK) return code;
  std::shared_ptr<AuditLog> log(new AuditLog(std::move(options), std::move(ring)));
  log->thread_ = std::thread([log] { log->run(); });  // it may outlive its owner: close()
  *out = std::move(log);
  return Code::OK;
}

void AuditLog::post(Command command) {
  {
    const std::lock_guard lock(mutex_);
    commands_.push_back(std::move(command));
  }
  wake();
}

void AuditLog::wake() {
  if (signalled_.load(std::memory_order_relaxed) || signalled_.exchange(true)) return;
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wakeFd_, &one, sizeof(one));
}

void AuditLog::want(uint64_t sequence) {
  wanted_.store(std::max(wanted_.load(std::memory_order_relaxed), sequence));
  wake();
}

void AuditLog::wantRoom() {
  wantsRoom_.store(true);
  wake();
}

void AuditLog::unlock(const StoreId& storeId, AuditKeys keys, bool create, Done done) {
  post([this, storeId, keys = std::move(keys), create, done = std::move(done)] {
    if (!locked_) lockNow();
    {
      const std::lock_guard lock(mutex_);
      sealKey_ = keys.seal;
    }
    ring_->adopt(storeId);
    setFault(writer_.start(storeId, keys, create));
    locked_ = false;
    checkedNs_ = syncedNs_ = checkpointNs_ = bootNs();
    publish();
    tell();
    done(AuditFault{fault_, stats().detail}, "");
  });
}

void AuditLog::lock(Done done) {
  post([this, done = std::move(done)] {
    lockNow();
    done({}, "");
  });
}

void AuditLog::lockNow() {
  if (!locked_) {
    step(true);
    if (fault() == AuditFaultKind::none) setFault(writer_.checkpoint());
  }
  writer_.forget();
  {
    const std::lock_guard lock(mutex_);
    sealKey_.reset();
  }
  locked_ = true;
  setFault({AuditFaultKind::sealed, "its keys are not here"});
  publish();
  tell();
}

void AuditLog::repair(bool acceptLoss, Done done) {
  post([this, acceptLoss, done = std::move(done)] {
    if (locked_) return done({AuditFaultKind::sealed, "its keys are not here"}, "");
    std::string detail = "the log is whole: nothing was lost";
    if (fault() != AuditFaultKind::none) setFault(writer_.repair(acceptLoss, &detail));
    publish();
    done(AuditFault{fault_, stats().detail}, detail);
    tell();
  });
}

bool AuditLog::close(uint32_t graceMs) {
  setListener(nullptr);
  if (!thread_.joinable()) return true;
  post([this] {
    lockNow();
    closing_ = true;
  });
  std::unique_lock lock(mutex_);
  const bool ended = end_.wait_for(lock, std::chrono::milliseconds(graceMs), [this] { return ended_; });
  lock.unlock();
  if (ended) thread_.join();
  else thread_.detach();
  return ended;
}

void AuditLog::setListener(std::function<void()> listener) {
  const std::lock_guard lock(listenerMutex_);
  listener_ = std::move(listener);
}

void AuditLog::tell() {
  const std::lock_guard lock(listenerMutex_);
  if (listener_) listener_();
}

void AuditLog::run() {
  settleThread("quorate-audit");
  while (!closing_) {
    pollfd p{wakeFd_, POLLIN, 0};
    poll(&p, 1, static_cast<int>(tuning_.syncMs));
    uint64_t count;
    [[maybe_unused]] const ssize_t n = read(wakeFd_, &count, sizeof(count));
    signalled_.store(false);
    runCommands();
    if (!closing_) step(false);
  }
  const std::lock_guard lock(mutex_);
  ended_ = true;
  end_.notify_all();
}

void AuditLog::runCommands() {
  std::deque<Command> commands;
  {
    const std::lock_guard lock(mutex_);
    commands.swap(commands_);
  }
  for (const Command& command : commands)
    if (!closing_) command();
}

void AuditLog::step(bool atOnce) {
  const int64_t nowNs = bootNs();
  if (locked_) {
    fresh_.store(nowNs, std::memory_order_release);
    return;
  }
  if (fault() != AuditFaultKind::none) {
    if (!atOnce && nowNs < retryNs_) return;
    setFault(writer_.reopen());
    // A log that is long to read is not read all the time.
    retryNs_ = bootNs() + std::max(kRetryNs, 4 * (bootNs() - nowNs));
    checkedNs_ = syncedNs_ = bootNs();
  }
  if (fault() == AuditFaultKind::none) setFault(work(atOnce));
  publish();
}

AuditFault AuditLog::work(bool atOnce) {
  const int64_t nowNs = bootNs();
  const bool isChecked = atOnce || nowNs - checkedNs_ >= tuning_.checkMs * kMsNs;
  if (isChecked) {
    checkedNs_ = nowNs;
    if (AuditFault fault = writer_.check()) return fault;
  }
  const uint64_t until = ring_->headSequence();
  if (AuditFault fault = writer_.drain(until)) return fault;
  const bool isDue = atOnce || wanted_.load() >= writer_.durableSequence() || nowNs - syncedNs_ >= tuning_.syncMs * kMsNs || writer_.unsyncedBytes() > ring_->bytes() / 4;
  if (writer_.isUnsynced() && isDue) {
    if (AuditFault fault = writer_.sync()) return fault;
    syncedNs_ = nowNs;
  }
  if (!writer_.isUnsynced()) {
    count();  // first: who hears that a leaf is durable finds it counted
    synced_.store(writer_.durableSequence(), std::memory_order_release);
    fresh_.store(nowNs, std::memory_order_release);
  }
  // What was read is on the disk before a full one closes the service.
  AuditFault fault = isChecked ? writer_.checkRoom() : AuditFault{};
  if (!fault) fault = writer_.reserve();
  if (fault) {
    if (writer_.isUnsynced()) writer_.sync();
    return fault;
  }
  if (nowNs - checkpointNs_ < tuning_.checkpointMs * kMsNs) return {};
  checkpointNs_ = nowNs;
  return writer_.checkpoint();
}

void AuditLog::setFault(AuditFault fault) {
  const bool isOther = fault.kind != fault_.load();
  {
    const std::lock_guard lock(mutex_);
    stats_.detail = std::move(fault.detail);
  }
  fault_.store(fault.kind, std::memory_order_release);
  if (isOther) tell();
}

void AuditLog::count() {
  const std::lock_guard lock(mutex_);
  stats_.size = writer_.tree().size();
  if (stats_.segment != writer_.segment()) stats_.segment = writer_.segment();
  stats_.segmentBytes = writer_.segmentBytes();
  stats_.segments = writer_.segments();
  stats_.cutBytes = writer_.cutBytes();
  if (deltas_.empty() || deltas_.back().second != ring_->delta()) deltas_.emplace_back(writer_.deltaSince(), ring_->delta());
}

void AuditLog::publish() {
  const uint64_t durable = locked_ ? ring_->taken().sequence : writer_.durableSequence();
  if (!locked_) count();
  if (durable != synced_.load()) synced_.store(durable, std::memory_order_release);
  uint64_t wanted = wanted_.load();
  bool isTold = wanted != 0 && wanted < durable && wanted_.compare_exchange_strong(wanted, 0);
  if (wantsRoom_.load() && ring_->bytesUsed() < ring_->bytes() / 2) isTold = wantsRoom_.exchange(false) || isTold;
  if (isTold) tell();
}

AuditStats AuditLog::stats() const {
  AuditStats out;
  {
    const std::lock_guard lock(mutex_);
    out = stats_;
  }
  out.locked = isLocked();
  out.fault = fault();
  out.ringUsed = ring_->bytesUsed();
  out.refused = refused_.load(std::memory_order_relaxed);
  const uint64_t head = ring_->headSequence(), synced = syncedSequence();
  out.waiting = head > synced ? head - synced : 0;
  if (out.fault == AuditFaultKind::none && out.waiting > 0 && bootNs() - freshNs() > tuning_.stallMs * kMsNs) {
    out.fault = AuditFaultKind::stalled;
    out.detail = "the disk does not answer";
  }
  out.available = out.fault == AuditFaultKind::none;
  return out;
}

SecretPtr AuditLog::sealKey() const {
  const std::lock_guard lock(mutex_);
  return sealKey_;
}

uint64_t AuditLog::indexOf(uint64_t sequence) const {
  const std::lock_guard lock(mutex_);
  uint64_t delta = 0;
  for (const auto& [from, value] : deltas_)
    if (from <= sequence) delta = value;
  return sequence + delta;
}

}  // namespace quorate
