#include "pkcs11/login.h"

#include <protozero/pbf_reader.hpp>

#include "pkcs11/operation.h"
#include "pkcs11/store.h"

namespace quorate::pkcs11 {

namespace {

constexpr size_t kTokenSecretBytes = 32;

bool readBase64Url(std::string_view text, Buffer* out) {
  uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    int value = -1;
    if (c >= 'A' && c <= 'Z') value = c - 'A';
    if (c >= 'a' && c <= 'z') value = c - 'a' + 26;
    if (c >= '0' && c <= '9') value = c - '0' + 52;
    if (c == '-') value = 62;
    if (c == '_') value = 63;
    if (value < 0) return false;
    bits = bits << 6 | static_cast<uint32_t>(value);
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out->push(static_cast<char>(bits >> count));
    bits &= (1u << count) - 1;
  }
  return bits == 0 && count < 6;
}

CK_RV readPin(const CK_UTF8CHAR* pin, CK_ULONG bytes, std::string_view* out) {
  if (pin == nullptr && bytes != 0) return CKR_ARGUMENTS_BAD;
  if (bytes > limits::token_bytes_max) return CKR_PIN_INCORRECT;
  *out = viewOf(pin, bytes);
  return CKR_OK;
}

// For one use of the key of the operation that is active (CKA_ALWAYS_AUTHENTICATE).
CK_RV authenticateUse(Session& s, std::string_view pin) {
  namespace F = fields::AuthenticateUseRequest;
  if (!s.operation || !s.operation->key) return CKR_OPERATION_NOT_INITIALIZED;
  Operation& operation = *s.operation;
  if (!operation.key.sheet().flag(CKA_ALWAYS_AUTHENTICATE)) return CKR_OPERATION_NOT_INITIALIZED;
  Request request;
  Answer answer;
  request.epoch = operation.key.entry->epoch;
  request.bytes(F::key, operation.key.entry->ref);
  request.bytes(F::pin, pin);
  if (const CK_RV rv = s.slot.wire.call(Method::AuthenticateUse, &request, &answer); rv != CKR_OK) return rv;
  const std::string_view body = answer.body();
  std::string ticket;
  protozero::pbf_reader reader(body.data(), body.size());
  while (reader.next()) {
    if (reader.tag() == fields::AuthenticateUseResponse::ticket) {
      ticket = reader.get_bytes();
    } else {
      reader.skip();
    }
  }
  if (ticket.empty()) return CKR_DEVICE_ERROR;
  s.request.cutTo(operation.prefix);
  s.request.bytes(fields::MechanismRequest::ticket, ticket);
  operation.prefix = s.request.head.size();
  return CKR_OK;
}

// No name is asked for; one that is given must be whom the socket or the PIN says.
bool isNamed(std::string_view name, std::string_view principal) {
  const size_t kind = principal.find(':');
  return name.empty() || name == principal || (kind != std::string_view::npos && name == principal.substr(kind + 1));
}

CK_RV logIn(Session& s, CK_USER_TYPE user, std::string_view pin, std::string_view name) {
  Slot& slot = s.slot;
  const std::lock_guard logging(slot.logins);
  const Login before = slot.login(), wanted = user == CKU_SO ? Login::officer : Login::user;
  if (before == wanted) return CKR_USER_ALREADY_LOGGED_IN;
  if (before != Login::none) return CKR_USER_ANOTHER_ALREADY_LOGGED_IN;
  if (user == CKU_SO && slot.sessions > slot.writers) return CKR_SESSION_READ_ONLY_EXISTS;
  std::string holder, principal;
  if (const CK_RV rv = slot.learnHolder(&holder); rv != CKR_OK) return rv;
  // Nothing to present: the socket's own principal, which the daemon knows already.
  if (pin.empty() && wanted == Login::user) {
    if (!isNamed(name, holder)) return CKR_PIN_INCORRECT;
    slot.setLogin(Login::user, true);
    return CKR_OK;
  }
  Credential credential;
  if (!readAccessToken(pin, &credential)) {
    if (wanted == Login::officer) return CKR_PIN_INCORRECT;  // an officer has a token: only that tells what one may
    credential.secret = Buffer(pin);
  }
  if (const CK_RV rv = slot.wire.login(std::move(credential), &principal); rv != CKR_OK) return rv == CKR_ARGUMENTS_BAD ? CKR_PIN_INCORRECT : rv;
  slot.objects.forgetSync();
  if (!isNamed(name, holder) && !isNamed(name, principal)) {
    logOut(slot);
    return CKR_PIN_INCORRECT;
  }
  slot.setLogin(wanted, false);
  return CKR_OK;
}

CK_RV login(Module& m, CK_SESSION_HANDLE session, CK_USER_TYPE user, const CK_UTF8CHAR* pin, CK_ULONG bytes, std::string_view name) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (user > CKU_CONTEXT_SPECIFIC) return CKR_USER_TYPE_INVALID;
  std::string_view text;
  if (const CK_RV rv = readPin(pin, bytes, &text); rv != CKR_OK) return rv;
  return user == CKU_CONTEXT_SPECIFIC ? authenticateUse(*s, text) : logIn(*s, user, text, name);
}

}  // namespace

