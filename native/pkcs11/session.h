// Sessions of the application. They live in the module alone: opening and closing one sends nothing.
#pragma once
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "pkcs11/mechanisms.h"

namespace quorate::pkcs11 {

inline constexpr size_t kSessionsMax = 65'536;

enum class Purpose { sign, verify };

// A signature being made or checked, from its Init to its end. At most one in a session.
struct Operation {
  Purpose purpose{};
  Chosen chosen;
  CK_OBJECT_HANDLE object = CK_INVALID_HANDLE;
  bool inParts = false;  // data came by Update
  std::string data;
};

struct Search {
  std::vector<CK_OBJECT_HANDLE> found;
  size_t next = 0;
};

struct Session {
  CK_FLAGS flags = 0;
  std::optional<Operation> operation;
  std::optional<Search> search;  // may go on beside an operation
};

using SessionTable = std::map<CK_SESSION_HANDLE, Session>;

}  // namespace quorate::pkcs11
