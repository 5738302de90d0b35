// Session objects with attributes: made, copied, changed, read. What of them is kept, dispatch_store.cc hands up.
#include <algorithm>

#include "core/random.h"
#include "plane/dispatch.h"
#include "plane/object_fault.h"

namespace quorate {

Code Dispatcher::newObject(Ask& ask) { return makeObject(ask, nullptr, nullptr); }

// key: that unwraps or derives, null for others; base: its attributes.
Code Dispatcher::makeObject(Ask& ask, PreparedKey* key, const Sheet* base) {
  if (ask.c.session->keyQuotaReached()) return Code::SESSION_KEY_QUOTA;
  if (arenaIsFull()) return Code::ARENA_FULL;
  Work work{request_, key};
  auto plan = std::make_unique<PlannedObject>();
  if (const Code code = planObject(work, base, plan.get()); code != Code::OK) {
    ask.fault = std::move(work.fault);
    return code;
  }
  if (key != nullptr)
    if (const Code code = takeTicket(ask, *key); code != Code::OK) return code;
  const bool derives = ask.row.id == Method::DeriveObject;
  if (isSlow(request_, key) || (!derives && isSlowPlan(*plan))) return submit(ask, key, nullptr, {}, {.plan = std::move(plan)});
  const KeyPtr held = holdOf(key);
  work.plan = plan.get();
  NewKey made;
  Code code = makeNewKey(work, &made);
  while (code == Code::ARENA_FULL && keys_.evictOne()) code = makeNewKey(work, &made);
  if (code != Code::OK) {
    ask.fault = std::move(work.fault);
    return code;
  }
  return adopt(ask.c, ask.id, ask.row.id, std::move(made));
}

Code Dispatcher::adoptObject(Connection& c, uint32_t id, Method method, ObjectParts&& parts) {
  KeyPtr key;
  Code code = prepareObject(ObjectParts(parts), &key);
  while (code == Code::ARENA_FULL && keys_.evictOne()) code = prepareObject(ObjectParts(parts), &key);
  if (code != Code::OK) return code;
  randomBytes(key->id);
  uint64_t number = 0;
  if (code = c.session->addKey(key, &number); code != Code::OK) return code;
  answerObject(c, id, method, number, *key);
  return Code::OK;
}

void Dispatcher::answerObject(Connection& c, uint32_t id, Method method, uint64_t number, const PreparedKey& key) {
  namespace F = fields::SessionObjectResponse;
  const std::string name = std::string(kSessionPrefix) + std::to_string(number);
  const Buffer main = key.sheets->main.sheet.encode(), publicHalf = key.sheets->publicHalf.there ? key.sheets->publicHalf.sheet.encode() : Buffer{};
  Reply reply(c.out, id, static_cast<uint16_t>(method));
  uint8_t* out = reply.begin(fieldBytes(name.size()) + fieldBytes(main.size()) + fieldBytes(publicHalf.size()) + fieldBytes(key.spki.size()));
  out = putField(out, F::key, std::string_view(name));
  out = putField(out, F::attributes, main);
  out = putField(out, F::public_attributes, publicHalf);
  reply.end(putField(out, F::public_key, key.spki));
}

// With `attributes`, or without any template: the main object. With `public_attributes`: a pair's public half, alone when nothing else was given.
Code Dispatcher::copyObject(Ask& ask, PreparedKey* key, const KeySheets& sheets) {
  const HotRequest& r = request_;
  if (key->scheme != KeyScheme::PKCS11) {
    ask.fault = {"a raw key is not copied: its scheme would not hold for the copy", "key"};
    return Code::USE_NOT_PERMITTED;
  }
  if (ask.c.session->keyQuotaReached()) return Code::SESSION_KEY_QUOTA;
  if (arenaIsFull()) return Code::ARENA_FULL;
  const bool takesPublic = !r.publicAttributes.empty(), takesMain = !r.attributes.empty() || !takesPublic;
  Work work{r, key};
  const auto copied = [&](const HalfSheet& from, Bytes encoded, const char* field, Sheet* out) {
    Sheet wanted;
    Code code = readTemplate(work, encoded, field, &wanted);
    RuleFault fault;
    if (code == Code::OK && (code = planCopy(from.sheet, from.objectClass == ObjectClass::publicKey, wanted, out, &fault)) != Code::OK) refuseByRule(work, code, field, fault);
    if (code != Code::OK) ask.fault = std::move(work.fault);
    return code;
  };
  Sheet main, publicHalf;
  if (takesPublic && !sheets.publicHalf.there) {
    ask.fault.field = "public_attributes";
    return Code::OBJECT_NOT_FOUND;
  }
  if (takesMain)
    if (const Code code = copied(sheets.main, r.attributes, "attributes", &main); code != Code::OK) return code;
  if (takesPublic)
    if (const Code code = copied(sheets.publicHalf, r.publicAttributes, "public_attributes", &publicHalf); code != Code::OK) return code;
  ObjectParts parts{.type = key->type, .origin = ObjectOrigin::COPIED, .spki = key->spki};
  if (takesMain) parts.stored = key->stored;
  // The same key bytes: what it may still make of random IVs is shared between the two.
  if (takesMain && takesIvs(*key)) {
    parts.ivs = key->ivs / 2;
    key->ivs -= parts.ivs;
  }
  if (takesMain) parts.sheets = KeySheets::of(std::move(main), takesPublic, std::move(publicHalf));
  else parts.sheets = KeySheets::of(std::move(publicHalf), false, {});
  return adoptObject(ask.c, ask.id, ask.row.id, std::move(parts));
}

Code Dispatcher::setSessionObject(Ask& ask) {
  const HotRequest& r = request_;
  const uint64_t number = sessionKeyNumber(r.key);
  PreparedKey* key = ask.c.session->key(number);
  if (key == nullptr || key->scheme != KeyScheme::PKCS11) {
    ask.fault.field = "key";
    return Code::OBJECT_NOT_FOUND;
  }
  Work work{r, key};
  const auto changed = [&](const HalfSheet& from, Bytes encoded, const char* field, Sheet* out) {
    *out = from.sheet;
    if (encoded.empty()) return Code::OK;
    ask.fault.field = field;
    if (!from.there) return Code::OBJECT_NOT_FOUND;
    Sheet wanted;
    Code code = readTemplate(work, encoded, field, &wanted);
    RuleFault fault;
    if (code == Code::OK && (code = planSet(from.sheet, from.objectClass == ObjectClass::publicKey, wanted, false, out, &fault)) != Code::OK) refuseByRule(work, code, field, fault);
    if (code != Code::OK) ask.fault = std::move(work.fault);
    return code;
  };
  const KeySheets& sheets = *key->sheets;
  Sheet main, publicHalf;
  if (const Code code = changed(sheets.main, r.attributes, "attributes", &main); code != Code::OK) return code;
  if (const Code code = changed(sheets.publicHalf, r.publicAttributes, "public_attributes", &publicHalf); code != Code::OK) return code;
  ask.c.session->setSheets(key, KeySheets::of(std::move(main), sheets.publicHalf.there, std::move(publicHalf)));
  answerObject(ask.c, ask.id, ask.row.id, number, *key);
  return Code::OK;
}

Code Dispatcher::objectValue(Ask& ask, PreparedKey* key, const KeySheets& sheets) {
  Work work{request_, key};
  Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
  const Code code = quorate::objectValue(work, sheets, reply);
  ask.fault = std::move(work.fault);
  return code;
}

// Another number than before whenever anything was voided, the daemon began anew, or the connection speaks for somebody else.
Code Dispatcher::objectsEpoch(Ask& ask) {
  Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
  const uint64_t epoch = epochStart_ + voids_ + (static_cast<uint64_t>(ask.c.identityEpoch) << 40);
  reply.end(putNumber(reply.begin(kNumberFieldBytesMax), fields::ObjectsEpochResponse::epoch, epoch == 0 ? 1 : epoch));
  return Code::OK;
}

}  // namespace quorate
