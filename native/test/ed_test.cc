// Ed25519 and X25519: the RFCs' vectors, libcrypto as a second opinion, and what an import refuses.
#include "key_fixtures.h"

#include "core/key_der.h"
#include "core/selftest_asym_known.h"

using namespace quorate;
using namespace quorate::test;

namespace {

const SignOptions kPure{.type = KeyType::ED25519, .scheme = KeyScheme::EDDSA};

Buffer spkiOf(KeyType type, Bytes octets) {
  Buffer spki;
  writePublicKeyInfo(keyRow(type)->algorithm, octets, &spki);
  return spki;
}

Imported publicOf(KeyType type, const std::string& octets) {
  return imported(type, MaterialFormat::SPKI_PUBLIC, spkiOf(type, hex(octets)));
}

Buffer pkcs8Of(KeyType type, Bytes inner, const std::string& version = "020100", const Buffer& tail = {}) {
  return element(der::kSequence, {hex(version), keyRow(type)->algorithm, element(der::kOctetString, {inner}), tail});
}

Buffer signedBy(Bytes seed, Bytes message) {
  Buffer signature;
  REQUIRE(sign(kPure, seed, message, &signature) == Code::OK);
  return signature;
}

}  // namespace

TEST_CASE("ed25519: the vectors of RFC 8032 7.1") {
  const struct {
    const char *seed, *publicKey, *message, *signature;
  } rows[] = {
      {"9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
       "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a", "",
       "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"},
      {"4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
       "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c", "72",
       "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"},
      {"c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
       "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025", "af82",
       "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a"}};
  for (const auto& row : rows) {
    const Buffer seed = hex(row.seed), message = hex(row.message);
    const Imported got = imported(KeyType::ED25519, MaterialFormat::RAW, seed);
    REQUIRE(got.code == Code::OK);
    CHECK(toHex(got.spki) == "302a300506032b6570032100" + std::string(row.publicKey));
    CHECK(toHex(signedBy(seed, message)) == row.signature);
    CHECK(verified(kPure, got.spki, message, hex(row.signature)));
    std::shared_ptr<const PreparedSigner> signer;
    Buffer prepared;
    REQUIRE(PreparedSigner::prepare(KeyType::ED25519, seed, &signer) == Code::OK);
    REQUIRE(signer->sign(kPure, message, &prepared) == Code::OK);
    CHECK(toHex(prepared) == row.signature);
  }
}

TEST_CASE("ed25519: changed, malleable and short signatures are not valid") {
  const TestPair& pair = testPair(KeyType::ED25519);
  const Buffer message = text("message"), good = signedBy(pair.stored, message);
  REQUIRE(verified(kPure, pair.spki, message, good));
  CHECK_FALSE(verified(kPure, pair.spki, text("massage"), good));
  CHECK_FALSE(verified(kPure, spkiOf(KeyType::ED25519, known::kEd25519Public), message, good));
  for (size_t i = 0; i < good.size(); i++) {
    Buffer flipped = good;
    flipped[i] ^= 1;
    CHECK_FALSE(verified(kPure, pair.spki, message, flipped));
  }
  // S + L is the same S modulo the order L.
  const Buffer order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
  Buffer malleable = good;
  unsigned carry = 0;
  for (size_t i = 0; i < 32; i++) {
    carry += unsigned{malleable[32 + i]} + order[i];
    malleable[32 + i] = static_cast<uint8_t>(carry);
    carry >>= 8;
  }
  REQUIRE(carry == 0);
  CHECK_FALSE(verified(kPure, pair.spki, message, malleable));
  for (const Buffer& bad : {Buffer{}, Buffer(good.begin(), good.end() - 1), concat({good, hex("00")})}) {
    CHECK_FALSE(verified(kPure, pair.spki, message, bad));
  }
}