bool readAccessToken(std::string_view text, Credential* out) {
  const size_t at = text.rfind('~');
  if (at == std::string_view::npos || at == 0) return false;
  Buffer secret;
  if (!readBase64Url(text.substr(at + 1), &secret) || secret.size() != kTokenSecretBytes) return false;
  out->isToken = true;
  out->chain = text.substr(0, at);
  out->secret = std::move(secret);
  return true;
}

void logOut(Slot& slot) {
  slot.wire.logout();
  slot.setLogin(Login::none, false);
  slot.objects.forgetSync();
}

namespace call {

CK_RV Login(Module& m, CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR* pin, CK_ULONG bytes) { return login(m, session, user, pin, bytes, ""); }

CK_RV LoginUser(Module& m, CK_SESSION_HANDLE session, CK_USER_TYPE user, CK_UTF8CHAR* pin, CK_ULONG bytes, CK_UTF8CHAR* name, CK_ULONG nameBytes) {
  if ((name == nullptr && nameBytes != 0) || nameBytes > limits::principal_name_bytes_max + 8) return m.session(session) ? CKR_ARGUMENTS_BAD : CKR_SESSION_HANDLE_INVALID;
  return login(m, session, user, pin, bytes, viewOf(name, nameBytes));
}

CK_RV Logout(Module& m, CK_SESSION_HANDLE session) {
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  const std::lock_guard logging(s->slot.logins);
  if (s->slot.login() == quorate::pkcs11::Login::none) return CKR_USER_NOT_LOGGED_IN;
  s->operation.reset();
  logOut(s->slot);
  return CKR_OK;
}

// The officer sets the PIN of the principal that the socket says, for this slot's domain.
CK_RV InitPIN(Module& m, CK_SESSION_HANDLE session, CK_UTF8CHAR* pin, CK_ULONG bytes) {
  namespace F = fields::PutPinRequest;
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if (pin == nullptr && bytes != 0) return CKR_ARGUMENTS_BAD;
  if (s->slot.login() != quorate::pkcs11::Login::officer) return CKR_USER_NOT_LOGGED_IN;
  if (bytes < limits::pin_bytes_min || bytes > limits::pin_bytes_max) return CKR_PIN_LEN_RANGE;
  std::string holder;
  TokenFacts facts;
  if (const CK_RV rv = s->slot.learnHolder(&holder); rv != CKR_OK) return rv;
  if (const CK_RV rv = s->slot.learn(&facts); rv != CKR_OK) return rv;
  Request request;
  Answer answer;
  request.bytes(F::holder, holder);
  request.bytes(F::principal, holder);
  request.bytes(F::domain, facts.domain);
  request.bytes(F::pin, viewOf(pin, bytes));
  addIdempotencyKey(F::idempotency_key, &request);
  return callWriting(*s, Method::PutPin, &request, &answer);
}

CK_RV SetPIN(Module& m, CK_SESSION_HANDLE session, CK_UTF8CHAR* oldPin, CK_ULONG oldBytes, CK_UTF8CHAR* newPin, CK_ULONG newBytes) {
  namespace F = fields::ChangePinRequest;
  const Locked s(m, session);
  if (!s) return CKR_SESSION_HANDLE_INVALID;
  if ((oldPin == nullptr && oldBytes != 0) || (newPin == nullptr && newBytes != 0)) return CKR_ARGUMENTS_BAD;
  if (!s->isWriter()) return CKR_SESSION_READ_ONLY;
  if (oldBytes > limits::pin_bytes_max) return CKR_PIN_INCORRECT;
  if (newBytes < limits::pin_bytes_min || newBytes > limits::pin_bytes_max) return CKR_PIN_LEN_RANGE;
  Request request;
  Answer answer;
  request.bytes(F::old_pin, viewOf(oldPin, oldBytes));
  request.bytes(F::new_pin, viewOf(newPin, newBytes));
  addIdempotencyKey(F::idempotency_key, &request);
  if (const CK_RV rv = callWriting(*s, Method::ChangePin, &request, &answer); rv != CKR_OK) return rv;
  s->slot.wire.replaceSecret(viewOf(newPin, newBytes));
  return CKR_OK;
}

}  // namespace call
}  // namespace quorate::pkcs11
