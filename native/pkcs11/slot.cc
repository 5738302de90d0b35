#include "pkcs11/slot.h"

#include <protozero/pbf_reader.hpp>

namespace quorate::pkcs11 {

namespace {

CK_RV askStatus(Wire* wire, TokenFacts* facts) {
  Request request;
  Answer answer;
  if (const CK_RV rv = wire->call(Method::Status, &request, &answer); rv != CKR_OK) return rv;
  const std::string_view body = answer.body();
  protozero::pbf_reader reader(body.data(), body.size());
  facts->isSealed = false;
  while (reader.next()) {
    switch (reader.tag()) {
      case fields::StatusResponse::sealed: facts->isSealed = reader.get_bool(); break;
      case fields::StatusResponse::store_id: facts->storeId = reader.get_string(); break;
      default: reader.skip();
    }
  }
  return CKR_OK;
}

CK_RV askWho(Wire* wire, TokenFacts* facts) {
  Request request;
  Answer answer;
  if (const CK_RV rv = wire->call(Method::WhoAmI, &request, &answer); rv != CKR_OK) return rv;
  const std::string_view body = answer.body();
  protozero::pbf_reader reader(body.data(), body.size());
  while (reader.next()) {
    switch (reader.tag()) {
      case fields::WhoAmIResponse::principal: facts->principal = reader.get_string(); break;
      case fields::WhoAmIResponse::domain: facts->domain = reader.get_string(); break;
      case fields::WhoAmIResponse::domains: facts->domains.push_back(reader.get_string()); break;
      case fields::WhoAmIResponse::roles: facts->hasRoles = !reader.get_string().empty() || facts->hasRoles; break;
      default: reader.skip();
    }
  }
  return CKR_OK;
}

}  // namespace

CK_RV Slot::learn(TokenFacts* out) {
  if (const CK_RV rv = wire.connect(); rv != CKR_OK) return rv;
  TokenFacts facts;
  {
    const std::lock_guard guard(lock_);
    if (facts_.epoch == wire.epoch() && !facts_.isSealed) {
      *out = facts_;
      return CKR_OK;
    }
  }
  if (const CK_RV rv = askStatus(&wire, &facts); rv != CKR_OK) return rv;
  if (!facts.isSealed) {
    if (const CK_RV rv = askWho(&wire, &facts); rv != CKR_OK) return rv;
  }
  facts.epoch = wire.epoch();
  const std::lock_guard guard(lock_);
  facts_ = facts;
  if (login_ == Login::none && !facts.isSealed) holder_ = facts.principal;
  *out = std::move(facts);
  return CKR_OK;
}

void Slot::forgetFacts() {
  const std::lock_guard guard(lock_);
  facts_.epoch = 0;
}

CK_RV Slot::learnHolder(std::string* holder) {
  const auto known = [&] {
    const std::lock_guard guard(lock_);
    *holder = holder_;
    return !holder_.empty();
  };
  if (known()) return CKR_OK;
  TokenFacts facts;
  if (const CK_RV rv = learn(&facts); rv != CKR_OK) return rv;
  return known() ? CKR_OK : CKR_USER_NOT_LOGGED_IN;
}

// A login that a new connection could not repeat is over.
Login Slot::login() {
  const std::lock_guard guard(lock_);
  if (login_ != Login::none && !isBySocket_ && !wire.hasCredential()) login_ = Login::none;
  return login_;
}

void Slot::setLogin(Login login, bool isBySocket) {
  const std::lock_guard guard(lock_);
  isBySocket_ = isBySocket;
  login_ = login;
  facts_ = {};
}

}  // namespace quorate::pkcs11
