// What the symmetric operations and the formats leave behind: no piece of a stored key, of a key derived from it or of a message's
// key outside the arena. Keys are made in the arena, since the test may hold none itself.
#include <doctest/doctest.h>

#include <functional>
#include <thread>

#include "core/managed.h"
#include "core/record.h"
#include "core/shamir.h"
#include "core/stack_scrub.h"
#include "core/symmetric.h"
#include "core/xaes.h"
#include "memory_search.h"

using namespace quorate;
using namespace quorate::test;

namespace {

bool skipped() {
  if (memorySearchable()) return false;
  MESSAGE("skipped: AddressSanitizer keeps freed memory");
  return true;
}

Secret randomSecret(size_t n = 32) {
  Secret made;
  REQUIRE(Secret::random(n, &made) == Code::OK);
  return made;
}

// The operation on this thread and on another, each followed by the search with nothing between.
void runAndSearch(MemorySearch& search, const std::string& name, const std::function<bool()>& operation) {
  REQUIRE_MESSAGE(search.find() == 0, name << ", before");
  const KeptHeap kept;
  bool ok = operation();
  size_t hits = search.find();
  CHECK_MESSAGE(hits == 0, name);
  for (const std::string& hit : search.report()) MESSAGE(name << ": " << hit);
  CHECK(ok);
  std::thread([&] {
    ok = operation();
    hits = search.find();
  }).join();
  CHECK_MESSAGE(hits == 0, name << ", on another thread");
  CHECK(ok);
}

// A key that the operation derives, computed here without leaving a trace.
template <class Derive>
Secret derived(Derive derive) {
  Secret out;
  REQUIRE(Secret::make(32, &out) == Code::OK);
  withScrubbedStack([&] {
    derive(out.span());
    return 0;
  });
  return out;
}

Secret hkdfOf(Bytes keyMaterial, Bytes salt, const std::string& info) {
  return derived([&](MutBytes out) { hkdf(Hash::SHA_256, keyMaterial, salt, bytesOf(info), out); });
}

const KeyIdentity kIdentity{"default", {1, 2, 3}, 1};

struct Managed {
  Secret stored = randomSecret(), encrypt = hkdfOf(stored, {}, "quorate/v1/managed/encrypt"), commit = hkdfOf(stored, {}, "quorate/v1/managed/commit");
  void add(MemorySearch& search) const {
    search.add("stored key", stored);
    search.add("encryption key", encrypt);
    search.add("commitment key", commit);
  }
  std::shared_ptr<const ManagedKey> prepared() const {
    std::shared_ptr<const ManagedKey> key;
    return ManagedKey::prepare(stored, kIdentity, &key) == Code::OK ? key : nullptr;
  }
};

// The message key of a sealed message, from its nonce.
Secret messageKey(const Managed& keys, Bytes sealed) {
  return derived([&](MutBytes out) {
    XaesKey xaes;
    xaesPrepare(keys.encrypt.data(), &xaes);
    xaesDerive(xaes, sealed.data() + 24, out.data());
    wipe(&xaes, sizeof xaes);
  });
}

}  // namespace

TEST_CASE("memory: a managed key is prepared without a trace") {
  if (skipped()) return;
  const Managed keys;
  MemorySearch search;
  keys.add(search);
  runAndSearch(search, "prepare", [&] { return keys.prepared() != nullptr; });
}

