// The hot methods that work on keys and streams: mac, wrap, unwrap, derive, rewrap, data keys, streams, session keys; the worker; usage.
#include "plane/usage.h"
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace C = fields::CreateSessionKeyRequest;
namespace I = fields::ImportSessionKeyRequest;
namespace U = fields::UnwrapRequest;
namespace W = fields::WrapRequest;
namespace V = fields::DeriveRequest;

uint64_t num(KeyType type) { return static_cast<uint64_t>(type); }
uint64_t num(KeyScheme scheme) { return static_cast<uint64_t>(scheme); }

Answer create(Client& c, KeyType type, KeyScheme scheme, bool exportable = false) {
  return c.call(Method::CreateSessionKey, Message().number(C::type, num(type)).number(C::scheme, num(scheme)).number(C::exportable, exportable));
}
std::string created(Client& c, KeyType type, KeyScheme scheme, bool exportable = false) {
  const Answer answer = create(c, type, scheme, exportable);
  REQUIRE(answer.code() == Code::OK);
  return answer.text(fields::SessionKeyResponse::key);
}
std::string imported(Client& c, KeyType type, KeyScheme scheme, const std::string& material, bool exportable = false) {
  const Answer answer =
      c.call(Method::ImportSessionKey, Message().number(I::type, num(type)).number(I::scheme, num(scheme)).number(I::exportable, exportable).text(I::material, material));
  REQUIRE(answer.code() == Code::OK);
  return answer.text(fields::SessionKeyResponse::key);
}
std::string macOf(Client& c, const std::string& key, const std::string& message) {
  const Answer answer = c.call(Method::Mac, Message().text(1, key).text(2, message));
  REQUIRE(answer.code() == Code::OK);
  return answer.text(fields::MacResponse::mac);
}

}  // namespace

