// Sessions of the application. They live in the module alone: opening and closing one sends nothing.
#pragma once
#include <optional>

#include "pkcs11/mechanisms.h"
#include "pkcs11/slot.h"

namespace quorate::pkcs11 {

inline constexpr size_t kSessionsMax = 65'536;

// Something begun by an Init. At most one in a session.
struct Operation {
  Use use{};
  const MechanismRow* row = nullptr;
  MechanismFacts facts;
  ObjectRef key;                // none for digests
  size_t prefix = 0;            // of Session::request: what the message begins with, known since the Init
  std::string ticket;           // of a login for this use
  bool inParts = false;         // data came by Update
  Buffer held;                  // and was not sent yet
  uint64_t remote = 0;          // the operation in the daemon that has the rest; 0: none
  uint64_t remoteEpoch = 0;     // and the connection that it lives with
  size_t taken = 0, given = 0;  // bytes that came by Update; that went out
  Buffer result;                // what didn't fit into the application's buffer, until it is fetched
  bool hasResult = false;

  // The message functions of 3.0.
  bool byMessage = false, inMessage = false;
  CK_GCM_MESSAGE_PARAMS message{};
  Buffer aad;
};

struct Search {
  std::vector<CK_OBJECT_HANDLE> found;
  size_t next = 0;
};

struct Session {
  Session(Slot& s, CK_SESSION_HANDLE number, CK_FLAGS f) : slot(s), handle(number), flags(f) {}
  Slot& slot;
  const CK_SESSION_HANDLE handle;
  const CK_FLAGS flags;
  bool isWriter() const { return (flags & CKF_RW_SESSION) != 0; }

  std::mutex calling;  // one call at a time; what is below
  bool isClosed = false;
  std::optional<Operation> operation;
  std::optional<Search> search;  // may go on beside an operation
  Request request;               // places that are used again
  Answer answer;
};

}  // namespace quorate::pkcs11
