// FetchSecret: values that are handed out, and are never keys; keys, which are never values.
#include "core/mechanism.h"
#include "plane/keys.h"
#include "plane/sensitive.h"
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace F = fields::FetchSecretRequest;
namespace R = fields::FetchSecretResponse;
constexpr size_t kLongest = limits::secret_value_bytes_max;

std::string fetchBody(const std::string& path, uint32_t version = 0) {
  Message body;
  body.text(F::key, path);
  if (version != 0) body.number(F::version, version);
  return body;
}
Buffer bufferFrom(const std::string& s) { return {s.begin(), s.end()}; }
std::string patternOf(size_t n, uint8_t seed = 1) {
  std::string out(n, '\0');
  for (size_t i = 0; i < n; i++) out[i] = static_cast<char>(seed + i * 7 + i / 251);
  return out;
}

// What the daemon knows of secrets, beside the plane's register of keys.
class Secrets {
 public:
  explicit Secrets(TestPlane& plane) : plane_(plane) {
    plane.onUpcall = [this](Upcall& upcall) {
      log.add(upcall);
      if (upcall.kind != UpcallKind::grant || upcall.method != static_cast<uint16_t>(Method::FetchSecret)) return false;
      answer(upcall);
      return true;
    };
  }
  KeyId put(const std::string& path, const std::string& value) {
    const std::lock_guard lock(mutex_);
    TestKey& secret = secrets_[path];
    if (secret.versions.empty()) randomBytes(secret.id);
    secret.versions.emplace_back(bufferFrom(value), Buffer{});
    secret.current = static_cast<uint32_t>(secret.versions.size());
    return secret.id;
  }
  TestKey at(const std::string& path) {
    const std::lock_guard lock(mutex_);
    return secrets_.at(path);
  }
  UpcallLog log;
  std::atomic<uint32_t> lifeMs{60'000}, slice{0};
  std::atomic<uint32_t> refusedVersion{0};  // SECRET_STATE_DENIED, remembered

 private:
  void answer(const Upcall& upcall) {
    const std::lock_guard lock(mutex_);
    const auto found = secrets_.find(upcall.keyRef);
    if (found == secrets_.end()) return plane_->refuse(upcall.token, Code::SECRET_NOT_FOUND, upcall.keyRef, 1000);
    const TestKey& secret = found->second;
    const uint32_t version = upcall.version == 0 ? secret.current : upcall.version;
    if (version > secret.versions.size()) return plane_->refuse(upcall.token, Code::SECRET_VERSION_NOT_FOUND, "", 1000);
    if (version == refusedVersion) return plane_->refuse(upcall.token, Code::SECRET_STATE_DENIED, "", 1000);
    plane_->install(plane_.versionOf(secret, version));
    plane_->grant(upcall.token, secret.id, lifeMs, slice);
  }
  TestPlane& plane_;
  std::mutex mutex_;
  std::map<std::string, TestKey> secrets_;
};

}  // namespace

TEST_CASE("plane secrets: values of every length, answered without an upcall once granted") {
  TestPlane plane;
  Secrets secrets(plane);
  Client c(plane.path()), second(plane.path());
  for (const size_t n : {size_t(0), size_t(1), size_t(64), size_t(4096), size_t(8193), kLongest}) {
    CAPTURE(n);
    const std::string path = "app/" + std::to_string(n), value = patternOf(n);
    secrets.put(path, value);
    const size_t before = secrets.log.size();
    for (int i = 0; i < 3; i++) {
      const Answer answer = c.call(Method::FetchSecret, fetchBody(path));
      CHECK(answer.code() == Code::OK);
      CHECK(answer.text(R::value) == value);
      CHECK(answer.number(R::version) == 1);
    }
    CHECK(second.call(Method::FetchSecret, fetchBody(path)).text(R::value) == value);
    CHECK(secrets.log.size() == before + 1);
    CHECK(secrets.log.last().keyRef == path);
  }
}

