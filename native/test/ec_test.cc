// EC keys: what an import lets in, and ECDH.
#include "key_fixtures.h"

#include "core/key_der.h"
#include "core/selftest_asym_known.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr KeyType kCurves[] = {KeyType::EC_P256, KeyType::EC_P384, KeyType::EC_P521};

Buffer orderOf(KeyType type, int plus) {
  const std::unique_ptr<EC_GROUP, Released<EC_GROUP_free>> group(EC_GROUP_new_by_curve_name(keyRow(type)->curveNid));
  Bn order(BN_dup(EC_GROUP_get0_order(group.get())));
  if (plus >= 0) BN_add_word(order.get(), static_cast<BN_ULONG>(plus));
  if (plus < 0) BN_sub_word(order.get(), static_cast<BN_ULONG>(-plus));
  Buffer out(keyRow(type)->bytes);
  REQUIRE(BN_bn2binpad(order.get(), out.data(), static_cast<int>(out.size())) > 0);
  return out;
}

Buffer pointOf(Bytes spki) {
  PublicKeyInfo info;
  REQUIRE(readPublicKeyInfo(spki, &info));
  return Buffer(info.publicKey.begin(), info.publicKey.end());
}

Buffer spkiOf(KeyType type, Bytes point) {
  Buffer spki;
  writePublicKeyInfo(keyRow(type)->algorithm, point, &spki);
  return spki;
}

// ECPrivateKey in PKCS#8, put together by hand.
Buffer pkcs8Of(KeyType type, std::initializer_list<Bytes> ecPrivateKey, const std::string& version = "020100", const Buffer& tail = {}) {
  const Buffer inner = element(der::kSequence, ecPrivateKey);
  return element(der::kSequence, {hex(version), keyRow(type)->algorithm, element(der::kOctetString, {inner}), tail});
}

Buffer bits(uint8_t tag, Bytes octets) { return element(tag, {hex("00"), octets}); }

}  // namespace

TEST_CASE("ec: the public half of a known scalar is the known one") {
  // RFC 6979 A.2.5.
  const Imported got = imported(KeyType::EC_P256, MaterialFormat::RAW, known::kP256Scalar);
  REQUIRE(got.code == Code::OK);
  CHECK(toHex(pointOf(got.spki)) ==
        "0460fed4ba255a9d31c961eb74c6356d68c049b8923b61fa6ce669622e60f29fb6"
        "7903fe1008b8bc99a41ae9e95628bc64f2f1b20c2d7e9f5177a3c294d4462299");
  CHECK(equalConstantTime(got.stored, known::kP256Scalar));
}

TEST_CASE("ec: scalars are in [1, order - 1] and of full length") {
  for (const KeyType type : kCurves) {
    CAPTURE(static_cast<int>(type));
    const size_t bytes = keyRow(type)->bytes;
    Buffer one(bytes, 0);
    one.back() = 1;
    const auto raw = [&](const Buffer& scalar) { return imported(type, MaterialFormat::RAW, scalar); };
    CHECK(raw(one).code == Code::OK);
    CHECK(raw(orderOf(type, -1)).code == Code::OK);
    checkRefused(raw(Buffer(bytes, 0)), "zero");
    checkRefused(raw(orderOf(type, 0)), "order");
    checkRefused(raw(orderOf(type, 1)), "order");
    checkRefused(raw(Buffer(bytes, 0xff)), "order");
    checkRefused(raw(Buffer(one.begin() + 1, one.end())), "length");
    checkRefused(raw(concat({hex("00"), one})), "length");
    checkRefused(raw({}), "length");
  }
}

TEST_CASE("ec: points are uncompressed, on the curve and finite") {
  for (const KeyType type : kCurves) {
    CAPTURE(static_cast<int>(type));
    const size_t bytes = keyRow(type)->bytes;
    const Buffer good = pointOf(testPair(type).spki);
    const auto spki = [&](const Buffer& point) { return imported(type, MaterialFormat::SPKI_PUBLIC, spkiOf(type, point)); };
    const Imported fine = spki(good);
    CHECK(fine.code == Code::OK);
    CHECK(fine.stored.empty());
    CHECK(fine.spki == testPair(type).spki);
    Buffer off = good, compressed(good.begin(), good.begin() + 1 + static_cast<ptrdiff_t>(bytes)), hybrid = good, above = good;
    off.back() ^= 1;
    checkRefused(spki(off), "not on the curve");
    compressed[0] = 2 + (good.back() & 1);
    checkRefused(spki(compressed), "uncompressed");
    hybrid[0] = 6 + (good.back() & 1);
    checkRefused(spki(hybrid), "uncompressed");
    // x is not reduced: the field's numbers end below this.
    std::fill(above.begin() + 1, above.begin() + 1 + static_cast<ptrdiff_t>(bytes), type == KeyType::EC_P521 ? 0x01 : 0xff);
    if (type == KeyType::EC_P521) std::fill(above.begin() + 2, above.begin() + 67, 0xff);
    checkRefused(spki(above), "not on the curve");
    checkRefused(spki(hex("00")), "infinity");
    checkRefused(spki({}), "uncompressed");
    checkRefused(spki(concat({good, hex("00")})), "uncompressed");
    Buffer zero(good.size(), 0);
    zero[0] = 4;
    checkRefused(spki(zero), "not on the curve");
  }
}

