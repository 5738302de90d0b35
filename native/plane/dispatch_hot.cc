// The hot methods: find the key, check the request, then compute here or on a worker.
#include "core/random.h"
#include "plane/dispatch.h"
#include "plane/usage.h"

namespace quorate {

namespace {

bool namesItsKey(Method method) { return method == Method::Decrypt || method == Method::Unwrap || method == Method::DecryptStream; }
bool takesVersion(Method method) { return method == Method::Verify || method == Method::VerifyMac || method == Method::Derive || method == Method::FetchSecret; }

}  // namespace

Code Dispatcher::hot(Ask& ask) {
  decodeHotRequest(ask.row.id, ask.body, &request_);
  switch (ask.row.id) {
    case Method::Ping: return ping(ask);
    case Method::StreamChunk: return chunk(ask);
    case Method::StreamClose: {
      if (!ask.c.session->endStream(request_.stream)) return Code::STREAM_INVALID;
      Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
      reply.end(reply.begin(0));
      return Code::OK;
    }
    case Method::DestroySessionKey: return destroySessionKey(ask);
    case Method::Random:
    case Method::CreateSessionKey:
    case Method::ImportSessionKey: {
      bool waits;
      if (const Code code = grantedToSession(ask, &waits); code != Code::OK || waits) return code;
      Work work{request_};
      if (const Code code = checkRequest(work); code != Code::OK) {
        ask.fault = std::move(work.fault);
        return code;
      }
      if (ask.row.id != Method::Random) return makeSessionKey(ask, work);
      return isSlow(request_, nullptr) ? submit(ask, nullptr, nullptr, {}) : computeHere(ask, work);
    }
    default: return isByMechanism(ask.row.id) ? mechanisms(ask) : keyed(ask);
  }
}

Code Dispatcher::grantedToSession(Ask& ask, bool* waits) {
  const auto method = static_cast<uint16_t>(ask.row.id);
  const KeyId* none;
  int64_t expiresNs;
  *waits = false;
  if (const Code code = granted(ask, {ask.c.peer()->number, method, ""}, &none, &expiresNs); code != Code::OK) return code;
  if (none != nullptr) return Code::OK;
  *waits = true;
  return wait(ask, UpcallKind::grant, "", method, 0, nullptr);
}

// Sessions may fill half of the arena: their keys are not evicted, and stored keys need room too.
bool Dispatcher::arenaIsFull() const { return totals_.arenaBytes >= Arena::stats().bytesMax / 2; }

Code Dispatcher::keyed(Ask& ask) {
  const Method method = ask.row.id;
  if (namesItsKey(method) || method == Method::Rewrap) return keyedByCiphertext(ask);
  PreparedKey* key;
  const Code code = find(ask, request_.key, takesVersion(method) ? request_.version : 0, nullptr, "key", &key);
  return code != Code::OK || key == nullptr ? code : useKey(ask, key);
}

// A managed ciphertext names its key and version; a raw one, or a garbled one, leaves that to the request.
Code Dispatcher::keyedByCiphertext(Ask& ask) {
  const HotRequest& r = request_;
  const bool batch = ask.row.id == Method::Rewrap;
  const Bytes ciphertext = !batch ? (ask.row.id == Method::DecryptStream ? r.header : r.data) : r.ciphertexts.empty() ? Bytes{} : r.ciphertexts[0];
  std::string_view ref = r.key;
  uint32_t version = r.version;
  ManagedHeader header;
  const Code parsed = parseManagedHeader(ciphertext, &header);
  const KeyId* named = parsed == Code::OK ? &header.id : nullptr;
  if (named == nullptr && ref.empty()) {
    ask.fault = {"it names no key: give the key", "key"};
    return parsed;
  }
  if (named != nullptr && !batch) version = header.version;  // a batch needs the current version first
  IdText idText;
  if (ref.empty()) {
    idText = IdText(header.id);
    ref = {idText.text, sizeof(idText.text)};
  }
  PreparedKey* key;
  const Code code = find(ask, ref, version, named, "key", &key);
  return code != Code::OK || key == nullptr ? code : useKey(ask, key);
}

Code Dispatcher::useKey(Ask& ask, PreparedKey* key) {
  const Method method = ask.row.id;
  if (!key->session) {
    ask.keyId = key->id;
    ask.version = key->version;
  }
  if (!schemeAllows(key->scheme, method) || (key->publicOnly && needsPrivate(method))) return Code::KEY_USAGE_DENIED;
  Work work{request_, key};
  std::vector<const PreparedKey*> versions;
  if (method == Method::Wrap) {
    PreparedKey* target;
    const Code code = findTarget(ask, &target);
    if (code != Code::OK || target == nullptr) return code;
    work.target = target;
  } else if (method == Method::Rewrap) {
    bool waits = false;
    const Code code = findVersions(ask, key, &versions, &waits);
    if (code != Code::OK || waits) return code;
    work.versions = versions;
  }
  if (const Code code = checkRequest(work); code != Code::OK) {
    ask.fault = std::move(work.fault);
    return code;
  }
  if (method == Method::Encrypt && key->scheme == KeyScheme::AES_GCM) {
    bool waits;
    const Code code = takeIv(ask, key, &waits);
    if (code != Code::OK || waits) return code;
  }
  if (method == Method::EncryptStream || method == Method::DecryptStream) return begin(ask, key);
  if (method == Method::Unwrap) return makeSessionKey(ask, work);
  if (isSlow(request_, key)) return submit(ask, key, const_cast<PreparedKey*>(work.target), versions);
  return method == Method::Sign && signsInLanes(work) ? gather(ask, work) : computeHere(ask, work);
}

Code Dispatcher::findTarget(Ask& ask, PreparedKey** out) {
  ask.asTarget = true;
  const Code code = find(ask, request_.target, 0, nullptr, "target", out);
  ask.asTarget = false;
  if (code != Code::OK || *out == nullptr) return code;
  ask.fault.field = "target";
  if ((*out)->publicOnly) return Code::KEY_USAGE_DENIED;
  if (!(*out)->exportable) return Code::KEY_NOT_EXPORTABLE;  // keys of scheme PKCS11 never are: WrapObject
  ask.fault.field = "";
  return Code::OK;
}

Code Dispatcher::findVersions(Ask& ask, PreparedKey* key, std::vector<const PreparedKey*>* out, bool* waits) {
  const std::vector<Bytes>& batch = request_.ciphertexts;
  ask.fault.field = "ciphertexts";
  if (batch.empty() || batch.size() > limits::rewrap_batch_max) {
    ask.fault.detail = "from 1 to " + std::to_string(limits::rewrap_batch_max) + " ciphertexts at once";
    return Code::BAD_REQUEST;
  }
  for (size_t i = 0; i < batch.size(); i++) {
    ManagedHeader header;
    Code code = parseManagedHeader(batch[i], &header);
    if (code == Code::OK && (header.format != ManagedFormat::message || batch[i].size() < kManagedOverheadBytes)) code = Code::CIPHERTEXT_INVALID;
    if (code == Code::OK && header.id != key->id) code = Code::CIPHERTEXT_WRONG_KEY;
    if (code != Code::OK) {
      ask.fault.detail = "ciphertexts[" + std::to_string(i) + "]: " + codeMessage(code);
      return code;
    }
    if (header.version == key->version) {
      out->push_back(key);
      continue;
    }
    PreparedKey* version = key->session ? nullptr : keys_.find(key->id, header.version, nowNs);
    if (version == nullptr && key->session) return Code::KEY_VERSION_NOT_FOUND;
    if (version == nullptr) {
      *waits = true;
      const IdText idText(key->id);
      const std::string_view ref = request_.key.empty() ? std::string_view{idText.text, sizeof(idText.text)} : request_.key;
      return wait(ask, UpcallKind::grant, ref, static_cast<uint16_t>(ask.row.id), header.version, nullptr);
    }
    if (version->failed != Code::OK) return version->failed;
    out->push_back(version);
  }
  ask.fault.field = "";
  return Code::OK;
}

// Prepared keys that were not used for long make room when the arena is full; the keys of this request are held meanwhile.
Code Dispatcher::computeHere(Ask& ask, Work& work) {
  Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
  Code code = compute(work, reply);
  if (code == Code::ARENA_FULL) {
    std::vector<KeyPtr> held{holdOf(work.key), holdOf(work.target)};
    for (const PreparedKey* version : work.versions) held.push_back(holdOf(version));
    while (code == Code::ARENA_FULL && keys_.evictOne()) code = compute(work, reply);
  }
  if (code != Code::OK) ask.fault = std::move(work.fault);
  return code;
}

Code Dispatcher::submit(Ask& ask, PreparedKey* key, PreparedKey* target, std::span<const PreparedKey* const> versions, JobExtra&& extra) {
  UidState& owner = *ask.c.user;
  // One uid takes at most half of the queue.
  if (jobs_ >= tuning_.workerQueueMax || 2 * owner.jobs >= tuning_.workerQueueMax || !mayHold(ask.c, ask.body.size())) return Code::BUSY;
  auto job = std::make_unique<Job>();
  job->connection = ask.c.id;
  job->id = ask.id;
  job->user = ask.c.user;
  job->readyEpoch = readyEpoch_;
  job->identityEpoch = ask.c.identityEpoch;
  job->body = ask.parked ? std::move(ask.parked->body) : HeldRequest(ask.body, &owner.held);
  decodeHotRequest(ask.row.id, job->body.span(), &job->request);
  job->key = holdOf(key);
  job->target = holdOf(target);
  for (const PreparedKey* version : versions) job->versions.push_back(holdOf(version));
  job->plan = std::move(extra.plan);
  if (extra.operation != nullptr) job->operation = std::move(extra.operation->state);
  job->operationNumber = extra.operationNumber;
  job->step = extra.step;
  jobs_++;
  owner.jobs++;
  ask.c.inFlight++;
  ask.waits = true;
  submit_(std::move(job));
  return Code::OK;
}

Code Dispatcher::makeSessionKey(Ask& ask, Work& work) {
  if (ask.c.session->keyQuotaReached()) return Code::SESSION_KEY_QUOTA;
  if (arenaIsFull()) return Code::ARENA_FULL;
  const KeyPtr held = holdOf(work.key);
  if (isSlow(request_, work.key)) return submit(ask, held.get(), nullptr, {});
  NewKey made;
  Code code = makeNewKey(work, &made);
  while (code == Code::ARENA_FULL && keys_.evictOne()) code = makeNewKey(work, &made);
  if (code != Code::OK) {
    ask.fault = std::move(work.fault);
    return code;
  }
  return adopt(ask.c, ask.id, ask.row.id, std::move(made));
}

Code Dispatcher::adopt(Connection& c, uint32_t id, Method method, NewKey&& made) {
  if (made.plan) {
    ObjectParts parts{.type = made.type, .origin = made.origin, .spki = std::move(made.spki), .ivs = limits::iv_max};
    if (!made.stored.empty()) parts.stored = std::make_shared<const Secret>(std::move(made.stored));
    parts.sheets = KeySheets::of(std::move(made.plan->main), made.plan->hasPublic, std::move(made.plan->publicHalf));
    return adoptObject(c, id, method, std::move(parts));
  }
  InstalledVersion version;
  randomBytes(version.keyId);
  version.domain = "session";
  version.type = made.type;
  version.scheme = made.scheme;
  version.exportable = made.exportable;
  version.imported = made.imported;
  version.version = 1;
  version.spki = std::move(made.spki);
  version.ivs = limits::iv_max;
  if (!made.stored.empty()) version.stored = std::make_shared<const Secret>(std::move(made.stored));
  KeyPtr key;
  Code code = prepareKey(InstalledVersion(version), &key);
  while (code == Code::ARENA_FULL && keys_.evictOne()) code = prepareKey(InstalledVersion(version), &key);
  if (code != Code::OK) return code;
  key->session = true;
  uint64_t number = 0;
  if (code = c.session->addKey(std::move(key), &number); code != Code::OK) return code;
  const std::string name = std::string(kSessionPrefix) + std::to_string(number);
  Reply reply(c.out, id, static_cast<uint16_t>(method));
  uint8_t* out = putField(reply.begin(fieldBytes(name.size()) + fieldBytes(version.spki.size())), fields::SessionKeyResponse::key, std::string_view(name));
  reply.end(putField(out, fields::SessionKeyResponse::public_key, version.spki));
  return Code::OK;
}

Code Dispatcher::destroySessionKey(Ask& ask) {
  ask.fault.field = "key";
  const uint64_t number = sessionKeyNumber(request_.key);
  const PreparedKey* key = ask.c.session->key(number);
  if (key == nullptr) return Code::KEY_NOT_FOUND;
  if (key->scheme == KeyScheme::PKCS11 && !key->sheets->main.sheet.flag(attribute::Destroyable)) return Code::USE_NOT_PERMITTED;
  ask.c.session->destroyKey(number);
  keys_.touch();
  Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
  reply.end(reply.begin(0));
  return Code::OK;
}

Code Dispatcher::begin(Ask& ask, PreparedKey* key) {
  Work work{request_, key};
  Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
  const uint64_t sessionKey = key->session ? sessionKeyNumber(request_.key) : 0;
  Code code = beginStream(work, *ask.c.session, sessionKey, reply);
  if (code == Code::ARENA_FULL) {
    const KeyPtr held = holdOf(key);
    while (code == Code::ARENA_FULL && keys_.evictOne()) code = beginStream(work, *ask.c.session, sessionKey, reply);
  }
  return code;
}

// A stream needs no grant of its own, until its key or its grant was voided: then one chunk asks for it again, as the method
// that began the stream. Chunks that come meanwhile wait behind it, in order.
Code Dispatcher::chunk(Ask& ask) {
  Stream* stream = ask.c.session->stream(request_.stream);
  if (stream == nullptr) return Code::STREAM_INVALID;
  if (stream->sessionKey == 0) {
    ask.keyId = stream->keyId;
    ask.version = stream->version;
  }
  if (stream->mustAuthorize) {
    const auto method = static_cast<uint16_t>(stream->sealer ? Method::EncryptStream : Method::DecryptStream);
    const std::string ref = !stream->ref.empty() ? stream->ref : std::string(IdText(stream->keyId).text, 32);
    const KeyId* keyId;
    int64_t expiresNs;
    Code code = granted(ask, {ask.c.peer()->number, method, ref}, &keyId, &expiresNs);
    if (code == Code::OK && keyId == nullptr) return wait(ask, UpcallKind::grant, ref, method, stream->version, nullptr);
    if (code == Code::OK && *keyId != stream->keyId) code = Code::STREAM_INVALID;  // the name is another key's by now
    if (code != Code::OK) {
      ask.c.session->endStream(request_.stream);
      return code;
    }
    stream->mustAuthorize = false;
  }
  Reply reply(ask.c.out, ask.id, static_cast<uint16_t>(ask.row.id));
  return streamChunk(request_, *ask.c.session, reply);
}

}  // namespace quorate
