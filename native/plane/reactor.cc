#include "plane/reactor.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>

namespace quorate {

namespace {

constexpr int kEventsPerWait = 64;
// After its last answer a connection that was ended by the daemon is read for a while and thrown away, so that the answer is not
// lost to a reset: close() with unread bytes drops what the peer has not read yet.
constexpr int64_t kLingerNs = 2'000'000'000;
constexpr size_t kLingerBytesMax = 64 * 1024 * 1024;
constexpr size_t kScrapBytes = 64 * 1024;
constexpr int64_t kMsNs = 1'000'000;

// What epoll carries: a connection, or a listener with the lowest bit set, nullptr for the wake-up, or the timer's descriptor.
bool isListener(void* source) { return (reinterpret_cast<uintptr_t>(source) & 1) != 0; }

}  // namespace

int64_t bootTimeNs() {
  timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return t.tv_sec * 1'000'000'000 + t.tv_nsec;
}

Reactor::Reactor(const PlaneOptions& options, UpcallQueue& upcalls)
    : upcalls_(upcalls),
      epoll_(epoll_create1(EPOLL_CLOEXEC)),
      wakeFd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      timerFd_(timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK)),
      spareFd_(open("/dev/null", O_RDONLY | O_CLOEXEC)),
      dispatcher_(options, upcalls, [this](std::unique_ptr<Job> job) { workers_.submit(std::move(job)); }),
      workers_(static_cast<unsigned>(options.tuning.workerThreads), [this](std::unique_ptr<Job> job) {
        const std::lock_guard lock(mutex_);
        if (finishedJobs_.empty() && tasks_.empty()) wake();
        finishedJobs_.push_back(std::move(job));
      }) {
  const uint32_t shortest = std::min(options.tuning.helloTimeoutMs, options.tuning.receiveTimeoutMs);
  sweepNs_ = std::clamp<int64_t>(shortest / 4, 1, 250) * kMsNs;
  // Sessions live for hours: now and then is often enough, and an idle daemon sleeps.
  // A timer of its own: a time-out of epoll_wait() would be set and cancelled again for each request of a client that asks one at a time.
  sessionSweepNs_ = std::clamp<int64_t>(static_cast<int64_t>(std::min(options.tuning.sessionIdleMs, options.tuning.sessionLifeMs)) / 4, 1, 60'000) * kMsNs;
  epoll_event event{EPOLLIN, {nullptr}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeFd_, &event);
  event.data.ptr = &timerFd_;
  epoll_ctl(epoll_, EPOLL_CTL_ADD, timerFd_, &event);
  const timespec every{sessionSweepNs_ / 1'000'000'000, sessionSweepNs_ % 1'000'000'000};
  const itimerspec timer{every, every};
  timerfd_settime(timerFd_, 0, &timer, nullptr);
  dispatcher_.nowNs = bootTimeNs();
}

Reactor::~Reactor() {
  workers_.stop();
  finishedJobs_.clear();
  for (auto& [id, c] : connections_) {
    dispatcher_.disconnect(*c);
    ::close(c->fd);
  }
  connections_.clear();
  for (const auto& listener : listeners_) ::close(listener->fd);
  for (const int fd : {epoll_, wakeFd_, timerFd_, spareFd_})
    if (fd >= 0) ::close(fd);
}

void Reactor::wake() {
  const uint64_t one = 1;
  [[maybe_unused]] const ssize_t n = write(wakeFd_, &one, sizeof(one));  // a full counter has woken it already
}

void Reactor::post(Command command) {
  const std::lock_guard lock(mutex_);
  if (finishedJobs_.empty() && tasks_.empty()) wake();
  tasks_.push_back([this, command = std::move(command)] { command(dispatcher_); });
}

void Reactor::listen(uint32_t number, int fd, CredentialsPtr credentials) {
  const std::lock_guard lock(mutex_);
  if (finishedJobs_.empty() && tasks_.empty()) wake();
  tasks_.push_back([this, number, fd, credentials = std::move(credentials)] { addListener(number, fd, credentials); });
}

void Reactor::unlisten(uint32_t number) {
  const std::lock_guard lock(mutex_);
  if (finishedJobs_.empty() && tasks_.empty()) wake();
  tasks_.push_back([this, number] {
    removeListener(number);
    dispatcher_.endSessionsOf(number);
  });
}

void Reactor::stop(uint32_t graceMs) {
  const std::lock_guard lock(mutex_);
  if (finishedJobs_.empty() && tasks_.empty()) wake();
  tasks_.push_back([this, graceMs] { stopNow(graceMs); });
}

void Reactor::settle() {
  runTasks();
  dispatcher_.endAudit();
}

void Reactor::runTasks() {
  std::vector<Task> tasks;
  std::vector<std::unique_ptr<Job>> jobs;
  {
    const std::lock_guard lock(mutex_);
    tasks.swap(tasks_);
    jobs.swap(finishedJobs_);
  }
  const auto perform = [](auto what) {
    try {
      what();
    } catch (const std::bad_alloc&) {  // no memory for an answer: its client's time-out tells it
    }
  };
  // What a command lets go on is done before the next one, which may forbid it.
  for (const Task& task : tasks) {
    perform(task);
    dispatcher_.signGathered();
  }
  for (std::unique_ptr<Job>& job : jobs) perform([&] { dispatcher_.finished(std::move(job)); });
}

int Reactor::timeoutMs() const {
  if (!ready_.empty()) return 0;
  int64_t until = INT64_MAX;
  if (armed_ > 0) until = nextSweepNs_;
  if (stopping_) until = std::min(until, stopDeadlineNs_);
  until = std::min(until, dispatcher_.auditWakesNs());
  if (until == INT64_MAX) return -1;
  return static_cast<int>(std::clamp<int64_t>((until - dispatcher_.nowNs + kMsNs - 1) / kMsNs, 0, 60'000));
}

void Reactor::run() {
  settleThread("quorate-plane");
  epoll_event events[kEventsPerWait];
  while (!stopping_ || (!connections_.empty() && dispatcher_.nowNs < stopDeadlineNs_)) {
    const int n = epoll_wait(epoll_, events, kEventsPerWait, timeoutMs());
    dispatcher_.nowNs = bootTimeNs();
    dispatcher_.beginRound();
    // Commands first: one that was given before a frame was sent is in force for it, whatever order epoll tells them in.
    for (int i = 0; i < n; i++)
      if (events[i].data.ptr == nullptr) onWake();
    for (int i = 0; i < n; i++)
      if (events[i].data.ptr == &timerFd_) onTimer();
      else if (events[i].data.ptr != nullptr) onEvent(events[i].events, events[i].data.ptr);
    endRound();
  }
  workers_.stop();
  while (!connections_.empty()) close(*connections_.begin()->second);
  endRound();
}

void Reactor::onWake() {
  uint64_t count;
  [[maybe_unused]] const ssize_t n = ::read(wakeFd_, &count, sizeof(count));
  runTasks();
}

// A periodic timer goes on only when it is read. The sweep itself is the round's end's.
void Reactor::onTimer() {
  uint64_t times;
  [[maybe_unused]] const ssize_t n = ::read(timerFd_, &times, sizeof(times));
}

void Reactor::onEvent(uint32_t events, void* source) {
  if (isListener(source)) {
    auto* listener = reinterpret_cast<Listener*>(reinterpret_cast<uintptr_t>(source) & ~uintptr_t{1});
    if (listener->fd >= 0) accept(*listener);
    return;
  }
  Connection& c = *static_cast<Connection*>(source);
  if (c.closed) return;
  try {
    if ((events & (EPOLLHUP | EPOLLERR)) != 0) return close(c);  // nobody is there to read an answer
    if ((events & EPOLLOUT) != 0) flush(c);
    if (!c.closed && (events & (EPOLLIN | EPOLLRDHUP)) != 0) read(c);
    if (!c.closed) look(c);
  } catch (const std::bad_alloc&) {
    if (!c.closed) abandon(c);
  }
}

// What the round left: answers to write, frames that may go on, upcalls to hand over, deadlines, the closed.
void Reactor::endRound() {
  if (dispatcher_.nowNs >= nextSessionSweepNs_) sweepSessions();
  for (Connection* c : takeDirty()) beReady(*c);
  std::vector<Connection*> again;
  again.swap(ready_);
  for (Connection* c : again) c->ready = false;
  for (Connection* c : again) carefully(*c, [&] { turn(*c); });
  // What this round gathered.
  dispatcher_.signGathered();
  for (Connection* c : takeDirty()) carefully(*c, [&] { flush(*c); });
  if (armed_ > 0 && dispatcher_.nowNs >= nextSweepNs_) sweep();
  dispatcher_.endRound();
  dispatcher_.publish();
  dispatcher_.updateCounters();
  graveyard_.clear();
  oldListeners_.clear();
}

std::vector<Connection*> Reactor::takeDirty() {
  std::vector<Connection*> taken;
  taken.swap(dispatcher_.dirty());
  for (Connection* c : taken) c->dirty = false;
  return taken;
}

void Reactor::read(Connection& c) {
  if (c.lingering) return discard(c);
  if (!dispatcher_.accepts(c)) return;
  // The rest of a frame whose length is known, or what usually comes.
  FrameHeader header;
  size_t room = WireBuffer::kFirstBytes;
  if (c.skip == 0 && peekFrame(c.in.data(), c.in.size(), &header) == FrameState::incomplete && header.length != 0) room = std::max<size_t>(header.frameBytes() - c.in.size(), 1);
  else if (!c.in.empty()) room = WireBuffer::kFirstBytes / 2;
  uint8_t* place = c.in.room(room);
  const ssize_t n = recv(c.fd, place, c.in.roomLeft(), MSG_DONTWAIT);
  if (n < 0) {
    if (errno != EAGAIN && errno != EINTR) close(c);
    return;
  }
  if (n == 0) {
    c.peerFinished = true;
    return;
  }
  c.in.extend(static_cast<size_t>(n));
  turn(c);
}

void Reactor::discard(Connection& c) {
  uint8_t scrap[kScrapBytes];
  const ssize_t n = recv(c.fd, scrap, sizeof(scrap), MSG_DONTWAIT);
  if (n < 0 && (errno == EAGAIN || errno == EINTR)) return;
  if (n > 0) wipe(scrap, static_cast<size_t>(n));
  if (n <= 0 || (c.lingered += static_cast<size_t>(n)) > kLingerBytesMax) close(c);
}

// Answers what lies in the buffer, and writes once.
void Reactor::turn(Connection& c) {
  const bool more = dispatcher_.consume(c);
  if (!c.out.empty()) flush(c);
  if (more && !c.closed) beReady(c);
}

void Reactor::beReady(Connection& c) {
  if (c.ready) return;
  c.ready = true;
  ready_.push_back(&c);
}

void Reactor::flush(Connection& c) {
  if (c.credential != nullptr) return flushCredential(c);
  while (!c.out.empty()) {
    const ssize_t n = send(c.fd, c.out.data(), c.out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno != EAGAIN) return close(c);
    if (n < 0) break;
    const bool whole = static_cast<size_t>(n) == c.out.size();
    c.out.consume(static_cast<size_t>(n), c.outSensitive);
    c.stallDeadlineNs = 0;  // progress
    if (!whole) break;
  }
  if (c.out.empty()) {
    c.outSensitive = false;
    c.out.rest();
  }
}

// After anything happened to a connection: go on, wait for what it needs, or end it.
void Reactor::look(Connection& c) {
  if (c.credential != nullptr) return lookCredential(c);
  if (c.blocked && dispatcher_.accepts(c)) {
    c.blocked = false;
    beReady(c);
  }
  if (c.lingering && stopping_) return close(c);
  if (!c.lingering && !c.ready && c.out.empty() && c.inFlight == 0) {  // nothing is owed
    if (c.peerFinished || (c.finishing && stopping_)) return close(c);
    if (c.finishing) finish(c);
    if (c.closed) return;
  }
  uint32_t events = 0;
  if (c.lingering || (!c.peerFinished && !c.ready && dispatcher_.accepts(c))) events |= EPOLLIN;
  if (!c.out.empty()) events |= EPOLLOUT;
  if (events != c.polling) {
    c.polling = events;
    epoll_event event{events, {&c}};
    epoll_ctl(epoll_, EPOLL_CTL_MOD, c.fd, &event);
  }
  setDeadlines(c);
}

void Reactor::finish(Connection& c) {
  if (c.farewell != nullptr) {
    Reply(c.out, 0, 0).fail(Code::SESSION_EXPIRED, {c.farewell});
    c.farewell = nullptr;
    flush(c);
    if (c.closed || !c.out.empty()) return;  // comes here again when it is written
  }
  c.lingering = true;
  c.in.consume(c.in.size(), true);
  c.in.release();
  shutdown(c.fd, SHUT_WR);
  c.lingerDeadlineNs = dispatcher_.nowNs + kLingerNs;
}

void Reactor::setDeadlines(Connection& c) {
  const PlaneTuning& tuning = dispatcher_.tuning();
  const int64_t receiveNs = tuning.receiveTimeoutMs * kMsNs;
  if (c.greeted || c.lingering) c.helloDeadlineNs = 0;
  // Half a frame, and it is the peer's turn.
  const bool half = !c.lingering && (!c.in.empty() || c.skip > 0) && !c.blocked && !c.ready;
  if (!half) c.frameDeadlineNs = 0;
  else if (c.frameDeadlineNs == 0) c.frameDeadlineNs = dispatcher_.nowNs + receiveNs;
  if (c.out.empty()) c.stallDeadlineNs = 0;
  else if (c.stallDeadlineNs == 0) c.stallDeadlineNs = dispatcher_.nowNs + receiveNs;
  const bool armed = (c.helloDeadlineNs | c.frameDeadlineNs | c.stallDeadlineNs | c.lingerDeadlineNs) != 0;
  if (armed == c.armed) return;
  c.armed = armed;
  if (armed && armed_++ == 0) nextSweepNs_ = dispatcher_.nowNs + sweepNs_;
  if (!armed) armed_--;
}

void Reactor::sweep() {
  const int64_t now = dispatcher_.nowNs;
  nextSweepNs_ = now + sweepNs_;
  const auto passed = [now](int64_t deadline) { return deadline != 0 && now >= deadline; };
  std::vector<Connection*> late;
  for (const auto& [id, c] : connections_)
    if (passed(c->helloDeadlineNs) || passed(c->frameDeadlineNs) || passed(c->stallDeadlineNs) || passed(c->lingerDeadlineNs)) late.push_back(c.get());
  for (Connection* c : late) close(*c);
  for (const auto& listener : listeners_) {
    if (!passed(listener->resumeNs)) continue;
    listener->resumeNs = 0;
    armed_--;
    watch(*listener, true);
  }
}

void Reactor::sweepSessions() {
  nextSessionSweepNs_ = dispatcher_.nowNs + sessionSweepNs_ - sessionSweepNs_ / 8;  // the timer may go off a little early
  dispatcher_.endOldSessions();
}

void Reactor::close(Connection& c) {
  c.closed = true;
  if (c.armed) armed_--;
  if (c.credential != nullptr) credentials_--;
  std::erase(ready_, &c);
  dispatcher_.disconnect(c);
  ::close(c.fd);
  const auto at = connections_.find(c.id);
  graveyard_.push_back(std::move(at->second));
  connections_.erase(at);
}

void Reactor::stopNow(uint32_t graceMs) {
  if (!stopping_) stopDeadlineNs_ = dispatcher_.nowNs + graceMs * kMsNs;
  stopping_ = true;
  while (!listeners_.empty()) removeListener(listeners_.back()->number);
  std::vector<Connection*> all;
  for (const auto& [id, c] : connections_) all.push_back(c.get());
  for (Connection* c : all) {
    c->finishing = true;
    c->blocked = false;
    flush(*c);
    if (!c->closed) look(*c);
  }
}

}  // namespace quorate