TEST_CASE("ec: SubjectPublicKeyInfo is strict and of the type") {
  const Buffer spki = testPair(KeyType::EC_P256).spki;
  checkRefused(imported(KeyType::EC_P384, MaterialFormat::SPKI_PUBLIC, spki), "another type");
  checkRefused(imported(KeyType::ED25519, MaterialFormat::SPKI_PUBLIC, spki), "another type");
  checkRefused(imported(KeyType::EC_P256, MaterialFormat::SPKI_PUBLIC, concat({spki, hex("00")})), "strict DER");
  checkRefused(imported(KeyType::EC_P256, MaterialFormat::SPKI_PUBLIC, Bytes(spki).first(spki.size() - 1)), "strict DER");
  checkRefused(imported(KeyType::EC_P256, MaterialFormat::SPKI_PUBLIC, {}), "strict DER");
}

TEST_CASE("ec: PKCS#8 as libcrypto writes it comes in, ours it reads") {
  for (const KeyType type : kCurves) {
    CAPTURE(static_cast<int>(type));
    const TestPair& pair = testPair(type);
    const Pkey theirs = evpPrivate(type, pair.stored, pair.spki);
    // With the curve inside ECPrivateKey and without the public key, as EC_KEY's encoding flags vary it.
    for (const unsigned flags :
         {0u, unsigned{EC_PKEY_NO_PARAMETERS}, unsigned{EC_PKEY_NO_PUBKEY}, unsigned{EC_PKEY_NO_PARAMETERS | EC_PKEY_NO_PUBKEY}}) {
      CAPTURE(flags);
      const EcKey key(EVP_PKEY_get1_EC_KEY(theirs.get()));
      EC_KEY_set_enc_flags(key.get(), flags);
      uint8_t* inner = nullptr;
      const int length = i2d_ECPrivateKey(key.get(), &inner);
      REQUIRE(length > 0);
      const Buffer whole = element(der::kSequence, {hex("020100"), keyRow(type)->algorithm,
                                                    element(der::kOctetString, {Bytes(inner, static_cast<size_t>(length))})});
      OPENSSL_free(inner);
      const Imported got = imported(type, MaterialFormat::PKCS8, whole);
      CHECK_MESSAGE(got.code == Code::OK, got.detail);
      CHECK(equalConstantTime(got.stored, pair.stored));
      CHECK(got.spki == pair.spki);
    }
    CHECK(EVP_PKEY_eq(theirs.get(), evpPublic(pair.spki).get()) == 1);
  }
}

TEST_CASE("ec: PKCS#8 that contradicts itself is refused") {
  const KeyType type = KeyType::EC_P256;
  const TestPair& pair = testPair(type);
  const Bytes stored = pair.stored;
  const Buffer point = pointOf(pair.spki), version = hex("020101"), scalar = element(der::kOctetString, {stored});
  Secret otherStored;
  Buffer otherSpki;
  REQUIRE(generateKey(type, 0, &otherStored, &otherSpki) == Code::OK);
  const Buffer other = pointOf(otherSpki);
  const Bytes curve = Bytes(keyRow(type)->algorithm).last(10), otherCurve = Bytes(keyRow(KeyType::EC_P384)->algorithm).last(7);
  const auto pkcs8 = [&](const Buffer& der) { return imported(type, MaterialFormat::PKCS8, der); };
  const auto publicInside = [&](const Buffer& octets) { return element(der::kContext1, {bits(der::kBitString, octets)}); };

  CHECK(pkcs8(pkcs8Of(type, {version, scalar})).code == Code::OK);
  CHECK(pkcs8(pkcs8Of(type, {version, scalar, element(der::kContext0, {curve}), publicInside(point)})).code == Code::OK);
  CHECK(pkcs8(pkcs8Of(type, {version, scalar}, "020101", bits(der::kPublicKeyContext, point))).code == Code::OK);
  checkRefused(pkcs8(pkcs8Of(type, {version, scalar, publicInside(other)})), "does not belong");
  checkRefused(pkcs8(pkcs8Of(type, {version, scalar}, "020101", bits(der::kPublicKeyContext, other))), "does not belong");
  checkRefused(pkcs8(pkcs8Of(type, {version, scalar, publicInside(hex("00"))})), "infinity");
  checkRefused(pkcs8(pkcs8Of(type, {version, scalar, element(der::kContext0, {otherCurve})})), "another curve");
  checkRefused(pkcs8(pkcs8Of(type, {version, scalar, element(der::kContext0, {curve.last(9)})})), "another curve");
  checkRefused(pkcs8(pkcs8Of(type, {version, scalar, publicInside(point), element(der::kContext0, {curve})})), "strict DER");
  checkRefused(pkcs8(pkcs8Of(type, {hex("020100"), scalar})), "strict DER");
  checkRefused(pkcs8(pkcs8Of(type, {version, scalar, hex("0500")})), "strict DER");
  checkRefused(pkcs8(pkcs8Of(type, {version, element(der::kOctetString, {stored.first(31)})})), "length");
  checkRefused(pkcs8(pkcs8Of(type, {version, element(der::kOctetString, {hex("00"), stored})})), "length");
  checkRefused(pkcs8(pkcs8Of(type, {version, element(der::kOctetString, {Buffer(32, 0)})})), "zero");
  checkRefused(pkcs8(concat({pkcs8Of(type, {version, scalar}), hex("00")})), "strict DER");
  checkRefused(pkcs8(pkcs8Of(KeyType::EC_P384, {version, scalar})), "another type");
  checkRefused(pkcs8(pair.spki), "strict DER");
}