TEST_CASE("plane secrets: each version is granted for itself") {
  TestPlane plane;
  Secrets secrets(plane);
  Client c(plane.path());
  const KeyId id = secrets.put("a", "one");
  secrets.put("a", "two");
  const auto fetched = [&](uint32_t version) { return c.call(Method::FetchSecret, fetchBody("a", version)); };
  CHECK(fetched(0).text(R::value) == "two");
  CHECK(fetched(1).text(R::value) == "one");
  CHECK(fetched(1).number(R::version) == 1);
  CHECK(fetched(2).text(R::value) == "two");
  CHECK((fetched(0).number(R::version) == 2 && fetched(2).number(R::version) == 2));
  CHECK(secrets.log.size() == 3);
  // A refusal of one version is no other's, and the other way round.
  CHECK(fetched(9).code() == Code::SECRET_VERSION_NOT_FOUND);
  CHECK(fetched(9).code() == Code::SECRET_VERSION_NOT_FOUND);
  CHECK(secrets.log.size() == 4);
  CHECK(fetched(0).text(R::value) == "two");
  CHECK(secrets.log.size() == 4);
  // A version's time may be over while another's goes on: what is prepared is not enough.
  plane->voidKey(id);
  secrets.lifeMs = 0;
  CHECK(fetched(1).text(R::value) == "one");
  secrets.lifeMs = 60'000;
  CHECK(fetched(0).text(R::value) == "two");
  secrets.refusedVersion = 1;
  CHECK(fetched(1).code() == Code::SECRET_STATE_DENIED);
  CHECK(fetched(0).text(R::value) == "two");
  CHECK(secrets.log.size() == 7);
  // A new version is the current one when the void is over.
  secrets.put("a", "three");
  CHECK(fetched(0).text(R::value) == "two");
  plane->voidKey(id);
  CHECK(fetched(0).text(R::value) == "three");
}

TEST_CASE("plane secrets: void at once, and out of the arena: by id, slice, all grants, seal") {
  TestPlane plane;
  Secrets secrets(plane);
  Client c(plane.path());
  const KeyId id = secrets.put("a", patternOf(kLongest));
  const auto code = [&] { return c.call(Method::FetchSecret, fetchBody("a")).code(); };
  const size_t before = Arena::stats().bytesUsed;
  REQUIRE(code() == Code::OK);
  CHECK(Arena::stats().bytesUsed == before + kLongest);
  secrets.refusedVersion = 1;
  CHECK(code() == Code::OK);
  plane->voidKey(id);
  CHECK(code() == Code::SECRET_STATE_DENIED);
  CHECK(Arena::stats().bytesUsed == before);
  const auto granted = [&](uint32_t slice) {
    secrets.slice = slice;
    secrets.refusedVersion = 0;
    plane->voidKey(id);
    REQUIRE(code() == Code::OK);
    secrets.refusedVersion = 1;
    REQUIRE(code() == Code::OK);
  };
  granted(7);
  plane->voidSlice(8);
  CHECK(code() == Code::OK);
  plane->voidSlice(7);
  CHECK(code() == Code::SECRET_STATE_DENIED);
  granted(0);
  plane->voidGrants();
  CHECK(code() == Code::SECRET_STATE_DENIED);
  granted(0);
  plane->setMode(PlaneMode::sealed);
  CHECK(code() == Code::SEALED);
  CHECK(Arena::stats().bytesUsed == before);
}

