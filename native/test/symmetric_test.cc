// Hashes, MACs and key derivation against their standards' examples and Wycheproof.
#include "core/symmetric.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>

#include "wycheproof.h"

using namespace quorate;
using namespace quorate::test;

namespace {

std::string digestHex(Hash hash, const Buffer& in) {
  Buffer out(hashBytes(hash));
  REQUIRE(digest(hash, in, out.data()) == Code::OK);
  return toHex(out);
}

Buffer hmacOf(Hash hash, const Buffer& keyMaterial, const Buffer& in) {
  Buffer out(hashBytes(hash));
  REQUIRE(hmac(hash, keyMaterial, in, out.data()) == Code::OK);
  return out;
}

Buffer hkdfOf(Hash hash, const Buffer& keyMaterial, const Buffer& salt, const Buffer& info, size_t n) {
  Buffer out(n);
  REQUIRE(hkdf(hash, keyMaterial, salt, info, out) == Code::OK);
  return out;
}

Buffer cmacOf(const Buffer& keyMaterial, const Buffer& in) {
  Buffer out(16);
  REQUIRE(aesCmac(keyMaterial, in, out.data()) == Code::OK);
  return out;
}

constexpr Hash kHashes[] = {Hash::SHA_1, Hash::SHA_224, Hash::SHA_256, Hash::SHA_384, Hash::SHA_512};

}  // namespace