TEST_CASE("ec: agreement gives the answers of RFC 5903, for a raw point and for an SPKI") {
  const struct {
    KeyType type;
    Bytes scalar, peer, x;
  } rows[] = {{KeyType::EC_P256, known::kP256AgreeScalar, known::kP256AgreePeer, known::kP256AgreeX},
              {KeyType::EC_P384, known::kP384AgreeScalar, known::kP384AgreePeer, known::kP384AgreeX},
              {KeyType::EC_P521, known::kP521AgreeScalar, known::kP521AgreePeer, known::kP521AgreeX}};
  for (const auto& row : rows) {
    Secret z;
    CHECK(agree(row.type, row.scalar, row.peer, &z) == Code::OK);
    CHECK(toHex(z) == toHex(row.x));
    CHECK(agree(row.type, row.scalar, spkiOf(row.type, row.peer), &z) == Code::OK);
    CHECK(toHex(z) == toHex(row.x));
  }
}

TEST_CASE("ec: agreement is what libcrypto's faster code finds") {
  for (const KeyType type : kCurves) {
    for (int i = 0; i < 4; i++) {
      TestPair ours, theirs;
      REQUIRE(generateKey(type, 0, &ours.stored, &ours.spki) == Code::OK);
      REQUIRE(generateKey(type, 0, &theirs.stored, &theirs.spki) == Code::OK);
      Secret z, back;
      REQUIRE(agree(type, ours.stored, theirs.spki, &z) == Code::OK);
      REQUIRE(agree(type, theirs.stored, ours.spki, &back) == Code::OK);
      const Pkey pair = evpPrivate(type, ours.stored, ours.spki), peer = evpPublic(theirs.spki);
      const PkeyContext context(EVP_PKEY_CTX_new(pair.get(), nullptr));
      Buffer expected(keyRow(type)->bytes);
      size_t length = expected.size();
      REQUIRE(EVP_PKEY_derive_init(context.get()) == 1);
      REQUIRE(EVP_PKEY_derive_set_peer(context.get(), peer.get()) == 1);
      REQUIRE(EVP_PKEY_derive(context.get(), expected.data(), &length) == 1);
      CHECK(toHex(z) == toHex(expected));
      CHECK(toHex(back) == toHex(expected));
    }
  }
}

TEST_CASE("ec: agreement refuses peers off the curve, at infinity, compressed or of another curve") {
  const TestPair& pair = testPair(KeyType::EC_P256);
  const Buffer point = pointOf(pair.spki);
  const auto with = [&](const Buffer& peer) {
    Secret z;
    const Code code = agree(KeyType::EC_P256, pair.stored, peer, &z);
    CHECK(z.empty() == (code != Code::OK));
    return code;
  };
  CHECK(with(point) == Code::OK);
  Buffer off = point, compressed(point.begin(), point.begin() + 33);
  off[40] ^= 1;
  compressed[0] = 2;
  for (const Buffer& bad : {off, spkiOf(KeyType::EC_P256, off), compressed, spkiOf(KeyType::EC_P256, compressed), hex("00"), Buffer{},
                            spkiOf(KeyType::EC_P256, hex("00")), testPair(KeyType::EC_P384).spki, testPair(KeyType::X25519).spki,
                            Buffer(65, 0), concat({point, hex("00")})}) {
    CHECK(with(bad) == Code::KEY_INVALID);
  }
  Secret z;
  CHECK(agree(KeyType::ED25519, testPair(KeyType::ED25519).stored, testPair(KeyType::ED25519).spki, &z) == Code::KEY_USAGE_DENIED);
  CHECK(agree(KeyType::RSA_2048, known::kRsaPrivate, pair.spki, &z) == Code::KEY_USAGE_DENIED);
  CHECK(agree(KeyType::AES_256, pair.stored, pair.spki, &z) == Code::KEY_USAGE_DENIED);
}