TEST_CASE("plane secrets: a key and a secret of the same name have nothing to do with each other") {
  TestPlane plane;
  Secrets secrets(plane);
  Client c(plane.path());
  secrets.put("same", std::string(32, 'v'));
  secrets.put("alone", std::string(32, 'v'));
  plane.addKey("same", KeyType::AES_256, KeyScheme::MANAGED, true);
  plane.addKey("key", KeyType::AES_256, KeyScheme::MANAGED);
  CHECK(c.call(Method::FetchSecret, fetchBody("same")).text(R::value) == std::string(32, 'v'));
  const Answer sealed = c.call(Method::Encrypt, Message().text(1, "same").text(2, "p"));
  REQUIRE(sealed.code() == Code::OK);
  CHECK(c.call(Method::Decrypt, Message().text(1, "same").text(2, sealed.text(1))).text(1) == "p");
  CHECK(c.call(Method::FetchSecret, fetchBody("same")).text(R::value) == std::string(32, 'v'));
  CHECK(c.call(Method::FetchSecret, fetchBody("key")).code() == Code::SECRET_NOT_FOUND);
  CHECK(c.call(Method::FetchSecret, fetchBody("alone")).code() == Code::OK);
  CHECK(c.call(Method::Encrypt, Message().text(1, "alone").text(2, "p")).code() == Code::KEY_NOT_FOUND);
  CHECK(c.call(Method::Encrypt, Message().text(1, TestPlane::hexOf(secrets.at("alone").id)).text(2, "p")).code() == Code::KEY_NOT_FOUND);
}

// Should the daemon ever confuse them.
TEST_CASE("plane secrets: a value that is granted as a key is none, and a key that is granted as a secret is not told") {
  TestPlane plane;
  Client c(plane.path());
  TestKey value;
  randomBytes(value.id);
  value.versions.emplace_back(bufferFrom(std::string(32, 'v')), Buffer{});
  plane.putKey("value", value);
  plane.addKey("wrapper", KeyType::AES_256, KeyScheme::AES_KW);
  for (const KeyScheme scheme : {KeyScheme::MANAGED, KeyScheme::AES_GCM, KeyScheme::AES_CBC}) plane.addKey("key" + std::to_string(static_cast<int>(scheme)), KeyType::AES_256, scheme, true);
  plane.addKey("mac", KeyType::HMAC, KeyScheme::HMAC_SHA256, true);
  plane.addKey("pair", KeyType::EC_P256, KeyScheme::ECDSA);
  CHECK(c.call(Method::FetchSecret, fetchBody("value")).code() == Code::OK);  // it is installed as a value is
  const std::string ref = Message().text(1, "value");
  size_t asked = 0;
  for (const MethodRow& row : kMethods) {
    if (!row.hot || row.id == Method::Hello || row.id == Method::FetchSecret) continue;
    CAPTURE(row.name);
    const Answer answer = c.call(row.id, ref + std::string(Message().text(2, std::string(64, 'd')).number(3, 0x1081)));
    CHECK(answer.body.find(std::string(32, 'v')) == std::string::npos);
    if (answer.code() == Code::KEY_USAGE_DENIED) asked++;
  }
  CHECK(asked >= 10);
  for (const Method method : {Method::Encrypt, Method::Mac, Method::Sign, Method::Verify, Method::GenerateDataKey, Method::EncryptStream, Method::CopyObject, Method::GetObjectValue}) {
    CAPTURE(static_cast<int>(method));
    CHECK(c.call(method, Message().text(1, "value")).code() == Code::KEY_USAGE_DENIED);
  }
  CHECK(c.call(Method::Wrap, Message().text(1, "wrapper").text(2, "value")).code() == Code::KEY_USAGE_DENIED);
  for (const char* name : {"key1", "key2", "key3", "mac", "pair", "wrapper"}) {
    CAPTURE(name);
    const Answer answer = c.call(Method::FetchSecret, fetchBody(name));
    CHECK(answer.code() == Code::KEY_USAGE_DENIED);
    CHECK(answer.text(R::value) != str(plane.keyOf(name).versions[0].first));
  }
}

TEST_CASE("plane secrets: what is no value is not prepared as one") {
  InstalledVersion from;
  from.version = 1;
  KeyPtr out;
  CHECK(prepareKey(InstalledVersion(from), &out) == Code::OK);  // no bytes
  CHECK(out->isValue());
  const auto refused = [&](auto change) {
    InstalledVersion bad(from);
    change(bad);
    return prepareKey(std::move(bad), &out) == Code::KEY_INVALID;
  };
  CHECK(refused([](InstalledVersion& v) { v.type = KeyType::AES_256; }));
  CHECK(refused([](InstalledVersion& v) { v.exportable = true; }));
  CHECK(refused([](InstalledVersion& v) { v.ivs = 1; }));
  CHECK(refused([](InstalledVersion& v) { v.spki = {1}; }));
  CHECK(refused([](InstalledVersion& v) { v.attributes = {1}; }));
  CHECK(refused([](InstalledVersion& v) { v.scheme = KeyScheme::MANAGED; }));
}