TEST_CASE("memory: a message's key does not outlast the message") {
  if (skipped()) return;
  for (size_t n : {0, 64, 5000, 100'000}) {
    CAPTURE(n);
    const Managed keys;
    const auto key = keys.prepared();
    const Buffer plaintext(n, 'x');
    Buffer sealed(n + kManagedOverheadBytes), opened(n);
    REQUIRE(key->seal({}, plaintext, sealed) == Code::OK);
    scrubStack();
    const Secret message = messageKey(keys, sealed);
    MemorySearch search;
    keys.add(search);
    search.add("message key", message);
    runAndSearch(search, "open", [&] { return key->open({}, sealed, opened) == Code::OK; });
    sealed[90] ^= 1;
    runAndSearch(search, "a refused open", [&] { return key->open({}, sealed, opened) == Code::CIPHERTEXT_INVALID; });
    runAndSearch(search, "seal", [&] { return key->seal({}, plaintext, sealed) == Code::OK; });
  }
}

TEST_CASE("memory: a file's key stays in the arena") {
  if (skipped()) return;
  const Managed keys;
  const auto key = keys.prepared();
  Buffer header(kManagedHeaderBytes), chunk(limits::stream_chunk_bytes + 16), plain(limits::stream_chunk_bytes);
  std::unique_ptr<StreamSealer> sealer;
  REQUIRE(ManagedKey::sealStream(key, {}, header.data(), &sealer) == Code::OK);
  REQUIRE(sealer->chunk(plain, true, chunk) == Code::OK);
  scrubStack();
  std::string info = "quorate/v1/stream";
  info.append(header.begin(), header.begin() + 24);
  info += '\x07';
  info += "default";
  const Secret file = hkdfOf(keys.encrypt, Bytes(header).subspan(24, 24), info);
  MemorySearch search;
  keys.add(search);
  search.add("file key", file);
  runAndSearch(search, "open a file", [&] {
    std::unique_ptr<StreamOpener> opener;
    return ManagedKey::openStream(key, {}, header, &opener) == Code::OK && opener->chunk(chunk, true, plain) == Code::OK;
  });
}

TEST_CASE("memory: records leave neither kek nor their own key, and a key inside only in the arena") {
  if (skipped()) return;
  const Secret kek = randomSecret(), inside = randomSecret();
  const Buffer salt(16, 7);
  const Secret own = hkdfOf(kek, salt, "quorate/v1/record");
  Buffer sealed(32 + kRecordOverheadBytes);
  MemorySearch search;
  search.add("kek", kek);
  search.add("record key", own);
  search.add("what is inside", inside);
  runAndSearch(search, "seal", [&] { return sealRecordWithSalt(kek, salt.data(), {}, inside, sealed) == Code::OK; });
  runAndSearch(search, "open", [&] {
    Secret opened;
    return Secret::make(32, &opened) == Code::OK && openRecord(kek, {}, sealed, opened.span()) == Code::OK;
  });
}

TEST_CASE("memory: primitives leave no key") {
  if (skipped()) return;
  const Secret keyMaterial = randomSecret(), text = randomSecret(48);
  const Buffer iv(16, 1), data(100, 2);
  Buffer out(256);
  size_t n = 0;
  MemorySearch search;
  search.add("key", keyMaterial);
  search.add("wrapped key", text);
  for (Hash hash : {Hash::SHA_1, Hash::SHA_224, Hash::SHA_256, Hash::SHA_384, Hash::SHA_512}) {
    runAndSearch(search, "hmac", [&] { return hmac(hash, keyMaterial, data, out.data()) == Code::OK; });
    runAndSearch(search, "hkdf", [&] { return hkdf(hash, keyMaterial, iv, {}, MutBytes(out).first(64)) == Code::OK; });
  }
  runAndSearch(search, "hmac, prepared", [&] {
    ArenaBox<HmacSha256State> state;
    if (ArenaBox<HmacSha256State>::make(&state) != Code::OK) return false;
    hmacSha256Prepare(keyMaterial, state.get());
    hmacSha256(*state.get(), data, {}, out.data());
    return true;
  });
  runAndSearch(search, "cmac", [&] { return aesCmac(keyMaterial, data, out.data()) == Code::OK; });
  runAndSearch(search, "cbc", [&] { return aesCbcEncrypt(keyMaterial, iv.data(), data, out, &n) == Code::OK; });
  runAndSearch(search, "ctr", [&] { return aesCtr(keyMaterial, iv.data(), data, out) == Code::OK; });
  for (bool padded : {false, true}) {
    runAndSearch(search, "wrap", [&] { return aesWrap(keyMaterial, padded, text, out, &n) == Code::OK; });
    runAndSearch(search, "unwrap", [&] {
      Secret opened;
      return Secret::make(48, &opened) == Code::OK && aesUnwrap(keyMaterial, padded, Bytes(out).first(56), opened.span(), &n) == Code::OK;
    });
  }
}

TEST_CASE("memory: the passphrase and the shares leave nothing") {
  if (skipped()) return;
  const Secret passphrase = randomSecret(40), secret = randomSecret();
  const Secret kek = derived([&](MutBytes out) { scrypt(passphrase, {}, 10, 8, 1, out); });
  MemorySearch search;
  search.add("passphrase", passphrase);
  search.add("kek", kek);
  search.add("secret", secret);
  runAndSearch(search, "scrypt", [&] {
    Secret out;
    return Secret::make(32, &out) == Code::OK && scrypt(passphrase, {}, 10, 8, 1, out.span()) == Code::OK;
  });
  runAndSearch(search, "split and combine", [&] {
    std::vector<Secret> shares;
    if (shamirSplit(secret, 3, 2, &shares) != Code::OK) return false;
    Secret text, back, out;
    if (shareEncode(shares[0], &text) != Code::OK || shareDecode(text, &back) != Code::OK) return false;
    const SecretPtr two[] = {std::make_shared<const Secret>(std::move(back)), std::make_shared<const Secret>(std::move(shares[2]))};
    return shamirCombine(two, &out) == Code::OK;
  });
}
