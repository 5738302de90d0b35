// Listeners: who comes in, and who is turned away.
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "plane/reactor.h"

namespace quorate {

namespace {
constexpr int kAcceptsPerRound = 16;
constexpr int64_t kPauseNs = 100'000'000;

// False: it has more than peer_groups_max, or the kernel does not say. Some of them would not do: whoever is judged without one of
// their groups may pass where that group is forbidden.
bool readGroups(int fd, std::vector<uint32_t>* groups) {
  static_assert(sizeof(gid_t) == sizeof(uint32_t));
  groups->resize(limits::peer_groups_max);
  socklen_t bytes = static_cast<socklen_t>(groups->size() * sizeof(uint32_t));
  if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups->data(), &bytes) != 0) return false;
  groups->resize(bytes / sizeof(uint32_t));
  std::sort(groups->begin(), groups->end());
  groups->erase(std::unique(groups->begin(), groups->end()), groups->end());
  return true;
}
}  // namespace

void Reactor::addListener(uint32_t number, int fd, CredentialsPtr credentials) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  if (stopping_) {
    ::close(fd);
    return;
  }
  auto listener = std::make_unique<Listener>();
  listener->number = number;
  listener->fd = fd;
  listener->credentials = std::move(credentials);
  epoll_event event{EPOLLIN, {reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(listener.get()) | 1)}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  listeners_.push_back(std::move(listener));
}

void Reactor::removeListener(uint32_t number) {
  for (size_t i = 0; i < listeners_.size(); i++) {
    if (listeners_[i]->number != number) continue;
    if (listeners_[i]->resumeNs != 0) armed_--;
    ::close(listeners_[i]->fd);
    listeners_[i]->fd = -1;
    oldListeners_.push_back(std::move(listeners_[i]));  // this round may hold an event for it
    listeners_.erase(listeners_.begin() + static_cast<ptrdiff_t>(i));
    return;
  }
}

void Reactor::watch(Listener& listener, bool on) {
  epoll_event event{on ? static_cast<uint32_t>(EPOLLIN) : 0u, {reinterpret_cast<void*>(reinterpret_cast<uintptr_t>(&listener) | 1)}};
  epoll_ctl(epoll_, EPOLL_CTL_MOD, listener.fd, &event);
}

void Reactor::accept(Listener& listener) {
  for (int i = 0; i < kAcceptsPerRound; i++) {
    if (listener.credentials != nullptr && !makeCredentialRoom()) return pause(listener);
    const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) {
      if (listener.credentials != nullptr) adoptCredential(listener, fd);
      else adopt(listener, fd);
    } else if (errno != EINTR && errno != ECONNABORTED) {
      if (onAcceptError(listener, errno)) continue;
      return;
    }
  }
}

// True when another connection may be tried. Without a free descriptor the waiting connection keeps the listener readable: a spare
// descriptor is given up to tell that client, and then the listener rests for a moment instead of spinning. Whoever asks for a credential cannot
// be told in a frame, and waits.
bool Reactor::onAcceptError(Listener& listener, int error) {
  if (error != EMFILE && error != ENFILE && error != ENOBUFS && error != ENOMEM) return false;  // EAGAIN: all are in
  if (spareFd_ >= 0 && listener.credentials == nullptr) {
    ::close(spareFd_);
    const int fd = accept4(listener.fd, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd >= 0) refuse(fd, "the daemon has no file descriptor free");
    spareFd_ = open("/dev/null", O_RDONLY | O_CLOEXEC);
  }
  pause(listener);
  return false;
}

void Reactor::pause(Listener& listener) {
  watch(listener, false);
  if (listener.resumeNs == 0 && armed_++ == 0) nextSweepNs_ = dispatcher_.nowNs + sweepNs_;
  listener.resumeNs = dispatcher_.nowNs + kPauseNs;
}

// Best effort: a new socket has room for one small frame.
void Reactor::refuse(int fd, const char* detail) {
  WireBuffer out;
  Reply(out, 0, 0).fail(Code::LIMIT_EXCEEDED, {detail});
  [[maybe_unused]] const ssize_t n = send(fd, out.data(), out.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  ::close(fd);
}

void Reactor::adopt(Listener& listener, int fd) {
  ucred peer{};
  socklen_t size = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
    ::close(fd);
    return;
  }
  const PlaneTuning& tuning = dispatcher_.tuning();
  if (connections_.size() >= tuning.connectionsMax) return refuse(fd, "the daemon has as many connections as it may");
  if (dispatcher_.user(peer.uid)->connections >= tuning.connectionsPerUidMax) return refuse(fd, "this uid has as many connections as it may");
  Peer who{.uid = peer.uid, .gid = peer.gid, .listener = listener.number};
  if (!readGroups(fd, &who.groups)) return refuse(fd, "its user is in more groups than the daemon looks at");
  std::unique_ptr<Connection> made = dispatcher_.connect(fd, std::move(who), peer.pid);
  Connection& c = *made;
  connections_.emplace(c.id, std::move(made));
  c.helloDeadlineNs = dispatcher_.nowNs + static_cast<int64_t>(tuning.helloTimeoutMs) * 1'000'000;
  c.polling = EPOLLIN;
  epoll_event event{EPOLLIN, {&c}};
  epoll_ctl(epoll_, EPOLL_CTL_ADD, fd, &event);
  setDeadlines(c);
}

}  // namespace quorate
