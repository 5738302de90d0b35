// Cryptography by mechanism: which key, whether its attributes permit it, in one piece or in many.
#include "plane/dispatch.h"

namespace quorate {

namespace {

bool isGcm(const HotRequest& r) {
  const MechanismRow* row = mechanismRow(r.mechanism);
  return row != nullptr && row->kind == MechanismKind::aesGcm;
}

}  // namespace

Code Dispatcher::mechanisms(Ask& ask) {
  switch (ask.row.id) {
    case Method::ObjectsEpoch: return objectsEpoch(ask);
    case Method::SetSessionObject: return setSessionObject(ask);
    case Method::MechanismUpdate: return updateOperation(ask);
    case Method::MechanismCancel: {
      if (!ask.c.session->endOperation(request_.stream)) return Code::OPERATION_INVALID;
      Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
      reply.end(reply.begin(0));
      return Code::OK;
    }
    case Method::GenerateObject:
    case Method::CreateObject:
    case Method::MechanismDigest: {
      bool waits;
      if (const Code code = grantedToSession(ask, &waits); code != Code::OK || waits) return code;
      if (ask.row.id != Method::MechanismDigest) return newObject(ask);
      Work work{request_};
      if (const Code code = checkByMechanism(work, nullptr); code != Code::OK) {
        ask.fault = std::move(work.fault);
        return code;
      }
      if (request_.more) return beginOperation(ask, nullptr);
      return isSlow(request_, nullptr) ? submit(ask, nullptr, nullptr, {}) : computeHere(ask, work);
    }
    default: return byMechanism(ask);
  }
}

Code Dispatcher::byMechanism(Ask& ask) {
  PreparedKey* key;
  const Code code = find(ask, request_.key, 0, nullptr, "key", &key);
  if (code != Code::OK || key == nullptr) return code;
  if (!key->session) {
    ask.keyId = key->id;
    ask.version = key->version;
  }
  if (request_.version != 0 && request_.version != key->version) {
    ask.fault = {"another version is the current one by now", "version"};
    return Code::KEY_VERSION_NOT_FOUND;
  }
  const KeySheets* sheets = sheetsOf(key);
  if (sheets == nullptr) {
    ask.fault = {"a managed key does nothing by mechanism", "key"};
    return Code::USE_NOT_PERMITTED;
  }
  if (ask.row.id == Method::CopyObject) return copyObject(ask, key, *sheets);
  if (ask.row.id == Method::GetObjectValue) return objectValue(ask, key, *sheets);
  return useByMechanism(ask, key);
}

Code Dispatcher::useByMechanism(Ask& ask, PreparedKey* key) {
  const KeySheets& sheets = *key->sheets;
  Work work{request_, key};
  PreparedKey* target = nullptr;
  Code code = checkByMechanism(work, &sheets);
  if (code == Code::OK && ask.row.id == Method::WrapObject) {
    code = findWrapped(ask, work, sheets, &target);
    if (code == Code::OK && target == nullptr) return code;
  }
  if (code != Code::OK) {
    if (!work.fault.detail.empty() || *work.fault.field != '\0') ask.fault = std::move(work.fault);
    return code;
  }
  if (ask.row.id == Method::UnwrapObject || ask.row.id == Method::DeriveObject) return makeObject(ask, key, &sheets.main.sheet);
  if (isGcm(request_)) {
    if (code = readyGcm(ask, key); code != Code::OK) return code;
  }
  if (request_.generateIv) {
    bool waits;
    if (code = takeIv(ask, key, &waits); code != Code::OK || waits) return code;
  }
  if (code = takeTicket(ask, *key); code != Code::OK) return code;
  if (request_.more && ask.row.id != Method::WrapObject) return beginOperation(ask, key);
  if (isSlow(request_, key)) return submit(ask, key, target, {});
  return ask.row.id == Method::MechanismSign && signsInLanes(work) ? gather(ask, work) : computeHere(ask, work);
}

Code Dispatcher::findWrapped(Ask& ask, Work& work, const KeySheets& wrapping, PreparedKey** target) {
  ask.asTarget = true;
  const Code code = find(ask, request_.target, 0, nullptr, "target", target);
  ask.asTarget = false;
  if (code != Code::OK || *target == nullptr) return code;
  work.target = *target;
  const KeySheets* sheets = sheetsOf(*target);
  if (sheets != nullptr) return checkWrapObject(work, wrapping, *sheets);
  work.fault = {"a managed key does not leave by mechanism", "target"};
  return Code::KEY_NOT_WRAPPABLE;
}

Code Dispatcher::readyGcm(Ask& ask, PreparedKey* key) {
  if (!key->gcm.empty()) return Code::OK;
  if (key->session && arenaIsFull()) return Code::ARENA_FULL;
  const KeyPtr held = holdOf(key);
  Code code = prepareGcm(key);
  while (code == Code::ARENA_FULL && keys_.evictOne()) code = prepareGcm(key);
  if (key->session) ask.c.session->recount(key);
  return code;
}

// The last thing that is asked before the key is used: a ticket is for one use, and a request that waits for something else keeps it.
Code Dispatcher::takeTicket(Ask& ask, const PreparedKey& key) {
  if (!key.sheets->asksEachTime(mechanismUse(ask.row.id))) return Code::OK;
  const uint64_t sessionKey = key.session ? sessionKeyNumber(request_.key) : 0;
  if (ask.c.session->takeTicket(request_.ticket, key.session ? KeyId{} : key.id, sessionKey, nowNs)) return Code::OK;
  ask.fault.field = "ticket";
  return Code::AUTHENTICATION_REQUIRED;
}

// key: null for a digest. The data that came with the request is its first part.
Code Dispatcher::beginOperation(Ask& ask, PreparedKey* key) {
  Session& session = *ask.c.session;
  if (arenaIsFull()) return Code::ARENA_FULL;
  Operation operation;
  const Mechanism mechanism = mechanismOf(request_, {});
  operation.key = holdOf(key);
  operation.method = ask.row.id;
  operation.use = mechanismUse(ask.row.id);
  operation.mechanism = request_.mechanism;
  if (key != nullptr) {
    operation.version = key->version;
    operation.keyId = key->id;
    operation.sessionKey = key->session ? sessionKeyNumber(request_.key) : 0;
    operation.ref = std::string(request_.key);
  }
  const auto make = [&] { return MechanismOperation::begin(mechanism, operation.use, mechanismKeyOf(key, mechanism), &operation.state); };
  Code code = make();
  while (code == Code::ARENA_FULL && keys_.evictOne()) code = make();
  uint64_t number = 0;
  if (code == Code::OK) code = session.addOperation(std::move(operation), &number);
  return code == Code::OK ? stepOperation(ask, number, true) : code;
}

Code Dispatcher::updateOperation(Ask& ask) {
  const uint64_t number = request_.stream;
  Operation* operation = ask.c.session->operation(number);
  if (operation == nullptr) return Code::OPERATION_INVALID;
  if (operation->state == nullptr) {
    ask.fault.detail = "its part before this one is still being worked on";
    return Code::OPERATION_INVALID;
  }
  if (operation->isOfStoredKey()) {
    ask.keyId = operation->keyId;
    ask.version = operation->version;
  }
  Code code = request_.data.size() > limits::message_bytes_max ? Code::INPUT_TOO_LONG : Code::OK;
  if (code == Code::OK && operation->mustAuthorize) {
    bool waits = false;
    code = authorizeAgain(ask, *operation, &waits);
    if (waits) return code;
  }
  if (code != Code::OK) {
    ask.c.session->endOperation(number);
    return code;
  }
  return stepOperation(ask, number, false);
}

// Its key or its grant was voided since. The key's attributes may be stricter by now, too.
Code Dispatcher::authorizeAgain(Ask& ask, Operation& operation, bool* waits) {
  const auto method = static_cast<uint16_t>(operation.method);
  const KeyId* keyId;
  int64_t expiresNs;
  if (const Code code = granted(ask, {ask.c.peer()->number, method, operation.ref}, &keyId, &expiresNs); code != Code::OK) return code;
  PreparedKey* key = nullptr;
  if (keyId != nullptr) {
    if (*keyId != operation.keyId) return Code::OPERATION_INVALID;  // the name is another key's by now
    key = keys_.find(*keyId, operation.version, nowNs);
  }
  if (key == nullptr) {
    *waits = true;
    return wait(ask, UpcallKind::grant, operation.ref, method, operation.version, nullptr);
  }
  if (key->failed != Code::OK) return key->failed;
  const KeySheets* sheets = sheetsOf(key);
  const Code code = sheets == nullptr ? Code::USE_NOT_PERMITTED : sheets->permits(operation.use, operation.mechanism);
  if (code == Code::OK) operation.mustAuthorize = false;
  return code;
}

// Any error ends the operation, as the last part does.
Code Dispatcher::stepOperation(Ask& ask, uint64_t number, bool begins) {
  Operation& operation = *ask.c.session->operation(number);
  PreparedKey* key = operation.key.get();
  Work work{request_, key};
  work.step = {operation.state.get(), begins ? number : 0, operation.use, operation.version, !begins && request_.last};
  const bool ends = work.step.last;
  Code code;
  if (isSlowStep(request_, key, ends)) {
    code = submit(ask, key, nullptr, {}, {.operation = &operation, .operationNumber = number, .step = work.step});
    if (code == Code::OK ? !ends : code == Code::BUSY && !begins) return code;  // busy: it may come again
  } else {
    const KeyPtr held = operation.key;
    Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
    code = compute(work, reply);
    if (code == Code::OK && !ends) return code;
    ask.fault = std::move(work.fault);
  }
  ask.c.session->endOperation(number);
  return code;
}

// A worker is done with a part. The operation may be gone by now: cancelled, or its key or identity went.
void Dispatcher::takeBackOperation(Connection& c, Job& job, Code code) {
  Operation* operation = c.session->operation(job.operationNumber);
  if (operation == nullptr) return;
  if (code == Code::OK) operation->state = std::move(job.operation);
  else c.session->endOperation(job.operationNumber);
}

}  // namespace quorate