TEST_CASE("hash: FIPS 180-4's 'abc'") {
  const Buffer abc = text("abc");
  CHECK(digestHex(Hash::SHA_1, abc) == "a9993e364706816aba3e25717850c26c9cd0d89d");
  CHECK(digestHex(Hash::SHA_224, abc) == "23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
  CHECK(digestHex(Hash::SHA_256, abc) == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(digestHex(Hash::SHA_384, abc) ==
        "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
  CHECK(digestHex(Hash::SHA_512, abc) ==
        "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");
  CHECK(digestHex(Hash::SHA_256, {}) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  uint8_t out[64];
  CHECK(hashBytes(Hash::HASH_UNSPECIFIED) == 0);
  CHECK(digest(Hash::HASH_UNSPECIFIED, abc, out) == Code::BAD_REQUEST);
  CHECK(hmac(Hash::HASH_UNSPECIFIED, abc, abc, out) == Code::BAD_REQUEST);
}

TEST_CASE("hmac: RFC 4231 cases 1, 2 and 6, RFC 2202 case 1") {
  const Buffer hi = text("Hi There"), what = text("what do ya want for nothing?");
  CHECK(toHex(hmacOf(Hash::SHA_1, Buffer(20, 0x0b), hi)) == "b617318655057264e28bc0b6fb378c8ef146be00");
  CHECK(toHex(hmacOf(Hash::SHA_256, Buffer(20, 0x0b), hi)) == "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
  CHECK(toHex(hmacOf(Hash::SHA_224, text("Jefe"), what)) == "a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44");
  CHECK(toHex(hmacOf(Hash::SHA_384, text("Jefe"), what)) ==
        "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
  CHECK(toHex(hmacOf(Hash::SHA_256, Buffer(131, 0xaa), text("Test Using Larger Than Block-Size Key - Hash Key First"))) ==
        "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54");
}

TEST_CASE("hmac: the prepared state gives the same at every length, however it is split") {
  for (size_t keyBytes : {0, 1, 32, 64, 65, 200}) {
    const Buffer keyMaterial = pattern(keyBytes, 3);
    HmacSha256State state;
    hmacSha256Prepare(keyMaterial, &state);
    for (size_t n = 0; n < 260; n++) {
      CAPTURE(n);
      const Buffer in = pattern(n, 4), expected = hmacOf(Hash::SHA_256, keyMaterial, in);
      for (size_t split : {size_t(0), n / 3, n}) {
        Buffer out(32);
        hmacSha256(state, Bytes(in).first(split), Bytes(in).subspan(split), out.data());
        REQUIRE(out == expected);
      }
    }
  }
}

TEST_CASE("hkdf: RFC 5869, A.1 to A.4") {
  CHECK(toHex(hkdfOf(Hash::SHA_256, Buffer(22, 0x0b), hex("000102030405060708090a0b0c"), hex("f0f1f2f3f4f5f6f7f8f9"), 42)) ==
        "3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
  CHECK(toHex(hkdfOf(Hash::SHA_256, Buffer(22, 0x0b), {}, {}, 42)) ==
        "8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8");
  CHECK(toHex(hkdfOf(Hash::SHA_1, Buffer(11, 0x0b), hex("000102030405060708090a0b0c"), hex("f0f1f2f3f4f5f6f7f8f9"), 42)) ==
        "085a01ea1b10f36933068b56efa5ad81a4f14b822f5b091568a9cdd4f155fda2c22e422478d305f3f896");
}

TEST_CASE("hkdf: up to 255 blocks") {
  for (Hash hash : kHashes) {
    Buffer most(255 * hashBytes(hash)), over(most.size() + 1);
    CHECK(hkdf(hash, text("k"), {}, {}, most) == Code::OK);
    CHECK(hkdf(hash, text("k"), {}, {}, over) == Code::INPUT_TOO_LONG);
    CHECK(Buffer(most.end() - 16, most.end()) != Buffer(16, 0));
  }
  Buffer out(32);
  CHECK(hkdf(Hash::HASH_UNSPECIFIED, text("k"), {}, {}, out) == Code::BAD_REQUEST);
}

TEST_CASE("scrypt: RFC 7914, 12; and what it refuses") {
  Buffer out(64);
  REQUIRE(scrypt({}, {}, 4, 1, 1, out) == Code::OK);
  CHECK(toHex(out) == "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906");
  REQUIRE(scrypt(text("password"), text("NaCl"), 10, 8, 16, out) == Code::OK);
  CHECK(toHex(out) == "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb94a83ee6d8360cbdfa2cc0640");
  CHECK(scrypt(text("p"), text("s"), 0, 8, 1, out) == Code::BAD_REQUEST);
  CHECK(scrypt(text("p"), text("s"), 64, 8, 1, out) == Code::BAD_REQUEST);
  CHECK(scrypt(text("p"), text("s"), 18, 8, 1, out) == Code::BAD_REQUEST);  // 256 MiB and a little
  CHECK(scrypt(text("p"), text("s"), 4, 0, 1, out) == Code::BAD_REQUEST);
  CHECK(scrypt(text("p"), text("s"), 4, 8, 0, out) == Code::BAD_REQUEST);
  CHECK(scrypt(text("p"), text("s"), 4, 8, 1, {}) == Code::BAD_REQUEST);
  CHECK(scrypt(text("p"), text("s"), limits::scrypt_log2_n, limits::scrypt_r, limits::scrypt_p, out) == Code::OK);
}

TEST_CASE("cmac: RFC 4493, 4; SP 800-38B for AES-192 and AES-256") {
  const Buffer message =
      hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");
  const auto first = [&](size_t n) { return Buffer(message.begin(), message.begin() + ptrdiff_t(n)); };
  const Buffer k128 = hex("2b7e151628aed2a6abf7158809cf4f3c");
  CHECK(toHex(cmacOf(k128, {})) == "bb1d6929e95937287fa37d129b756746");
  CHECK(toHex(cmacOf(k128, first(16))) == "070a16b46b4d4144f79bdd9dd04a287c");
  CHECK(toHex(cmacOf(k128, first(40))) == "dfa66747de9ae63030ca32611497c827");
  CHECK(toHex(cmacOf(k128, message)) == "51f0bebf7e3b9d92fc49741779363cfe");
  CHECK(toHex(cmacOf(hex("8e73b0f7da0e6452c810f32b809079e562f8ead2522c6b7b"), first(40))) == "8a1de5be2eb31aad089a82e6ee908b0e");
  CHECK(toHex(cmacOf(hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"), message)) == "e1992190549f6ed5696a2c056c315410");
  uint8_t out[16];
  CHECK(aesCmac(Buffer(15), message, out) == Code::KEY_INVALID);
}

TEST_CASE("cmac: long messages as libcrypto's own") {
  const Buffer keyMaterial = pattern(32, 5);
  EVP_MAC* mac = EVP_MAC_fetch(nullptr, "CMAC", nullptr);
  for (size_t n : {1023, 1024, 1025, 1039, 1040, 1041, 2048, 5000}) {
    CAPTURE(n);
    const Buffer in = pattern(n, 6);
    Buffer expected(16);
    EVP_MAC_CTX* context = EVP_MAC_CTX_new(mac);
    char cipher[] = "AES-256-CBC";
    const OSSL_PARAM params[] = {OSSL_PARAM_construct_utf8_string("cipher", cipher, 0), OSSL_PARAM_construct_end()};
    size_t length = 0;
    REQUIRE(EVP_MAC_init(context, keyMaterial.data(), keyMaterial.size(), params) == 1);
    EVP_MAC_update(context, in.data(), in.size());
    EVP_MAC_final(context, expected.data(), &length, expected.size());
    EVP_MAC_CTX_free(context);
    CHECK(cmacOf(keyMaterial, in) == expected);
  }
  EVP_MAC_free(mac);
}

TEST_CASE("wycheproof: HMAC" * doctest::skip(wycheproofAbsent())) {
  for (const auto& [file, hash] : {std::pair{"hmac_sha256_test.json", Hash::SHA_256}, {"hmac_sha384_test.json", Hash::SHA_384}, {"hmac_sha512_test.json", Hash::SHA_512}}) {
    wycheproof(file, [&, hash = hash](const Vector& v) {
      Buffer tag = hmacOf(hash, v.bytes("key"), v.bytes("msg"));
      tag.resize(v.number("tagSize") / 8);
      CHECK((tag == v.bytes("tag")) == v.valid());
    });
  }
}

TEST_CASE("wycheproof: HKDF" * doctest::skip(wycheproofAbsent())) {
  for (const auto& [file, hash] : {std::pair{"hkdf_sha256_test.json", Hash::SHA_256}, {"hkdf_sha384_test.json", Hash::SHA_384}, {"hkdf_sha512_test.json", Hash::SHA_512}}) {
    wycheproof(file, [&, hash = hash](const Vector& v) {
      Buffer out(v.number("size"));
      const Code code = hkdf(hash, v.bytes("ikm"), v.bytes("salt"), v.bytes("info"), out);
      CHECK((code == Code::OK) == v.valid());
      if (v.valid()) CHECK(out == v.bytes("okm"));
    });
  }
}

TEST_CASE("wycheproof: CMAC" * doctest::skip(wycheproofAbsent())) {
  wycheproof("aes_cmac_test.json", [](const Vector& v) {
    const Buffer keyMaterial = v.bytes("key");
    if (keyMaterial.size() != 16 && keyMaterial.size() != 24 && keyMaterial.size() != 32) {
      uint8_t out[16];
      CHECK(aesCmac(keyMaterial, v.bytes("msg"), out) == Code::KEY_INVALID);
      return;
    }
    Buffer tag = cmacOf(keyMaterial, v.bytes("msg"));
    tag.resize(v.number("tagSize") / 8);
    CHECK((tag == v.bytes("tag")) == v.valid());
  });
}