TEST_CASE("plane keys: mac and its verification, each scheme, also on the worker") {
  TestPlane plane;
  Client c(plane.path());
  const std::tuple<KeyType, KeyScheme, size_t> rows[] = {{KeyType::HMAC, KeyScheme::HMAC_SHA256, 32}, {KeyType::HMAC, KeyScheme::HMAC_SHA384, 48}, {KeyType::HMAC, KeyScheme::HMAC_SHA512, 64},
                                                         {KeyType::AES_128, KeyScheme::AES_CMAC, 16}, {KeyType::AES_256, KeyScheme::AES_CMAC, 16}};
  for (const auto& [type, scheme, bytes] : rows) {
    const std::string key = created(c, type, scheme);
    for (const std::string& message : {std::string("message"), std::string(400'000, 'm')}) {
      const std::string mac = macOf(c, key, message);
      CHECK(mac.size() == bytes);
      const auto valid = [&](const std::string& what, const std::string& given) { return c.call(Method::VerifyMac, Message().text(1, key).text(2, what).text(3, given)).number(1); };
      CHECK(valid(message, mac) == 1);
      CHECK(valid(message, mac.substr(0, 16)) == 1);
      CHECK(valid(message + "!", mac) == 0);
      CHECK(valid(message, mac + "x") == 0);
      CHECK(c.call(Method::VerifyMac, Message().text(1, key).text(2, message).text(3, mac.substr(0, 15))).code() == Code::BAD_REQUEST);
      CHECK(c.call(Method::Mac, Message().text(1, key).text(2, message).number(3, 16)).text(1) == mac.substr(0, 16));
      CHECK(c.call(Method::Mac, Message().text(1, key).text(2, message).number(3, bytes + 1)).code() == Code::BAD_REQUEST);
    }
  }
  // RFC 4231, test case 2 needs a key of 4 bytes; case 1 has 20.
  const std::string hmacKey = imported(c, KeyType::HMAC, KeyScheme::HMAC_SHA256, std::string(20, '\x0b'));
  CHECK(macOf(c, hmacKey, "Hi There").substr(0, 4) == "\xb0\x34\x4c\x61");
}

TEST_CASE("plane keys: wrap and unwrap, each scheme; only what may leave leaves") {
  TestPlane plane;
  plane.addKey("managed", KeyType::AES_256, KeyScheme::MANAGED);
  plane.addKey("kw", KeyType::AES_256, KeyScheme::AES_KW);
  plane.addKey("oaep", KeyType::RSA_2048, KeyScheme::RSA_OAEP);
  plane.addKey("stays", KeyType::HMAC, KeyScheme::HMAC_SHA256, false);
  plane.addKey("leaves", KeyType::HMAC, KeyScheme::HMAC_SHA256, true);
  Client c(plane.path());
  const std::string ec = created(c, KeyType::EC_P256, KeyScheme::ECDSA, true);
  const std::string odd = imported(c, KeyType::HMAC, KeyScheme::HMAC_SHA256, std::string(21, 'o'), true);  // RFC 5649
  for (const std::string& wrapping : {std::string("managed"), std::string("kw"), std::string("oaep")}) {
    for (const std::string& target : {std::string("leaves"), odd, ec}) {
      CAPTURE(wrapping);
      CAPTURE(target);
      const bool isEc = target == ec;
      Message wrap;
      wrap.text(W::key, wrapping).text(W::target, target);
      if (wrapping != "kw") wrap.text(W::context, "where");
      const Answer wrapped = c.call(Method::Wrap, wrap);
      if (isEc && wrapping == "oaep") {
        CHECK(wrapped.code() == Code::KEY_USAGE_DENIED);
        continue;
      }
      REQUIRE(wrapped.code() == Code::OK);
      Message unwrap;
      unwrap.text(U::key, wrapping).text(U::wrapped, wrapped.text(1)).number(U::type, num(isEc ? KeyType::EC_P256 : KeyType::HMAC));
      Message elsewhere = unwrap;
      if (wrapping != "kw") unwrap.text(U::context, "where");
      const Answer back = c.call(Method::Unwrap, unwrap);
      REQUIRE(back.code() == Code::OK);
      const std::string key = back.text(fields::SessionKeyResponse::key);
      if (isEc) {
        CHECK(!back.text(fields::SessionKeyResponse::public_key).empty());
        const std::string signature = c.call(Method::Sign, Message().text(1, key).text(2, "m")).text(1);
        CHECK(c.call(Method::Verify, Message().text(1, ec).text(2, "m").text(7, signature)).number(1) == 1);
      } else {
        CHECK(macOf(c, key, "m") == macOf(c, target, "m"));
      }
      CHECK(c.call(Method::Wrap, Message().text(W::key, wrapping).text(W::target, key)).code() == Code::KEY_NOT_EXPORTABLE);  // came wrapped
      std::string bent = wrapped.text(1);
      bent.back() ^= 1;
      CHECK(c.call(Method::Unwrap, Message().text(U::key, wrapping).text(U::wrapped, bent).number(U::type, num(KeyType::HMAC))).code() == Code::CIPHERTEXT_INVALID);
      if (wrapping != "kw") CHECK(c.call(Method::Unwrap, elsewhere).code() == Code::CIPHERTEXT_INVALID);
    }
    const Answer kept = c.call(Method::Wrap, Message().text(W::key, wrapping).text(W::target, "stays"));
    CHECK(kept.code() == Code::KEY_NOT_EXPORTABLE);
    CHECK(kept.text(fields::Failure::field) == "target");
    CHECK(c.call(Method::Unwrap, Message().text(U::key, wrapping).text(U::wrapped, std::string(9000, 'x')).number(U::type, 4)).code() == Code::INPUT_TOO_LONG);
  }
  CHECK(c.call(Method::Wrap, Message().text(W::key, "kw").text(W::target, "leaves").text(W::context, "c")).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::Wrap, Message().text(W::key, "leaves").text(W::target, "leaves")).code() == Code::KEY_USAGE_DENIED);
  CHECK(c.call(Method::Wrap, Message().text(W::key, "kw").text(W::target, "nowhere")).code() == Code::KEY_NOT_FOUND);
}

TEST_CASE("plane keys: derive agrees with the other side") {
  TestPlane plane;
  Client c(plane.path());
  for (const KeyType type : {KeyType::EC_P256, KeyType::EC_P384, KeyType::X25519}) {
    const Answer a = create(c, type, KeyScheme::ECDH), b = create(c, type, KeyScheme::ECDH);
    const auto derive = [&](const Answer& mine, const Answer& theirs, uint64_t length) {
      return c.call(Method::Derive, Message().text(V::key, mine.text(1)).text(V::peer_public, theirs.text(2)).text(V::salt, "s").text(V::info, "i").number(V::length, length));
    };
    CHECK(derive(a, b, 48).text(1).size() == 48);
    CHECK(derive(a, b, 48).text(1) == derive(b, a, 48).text(1));
    CHECK(derive(a, b, 0).text(1).size() == 32);
    CHECK(derive(a, b, 255 * 32 + 1).code() == Code::INPUT_TOO_LONG);
    const Answer bad = c.call(Method::Derive, Message().text(V::key, a.text(1)).text(V::peer_public, std::string(65, '\x04')));
    CHECK(bad.code() == Code::KEY_INVALID);
    CHECK(bad.text(fields::Failure::field) == "peer_public");
  }
}

TEST_CASE("plane keys: rewrap moves a batch to the current version, or nothing") {
  TestPlane plane;
  const KeyId id = plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED, false, 6);
  plane.addKey("b", KeyType::AES_256, KeyScheme::MANAGED);
  Client c(plane.path());
  std::vector<std::string> old;
  TestKey key = plane.keyOf("a");
  for (uint32_t version = 1; version <= 6; version++) {
    key.current = version;
    plane.putKey("a", key);
    plane->voidKey(id);
    old.push_back(c.call(Method::Encrypt, Message().text(1, "a").text(2, "text " + std::to_string(version)).text(3, "ctx")).text(1));
  }
  plane->voidKey(id);  // every version is to be fetched again: more than one request's usual four
  const auto batch = [&](const std::vector<std::string>& all, Message message) {
    for (const std::string& each : all) message.text(2, each);
    return c.call(Method::Rewrap, message);
  };
  const Answer moved = batch(old, Message().text(1, "a").text(3, "ctx").text(4, "new ctx"));
  REQUIRE(moved.code() == Code::OK);
  CHECK(moved.number(fields::RewrapResponse::version) == 6);
  REQUIRE(moved.texts(1).size() == 6);
  for (size_t i = 0; i < 6; i++) {
    const Answer opened = c.call(Method::Decrypt, Message().text(2, moved.texts(1)[i]).text(3, "new ctx"));
    CHECK(opened.text(1) == "text " + std::to_string(i + 1));
    CHECK(opened.number(2) == 6);
  }
  CHECK(c.call(Method::Decrypt, Message().text(2, batch(old, Message().text(3, "ctx").number(5, 1)).texts(1)[0]).text(3, "ctx")).code() == Code::OK);  // key left out, context kept
  std::vector<std::string> one = old;
  one[2].back() ^= 1;
  const Answer failed = batch(one, Message().text(1, "a").text(3, "ctx"));
  CHECK(failed.code() == Code::CIPHERTEXT_INVALID);
  CHECK(failed.text(fields::Failure::detail).find("ciphertexts[2]") == 0);
  one[2] = c.call(Method::Encrypt, Message().text(1, "b").text(2, "x")).text(1);
  CHECK(batch(one, Message().text(1, "a").text(3, "ctx")).code() == Code::CIPHERTEXT_WRONG_KEY);
  CHECK(batch({}, Message().text(1, "a")).code() == Code::BAD_REQUEST);
  CHECK(batch(std::vector<std::string>(257, old[5]), Message().text(1, "a").text(3, "ctx")).code() == Code::BAD_REQUEST);
  CHECK(batch(old, Message().text(1, "a").text(3, "ctx").text(4, "n").number(5, 1)).code() == Code::BAD_REQUEST);
}

