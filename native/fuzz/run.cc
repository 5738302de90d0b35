#include "fuzz/run.h"

#include <sanitizer/asan_interface.h>

#include <cstdio>
#include <cstdlib>
#include <protozero/pbf_reader.hpp>
#include <utility>

namespace quorate::fuzz {

void giveUp(const std::string& why) {
  std::fprintf(stderr, "frames_fuzz: %s\n", why.c_str());
  std::exit(2);
}

namespace {

// As if it had been generated: "k" wraps, the others do what their type does.
void giveAttributes(const Named& key, InstalledVersion* out) {
  Sheet wanted, wantedPublic;
  const bool isAes = symmetricBytes(key.type) != 0;
  if (isAes) wanted.setNumber(attribute::ValueLen, key.bytes);
  else wantedPublic.set(attribute::EcParams, bytesOf(kCurveP256));
  if (key.name[0] == 'k') wanted.setFlag(attribute::Wrap, true), wanted.setFlag(attribute::Unwrap, true);
  else wanted.setFlag(attribute::Extractable, true);
  PlannedObject plan;
  RuleFault fault;
  if (planGenerate(*mechanismRow(isAes ? 0x1080 : 0x1040), wanted, wantedPublic, &plan, &fault) != Code::OK) giveUp("attributes of " + std::string(key.name) + ": " + fault.fact);
  out->attributes = plan.main.encode();
  if (plan.hasPublic) out->publicAttributes = plan.publicHalf.encode();
}

InstalledVersion fixedVersion(const Named& key, uint32_t version, bool current) {
  InstalledVersion out;
  Secret stored;
  std::string detail;
  const Buffer material(key.bytes, static_cast<uint8_t>(key.name[0] + version));
  if (importKey(key.type, MaterialFormat::RAW, material, &stored, &out.spki, &detail) != Code::OK) giveUp("key " + std::string(key.name) + ": " + detail);
  out.keyId.fill(static_cast<uint8_t>(key.name[0]));
  out.domain = "default";
  out.type = key.type;
  out.scheme = key.scheme;
  out.exportable = key.name[0] == 'h';
  out.version = version;
  out.current = current;
  out.ivs = 1;
  out.stored = std::make_shared<const Secret>(std::move(stored));
  if (key.scheme == KeyScheme::PKCS11) giveAttributes(key, &out);
  return out;
}

std::vector<Named>& keys() {
  static std::vector<Named> all = [] {
    std::string detail;
    if (Arena::open(limits::arena_bytes_default, &detail) != Code::OK) giveUp(detail);
    std::vector<Named> out{{"m", KeyType::AES_256, KeyScheme::MANAGED, 32, {}}, {"g", KeyType::AES_256, KeyScheme::AES_GCM, 32, {}},   {"c", KeyType::AES_128, KeyScheme::AES_CBC, 16, {}},
                           {"t", KeyType::AES_192, KeyScheme::AES_CTR, 24, {}}, {"w", KeyType::AES_256, KeyScheme::AES_KW, 32, {}},    {"a", KeyType::AES_128, KeyScheme::AES_CMAC, 16, {}},
                           {"h", KeyType::HMAC, KeyScheme::HMAC_SHA256, 32, {}}, {"s", KeyType::EC_P256, KeyScheme::ECDSA, 32, {}},    {"e", KeyType::ED25519, KeyScheme::EDDSA, 32, {}},
                           {"d", KeyType::X25519, KeyScheme::ECDH, 32, {}},     {"p", KeyType::EC_P256, KeyScheme::ECDH, 32, {}},
                           {"k", KeyType::AES_256, KeyScheme::PKCS11, 32, {}}, {"x", KeyType::AES_256, KeyScheme::PKCS11, 32, {}},   {"y", KeyType::EC_P256, KeyScheme::PKCS11, 32, {}}};
    for (Named& key : out) {
      const uint32_t versions = key.scheme == KeyScheme::MANAGED ? 2 : 1;
      for (uint32_t version = 1; version <= versions; version++) key.versions.push_back(fixedVersion(key, version, version == versions));
    }
    return out;
  }();
  return all;
}

void dropHandles(const Upcall& upcall) {
  // Field numbers are JavaScript's to know; here every 8-byte field is tried.
  try {
    for (protozero::pbf_reader r{reinterpret_cast<const char*>(upcall.body.data()), upcall.body.size()}; r.next();) {
      if (r.wire_type() != protozero::pbf_wire_type::length_delimited) {
        r.skip();
        continue;
      }
      const auto view = r.get_view();
      uint64_t handle = 0;
      if (view.size() == 8) std::memcpy(&handle, view.data(), 8);
      HandleTable::drop(handle);
    }
  } catch (const protozero::exception&) {
    std::abort();  // what the plane hands up is well formed
  }
}

void answer(Dispatcher& d, const Upcall& upcall, uint8_t choices) {
  if (upcall.kind == UpcallKind::reserve) {
    if (choices & 1) d.addIvs(upcall.keyId, upcall.version, 2);
    if (upcall.token != 0) (choices & 1) ? d.resume(upcall.token) : d.reply(upcall.token, Code::KEY_EXHAUSTED, {});
  } else if (upcall.kind == UpcallKind::call) {
    dropHandles(upcall);
    if (choices & 2) d.reply(upcall.token, Code::OK, upcall.body);  // whatever handles it names are consumed by now
    else d.reply(upcall.token, Code::DENIED, {});
  } else if (choices & 4) {
    const Named* found = keyCalled(upcall.keyRef, upcall.keyId);
    if (found != nullptr && upcall.version <= found->versions.size())
      d.install(InstalledVersion(upcall.version == 0 ? found->versions.back() : found->versions[upcall.version - 1]));
    if (found != nullptr || upcall.keyRef.empty()) d.grant(upcall.token, found != nullptr ? found->versions[0].keyId : KeyId{}, (choices & 8) ? 60'000 : 0, 1);
    else d.refuse(upcall.token, Code::KEY_NOT_FOUND, "", (choices & 8) ? 1000 : 0, 1);
  }
}

// What JavaScript does of itself while requests wait.
void meddle(Dispatcher& d, const Connection& c, int round) {
  switch (round % 4) {
    case 0: return d.setIdentity(c.id, 1 + static_cast<uint64_t>(round) / 4, 1000);
    case 1: return d.voidSlice(1);
    case 2: return d.endIdentity(1);
    default: return d.voidGrants();
  }
}

bool quick(const Job& job) {
  const HotRequest& r = job.request;
  const auto type = job.plan ? job.plan->type : static_cast<KeyType>(r.type);
  return (r.method == Method::ImportSessionKey || r.method == Method::Unwrap || r.method == Method::CreateObject || r.method == Method::UnwrapObject) && (type == KeyType::EC_P256 || type == KeyType::ED25519 || type == KeyType::X25519);
}

std::vector<std::unique_ptr<Job>>& jobs() {
  static std::vector<std::unique_ptr<Job>> waiting;
  return waiting;
}

bool runJobs(Dispatcher& d) {
  auto ran = std::exchange(jobs(), {});
  for (auto& job : ran) {
    if (quick(*job)) job->run();
    else job->code = Code::BUSY;
    d.finished(std::move(job));
  }
  return !ran.empty();
}

UpcallQueue& upcallQueue() {
  static auto* const queue = new UpcallQueue(nullptr);
  return *queue;
}

Dispatcher& dispatcher() {
  static Dispatcher* const made = [] {
    keys();
    PlaneOptions options;
    options.release = "fuzz";
    auto* d = new Dispatcher(options, upcallQueue(), [](std::unique_ptr<Job> job) { jobs().push_back(std::move(job)); });
    d->nowNs = 1;
    return d;
  }();
  return *made;
}

}  // namespace

const Named* keyCalled(std::string_view ref, const KeyId& id) {
  for (const Named& key : keys())
    if (ref == key.name || id == key.versions[0].keyId) return &key;
  return nullptr;
}

std::string frame(Method method, const std::string& body) {
  std::string out(kFrameHeaderBytes, '\0');
  writeFrameHeader(reinterpret_cast<uint8_t*>(out.data()), 1, static_cast<uint16_t>(method), 0, body.size());
  return out + body;
}

Run::Run(uint8_t choices) : d_(dispatcher()), choices_(choices) {
  d_.setMode((choices & 16) ? PlaneMode::sealed : PlaneMode::ready);
  handles_ = HandleTable::size();
  c_ = d_.connect(-1, Peer{.uid = 1000, .gid = 1000, .groups = {1000}, .listener = 1}, 1);
  if (choices & 32) return;
  const std::string hello = frame(Method::Hello, std::string("\x08\x01", 2));
  feed(hello.data(), hello.size());
}

Run::~Run() {
  if (choices_ & 128) d_.endSession(c_->id, "fuzz");
  d_.disconnect(*c_);
  d_.publish();
  for (const Upcall& late : upcallQueue().drain(1000)) {  // drained before the connection went, and never answered
    dropHandles(late);
    d_.reply(late.token, Code::DENIED, {});
  }
  runJobs(d_);
  d_.setMode(PlaneMode::sealed);
  if (HandleTable::size() != handles_ || d_.connectionCount() != 0) std::abort();
}

bool Run::take(const void* bytes, size_t n) {
  feed(bytes, n);
  settle();
  return !c_->finishing;
}

// As from the socket, but with what lies behind the content poisoned: a buffer is far larger than most requests, so that a read past
// the end would else go unseen.
void Run::feed(const void* bytes, size_t n) {
  WireBuffer& in = c_->in;
  if (in.capacity() > 0) ASAN_UNPOISON_MEMORY_REGION(in.data() + in.size(), in.roomLeft());
  std::memcpy(in.room(n + 1), bytes, n);
  in.extend(n);
  ASAN_POISON_MEMORY_REGION(in.data() + in.size(), in.roomLeft());
}

void Run::settle() {
  for (int round = 0; round < 16; round++) {
    const bool more = d_.consume(*c_);
    d_.signGathered();
    d_.publish();
    const std::vector<Upcall> upcalls = upcallQueue().drain(64);
    if (choices_ & 128) meddle(d_, *c_, round);
    for (const Upcall& upcall : upcalls) answer(d_, upcall, choices_);
    const bool worked = runJobs(d_);
    for (Connection* dirty : d_.dirty()) dirty->dirty = false;
    d_.dirty().clear();
    takeAnswers();
    if (!more && !worked && upcalls.empty()) return;
  }
}

// Every answer is a whole frame of a length that the rule allows.
void Run::takeAnswers() {
  WireBuffer& out = c_->out;
  FrameHeader header;
  while (!out.empty()) {
    if (peekFrame(out.data(), out.size(), &header) != FrameState::ready) std::abort();
    answers.emplace_back(reinterpret_cast<const char*>(out.data()) + kFrameHeaderBytes, header.bodyBytes());
    out.consume(header.frameBytes(), c_->outSensitive);
  }
}

}  // namespace quorate::fuzz