TEST_CASE("ed25519: libcrypto verifies ours and we verify its") {
  const TestPair& pair = testPair(KeyType::ED25519);
  const Pkey theirs = evpPrivate(KeyType::ED25519, pair.stored, pair.spki);
  const Buffer message = pattern(1000), ours = signedBy(pair.stored, message);
  DigestContext context(EVP_MD_CTX_new());
  REQUIRE(EVP_DigestVerifyInit(context.get(), nullptr, nullptr, nullptr, theirs.get()) == 1);
  CHECK(EVP_DigestVerify(context.get(), ours.data(), ours.size(), message.data(), message.size()) == 1);
  context.reset(EVP_MD_CTX_new());
  Buffer made(64);
  size_t length = made.size();
  REQUIRE(EVP_DigestSignInit(context.get(), nullptr, nullptr, nullptr, theirs.get()) == 1);
  REQUIRE(EVP_DigestSign(context.get(), made.data(), &length, message.data(), message.size()) == 1);
  CHECK(verified(kPure, pair.spki, message, made));
  CHECK(made == ours);
}

TEST_CASE("ed25519: only its own hash, and whole messages") {
  const TestPair& pair = testPair(KeyType::ED25519);
  SignOptions how = kPure;
  Buffer signature;
  how.hash = Hash::SHA_512;
  CHECK(sign(how, pair.stored, text("m"), &signature) == Code::OK);
  how.prehashed = true;
  CHECK(sign(how, pair.stored, pattern(64), &signature) == Code::DIGEST_INVALID);
  how = kPure;
  how.hash = Hash::SHA_256;
  CHECK(sign(how, pair.stored, text("m"), &signature) == Code::DIGEST_INVALID);
  how = kPure;
  how.scheme = KeyScheme::ECDSA;
  CHECK(sign(how, pair.stored, text("m"), &signature) == Code::KEY_SCHEME_INVALID);
}

