// The module's connection to the daemon.
#pragma once
#include <cstdint>
#include <string>

#include "core/errors.gen.h"
#include "pkcs11/cryptoki.h"
#include "plane/methods.gen.h"

namespace quorate::pkcs11 {

// One request at a time; who calls holds the module's lock. Nothing that the daemon does, or whoever sits in its place, keeps a caller past
// the deadline (timeoutMs()), and no signal is raised.
class Wire {
 public:
  Wire() = default;
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;
  ~Wire() { close(); }

  // Sends the message and waits for its answer, connecting where that is needed. A connection that a restarted daemon has left is replaced and
  // the request repeated, once: no method that the module calls changes anything. BUSY is waited out.
  // CKR_DEVICE_REMOVED: no daemon, or it went away. CKR_DEVICE_ERROR: no answer in time, or what is not one. Else what the table of errors
  // says of the daemon's code, which *refusal (if given) receives too.
  CK_RV call(Method method, const std::string& body, std::string* answer, Code* refusal = nullptr);
  // CKR_OK when the daemon has greeted this connection and has not closed it. Sends nothing when it is open.
  CK_RV connect();
  // Counts connections: what was learnt on an earlier one may be out of date.
  uint64_t epoch() const { return epoch_; }
  static int64_t nowMs();  // monotonic
  const std::string& release() const { return release_; }
  // In a child after fork: the connection is the parent's, and stays open there.
  void closeInherited() { close(); }

 private:
  enum class Outcome { answered, lost, broken };  // broken: too late, or not an answer

  CK_RV open(int64_t deadlineNs);
  CK_RV greet(int64_t deadlineNs);
  bool isGone() const;
  // An application that closed every descriptor it did not know may have given our number to something else.
  void forgetStolen();
  void close();
  Outcome exchange(Method method, const std::string& body, int64_t deadlineNs, uint16_t* status, std::string* answer);
  Outcome send(const std::string& frame, int64_t deadlineNs);
  Outcome receive(uint8_t* out, size_t bytes, int64_t deadlineNs);
  Outcome await(short events, int64_t deadlineNs);

  int fd_ = -1;
  uint64_t device_ = 0, inode_ = 0;  // of the socket behind fd_
  uint32_t nextId_ = 1;
  uint64_t epoch_ = 0;
  std::string release_;
};

}  // namespace quorate::pkcs11
