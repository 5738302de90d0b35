// RSA keys: generation, and what an import refuses and why.
#include "key_fixtures.h"

#include <functional>

#include "core/key_der.h"
#include "core/selftest_asym_known.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr KeyType kType = KeyType::RSA_2048;

// A private key as numbers, to be changed and packed again.
struct Numbers {
  Bn n, e, d, p, q, dp, dq, qi;
  BnContext context{BN_CTX_new()};

  explicit Numbers(Bytes pkcs1 = known::kRsaPrivate) {
    RsaPrivateParts parts;
    REQUIRE(readRsaPrivateKey(pkcs1, &parts));
    n = publicNumber(parts.n), e = publicNumber(parts.e), d = publicNumber(parts.d), p = publicNumber(parts.p), q = publicNumber(parts.q);
    dp = publicNumber(parts.dp), dq = publicNumber(parts.dq), qi = publicNumber(parts.qi);
  }
  // Everything but p, q and e, so that only these can be at fault.
  void derive() {
    const Bn one(BN_dup(BN_value_one())), p1(BN_dup(p.get())), q1(BN_dup(q.get())), phi(BN_new());
    REQUIRE(BN_sub_word(p1.get(), 1));
    REQUIRE(BN_sub_word(q1.get(), 1));
    REQUIRE(BN_mul(phi.get(), p1.get(), q1.get(), context.get()));
    REQUIRE(BN_mul(n.get(), p.get(), q.get(), context.get()));
    REQUIRE(BN_mod_inverse(d.get(), e.get(), phi.get(), context.get()));
    REQUIRE(BN_mod(dp.get(), d.get(), p1.get(), context.get()));
    REQUIRE(BN_mod(dq.get(), d.get(), q1.get(), context.get()));
    REQUIRE(BN_mod_inverse(qi.get(), q.get(), p.get(), context.get()));
  }
  Buffer pkcs1() const {
    const auto bytes = [](const Bn& number) {
      Buffer out(static_cast<size_t>(BN_num_bytes(number.get())));
      BN_bn2bin(number.get(), out.data());
      return out;
    };
    const Buffer parts[] = {bytes(n), bytes(e), bytes(d), bytes(p), bytes(q), bytes(dp), bytes(dq), bytes(qi)};
    Buffer buffer(4096);
    DerWriter writer(buffer);
    writeRsaPrivateKey({parts[0], parts[1], parts[2], parts[3], parts[4], parts[5], parts[6], parts[7]}, &writer);
    const Bytes result = writer.result();
    return Buffer(result.begin(), result.end());
  }
};

Buffer pkcs8Of(Bytes pkcs1) {
  return element(der::kSequence, {hex("020100"), keyRow(kType)->algorithm, element(der::kOctetString, {pkcs1})});
}

Imported importOf(const Numbers& numbers, KeyType type = kType) { return imported(type, MaterialFormat::PKCS8, pkcs8Of(numbers.pkcs1())); }

// The key with one change.
Imported changed(const std::function<void(Numbers&)>& change) {
  Numbers numbers;
  change(numbers);
  return importOf(numbers);
}

Imported publicImport(KeyType type, const Bn& n, const std::string& e) {
  Buffer modulus(static_cast<size_t>(BN_num_bytes(n.get()))), publicKey, spki;
  BN_bn2bin(n.get(), modulus.data());
  writeRsaPublicKey({.n = modulus, .e = hex(e)}, &publicKey);
  writePublicKeyInfo(keyRow(type)->algorithm, publicKey, &spki);
  return imported(type, MaterialFormat::SPKI_PUBLIC, spki);
}

Buffer generatedPkcs1(int bits, BN_ULONG e) {
  const RsaKey key(RSA_new());
  const Bn exponent(BN_new());
  REQUIRE(BN_set_word(exponent.get(), e));
  REQUIRE(RSA_generate_key_ex(key.get(), bits, exponent.get(), nullptr) == 1);
  uint8_t* der = nullptr;
  const int length = i2d_RSAPrivateKey(key.get(), &der);
  REQUIRE(length > 0);
  Buffer out(der, der + length);
  OPENSSL_free(der);
  return out;
}

}  // namespace

TEST_CASE("rsa: a good key comes in as it is, from our hand or libcrypto's, with any good exponent") {
  const Imported got = imported(kType, MaterialFormat::PKCS8, pkcs8Of(known::kRsaPrivate));
  REQUIRE_MESSAGE(got.code == Code::OK, got.detail);
  CHECK(toHex(got.stored) == toHex(known::kRsaPrivate));
  CHECK(importOf(Numbers()).code == Code::OK);
  CHECK(EVP_PKEY_eq(evpPrivate(kType, got.stored, got.spki).get(), evpPublic(got.spki).get()) == 1);
  const Imported other = imported(kType, MaterialFormat::PKCS8, pkcs8Of(generatedPkcs1(2048, 0xfffffffb)));
  CHECK_MESSAGE(other.code == Code::OK, other.detail);
}