TEST_CASE("plane keys: data keys and random bytes") {
  TestPlane plane;
  plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Client c(plane.path());
  const Answer made = c.call(Method::GenerateDataKey, Message().text(1, "a").text(3, "ctx"));
  REQUIRE(made.code() == Code::OK);
  CHECK(made.text(1).size() == 32);
  CHECK(c.call(Method::Decrypt, Message().text(2, made.text(2)).text(3, "ctx")).text(1) == made.text(1));
  const Answer sealedOnly = c.call(Method::GenerateDataKey, Message().text(1, "a").number(2, 128).number(4, 1));
  CHECK(sealedOnly.text(1).empty());
  CHECK(sealedOnly.text(2).size() == 128 + kManagedOverheadBytes);
  CHECK(c.call(Method::GenerateDataKey, Message().text(1, "a").number(2, 129)).code() == Code::BAD_REQUEST);
  for (const size_t n : {size_t{1}, size_t{32}, size_t{300'000}, size_t{limits::random_bytes_max}}) CHECK(c.call(Method::Random, Message().number(1, n)).text(1).size() == n);
  for (const uint64_t n : {uint64_t{0}, limits::random_bytes_max + 1}) CHECK(c.call(Method::Random, Message().number(1, n)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::Random, Message().number(1, 32)).text(1) != c.call(Method::Random, Message().number(1, 32)).text(1));
}

TEST_CASE("plane keys: streams, of stored and of session keys") {
  TestPlane plane;
  const KeyId id = plane.addKey("a", KeyType::AES_256, KeyScheme::MANAGED);
  Client c(plane.path());
  const auto chunk = [&](uint64_t stream, const std::string& data, bool last) { return c.call(Method::StreamChunk, Message().number(1, stream).text(2, data).number(3, last)); };
  for (const std::string& key : {std::string("a"), created(c, KeyType::AES_256, KeyScheme::MANAGED)}) {
    const Answer begun = c.call(Method::EncryptStream, Message().text(1, key).text(2, "file"));
    REQUIRE(begun.code() == Code::OK);
    const uint64_t out = begun.number(1), size = begun.number(3);
    CHECK(size == limits::stream_chunk_bytes);
    const std::string header = begun.text(2);
    const std::string parts[] = {std::string(size, 'a'), std::string(size, 'b'), "tail"};
    std::vector<std::string> sealed;
    for (int i = 0; i < 3; i++) sealed.push_back(chunk(out, parts[i], i == 2).text(1));
    CHECK(chunk(out, "more", true).code() == Code::STREAM_INVALID);  // it has ended
    const Answer opening = c.call(Method::DecryptStream, Message().text(1, key).text(2, header).text(3, "file"));
    REQUIRE(opening.code() == Code::OK);
    for (int i = 0; i < 3; i++) CHECK(chunk(opening.number(1), sealed[i], i == 2).text(1) == parts[i]);
    // A changed chunk ends its stream for good.
    const uint64_t second = c.call(Method::DecryptStream, Message().text(1, key).text(2, header).text(3, "file")).number(1);
    CHECK(chunk(second, sealed[1], false).code() == Code::CIPHERTEXT_INVALID);
    CHECK(chunk(second, sealed[0], false).code() == Code::STREAM_INVALID);
    CHECK(c.call(Method::DecryptStream, Message().text(1, key).text(2, header.substr(0, 79)).text(3, "file")).code() == Code::CIPHERTEXT_INVALID);
  }
  // The void of a key asks each of its streams for a new grant; a refusal ends it.
  const uint64_t stream = c.call(Method::EncryptStream, Message().text(1, "a")).number(1);
  const size_t before = plane.seen(UpcallKind::grant);
  plane->voidKey(id);
  CHECK(chunk(stream, std::string(limits::stream_chunk_bytes, 'x'), false).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == before + 1);
  CHECK(chunk(stream, std::string(limits::stream_chunk_bytes, 'x'), false).code() == Code::OK);
  CHECK(plane.seen(UpcallKind::grant) == before + 1);
  plane.onUpcall = [&](Upcall& upcall) {
    plane->refuse(upcall.token, Code::KEY_DESTROYED, "", 0);
    return true;
  };
  plane->voidKey(id);
  CHECK(chunk(stream, "x", true).code() == Code::KEY_DESTROYED);
  plane.onUpcall = nullptr;
  CHECK(chunk(stream, "x", true).code() == Code::STREAM_INVALID);
  // Bounded, closable, the connection's own.
  std::vector<uint64_t> open;
  for (uint64_t i = 0; i < limits::streams_per_connection_max; i++) open.push_back(c.call(Method::EncryptStream, Message().text(1, "a")).number(1));
  CHECK(c.call(Method::EncryptStream, Message().text(1, "a")).code() == Code::LIMIT_EXCEEDED);
  CHECK(Client(plane.path()).call(Method::StreamChunk, Message().number(1, open[0]).text(2, "x")).code() == Code::STREAM_INVALID);
  CHECK(c.call(Method::StreamClose, Message().number(1, open[0])).code() == Code::OK);
  CHECK(c.call(Method::StreamClose, Message().number(1, open[0])).code() == Code::STREAM_INVALID);
  CHECK(c.call(Method::EncryptStream, Message().text(1, "a")).code() == Code::OK);
  CHECK(chunk(open[1], std::string(limits::stream_chunk_bytes + 1, 'x'), false).code() == Code::STREAM_INVALID);
}

TEST_CASE("plane keys: session keys live with their session") {
  TestPlane plane;
  Client other(plane.path());
  const size_t used = Arena::stats().bytesUsed;
  {
    Client c(plane.path());
    const std::string key = created(c, KeyType::AES_256, KeyScheme::AES_GCM);
    CHECK(key == "session:1");
    CHECK(c.call(Method::Encrypt, Message().text(1, key).text(2, "x")).code() == Code::OK);
    CHECK(other.call(Method::Encrypt, Message().text(1, key).text(2, "x")).code() == Code::KEY_NOT_FOUND);
    CHECK(plane.seen(UpcallKind::grant) == 1);  // for making one
    for (const char* wrong : {"session:", "session:0", "session:01", "session:2", "session:1x", "session:-1", "session:99999999999999999999"})
      CHECK(c.call(Method::Encrypt, Message().text(1, wrong).text(2, "x")).code() == Code::KEY_NOT_FOUND);
    CHECK(c.call(Method::DestroySessionKey, Message().text(1, key)).code() == Code::OK);
    CHECK(c.call(Method::Encrypt, Message().text(1, key).text(2, "x")).code() == Code::KEY_NOT_FOUND);
    CHECK(c.call(Method::DestroySessionKey, Message().text(1, key)).code() == Code::KEY_NOT_FOUND);
    CHECK(created(c, KeyType::AES_256, KeyScheme::AES_GCM) == "session:2");  // numbers are not used again
    CHECK(created(c, KeyType::RSA_2048, KeyScheme::RSA_PSS) == "session:3");
    CHECK(Arena::stats().bytesUsed > used);
  }
  CHECK(TestPlane::eventually([&] { return Arena::stats().bytesUsed == used; }));
  Client c(plane.path());
  CHECK(create(c, KeyType::AES_128, KeyScheme::MANAGED).code() == Code::KEY_SCHEME_INVALID);
  CHECK(create(c, KeyType::KEY_TYPE_UNSPECIFIED, KeyScheme::MANAGED).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::CreateSessionKey, Message().number(1, 3).number(4, 32)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::CreateSessionKey, Message().number(1, 4).number(4, 257)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::CreateSessionKey, Message().number(1, 13)).code() == Code::BAD_REQUEST);
  CHECK(c.call(Method::ImportSessionKey, Message().number(1, 3).text(5, "short")).code() == Code::KEY_INVALID);
  const Answer full = [&] {
    for (;;) {
      const Answer made = create(c, KeyType::AES_256, KeyScheme::AES_GCM);
      if (made.code() != Code::OK) return made;
    }
  }();
  CHECK(full.code() == Code::ARENA_FULL);  // sessions take no more than half
  CHECK(Arena::stats().bytesUsed < Arena::stats().bytesMax * 3 / 4);
  CHECK(c.call(Method::Random, Message().number(1, 8)).code() == Code::OK);
}

TEST_CASE("plane keys: slow work runs beside, bounded, and its answers find their way") {
  PlaneTuning tuning;
  tuning.workerQueueMax = 8;
  TestPlane plane(tuning);
  plane.addKey("rsa", KeyType::RSA_4096, KeyScheme::RSA_PSS);
  Client c(plane.path()), quick(plane.path());
  REQUIRE(c.call(Method::Sign, Message().text(1, "rsa").text(2, "m")).code() == Code::OK);
  for (int i = 0; i < 12; i++) c.ask(Method::Sign, Message().text(1, "rsa").text(2, "m"));
  int done = 0, busy = 0;
  for (int i = 0; i < 12; i++) {
    const Answer answer = c.next();
    done += answer.code() == Code::OK;
    busy += answer.code() == Code::BUSY;
  }
  CHECK(done >= 4);  // half of the queue is one uid's
  CHECK(done + busy == 12);
  CHECK(busy > 0);
  {
    Client leaves(plane.path());
    for (int i = 0; i < 3; i++) leaves.ask(Method::Sign, Message().text(1, "rsa").text(2, "m"));
  }
  const std::string large(3'000'000, 'L');
  const Answer sealed = c.call(Method::Encrypt, Message().text(1, created(c, KeyType::AES_256, KeyScheme::MANAGED)).text(2, large));
  CHECK(c.call(Method::Decrypt, Message().text(1, "session:1").text(2, sealed.text(1))).text(1) == large);
  CHECK(c.call(Method::Encrypt, Message().text(1, "session:1").text(2, std::string(limits::message_bytes_max + 1, 'x'))).code() == Code::INPUT_TOO_LONG);
  // Sealed while a worker has it: nothing of the result comes out.
  for (int i = 0; i < 3; i++) c.ask(Method::Sign, Message().text(1, "rsa").text(2, "m"));
  CHECK(quick.call(Method::Ping, "").code() == Code::OK);
  plane->setMode(PlaneMode::sealed);
  int sealedAnswers = 0;
  for (int i = 0; i < 3; i++) sealedAnswers += c.next().code() == Code::SEALED;
  CHECK(sealedAnswers >= 1);
}

TEST_CASE("plane keys: parameters that mean nothing are refused") {
  TestPlane plane;
  Client c(plane.path());
  const std::string gcm = created(c, KeyType::AES_256, KeyScheme::AES_GCM), managed = created(c, KeyType::AES_256, KeyScheme::MANAGED);
  const std::string cbc = created(c, KeyType::AES_256, KeyScheme::AES_CBC), ec = created(c, KeyType::EC_P256, KeyScheme::ECDSA), ed = created(c, KeyType::ED25519, KeyScheme::EDDSA);
  const auto encrypt = [&](const std::string& key, Message m) { return c.call(Method::Encrypt, m.text(1, key).text(2, "p")).code(); };
  CHECK(encrypt(gcm, Message().text(4, std::string(12, 'i'))) == Code::IV_INVALID);
  CHECK(encrypt(managed, Message().text(4, std::string(24, 'i'))) == Code::IV_INVALID);
  CHECK(encrypt(cbc, Message().text(4, std::string(12, 'i'))) == Code::IV_INVALID);
  CHECK(encrypt(cbc, Message().text(4, std::string(16, 'i'))) == Code::OK);
  CHECK(encrypt(cbc, Message().text(3, "context")) == Code::BAD_REQUEST);
  CHECK(encrypt(gcm, Message().number(6, 3)) == Code::BAD_REQUEST);
  CHECK(encrypt(managed, Message().number(5, 12)) == Code::BAD_REQUEST);
  for (const uint64_t tagBytes : {4, 8, 11, 17}) CHECK(encrypt(gcm, Message().number(5, tagBytes)) == Code::TAG_LENGTH_INVALID);
  for (const uint64_t tagBytes : {12, 13, 16}) {
    const Answer sealed = c.call(Method::Encrypt, Message().text(1, gcm).text(2, "p").number(5, tagBytes));
    CHECK(sealed.text(1).size() == 1 + tagBytes);
    CHECK(sealed.text(2).size() == 12);
    CHECK(c.call(Method::Decrypt, Message().text(1, gcm).text(2, sealed.text(1)).text(4, sealed.text(2)).number(5, tagBytes)).text(1) == "p");
    if (tagBytes < 16) CHECK(c.call(Method::Decrypt, Message().text(1, gcm).text(2, sealed.text(1)).text(4, sealed.text(2))).code() == Code::CIPHERTEXT_INVALID);
  }
  CHECK(encrypt(managed, Message().text(3, std::string(limits::context_bytes_max + 1, 'c'))) == Code::CONTEXT_TOO_LONG);
  CHECK(encrypt(ec, Message()) == Code::KEY_USAGE_DENIED);
  CHECK(encrypt("", Message()) == Code::BAD_REQUEST);
  CHECK(encrypt(std::string(129, 'k'), Message()) == Code::NAME_INVALID);
  CHECK(encrypt("\xff\xfe", Message()) == Code::BAD_REQUEST);
  CHECK(encrypt("a\xc3", Message()) == Code::BAD_REQUEST);
  const auto sign = [&](const std::string& key, Message m) { return c.call(Method::Sign, m.text(1, key)).code(); };
  CHECK(sign(ec, Message().text(2, "m").text(3, std::string(32, 'd'))) == Code::BAD_REQUEST);
  CHECK(sign(ec, Message().text(3, std::string(31, 'd'))) == Code::DIGEST_INVALID);
  CHECK(sign(ec, Message().text(3, std::string(32, 'd'))) == Code::OK);
  CHECK(sign(ec, Message().text(2, "m").number(6, 20)) == Code::BAD_REQUEST);
  CHECK(sign(ed, Message().text(2, "m").number(5, 2)) == Code::BAD_REQUEST);
  CHECK(sign(ed, Message().text(3, std::string(32, 'd'))) == Code::DIGEST_INVALID);
  CHECK(sign(ec, Message().text(2, "m").number(5, 3)) == Code::BAD_REQUEST);
}

TEST_CASE("plane keys: a public half verifies, and does nothing that needs the private one") {
  TestPlane plane;
  for (const auto& [name, type, scheme] : {std::tuple{"verify", KeyType::EC_P256, KeyScheme::ECDSA}, std::tuple{"oaep", KeyType::RSA_2048, KeyScheme::RSA_OAEP}, std::tuple{"ecdh", KeyType::X25519, KeyScheme::ECDH}}) {
    plane.addKey(name, type, scheme);
    TestKey key = plane.keyOf(name);
    key.versions[0].first.clear();
    plane.putKey(name, key);
  }
  Client c(plane.path());
  CHECK(c.call(Method::Verify, Message().text(1, "verify").text(2, "m").text(7, "x")).code() == Code::OK);
  CHECK(c.call(Method::Sign, Message().text(1, "verify").text(2, "m")).code() == Code::KEY_USAGE_DENIED);
  const Answer sealed = c.call(Method::Encrypt, Message().text(1, "oaep").text(2, "m"));
  CHECK(sealed.code() == Code::OK);
  CHECK(c.call(Method::Decrypt, Message().text(1, "oaep").text(2, sealed.text(1))).code() == Code::KEY_USAGE_DENIED);
  CHECK(c.call(Method::Unwrap, Message().text(1, "oaep").text(2, sealed.text(1)).number(6, 4)).code() == Code::KEY_USAGE_DENIED);
  CHECK(c.call(Method::Derive, Message().text(1, "ecdh").text(2, std::string(32, 'u'))).code() == Code::KEY_USAGE_DENIED);
}

TEST_CASE("plane keys: the usage table, every pair, as docs/ARCHITECTURE.md prints it") {
  const auto methodsOf = [](KeyScheme scheme) {
    std::string out;
    for (const MethodRow& row : kMethods)
      if (schemeAllows(scheme, row.id)) out += std::string(out.empty() ? "" : " ") + row.name;
    return out;
  };
  const std::string cipher = "Encrypt Decrypt", mac = "Mac VerifyMac", sign = "Sign Verify", wrap = "Wrap Unwrap";
  CHECK(methodsOf(KeyScheme::KEY_SCHEME_UNSPECIFIED) == "FetchSecret");  // of a value, which is no key
  CHECK(methodsOf(KeyScheme::MANAGED) == "Encrypt Decrypt GenerateDataKey Wrap Unwrap Rewrap EncryptStream DecryptStream");
  for (const KeyScheme s : {KeyScheme::AES_GCM, KeyScheme::AES_CBC, KeyScheme::AES_CTR}) CHECK(methodsOf(s) == cipher);
  CHECK(methodsOf(KeyScheme::AES_KW) == wrap);
  for (const KeyScheme s : {KeyScheme::AES_CMAC, KeyScheme::HMAC_SHA256, KeyScheme::HMAC_SHA384, KeyScheme::HMAC_SHA512}) CHECK(methodsOf(s) == mac);
  for (const KeyScheme s : {KeyScheme::ECDSA, KeyScheme::EDDSA, KeyScheme::RSA_PSS, KeyScheme::RSA_PKCS1}) CHECK(methodsOf(s) == sign);
  CHECK(methodsOf(KeyScheme::ECDH) == "Derive");
  CHECK(methodsOf(KeyScheme::RSA_OAEP) == "Encrypt Decrypt Wrap Unwrap");
  CHECK(methodsOf(KeyScheme::PKCS11) == "MechanismEncrypt MechanismDecrypt MechanismSign MechanismVerify WrapObject CopyObject UnwrapObject DeriveObject GetObjectValue");
  CHECK((methodsOf(static_cast<KeyScheme>(17)).empty() && !schemeAllows(KeyScheme::MANAGED, static_cast<Method>(4000))));
  for (uint32_t t = 0; t <= 14; t++) {
    const auto type = static_cast<KeyType>(t);
    uint32_t schemes = 0;
    for (uint32_t s = 0; s <= 18; s++) schemes += typeHasScheme(type, static_cast<KeyScheme>(s));
    const uint32_t expected[] = {0, 6, 6, 7, 4, 3, 3, 3, 2, 2, 4, 4, 4, 0, 0};
    CHECK(schemes == expected[t]);
    if (expected[t] > 0) CHECK(typeHasScheme(type, defaultScheme(type)));
  }
}