TEST_CASE("plane secrets: hostile requests") {
  TestPlane plane;
  Secrets secrets(plane);
  Client c(plane.path());
  secrets.put("a", "v");
  CHECK(c.call(Method::FetchSecret, "").code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::FetchSecret, Message().number(F::version, 1)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::FetchSecret, Message().number(F::key, 1)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::FetchSecret, Message().text(F::key, "a").text(F::version, "1")).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::FetchSecret, Message().text(F::key, "\xff")).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::FetchSecret, "\x0a\x7f").code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::FetchSecret, fetchBody(std::string(limits::name_bytes_max + 1, 'a'))).code() == Code::NAME_INVALID);
  CHECK(secrets.log.size() == 0);
  CHECK(c.call(Method::FetchSecret, fetchBody("a", UINT32_MAX)).code() == Code::SECRET_VERSION_NOT_FOUND);
  CHECK(c.call(Method::FetchSecret, fetchBody("session:1")).code() == Code::SECRET_NOT_FOUND);  // asked of the daemon, not of the session
  CHECK(c.call(Method::FetchSecret, fetchBody("a")).text(R::value) == "v");
}

TEST_CASE("plane secrets: PutSecret's value alone may be so long") {
  const size_t handles = HandleTable::size();
  const auto swapped = [&](Method method, uint32_t field, size_t n) {
    Buffer out;
    std::vector<uint64_t> put;
    Fault fault;
    const Code code = swapIn(*methodRow(static_cast<uint16_t>(method)), bytesOf(std::string(Message().text(field, std::string(n, 'x')))), &out, &put, &fault);
    if (code == Code::OK) CHECK(HandleTable::get(put.at(0))->size() == n);
    for (const uint64_t handle : put) HandleTable::drop(handle);
    return code;
  };
  CHECK(swapped(Method::PutSecret, fields::PutSecretRequest::value, kLongest) == Code::OK);
  CHECK(swapped(Method::PutSecret, fields::PutSecretRequest::value, kLongest + 1) == Code::INPUT_TOO_LONG);
  CHECK(swapped(Method::ImportKey, fields::ImportKeyRequest::material, limits::secret_bytes_max) == Code::OK);
  CHECK(swapped(Method::ImportKey, fields::ImportKeyRequest::material, limits::secret_bytes_max + 1) == Code::INPUT_TOO_LONG);
  CHECK(HandleTable::size() == handles);
}

TEST_CASE("plane secrets: long values under way of one uid leave the arena to others") {
  TestPlane plane;
  UpcallLog log;
  plane.hold(&log);
  Client c(plane.path()), second(plane.path());
  const size_t handles = HandleTable::size();
  const std::string body = Message().text(fields::PutSecretRequest::path, "a").text(fields::PutSecretRequest::value, patternOf(kLongest));
  constexpr size_t kMost = limits::arena_bytes_default / 4 / kLongest;
  for (size_t i = 0; i < kMost; i++) c.ask(Method::PutSecret, body);
  REQUIRE(TestPlane::eventually([&] { return log.size() == kMost; }));
  CHECK(second.call(Method::PutSecret, body).code() == Code::BUSY);
  CHECK(HandleTable::size() == handles + kMost);
  second.ask(Method::PutSecret, Message().text(fields::PutSecretRequest::path, "a").text(fields::PutSecretRequest::value, "short"));
  REQUIRE(TestPlane::eventually([&] { return log.size() == kMost + 1; }));
  const auto done = [&](size_t i) {
    const Upcall upcall = log.at(i);
    uint64_t handle = 0;
    memcpy(&handle, Answer{FrameHeader{}, str(upcall.body), true}.text(fields::PutSecretRequest::value).data(), sizeof(handle));
    HandleTable::drop(handle);
    plane->reply(upcall.token, Code::OK, {});
  };
  for (size_t i = 0; i <= kMost; i++) done(i);
  CHECK(second.next().code() == Code::OK);
  second.ask(Method::PutSecret, body);
  REQUIRE(TestPlane::eventually([&] { return log.size() == kMost + 2; }));
  done(kMost + 1);
  CHECK(HandleTable::size() == handles);
}

