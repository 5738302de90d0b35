// Key wrap, CBC and CTR against their standards' examples and Wycheproof.
#include <algorithm>

#include "core/symmetric.h"
#include "wycheproof.h"

using namespace quorate;
using namespace quorate::test;

namespace {

const Buffer kSp80038a =
    hex("6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52eff69f2445df4f9b17ad2b417be66c3710");

Buffer wrapped(const Buffer& kek, bool padded, const Buffer& in) {
  Buffer out((in.size() + 7) / 8 * 8 + 8);
  size_t written = 0;
  REQUIRE(aesWrap(kek, padded, in, out, &written) == Code::OK);
  CHECK(written == out.size());
  return out;
}

// The code; an output that did not come out must be zeros.
Code unwrap(const Buffer& kek, bool padded, const Buffer& in, Buffer* out) {
  *out = Buffer(in.size() < 8 ? 0 : in.size() - 8, 0xff);
  size_t written = 0;
  const Code code = aesUnwrap(kek, padded, in, *out, &written);
  if (code == Code::OK) out->resize(written);
  else if (in.size() % 8 == 0 && in.size() >= 24) CHECK(*out == Buffer(out->size(), 0));
  return code;
}

}  // namespace

TEST_CASE("key wrap: RFC 3394, 4.1 and 4.6; RFC 5649, 6") {
  const Buffer data = hex("00112233445566778899aabbccddeeff");
  CHECK(toHex(wrapped(hex("000102030405060708090a0b0c0d0e0f"), false, data)) == "1fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5");
  CHECK(toHex(wrapped(hex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"), false, hex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f"))) ==
        "28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
  const Buffer kek = hex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
  CHECK(toHex(wrapped(kek, true, hex("c37b7e6492584340bed12207808941155068f738"))) == "138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a");
  CHECK(toHex(wrapped(kek, true, hex("466f7250617369"))) == "afbeb0f07dfbf5419200f2ccb50bb24f");
}

TEST_CASE("key wrap: every length, and every changed byte") {
  const Buffer kek = pattern(32, 1);
  Buffer out;
  for (size_t n = 1; n <= 100; n++) {
    CAPTURE(n);
    const Buffer in = pattern(n, 2);
    CHECK(unwrap(kek, true, wrapped(kek, true, in), &out) == Code::OK);
    CHECK(out == in);
    size_t written = 0;
    Buffer room(200);
    if (n % 8 != 0 || n < 16) CHECK(aesWrap(kek, false, in, room, &written) == Code::BAD_REQUEST);
    else CHECK(unwrap(kek, false, wrapped(kek, false, in), &out) == Code::OK);
  }
  for (bool padded : {false, true}) {
    const Buffer good = wrapped(kek, padded, pattern(32, 3));
    for (size_t i = 0; i < good.size(); i++) {
      Buffer changed = good;
      changed[i] ^= 0x20;
      CHECK(unwrap(kek, padded, changed, &out) == Code::CIPHERTEXT_INVALID);
    }
    CHECK(unwrap(kek, !padded, good, &out) == Code::CIPHERTEXT_INVALID);
    CHECK(unwrap(pattern(32, 4), padded, good, &out) == Code::CIPHERTEXT_INVALID);
    for (size_t n = 0; n < good.size(); n++) CHECK(unwrap(kek, padded, Buffer(good.begin(), good.begin() + ptrdiff_t(n)), &out) == Code::CIPHERTEXT_INVALID);
  }
  size_t written = 0;
  Buffer small(8);
  CHECK(aesWrap(Buffer(20), false, pattern(16), out, &written) == Code::KEY_INVALID);
  CHECK(aesUnwrap(Buffer(20), false, pattern(24), out, &written) == Code::KEY_INVALID);
  CHECK(aesWrap(kek, true, {}, out, &written) == Code::BAD_REQUEST);
  CHECK(aesWrap(kek, false, pattern(16), small, &written) == Code::INTERNAL);
  CHECK(aesUnwrap(kek, false, pattern(24), small, &written) == Code::INTERNAL);
}

TEST_CASE("wycheproof: key wrap with and without padding" * doctest::skip(wycheproofAbsent())) {
  for (bool padded : {false, true}) {
    wycheproof(padded ? "aes_kwp_test.json" : "aes_wrap_test.json", [&](const Vector& v) {
      const Buffer kek = v.bytes("key"), message = v.bytes("msg"), expected = v.bytes("ct");
      Buffer out;
      const Code code = unwrap(kek, padded, expected, &out);
      CHECK((code == Code::OK) == (v.valid() || (v.acceptable() && code == Code::OK)));
      if (code == Code::OK) CHECK(out == message);
      if (v.valid()) CHECK(wrapped(kek, padded, message) == expected);
    });
  }
}