TEST_CASE("rsa: q may be the larger prime") {
  Numbers numbers;
  std::swap(numbers.p, numbers.q);
  numbers.derive();
  const Imported got = importOf(numbers);
  REQUIRE_MESSAGE(got.code == Code::OK, got.detail);
  const SignOptions how{.type = kType, .scheme = KeyScheme::RSA_PKCS1};
  Buffer signature;
  REQUIRE(sign(how, got.stored, text("sample"), &signature) == Code::OK);
  CHECK(toHex(signature) == toHex(known::kRsaPkcs1Signature));
}

TEST_CASE("rsa: the modulus has exactly the type's bits") {
  const Numbers numbers;
  checkRefused(importOf(numbers, KeyType::RSA_3072), "number of bits");
  checkRefused(importOf(numbers, KeyType::RSA_4096), "number of bits");
  checkRefused(importOf(Numbers(generatedPkcs1(1024, 65537))), "number of bits");
  checkRefused(importOf(Numbers(generatedPkcs1(2056, 65537))), "number of bits");
  checkRefused(changed([](Numbers& x) { BN_rshift1(x.n.get(), x.n.get()); }), "number of bits");
  checkRefused(changed([](Numbers& x) { BN_clear_bit(x.n.get(), 0); }), "modulus is even");
  CHECK(publicImport(kType, numbers.n, "010001").code == Code::OK);
  checkRefused(publicImport(KeyType::RSA_3072, numbers.n, "010001"), "number of bits");
}

TEST_CASE("rsa: the public exponent is odd, above 2^16 and within 64 bits") {
  const struct {
    const char *e, *words;
  } rows[] = {{"010002", "even"}, {"03", "65536"}, {"01", "65536"}, {"ffff", "65536"}, {"010000000000000001", "64 bits"}, {"00", "even"}};
  const Numbers numbers;
  for (const auto& row : rows) {
    CAPTURE(row.e);
    checkRefused(publicImport(kType, numbers.n, row.e), row.words);
    checkRefused(changed([&](Numbers& x) { x.e = publicNumber(hex(row.e)); }), row.words);
  }
  CHECK(publicImport(kType, numbers.n, "ffffffffffffffff").code == Code::OK);
}

TEST_CASE("rsa: the primes are two, of half the bits, apart, and make the modulus") {
  checkRefused(changed([](Numbers& x) { BN_copy(x.q.get(), x.p.get()); }), "the same");
  checkRefused(changed([](Numbers& x) {
                 BN_copy(x.q.get(), x.p.get());
                 BN_add_word(x.q.get(), 2);
               }),
               "too close");
  checkRefused(changed([](Numbers& x) { BN_rshift1(x.p.get(), x.p.get()); }), "half");
  checkRefused(changed([](Numbers& x) { BN_lshift1(x.q.get(), x.q.get()); }), "half");
  checkRefused(changed([](Numbers& x) { BN_sub_word(x.q.get(), 2); }), "product");
  checkRefused(changed([](Numbers& x) { BN_sub_word(x.n.get(), 2); }), "product");
  checkRefused(changed([](Numbers& x) {  // 1 * n
                 BN_one(x.p.get());
                 BN_copy(x.q.get(), x.n.get());
               }),
               "half");
}

TEST_CASE("rsa: the private exponent and the CRT values belong to the primes") {
  checkRefused(changed([](Numbers& x) { BN_add_word(x.dp.get(), 1); }), "first CRT exponent");
  checkRefused(changed([](Numbers& x) { BN_add(x.dp.get(), x.dp.get(), x.p.get()); }), "first CRT exponent");
  checkRefused(changed([](Numbers& x) { BN_sub_word(x.dq.get(), 1); }), "second CRT exponent");
  checkRefused(changed([](Numbers& x) { BN_copy(x.dq.get(), x.dp.get()); }), "second CRT exponent");
  checkRefused(changed([](Numbers& x) { BN_add_word(x.qi.get(), 1); }), "CRT coefficient");
  checkRefused(changed([](Numbers& x) { BN_add(x.qi.get(), x.qi.get(), x.p.get()); }), "CRT coefficient");
  checkRefused(changed([](Numbers& x) { BN_zero(x.qi.get()); }), "CRT coefficient");
  checkRefused(changed([](Numbers& x) { BN_add(x.d.get(), x.d.get(), x.n.get()); }), "private exponent is out of range");
  checkRefused(changed([](Numbers& x) { BN_set_word(x.d.get(), 65537); }), "private exponent is out of range");
  // d and its CRT parts agree with one another and not with e.
  checkRefused(changed([](Numbers& x) {
                 const Bn p1(BN_dup(x.p.get())), q1(BN_dup(x.q.get()));
                 BN_sub_word(p1.get(), 1);
                 BN_sub_word(q1.get(), 1);
                 BN_sub_word(x.d.get(), 2);
                 BN_mod(x.dp.get(), x.d.get(), p1.get(), x.context.get());
                 BN_mod(x.dq.get(), x.d.get(), q1.get(), x.context.get());
               }),
               "does not invert");
}

