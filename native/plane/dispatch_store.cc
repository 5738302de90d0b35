// Control methods that speak of a session's objects: StoreObject, which the plane fills in, and AuthenticateUse, whose ticket it makes.
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "core/random.h"
#include "plane/dispatch.h"

namespace quorate {

namespace {

using protozero::pbf_wire_type;
namespace S = fields::StoreObjectRequest;

protozero::pbf_reader readerOf(Bytes body) { return {reinterpret_cast<const char*>(body.data()), body.size()}; }
std::string textOf(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }

// What a text field of a request holds; the last one counts, as in every decoder.
std::string textField(Bytes body, uint32_t number, const char* name) {
  std::string out;
  for (protozero::pbf_reader reader = readerOf(body); reader.next();) {
    if (reader.tag() != number) {
      reader.skip();
      continue;
    }
    if (reader.wire_type() != pbf_wire_type::length_delimited) throw BadField{name, "has the wrong wire type"};
    out = reader.get_string();
  }
  return out;
}

}  // namespace

// *body: the request as swapIn() made it, without what a client cannot know of itself, and with what the session's object is.
Code Dispatcher::fillStoreObject(Ask& ask, Buffer* body, uint64_t* object, std::vector<uint64_t>* handles) {
  *object = sessionKeyNumber(textField(ask.body, S::object, "object"));
  const PreparedKey* key = ask.c.session->key(*object);
  if (key == nullptr || key->scheme != KeyScheme::PKCS11) {
    ask.fault.field = "object";
    return Code::OBJECT_NOT_FOUND;
  }
  std::string filled;
  protozero::pbf_writer out(filled);
  for (protozero::pbf_reader reader = readerOf(ask.body); reader.next();) {
    const uint32_t field = reader.tag();
    const bool isText = reader.wire_type() == pbf_wire_type::length_delimited;
    if (isText && (field == S::object || field == S::name || field == S::idempotency_key)) out.add_bytes(field, reader.get_view());
    else if (field == S::object || field == S::name || field == S::idempotency_key) throw BadField{"", "a field has the wrong wire type"};
    else reader.skip();  // the plane's word, or nobody's
  }
  if (key->stored) {
    Secret copy;
    Code code = Secret::copy(*key->stored, &copy);
    while (code == Code::ARENA_FULL && keys_.evictOne()) code = Secret::copy(*key->stored, &copy);
    if (code != Code::OK) return code;
    const uint64_t handle = HandleTable::put(std::move(copy));
    handles->push_back(handle);
    out.add_bytes(S::material, reinterpret_cast<const char*>(&handle), sizeof(handle));
  }
  if (!key->spki.empty()) out.add_bytes(S::public_key, textOf(key->spki));
  out.add_bytes(S::attributes, textOf(key->sheets->main.sheet.encode()));
  if (key->sheets->publicHalf.there) out.add_bytes(S::public_attributes, textOf(key->sheets->publicHalf.sheet.encode()));
  if (key->type != KeyType::KEY_TYPE_UNSPECIFIED) out.add_enum(S::type, static_cast<int32_t>(key->type));
  out.add_enum(S::origin, static_cast<int32_t>(key->origin));
  body->assign(filled.begin(), filled.end());
  return Code::OK;
}

void Dispatcher::readUse(Ask& ask, Pending* pending) {
  pending->ref = textField(ask.body, fields::AuthenticateUseRequest::key, "key");
  pending->identityEpoch = ask.c.identityEpoch;
}

// JavaScript found the PIN right, and which stored key it was asked for; a session's object only the plane knows. The ticket is the plane's own, known to
// this session alone: no other connection can use it, whatever it has seen.
Code Dispatcher::makeTicket(Connection& c, const Pending& pending, Bytes body, Buffer* out) {
  if (c.identityEpoch != pending.identityEpoch) return Code::SESSION_EXPIRED;
  UseTicket ticket;
  if (pending.ref.starts_with(kSessionPrefix)) {
    ticket.sessionKey = sessionKeyNumber(pending.ref);
    if (c.session->key(ticket.sessionKey) == nullptr) return Code::KEY_NOT_FOUND;
  } else {
    const std::string id = textField(body, fields::AuthenticateUseResponse::ticket, "ticket");
    if (id.size() != ticket.keyId.size()) return Code::INTERNAL;
    std::copy(id.begin(), id.end(), ticket.keyId.begin());
  }
  randomBytes(ticket.bytes);
  ticket.expiresNs = nowNs + static_cast<int64_t>(limits::use_ticket_life_ms) * 1'000'000;
  c.session->addTicket(ticket);
  std::string answer;
  protozero::pbf_writer(answer).add_bytes(fields::AuthenticateUseResponse::ticket, reinterpret_cast<const char*>(ticket.bytes), sizeof(ticket.bytes));
  out->assign(answer.begin(), answer.end());
  return Code::OK;
}

}  // namespace quorate
