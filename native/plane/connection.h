// One socket: its peer, its buffers and what it is owed. The reactor moves its bytes, the dispatcher answers its frames.
#pragma once
#include "plane/frame.h"
#include "plane/session.h"

namespace quorate {

// The last keys that were found for this connection: what makes a repeated request cost no hash lookup.
struct FoundKey {
  static constexpr size_t kRefBytesMax = 46;
  PreparedKey* key = nullptr;
  uint64_t keysEpoch = 0, grantsEpoch = 0;  // good while both stay
  int64_t expiresNs = 0;
  uint16_t use = 0;      // as in grants.h
  uint32_t version = 0;  // as the request had it
  uint8_t refBytes = 0;
  char ref[kRefBytesMax];
};

// What systemd is owed on a socket for credentials (credentials.h).
struct CredentialAnswer {
  std::string name, field;
  WireBuffer bytes;         // on their way, wiped as they go
  size_t padding = 0;       // zeros behind them: a refusal's
  bool isAnswered = false;  // bytes and padding are all that comes
  int64_t progressNs = 0;   // CLOCK_BOOTTIME, when the peer last took something
};

struct Connection {
  Connection(uint64_t number, int socket, UidPtr owner, std::unique_ptr<Session> holds)
      : id(number), fd(socket), user(std::move(owner)), session(std::move(holds)), in(&user->held), out(&user->held) {}
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  const uint64_t id;
  int fd;
  const UidPtr user;
  int32_t pid = 0;
  std::unique_ptr<Session> session;
  const PeerPtr& peer() const { return session->row.peer; }
  // Its identity's end (CLOCK_BOOTTIME). 0: it has ended, and the session is nobody's until another one is set.
  int64_t identityEndsNs = INT64_MAX;
  uint32_t identityEpoch = 0;  // changes with the identity, and at the session's end: what a worker computed for an earlier one is thrown away

  std::unique_ptr<CredentialAnswer> credential;  // null: it speaks frames

  WireBuffer in, out;
  bool inSensitive = false;   // used bytes of `in` must be wiped
  bool outSensitive = false;  // written bytes of `out` must be wiped
  size_t skip = 0;            // bytes of a refused frame that are still to come and are thrown away

  uint32_t inFlight = 0;               // requests that wait for JavaScript or the worker
  std::vector<uint64_t> waitingTokens;  // upcalls that owe this connection an answer

  bool greeted = false;     // Hello was answered
  bool sessionEnded = false;
  const char* farewell = nullptr;  // why the session was ended: said last, about the connection itself
  bool finishing = false;   // no further request is read; closed when what is owed was written
  bool peerFinished = false;  // the peer sends nothing more (half-close)
  bool blocked = false;       // frames were left in `in` because accepts() said no
  bool dirty = false;       // on the dispatcher's list of connections to look after
  FoundKey found[4];
  void forgetFound() {
    for (FoundKey& one : found) one.key = nullptr;
  }

  // The reactor's.
  bool closed = false, lingering = false, armed = false, ready = false;
  uint32_t polling = 0;        // epoll events asked for
  int64_t helloDeadlineNs = 0, frameDeadlineNs = 0, stallDeadlineNs = 0, lingerDeadlineNs = 0;
  size_t lingered = 0;
};

}  // namespace quorate
