// ECDSA: known signatures, libcrypto as a second opinion, forgeries, and where the nonces come from.
#include "key_fixtures.h"

#include <openssl/rand.h>

#include <set>

#include "core/selftest_asym_known.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr KeyType kCurves[] = {KeyType::EC_P256, KeyType::EC_P384, KeyType::EC_P521};

SignOptions options(KeyType type, SignatureFormat format, Hash hash = Hash::HASH_UNSPECIFIED, bool prehashed = false) {
  return {.type = type, .scheme = KeyScheme::ECDSA, .hash = hash, .prehashed = prehashed, .format = format};
}

Buffer signedBy(const TestPair& pair, const SignOptions& how, Bytes input) {
  Buffer signature;
  REQUIRE(sign(how, pair.stored, input, &signature) == Code::OK);
  return signature;
}

// A generator that always says the same.
int stuck(unsigned char* out, int bytes) {
  std::fill_n(out, bytes, 0x5a);
  return 1;
}
int always() { return 1; }
const RAND_METHOD kStuck = {nullptr, stuck, nullptr, nullptr, stuck, always};

// For its life, libcrypto draws from that generator.
class StuckGenerator {
 public:
  StuckGenerator() { REQUIRE(RAND_set_rand_method(&kStuck) == 1); }
  ~StuckGenerator() { RAND_set_rand_method(RAND_OpenSSL()); }
};

Buffer rOf(const Buffer& p1363) { return Buffer(p1363.begin(), p1363.begin() + static_cast<ptrdiff_t>(p1363.size() / 2)); }

}  // namespace

TEST_CASE("ecdsa: the signatures of RFC 6979 verify, in both formats, prehashed or not") {
  const struct {
    KeyType type;
    Bytes scalar, signature;
  } rows[] = {{KeyType::EC_P256, known::kP256Scalar, known::kP256Signature},
              {KeyType::EC_P384, known::kP384Scalar, known::kP384Signature},
              {KeyType::EC_P521, known::kP521Scalar, known::kP521Signature}};
  for (const auto& row : rows) {
    const Buffer spki = imported(row.type, MaterialFormat::RAW, row.scalar).spki, sample = text("sample");
    const Hash hash = keyRow(row.type)->defaultHash;
    Buffer der, hashed(hashBytes(hash));
    writeEcdsaSignature(row.signature, &der);
    REQUIRE(digest(hash, sample, hashed.data()) == Code::OK);
    CHECK(verified(options(row.type, SignatureFormat::P1363), spki, sample, row.signature));
    CHECK(verified(options(row.type, SignatureFormat::DER), spki, sample, der));
    CHECK(verified(options(row.type, SignatureFormat::SIGNATURE_FORMAT_UNSPECIFIED), spki, sample, der));
    CHECK(verified(options(row.type, SignatureFormat::P1363, hash, true), spki, hashed, row.signature));
    CHECK_FALSE(verified(options(row.type, SignatureFormat::P1363), spki, text("Sample"), row.signature));
    CHECK_FALSE(verified(options(row.type, SignatureFormat::P1363, Hash::SHA_224), spki, sample, row.signature));
    CHECK_FALSE(verified(options(row.type, SignatureFormat::DER), spki, sample, row.signature));
    CHECK_FALSE(verified(options(row.type, SignatureFormat::P1363), spki, sample, der));
    CHECK_FALSE(verified(options(row.type, SignatureFormat::P1363), testPair(row.type).spki, sample, row.signature));
  }
}