TEST_CASE("rsa: composite primes are found, in either place, when everything else fits") {
  for (const bool first : {true, false}) {
    CAPTURE(first);
    Numbers numbers;
    Bn& victim = first ? numbers.p : numbers.q;
    Bn a(BN_new()), b(BN_new()), one(BN_new());
    // Two primes of half its bits, until e has an inverse and the modulus its length.
    do {
      REQUIRE(BN_generate_prime_ex(a.get(), 512, 0, nullptr, nullptr, nullptr));
      REQUIRE(BN_generate_prime_ex(b.get(), 512, 0, nullptr, nullptr, nullptr));
      REQUIRE(BN_mul(victim.get(), a.get(), b.get(), numbers.context.get()));
      REQUIRE(BN_copy(one.get(), victim.get()));
      REQUIRE(BN_sub_word(one.get(), 1));
      REQUIRE(BN_mul(numbers.n.get(), numbers.p.get(), numbers.q.get(), numbers.context.get()));
    } while (BN_mod_word(one.get(), 65537) == 0 || BN_num_bits(victim.get()) != 1024 || BN_num_bits(numbers.n.get()) != 2048);
    numbers.derive();
    checkRefused(importOf(numbers), first ? "first prime is composite" : "second prime is composite");
  }
}

TEST_CASE("rsa: RSAPrivateKey, RSAPublicKey and their containers are strict") {
  const Buffer good(known::kRsaPrivate.begin(), known::kRsaPrivate.end());
  const auto inner = [&](const Buffer& pkcs1) { return imported(kType, MaterialFormat::PKCS8, pkcs8Of(pkcs1)); };
  REQUIRE(inner(good).code == Code::OK);
  Buffer multi = good;
  REQUIRE(multi[4] == 0x02);  // the version, after the sequence's header of four
  multi[6] = 1;
  checkRefused(inner(multi), "strict DER of two primes");
  checkRefused(inner(concat({good, hex("00")})), "strict DER");
  checkRefused(inner(Buffer(good.begin(), good.end() - 1)), "strict DER");
  checkRefused(inner(element(der::kSequence, {Bytes(good).subspan(4), hex("020101")})), "strict DER");
  checkRefused(imported(kType, MaterialFormat::PKCS8, concat({pkcs8Of(good), hex("00")})), "strict DER");
  checkRefused(imported(kType, MaterialFormat::PKCS8, good), "strict DER");
  const Buffer withoutNull = hex("300b06092a864886f70d010101");
  checkRefused(
      imported(kType, MaterialFormat::PKCS8, element(der::kSequence, {hex("020100"), withoutNull, element(der::kOctetString, {good})})),
      "another type");
  std::string detail;
  Secret stored;
  Buffer spki;
  CHECK(importKey(kType, MaterialFormat::RAW, good, &stored, &spki, &detail) == Code::BAD_REQUEST);
  CHECK(stored.empty());
}

TEST_CASE("rsa: generated keys pass their own import and libcrypto's check") {
  for (const KeyType type : {KeyType::RSA_2048, KeyType::RSA_3072, KeyType::RSA_4096}) {
    CAPTURE(static_cast<int>(type));
    const TestPair& pair = testPair(type);
    const Secret pkcs8 = exported(type, pair.stored, pair.spki);
    const Imported got = imported(type, MaterialFormat::PKCS8, pkcs8);
    CHECK_MESSAGE(got.code == Code::OK, got.detail);
    CHECK(got.spki == pair.spki);
    const Pkey theirs = evpPrivate(type, pair.stored, pair.spki);
    const PkeyContext context(EVP_PKEY_CTX_new(theirs.get(), nullptr));
    if (type == KeyType::RSA_2048) CHECK(EVP_PKEY_check(context.get()) == 1);
  }
}