TEST_CASE("plane secrets: more values than the arena holds push out those that were not used for long") {
  TestPlane plane;
  Secrets secrets(plane);
  Client c(plane.path());
  constexpr int kMany = 100;
  for (int i = 0; i < kMany; i++) secrets.put("s" + std::to_string(i), patternOf(kLongest, static_cast<uint8_t>(i)));
  for (int round = 0; round < 2; round++)
    for (int i = 0; i < kMany; i++) CHECK(c.call(Method::FetchSecret, fetchBody("s" + std::to_string(i))).text(R::value) == patternOf(kLongest, static_cast<uint8_t>(i)));
  const ArenaStats stats = Arena::stats();
  MESSAGE("values of 64 KiB that the default arena keeps: ", plane->stats().keys);
  CHECK(plane->stats().keys >= 40);
  CHECK(plane->stats().keys <= 49);
  CHECK(stats.slabsFree >= stats.slabs / 8);
  // Small ones beside them, each class of which takes a slab of its own.
  plane.addKey("k", KeyType::AES_256, KeyScheme::MANAGED);
  for (int i = 0; i < 20; i++) secrets.put("small" + std::to_string(i), patternOf(size_t(64) << (i % 10)));
  for (int i = 0; i < 20; i++) CHECK(c.call(Method::FetchSecret, fetchBody("small" + std::to_string(i))).code() == Code::OK);
  CHECK(c.call(Method::Encrypt, Message().text(1, "k").text(2, "p")).code() == Code::OK);
}

TEST_CASE("plane secrets: whole slabs stay free, however few bytes of the others are used") {
  TestPlane plane;
  Secrets secrets(plane);
  Client c(plane.path());
  std::vector<Secret> pins(14);  // each of a class of its own
  constexpr size_t kSizes[] = {64, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192};
  for (size_t i = 0; i < pins.size(); i++) REQUIRE(Secret::make(kSizes[i], &pins[i]) == Code::OK);
  for (int i = 0; i < 60; i++) {
    secrets.put("s" + std::to_string(i), patternOf(kLongest));
    REQUIRE(c.call(Method::FetchSecret, fetchBody("s" + std::to_string(i))).code() == Code::OK);
  }
  const ArenaStats stats = Arena::stats();
  CHECK(stats.bytesUsed < stats.bytesMax / 4 * 3);
  CHECK(stats.slabsFree >= stats.slabs / 8);
}

TEST_CASE("plane secrets: no room to open a value in: what is prepared makes some, and it is asked for again") {
  TestPlane plane;
  Secrets secrets(plane);
  Client c(plane.path());
  secrets.put("first", "1");
  REQUIRE(c.call(Method::FetchSecret, fetchBody("first")).code() == Code::OK);
  std::atomic<int> refusals{0};
  const auto known = plane.onUpcall;
  plane.onUpcall = [&](Upcall& upcall) {
    if (upcall.kind != UpcallKind::grant || refusals++ > 0) return known(upcall);
    plane->refuse(upcall.token, Code::ARENA_FULL, "", 0);
    return true;
  };
  secrets.put("second", "2");
  CHECK(c.call(Method::FetchSecret, fetchBody("second")).text(R::value) == "2");
  CHECK(refusals == 2);
  // Nothing left to drop: told as it is.
  plane->voidGrants();
  plane->voidKey(secrets.at("first").id);
  plane->voidKey(secrets.at("second").id);
  refusals = 0;
  CHECK(c.call(Method::FetchSecret, fetchBody("second")).code() == Code::ARENA_FULL);
}