TEST_CASE("ecdsa: libcrypto verifies ours and we verify its, with every hash") {
  const EVP_MD* const mds[] = {EVP_sha224(), EVP_sha256(), EVP_sha384(), EVP_sha512()};
  const Hash hashes[] = {Hash::SHA_224, Hash::SHA_256, Hash::SHA_384, Hash::SHA_512};
  for (const KeyType type : kCurves) {
    const TestPair& pair = testPair(type);
    const Pkey theirs = evpPrivate(type, pair.stored, pair.spki);
    for (size_t i = 0; i < 4; i++) {
      const Buffer message = pattern(100 + i);
      const SignOptions how = options(type, SignatureFormat::DER, hashes[i]);
      const Buffer ours = signedBy(pair, how, message);
      DigestContext context(EVP_MD_CTX_new());
      REQUIRE(EVP_DigestVerifyInit(context.get(), nullptr, mds[i], nullptr, theirs.get()) == 1);
      CHECK(EVP_DigestVerify(context.get(), ours.data(), ours.size(), message.data(), message.size()) == 1);
      context.reset(EVP_MD_CTX_new());
      Buffer made(160);
      size_t length = made.size();
      REQUIRE(EVP_DigestSignInit(context.get(), nullptr, mds[i], nullptr, theirs.get()) == 1);
      REQUIRE(EVP_DigestSign(context.get(), made.data(), &length, message.data(), message.size()) == 1);
      CHECK(verified(how, pair.spki, message, Bytes(made).first(length)));
    }
  }
}

TEST_CASE("ecdsa: P1363 signatures have one length, and r and s lie in [1, order - 1]") {
  for (const KeyType type : kCurves) {
    CAPTURE(static_cast<int>(type));
    const TestPair& pair = testPair(type);
    const size_t bytes = keyRow(type)->bytes;
    const SignOptions how = options(type, SignatureFormat::P1363);
    const Buffer message = text("message"), good = signedBy(pair, how, message);
    REQUIRE(good.size() == 2 * bytes);
    CHECK(verified(how, pair.spki, message, good));
    CHECK_FALSE(verified(how, pair.spki, message, concat({good, hex("00")})));
    CHECK_FALSE(verified(how, pair.spki, message, concat({hex("00"), good})));
    CHECK_FALSE(verified(how, pair.spki, message, Bytes(good).first(good.size() - 1)));
    CHECK_FALSE(verified(how, pair.spki, message, {}));
    const Bytes r = Bytes(good).first(bytes), s = Bytes(good).last(bytes);
    const std::unique_ptr<EC_GROUP, Released<EC_GROUP_free>> group(EC_GROUP_new_by_curve_name(keyRow(type)->curveNid));
    Buffer order(bytes), zero(bytes, 0), beyond(bytes);
    REQUIRE(BN_bn2binpad(EC_GROUP_get0_order(group.get()), order.data(), static_cast<int>(bytes)) > 0);
    // s + order means the same modulo the order where it still has the length; it must not verify.
    Bn sum = publicNumber(s);
    BN_add(sum.get(), sum.get(), EC_GROUP_get0_order(group.get()));
    const bool fits = BN_bn2binpad(sum.get(), beyond.data(), static_cast<int>(bytes)) > 0;
    for (const Buffer& bad : {concat({zero, s}), concat({r, zero}), concat({zero, zero}), concat({order, s}), concat({r, order}),
                              concat({r, fits ? beyond : order}), concat({s, r})}) {
      CHECK_FALSE(verified(how, pair.spki, message, bad));
      Buffer der;
      writeEcdsaSignature(bad, &der);
      CHECK_FALSE(verified(options(type, SignatureFormat::DER), pair.spki, message, der));
    }
    for (size_t i = 0; i < good.size(); i += 7) {
      Buffer flipped = good;
      flipped[i] ^= 0x10;
      CHECK_FALSE(verified(how, pair.spki, message, flipped));
    }
  }
}

