#include "pkcs11/store.h"

#include <sys/random.h>

#include <algorithm>
#include <protozero/pbf_reader.hpp>

namespace quorate::pkcs11 {

namespace {

// The daemon's key type, of the attributes that it answered with.
KeyType typeOf(const Sheet& sheet, std::string_view spki) {
  const CK_OBJECT_CLASS kind = sheet.number(CKA_CLASS, CKO_DATA);
  if (kind != CKO_SECRET_KEY && kind != CKO_PRIVATE_KEY && kind != CKO_PUBLIC_KEY) return KeyType::KEY_TYPE_UNSPECIFIED;
  switch (sheet.number(CKA_KEY_TYPE, CK_UNAVAILABLE_INFORMATION)) {
    case CKK_AES: {
      const CK_ULONG bytes = sheet.number(CKA_VALUE_LEN, 32);
      return bytes == 16 ? KeyType::AES_128 : bytes == 24 ? KeyType::AES_192 : KeyType::AES_256;
    }
    case CKK_RSA: {
      PublicParts parts;
      const size_t bytes = readPublicKey(spki, true, &parts) ? parts.modulus.size() : 0;
      return bytes <= 256 ? KeyType::RSA_2048 : bytes <= 384 ? KeyType::RSA_3072 : KeyType::RSA_4096;
    }
    case CKK_EC:
      for (const KeyType type : {KeyType::EC_P384, KeyType::EC_P521})
        if (sheet.find(CKA_EC_PARAMS) == curveOf(type)) return type;
      return KeyType::EC_P256;
    case CKK_EC_EDWARDS: return KeyType::ED25519;
    case CKK_EC_MONTGOMERY: return KeyType::X25519;
    default: return KeyType::HMAC;
  }
}

bool readSessionObject(const Answer& answer, Entry* entry) {
  namespace F = fields::SessionObjectResponse;
  const std::string_view body = answer.body();
  std::string attributes, publicAttributes;
  try {
    protozero::pbf_reader reader(body.data(), body.size());
    while (reader.next()) {
      switch (reader.tag()) {
        case F::key: entry->ref = reader.get_string(); break;
        case F::attributes: attributes = reader.get_bytes(); break;
        case F::public_attributes: publicAttributes = reader.get_bytes(); break;
        case F::public_key: entry->spki = reader.get_bytes(); break;
        default: reader.skip();
      }
    }
  } catch (const protozero::exception&) {
    return false;
  }
  entry->type = typeOf(Sheet(attributes.empty() ? publicAttributes : attributes), entry->spki);
  completeEntry(std::move(attributes), std::move(publicAttributes), entry);
  return entry->ref.starts_with("session:") && (!entry->main.empty() || !entry->publicHalf.empty());
}

// A label that is a name as keys have them is the name; of another one the daemon makes one.
bool isName(std::string_view label) {
  const auto isPlain = [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.' || c == '/'; };
  return !label.empty() && label.size() <= limits::name_bytes_max && std::all_of(label.begin(), label.end(), isPlain);
}

CK_RV keep(Session& s, const Entry& made, EntryPtr* out) {
  namespace F = fields::StoreObjectRequest;
  Request request;
  Answer answer;
  request.epoch = made.epoch;
  request.bytes(F::object, made.ref);
  const Sheet& sheet = made.main.empty() ? made.publicHalf : made.main;
  if (const auto label = sheet.find(CKA_LABEL); label && isName(*label)) request.bytes(F::name, *label);
  addIdempotencyKey(F::idempotency_key, &request);
  if (const CK_RV rv = callWriting(s, Method::StoreObject, &request, &answer); rv != CKR_OK) {
    destroySessionObject(&s.slot.wire, made.ref, made.epoch);
    return rv;
  }
  return putStored(s, answer, out);
}

}  // namespace

void addIdempotencyKey(uint32_t tag, Request* request) {
  char key[kIdempotencyBytes];
  for (size_t got = 0; got < sizeof(key);) {
    const ssize_t n = getrandom(key + got, sizeof(key) - got, 0);
    if (n > 0) got += static_cast<size_t>(n);
  }
  request->bytes(tag, {key, sizeof(key)});
  request->isIdempotent = true;
}

CK_RV callWriting(Session& s, Method method, Request* request, Answer* answer) {
  Code refusal = Code::OK;
  const CK_RV rv = s.slot.wire.call(method, request, answer, &refusal);
  // The store is there and can't be written: its disk is read-only, or broken.
  return refusal == Code::STORE_IO ? CKR_TOKEN_WRITE_PROTECTED : rv;
}

void destroySessionObject(Wire* wire, const std::string& ref, uint64_t epoch) {
  Request request;
  Answer answer;
  request.epoch = epoch;
  request.bytes(fields::DestroySessionKeyRequest::key, ref);
  wire->call(Method::DestroySessionKey, &request, &answer);
}

CK_RV checkWriter(const Session& session, bool isToken) { return isToken && !session.isWriter() ? CKR_SESSION_READ_ONLY : CKR_OK; }

CK_RV putStored(Session& s, const Answer& answer, EntryPtr* out) {
  const std::string_view body = answer.body();
  protozero::pbf_reader reader(body.data(), body.size());
  Entry entry;
  bool isRemoved = false, isWhole = false;
  while (reader.next()) {
    if (reader.tag() == fields::ObjectResponse::object) {
      const protozero::data_view view = reader.get_view();
      isWhole = readObjectView({view.data(), view.size()}, &entry, &isRemoved);
    } else {
      reader.skip();
    }
  }
  if (!isWhole) return CKR_DEVICE_ERROR;
  *out = s.slot.objects.put(std::move(entry));
  return CKR_OK;
}

CK_RV putSessionObject(Session& s, const Answer& answer, uint64_t epoch, uint64_t number, CK_SESSION_HANDLE owner, EntryPtr* out) {
  Entry entry;
  if (!readSessionObject(answer, &entry)) return CKR_DEVICE_ERROR;
  entry.number = number;
  entry.epoch = epoch;
  entry.owner = owner;
  *out = s.slot.objects.put(std::move(entry));
  return CKR_OK;
}

CK_RV makeObject(Session& s, Method method, Request* request, EntryPtr* made) {
  Answer answer;
  // On one connection: what it makes lives with it.
  if (const CK_RV rv = s.slot.wire.connect(); rv != CKR_OK) return rv;
  const uint64_t epoch = s.slot.wire.epoch();
  if (request->epoch == 0) request->epoch = epoch;
  CK_RV rv = s.slot.wire.call(method, request, &answer);
  uint64_t at = request->epoch;
  if (rv == CKR_DEVICE_REMOVED && request->epoch == epoch && method == Method::GenerateObject && s.slot.wire.connect() == CKR_OK) {
    // The connection went meanwhile, and with it whatever was made.
    request->epoch = at = s.slot.wire.epoch();
    rv = s.slot.wire.call(method, request, &answer);
  }
  if (rv != CKR_OK) return rv;
  Entry entry;
  if (!readSessionObject(answer, &entry)) return CKR_DEVICE_ERROR;
  entry.epoch = at;
  entry.owner = s.handle;
  const Sheet& sheet = entry.main.empty() ? entry.publicHalf : entry.main;
  if (sheet.flag(CKA_TOKEN)) return keep(s, entry, made);
  *made = s.slot.objects.put(std::move(entry));
  return CKR_OK;
}

}  // namespace quorate::pkcs11