TEST_CASE("ed25519: public points are on the curve, reduced and of large order") {
  const KeyType type = KeyType::ED25519;
  CHECK(publicOf(type, toHex(known::kEd25519Public)).code == Code::OK);
  // The two halves of every random 32 bytes: about one in two is a point.
  int points = 0;
  for (uint32_t seed = 0; seed < 200; seed++) {
    Buffer y = pattern(32, seed);
    y[31] &= 0x7f;
    points += imported(type, MaterialFormat::SPKI_PUBLIC, spkiOf(type, y)).code == Code::OK;
  }
  CHECK(points > 60);
  CHECK(points < 140);
  // RFC 8032 5.1.3 decodes y = 2 to no x.
  checkRefused(publicOf(type, "02" + std::string(62, '0')), "not on the curve");
  const std::string zeros(62, '0'), ones(60, 'f');
  for (const std::string& small :
       {"00" + zeros, "01" + zeros, "01" + std::string(60, '0') + "80", "ec" + ones + "7f", "ec" + ones + "ff",
        "00" + std::string(60, '0') + "80", std::string("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
        std::string("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"),
        std::string("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
        std::string("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa")}) {
    CAPTURE(small);
    checkRefused(publicOf(type, small), "small order");
  }
  // p, p + 1 and p + 2 stand for 0, 1 and 2; only reduced forms are keys.
  for (const char* first : {"ed", "ee", "ef"}) checkRefused(publicOf(type, first + ones + "7f"), "not on the curve");
  checkRefused(publicOf(type, std::string(62, 'a')), "32 bytes");
  checkRefused(publicOf(type, std::string(66, 'a')), "32 bytes");
  checkRefused(publicOf(type, ""), "32 bytes");
}

TEST_CASE("25519: PKCS#8 as libcrypto writes it, of version 1 with the right public half, and nothing else") {
  for (const KeyType type : {KeyType::ED25519, KeyType::X25519}) {
    CAPTURE(static_cast<int>(type));
    const TestPair& pair = testPair(type);
    const Bytes publicKey = Bytes(pair.spki).last(32);
    const Buffer inner = element(der::kOctetString, {Bytes(pair.stored)});
    const auto pkcs8 = [&](const Buffer& whole) { return imported(type, MaterialFormat::PKCS8, whole); };
    const auto outside = [&](Bytes octets) { return element(der::kPublicKeyContext, {hex("00"), octets}); };

    const Pkey theirs = evpPrivate(type, pair.stored, pair.spki);
    uint8_t* written = nullptr;
    const int length = i2d_PrivateKey(theirs.get(), &written);
    REQUIRE(length > 0);
    const Buffer whole(written, written + length);
    OPENSSL_clear_free(written, static_cast<size_t>(length));
    CHECK(toHex(whole) == toHex(exported(type, pair.stored, pair.spki)));
    CHECK(pkcs8(whole).code == Code::OK);
    CHECK(pkcs8(pkcs8Of(type, inner, "020101", outside(publicKey))).code == Code::OK);

    Buffer wrong(publicKey.begin(), publicKey.end());
    wrong = type == KeyType::ED25519 ? Buffer(known::kEd25519Public.begin(), known::kEd25519Public.end()) : pattern(32);
    checkRefused(pkcs8(pkcs8Of(type, inner, "020101", outside(wrong))), "does not belong");
    checkRefused(pkcs8(pkcs8Of(type, pair.stored)), "strict DER");  // the seed without its OCTET STRING
    checkRefused(pkcs8(pkcs8Of(type, concat({inner, hex("00")}))), "strict DER");
    checkRefused(pkcs8(pkcs8Of(type, element(der::kOctetString, {Bytes(pair.stored).first(31)}))), "32 bytes");
    checkRefused(pkcs8(concat({whole, hex("00")})), "strict DER");
    checkRefused(imported(KeyType::EC_P256, MaterialFormat::PKCS8, whole), "another type");
    checkRefused(imported(type, MaterialFormat::RAW, Bytes(pair.stored).first(31)), "32 bytes");
    checkRefused(imported(type, MaterialFormat::RAW, concat({pair.stored, hex("00")})), "32 bytes");
  }
}

TEST_CASE("x25519: RFC 7748 5.2 and 6.1") {
  Secret z;
  REQUIRE(agree(KeyType::X25519, known::kX25519Scalar, known::kX25519Peer, &z) == Code::OK);
  CHECK(toHex(z) == toHex(known::kX25519Shared));
  REQUIRE(agree(KeyType::X25519, hex("a546e36bf0527c9d3b16154b82465edd62144c0ac1fc5a18506a2244ba449ac4"),
                hex("e6db6867583030db3594c1a424b15f7c726624ec26b3353b10a903a6d0ab1c4c"), &z) == Code::OK);
  CHECK(toHex(z) == "c3da55379de9c6908e94ea4df28d084f32eccf03491c71f754b4075577a28552");
  // Iterated: k becomes X25519(k, u), u the old k.
  Buffer k(32, 0), u;
  k[0] = 9;
  u = k;
  for (int i = 1; i <= 1000; i++) {
    REQUIRE(agree(KeyType::X25519, k, u, &z) == Code::OK);
    u = k;
    k.assign(z.data(), z.data() + 32);
    if (i == 1) CHECK(toHex(k) == "422c8e7a6227d7bca1350b3e2bb7279f7897b87bb6854b783c60e80311ae3079");
  }
  CHECK(toHex(k) == "684cf59ba83309552800ef566f2f4d3c1c3887c49360e3875f2eb94d99532c51");
}

TEST_CASE("x25519: an SPKI peer is as good as a raw one; small orders and wrong lengths are refused") {
  const TestPair& pair = testPair(KeyType::X25519);
  Secret raw, wrapped, none;
  REQUIRE(agree(KeyType::X25519, pair.stored, known::kX25519Peer, &raw) == Code::OK);
  REQUIRE(agree(KeyType::X25519, pair.stored, spkiOf(KeyType::X25519, known::kX25519Peer), &wrapped) == Code::OK);
  CHECK(equalConstantTime(raw, wrapped));
  const std::string zeros(62, '0'), ones(60, 'f');
  for (const std::string& small :
       {"00" + zeros, "01" + zeros, "ec" + ones + "7f", "ed" + ones + "7f", "ee" + ones + "7f", "00" + std::string(60, '0') + "80",
        std::string("e0eb7a7c3b41b8ae1656e3faf19fc46ada098deb9c32b1fd866205165f49b800"),
        std::string("5f9c95bca3508c24b1d0b1559c83ef5b04445cc4581c8e86d8224eddd09f1157")}) {
    CAPTURE(small);
    CHECK(agree(KeyType::X25519, pair.stored, hex(small), &none) == Code::KEY_INVALID);
    checkRefused(publicOf(KeyType::X25519, small), "small order");
  }
  for (const Buffer& bad :
       {Buffer{}, Buffer(31, 1), Buffer(33, 1), testPair(KeyType::ED25519).spki, spkiOf(KeyType::X25519, Buffer(31, 1))}) {
    CHECK(agree(KeyType::X25519, pair.stored, bad, &none) == Code::KEY_INVALID);
  }
  CHECK(none.empty());
}