TEST_CASE("ecdsa: a signature in DER has one encoding") {
  const TestPair& pair = testPair(KeyType::EC_P256);
  const SignOptions how = options(KeyType::EC_P256, SignatureFormat::DER);
  const Buffer message = text("message"), good = signedBy(pair, how, message);
  REQUIRE(verified(how, pair.spki, message, good));
  const Bytes content = Bytes(good).subspan(2);
  const Buffer longLength = concat({hex("3081"), Bytes(good).subspan(1, 1), content});
  const Buffer indefinite = concat({hex("3080"), content, hex("0000")});
  const Buffer trailing = concat({good, hex("00")});
  const Buffer within = element(der::kSequence, {content, hex("0500")});
  DerReader in(content);
  Bytes r, s;
  REQUIRE(in.readUnsigned(&r));
  REQUIRE(in.readUnsigned(&s));
  const Buffer padded = element(der::kSequence, {element(der::kInteger, {hex("0000"), r}), element(der::kInteger, {hex("00"), s})});
  const Buffer set = element(0x31, {content});
  for (const Buffer& bad :
       {longLength, indefinite, trailing, within, padded, set, Buffer{}, hex("3000"), Buffer(good.begin(), good.end() - 1)}) {
    CHECK_FALSE(verified(how, pair.spki, message, bad));
  }
}

TEST_CASE("ecdsa: nonces differ for the same digest, and with a stuck generator for other digests and keys") {
  const TestPair& one = testPair(KeyType::EC_P256);
  TestPair other;
  REQUIRE(generateKey(KeyType::EC_P256, 0, &other.stored, &other.spki) == Code::OK);
  const SignOptions how = options(KeyType::EC_P256, SignatureFormat::P1363);
  const Buffer a = text("a"), b = text("b");
  std::set<Buffer> fresh;
  for (int i = 0; i < 8; i++) fresh.insert(rOf(signedBy(one, how, a)));
  CHECK(fresh.size() == 8);
  const StuckGenerator generator;
  const Buffer first = rOf(signedBy(one, how, a));
  CHECK(first == rOf(signedBy(one, how, a)));    // the generator is stuck indeed
  CHECK(first != rOf(signedBy(one, how, b)));    // the digest enters the nonce
  CHECK(first != rOf(signedBy(other, how, a)));  // and the private key does
}

TEST_CASE("ecdsa: options that do not fit") {
  const TestPair& pair = testPair(KeyType::EC_P256);
  Buffer signature;
  bool valid = true;
  const auto both = [&](const SignOptions& how, Bytes input) {
    const Code made = sign(how, pair.stored, input, &signature);
    CHECK(verify(how, pair.spki, input, hex("00"), &valid) == made);
    CHECK_FALSE(valid);
    return made;
  };
  const Buffer digest32 = pattern(32), digest20 = pattern(20);
  CHECK(both(options(KeyType::EC_P256, SignatureFormat::DER, Hash::SHA_256, true), Bytes(digest32).first(31)) == Code::DIGEST_INVALID);
  CHECK(both(options(KeyType::EC_P256, SignatureFormat::DER, Hash::SHA_384, true), digest32) == Code::DIGEST_INVALID);
  CHECK(both(options(KeyType::EC_P256, SignatureFormat::DER, Hash::SHA_1, true), digest20) == Code::DIGEST_INVALID);
  CHECK(both(options(KeyType::EC_P256, SignatureFormat::DER, Hash::SHA_1), digest20) == Code::DIGEST_INVALID);
  CHECK(both(options(KeyType::EC_P256, SignatureFormat::DER, static_cast<Hash>(99)), digest32) == Code::DIGEST_INVALID);
  SignOptions how = options(KeyType::EC_P256, SignatureFormat::DER);
  how.scheme = KeyScheme::EDDSA;
  CHECK(both(how, digest32) == Code::KEY_SCHEME_INVALID);
  how.scheme = KeyScheme::ECDH;
  CHECK(both(how, digest32) == Code::KEY_SCHEME_INVALID);
  how = options(KeyType::X25519, SignatureFormat::DER);
  CHECK(both(how, digest32) == Code::KEY_SCHEME_INVALID);
  how = options(KeyType::AES_256, SignatureFormat::DER);
  CHECK(both(how, digest32) == Code::KEY_SCHEME_INVALID);
  CHECK(verify(options(KeyType::EC_P256, SignatureFormat::DER), testPair(KeyType::EC_P384).spki, digest32, hex("00"), &valid) ==
        Code::KEY_INVALID);
}
