// One plane thread: its epoll set, its listeners and connections, and the dispatcher that answers them. All of the thread's state is
// in this object; more threads would be more of it.
#pragma once
#include <deque>

#include "plane/credentials.h"
#include "plane/dispatch.h"

namespace quorate {

using Command = std::function<void(Dispatcher&)>;

class Reactor {
 public:
  Reactor(const PlaneOptions& options, UpcallQueue& upcalls);
  ~Reactor();

  // The thread's body; returns after stop().
  void run();

  // ---- any thread
  void post(Command command);
  // credentials: null for a socket that speaks frames.
  void listen(uint32_t number, int fd, CredentialsPtr credentials);
  void unlisten(uint32_t number);
  void stop(uint32_t graceMs);
  // After run() returned: what is still posted is done on the caller's thread.
  void settle();
  const PlaneCounters& counters() const { return dispatcher_.counters; }
  SessionTable& sessions() { return dispatcher_.sessions; }

 private:
  struct Listener {
    uint32_t number = 0;
    int fd = -1;
    int64_t resumeNs = 0;  // paused until then: accept() found no descriptor free, or no place
    CredentialsPtr credentials = nullptr;
  };
  using Task = std::function<void()>;

  // reactor.cc
  int timeoutMs() const;
  void wake();
  void runTasks();
  void onWake();
  void onTimer();
  void onEvent(uint32_t events, void* source);
  void endRound();
  void read(Connection& c);
  void discard(Connection& c);
  void turn(Connection& c);
  void flush(Connection& c);
  void look(Connection& c);
  void setDeadlines(Connection& c);
  void finish(Connection& c);
  void close(Connection& c);
  void beReady(Connection& c);
  std::vector<Connection*> takeDirty();
  // f, and then what is due; a connection that there is no memory for is closed.
  template <class F>
  void carefully(Connection& c, F&& f) {
    if (c.closed) return;
    try {
      f();
      if (!c.closed) look(c);
    } catch (const std::bad_alloc&) {
      if (!c.closed) abandon(c);
    }
  }
  void sweep();
  void sweepSessions();
  void stopNow(uint32_t graceMs);
  // accept.cc
  void addListener(uint32_t number, int fd, CredentialsPtr credentials);
  void removeListener(uint32_t number);
  void accept(Listener& listener);
  void adopt(Listener& listener, int fd);
  void refuse(int fd, const char* detail);
  bool onAcceptError(Listener& listener, int error);
  void watch(Listener& listener, bool on);
  void pause(Listener& listener);
  // reactor_credentials.cc
  bool makeCredentialRoom();
  void keepStrangersFew();
  void adoptCredential(const Listener& listener, int fd);
  void refuseCredential(Connection& c, Code code, const std::string& detail);
  void takeCredential(Connection& c);
  void flushCredential(Connection& c);
  void lookCredential(Connection& c);
  void abandon(Connection& c);

  UpcallQueue& upcalls_;
  int epoll_ = -1, wakeFd_ = -1, timerFd_ = -1, spareFd_ = -1;
  Dispatcher dispatcher_;
  WorkerPool workers_;  // after the dispatcher: stopped before it goes
  std::unordered_map<uint64_t, std::unique_ptr<Connection>> connections_;
  std::vector<std::unique_ptr<Connection>> graveyard_;  // closed in this round; events for them may still be in hand
  std::vector<std::unique_ptr<Listener>> listeners_, oldListeners_;
  std::vector<Connection*> ready_;  // have frames left though their socket says nothing
  size_t armed_ = 0;                // connections and listeners with a deadline
  int64_t nextSweepNs_ = 0, sweepNs_ = 0, stopDeadlineNs_ = 0;
  size_t credentials_ = 0;          // connections of sockets for credentials
  int64_t nextSessionSweepNs_ = 0, sessionSweepNs_ = 0;
  bool stopping_ = false;

  std::mutex mutex_;
  std::vector<Task> tasks_;                         // guarded by mutex_
  std::vector<std::unique_ptr<Job>> finishedJobs_;  // guarded by mutex_
};

// CLOCK_BOOTTIME: a grant does not outlive a suspended machine's sleep.
int64_t bootTimeNs();

}  // namespace quorate
