// One slot: a domain of the daemon's, with a connection, objects and a login of its own.
#pragma once
#include "pkcs11/entries.h"

namespace quorate::pkcs11 {

// What the daemon says of itself and of who asks, for as long as the connection lasts.
struct TokenFacts {
  uint64_t epoch = 0;  // of the connection that it was learnt on; 0: never
  std::string domain, storeId, principal;
  std::vector<std::string> domains;
  bool isSealed = true;
  bool hasRoles = false;
};

enum class Login { none, user, officer };

struct Slot {
  Slot(CK_SLOT_ID number, std::string name) : id(number), domain(name), wire(std::move(name)) {}

  const CK_SLOT_ID id;
  const std::string domain;  // empty: the socket's own
  Wire wire;
  ObjectTable objects{wire};
  std::atomic<size_t> sessions = 0, writers = 0;

  // Two messages, and none as long as the connection lasts and the daemon is unsealed.
  CK_RV learn(TokenFacts* out);
  void forgetFacts();
  Login login();
  // isBySocket: without a credential, as whom the socket says.
  void setLogin(Login login, bool isBySocket);
  std::mutex logins;  // held while somebody logs in or out
  // Who the socket says. Asks the daemon where that is not known.
  CK_RV learnHolder(std::string* holder);

  // Slots are added, never taken away: a child after fork walks them without a lock.
  std::atomic<Slot*> next = nullptr;

 private:
  std::mutex lock_;  // what is below, for a moment
  TokenFacts facts_;
  Login login_ = Login::none;
  bool isBySocket_ = false;
  std::string holder_;
};

}  // namespace quorate::pkcs11
