// P-256 signatures, of all connections, made together (core/p256_lanes.h): what is asked for in one round of the loop waits for company
// until the round ends, or until there is a full set. Answers come in the order of the requests, but other answers may come before.
#include "plane/dispatch.h"

namespace quorate {

// The last that is done with the request itself: its digest is kept, and its key. It was checked and granted, and its ticket taken.
Code Dispatcher::gather(Ask& ask, Work& work) {
  Gathered one{.connection = ask.c.id, .id = ask.id, .identityEpoch = ask.c.identityEpoch, .method = ask.row.id, .key = holdOf(work.key), .request = {}};
  if (const Code code = laneRequestOf(work, &one.request); code != Code::OK) return code;
  gathered_.push_back(std::move(one));
  ask.c.inFlight++;
  ask.waits = true;
  if (gathered_.size() == kP256LanesMax) signGathered();
  return Code::OK;
}

void Dispatcher::signGathered() {
  if (gathered_.empty()) return;
  std::vector<Gathered> all;
  all.swap(gathered_);
  // Who hung up meanwhile, or is another by now, gets no signature: none is made that is not in the audit log.
  std::erase_if(all, [this](const Gathered& one) { return connection(one.connection) == nullptr; });
  std::array<EcdsaLane, kP256LanesMax> lanes;
  size_t count = 0;
  for (const Gathered& one : all) {
    if (connection(one.connection)->identityEpoch != one.identityEpoch) continue;
    EcdsaLane& lane = lanes[count++];
    lane.stored = *one.key->stored;
    lane.spki = one.key->spki;
    lane.digest = {one.request.digest, one.request.digestBytes};
    lane.comb = &one.key->comb;
  }
  try {
    if (count > 0) ecdsaP256SignSome(std::span(lanes).first(count));
  } catch (const std::bad_alloc&) {
    for (EcdsaLane& lane : lanes) lane.code = Code::BUSY;
  }
  size_t next = 0;
  for (const Gathered& one : all) {
    const bool same = connection(one.connection)->identityEpoch == one.identityEpoch;
    const EcdsaLane* lane = same ? &lanes[next++] : nullptr;
    try {
      answerGathered(one, lane == nullptr ? Code::SESSION_EXPIRED : lane->code, lane == nullptr ? Bytes{} : Bytes(lane->signature));
    } catch (const std::bad_alloc&) {  // no memory for an answer: its client's time-out tells it
    }
  }
}

void Dispatcher::answerGathered(const Gathered& one, Code code, Bytes signature) {
  Connection& c = *connection(one.connection);
  c.inFlight--;
  markDirty(c);
  const size_t before = c.out.size();
  if (code == Code::OK) {
    Reply reply(c.out, one.id, static_cast<uint16_t>(one.method));
    answerLane(one.method, *one.key, one.request.format, signature, reply);
  } else {
    Reply(c.out, one.id, static_cast<uint16_t>(one.method)).fail(code);
  }
  if (!audit_) return;
  const PreparedKey* key = one.key->session ? nullptr : one.key.get();
  logHot(c, {one.id, one.method, code, key ? key->id : KeyId{}, key ? key->version : 0}, before);
}

}  // namespace quorate