TEST_CASE("cbc: SP 800-38A, F.2.1 and F.2.5, with PKCS#7 after it") {
  const Buffer iv = hex("000102030405060708090a0b0c0d0e0f");
  Buffer out(80);
  size_t written = 0;
  REQUIRE(aesCbcEncrypt(hex("2b7e151628aed2a6abf7158809cf4f3c"), iv.data(), kSp80038a, out, &written) == Code::OK);
  CHECK(written == 80);
  CHECK(toHex(Bytes(out).first(64)) == "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e222295163ff1caa1681fac09120eca307586e1a7");
  REQUIRE(aesCbcEncrypt(hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4"), iv.data(), kSp80038a, out, &written) == Code::OK);
  CHECK(toHex(Bytes(out).first(64)) == "f58c4c04d6e5f1ba779eabfb5f7bfbd69cfc4e967edb808d679f777bc6702c7d39f23369a9d9bacfa530e26304231461b2eb05e2c39be9fcda6c19078c6a9d1b");
}

TEST_CASE("cbc: every length, in place, and every bad padding") {
  const Buffer keyMaterial = pattern(24, 1), iv = pattern(16, 2);
  for (size_t n = 0; n <= 65; n++) {
    CAPTURE(n);
    const Buffer in = pattern(n, 3);
    Buffer out(n / 16 * 16 + 16);
    size_t written = 0;
    REQUIRE(aesCbcEncrypt(keyMaterial, iv.data(), in, out, &written) == Code::OK);
    CHECK(written == out.size());
    REQUIRE(aesCbcDecrypt(keyMaterial, iv.data(), out, out, &written) == Code::OK);
    CHECK(written == n);
    CHECK(std::equal(in.begin(), in.end(), out.begin()));
    CHECK(Buffer(out.begin() + ptrdiff_t(n), out.end()) == Buffer(out.size() - n, 0));
  }
  // One block whose plaintext is `block`: what it decrypts to is steered by the IV.
  const auto code = [&](const Buffer& block) {
    const Buffer zeros(16, 0);
    Buffer sealed(32), plain(32), shifted(16), out(16);
    size_t written = 0;
    REQUIRE(aesCbcEncrypt(keyMaterial, zeros.data(), Buffer(16, 9), sealed, &written) == Code::OK);
    for (size_t i = 0; i < 16; i++) shifted[i] = 9 ^ block[i];
    const Code result = aesCbcDecrypt(keyMaterial, shifted.data(), Bytes(sealed).first(16), out, &written);
    if (result != Code::OK) CHECK(out == zeros);
    return result;
  };
  for (int last = 0; last < 256; last++) {
    Buffer block(16, uint8_t(last));
    CHECK(code(block) == (last >= 1 && last <= 16 ? Code::OK : Code::CIPHERTEXT_INVALID));
    for (int i = 16 - last; last >= 1 && last <= 16 && i < 15; i++) {
      Buffer broken = block;
      broken[size_t(i)] ^= 0x80;
      CHECK(code(broken) == Code::CIPHERTEXT_INVALID);
    }
  }
  Buffer out(64);
  size_t written = 0;
  for (size_t n : {0, 1, 15, 17, 31}) CHECK(aesCbcDecrypt(keyMaterial, iv.data(), pattern(n), out, &written) == Code::CIPHERTEXT_INVALID);
  CHECK(aesCbcDecrypt(Buffer(17), iv.data(), pattern(16), out, &written) == Code::KEY_INVALID);
  CHECK(aesCbcEncrypt(Buffer(17), iv.data(), pattern(16), out, &written) == Code::KEY_INVALID);
  CHECK(aesCbcEncrypt(keyMaterial, iv.data(), pattern(64), out, &written) == Code::INTERNAL);
  CHECK(aesCbcDecrypt(keyMaterial, iv.data(), pattern(80), out, &written) == Code::INTERNAL);
}

TEST_CASE("wycheproof: CBC with PKCS#7" * doctest::skip(wycheproofAbsent())) {
  wycheproof("aes_cbc_pkcs5_test.json", [](const Vector& v) {
    const Buffer keyMaterial = v.bytes("key"), iv = v.bytes("iv"), message = v.bytes("msg"), expected = v.bytes("ct");
    Buffer out(expected.size());
    size_t written = 0;
    const Code code = aesCbcDecrypt(keyMaterial, iv.data(), expected, out, &written);
    CHECK((code == Code::OK) == v.valid());
    if (!v.valid()) return;
    out.resize(written);
    CHECK(out == message);
    Buffer sealed(message.size() / 16 * 16 + 16);
    REQUIRE(aesCbcEncrypt(keyMaterial, iv.data(), message, sealed, &written) == Code::OK);
    CHECK(sealed == expected);
  });
}

TEST_CASE("ctr: SP 800-38A, F.5.1 and F.5.5; the counter carries over all 16 bytes") {
  const Buffer counter = hex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
  Buffer out(64);
  REQUIRE(aesCtr(hex("2b7e151628aed2a6abf7158809cf4f3c"), counter.data(), kSp80038a, out) == Code::OK);
  CHECK(toHex(out) == "874d6191b620e3261bef6864990db6ce9806f66b7970fdff8617187bb9fffdff5ae4df3edbd5d35e5b4f09020db03eab1e031dda2fbe03d1792170a0f3009cee");
  const Buffer k256 = hex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
  REQUIRE(aesCtr(k256, counter.data(), kSp80038a, out) == Code::OK);
  CHECK(toHex(out) == "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988ddfc9c58db67aada613c2dd08457941a6");
  REQUIRE(aesCtr(k256, counter.data(), Bytes(out).first(37), out) == Code::OK);  // in place, not a whole block
  CHECK(std::equal(out.begin(), out.begin() + 37, kSp80038a.begin()));
  // After ff..ff comes 00..00.
  Buffer wrapping(32), after(16);
  REQUIRE(aesCtr(k256, Buffer(16, 0xff).data(), Buffer(32, 0), wrapping) == Code::OK);
  REQUIRE(aesCtr(k256, Buffer(16, 0).data(), Buffer(16, 0), after) == Code::OK);
  CHECK(Buffer(wrapping.begin() + 16, wrapping.end()) == after);
  CHECK(aesCtr(Buffer(8), counter.data(), kSp80038a, out) == Code::KEY_INVALID);
  CHECK(aesCtr(k256, counter.data(), Buffer(65), out) == Code::INTERNAL);
}
