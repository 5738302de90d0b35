// The module's way to the daemon for one slot: connects, greets, logs in, repeats what a lost connection swallowed.
#pragma once
#include <memory>

#include "pkcs11/cryptoki.h"
#include "pkcs11/link.h"

namespace quorate::pkcs11 {

// What a login gave, kept until the logout: a daemon that restarts is told again.
struct Credential {
  bool isToken = false;  // an access token; else a PIN
  std::string chain;
  Buffer secret;
};

// Nothing that the daemon does, or whoever sits in its place, keeps a caller past the deadline (patienceMs()), and no signal is raised.
// Threads may call at the same time, and don't wait for one another.
class Wire {
 public:
  // Of that domain; empty: the socket's own.
  explicit Wire(std::string domain);
  Wire(const Wire&) = delete;
  Wire& operator=(const Wire&) = delete;

  // Sends the message and waits for its answer, connecting where that is needed. What a lost connection swallowed is repeated, once, on a new
  // one, unless it makes sense on that connection alone; BUSY is waited out.
  // CKR_DEVICE_REMOVED: no daemon, or it went away. CKR_DEVICE_ERROR: no answer in time, or what is not one. Else what the table of errors
  // says of the daemon's code, which *refusal (if given) receives too.
  CK_RV call(Method method, Request* request, Answer* answer, Code* refusal = nullptr);
  // CKR_OK when the daemon has greeted this connection and has not closed it. Sends nothing when it is open.
  CK_RV connect();
  // Presents the credential, and again on every connection until logout().
  CK_RV login(Credential credential, std::string* principal);
  // The connection is closed, and all that it had in the daemon.
  void logout();
  void replaceSecret(std::string_view secret);
  bool hasCredential();

  // The connection that is usable; 0: none. What was learnt or made on another one may be out of date, or gone.
  uint64_t epoch() const { return live_.load(std::memory_order_acquire); }
  std::string release();
  int patienceMs() const { return patienceMs_; }
  // In a child after fork: the connection is the parent's, and stays open there.
  void closeInherited();

 private:
  CK_RV take(int64_t deadlineNs, std::shared_ptr<Link>* link, bool* isFresh);
  CK_RV open(int64_t deadlineNs, std::shared_ptr<Link>* link);
  CK_RV greet(Link* link, int64_t deadlineNs);
  CK_RV present(Link* link, int64_t deadlineNs, std::string* principal);
  CK_RV ask(Link* link, Method method, Request* request, int64_t deadlineNs, Answer* answer);

  const std::string domain_;
  const int patienceMs_;
  std::mutex opening_;  // held while somebody connects: all others need that connection too
  std::mutex lock_;     // link_, credential_ and release_, for a moment
  std::shared_ptr<Link> link_;
  std::unique_ptr<Credential> credential_;
  std::string release_;
  uint64_t lastNumber_ = 0;
  std::atomic<uint64_t> live_ = 0;
  std::atomic<Link*> inherited_ = nullptr;  // link_, for closeInherited()
};

}  // namespace quorate::pkcs11
