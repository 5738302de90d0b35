// Secret sharing: every subset of the threshold's size, nothing below it, and the text that a person types.
#include "core/shamir.h"

#include <doctest/doctest.h>

#include <algorithm>
#include <cctype>

#include "hex.h"

using namespace quorate;
using namespace quorate::test;

namespace {

std::vector<SecretPtr> split(const Buffer& secret, unsigned count, unsigned threshold) {
  std::vector<Secret> shares;
  REQUIRE(shamirSplit(secret, count, threshold, &shares) == Code::OK);
  REQUIRE(shares.size() == count);
  std::vector<SecretPtr> out;
  for (Secret& share : shares) out.push_back(std::make_shared<const Secret>(std::move(share)));
  return out;
}

Buffer combined(const std::vector<SecretPtr>& shares) {
  Secret out;
  REQUIRE(shamirCombine(shares, &out) == Code::OK);
  return Buffer(out.data(), out.data() + out.size());
}

Code combineCode(const std::vector<SecretPtr>& shares) {
  Secret out;
  const Code code = shamirCombine(shares, &out);
  CHECK((code == Code::OK) == !out.empty());
  return code;
}

SecretPtr changed(const SecretPtr& share, size_t at, uint8_t bits) {
  Secret copy;
  REQUIRE(Secret::copy(*share, &copy) == Code::OK);
  copy.data()[at] ^= bits;
  return std::make_shared<const Secret>(std::move(copy));
}

std::string textOf(Bytes share) {
  Secret text;
  REQUIRE(shareEncode(share, &text) == Code::OK);
  return std::string(text.data(), text.data() + text.size());
}

Code decode(const std::string& text, Secret* out) { return shareDecode(bytesOf(text), out); }

}  // namespace

TEST_CASE("shamir: every subset of k shares gives the secret, for every k of 6") {
  const Buffer secret = pattern(32, 11);
  for (unsigned k = 1; k <= 6; k++) {
    const auto shares = split(secret, 6, k);
    for (unsigned mask = 0; mask < 64; mask++) {
      std::vector<SecretPtr> chosen;
      for (unsigned i = 0; i < 6; i++) {
        if (mask >> i & 1) chosen.push_back(shares[i]);
      }
      if (chosen.size() < k) CHECK(combineCode(chosen) == Code::UNSEAL_FAILED);
      else CHECK(combined(chosen) == secret);
      std::reverse(chosen.begin(), chosen.end());
      if (chosen.size() >= k) CHECK(combined(chosen) == secret);
    }
  }
}

TEST_CASE("shamir: 255 of 255, and other lengths") {
  const Buffer secret = pattern(33, 12);
  auto shares = split(secret, 255, 255);
  CHECK(combined(shares) == secret);
  shares.pop_back();
  CHECK(combineCode(shares) == Code::UNSEAL_FAILED);
  for (size_t n : {size_t(1), size_t(16), size_t(100), kSharedSecretBytesMax}) CHECK(combined(split(pattern(n, 13), 3, 2)) == pattern(n, 13));
}

TEST_CASE("shamir: fewer shares tell nothing: any secret fits them") {
  // The first share's y is uniform whatever the secret is: 2,000 splits of two constant secrets reach most of 256 values.
  for (uint8_t constant : {0x00, 0xff}) {
    std::vector<bool> seen(256);
    for (int i = 0; i < 2000; i++) seen[split(Buffer(1, constant), 2, 2)[0]->data()[6]] = true;
    CHECK(std::count(seen.begin(), seen.end(), true) > 240);
  }
}

TEST_CASE("shamir: doubled, foreign, changed and malformed shares") {
  const Buffer secret = pattern(32, 14);
  const auto shares = split(secret, 5, 3), others = split(secret, 5, 3);
  CHECK(combineCode({shares[0], shares[1], shares[1]}) == Code::UNSEAL_FAILED);
  CHECK(combineCode({shares[0], shares[1], others[2]}) == Code::UNSEAL_FAILED);
  CHECK(combineCode({shares[0], shares[1], nullptr}) == Code::UNSEAL_FAILED);
  CHECK(combineCode({}) == Code::UNSEAL_FAILED);
  CHECK(combineCode({shares[0], shares[1], changed(shares[2], 0, 3)}) == Code::UNSEAL_FAILED);  // x = 0
  CHECK(combineCode({shares[0], shares[1], changed(shares[2], 1, 1)}) == Code::UNSEAL_FAILED);  // another threshold
  const auto longer = split(pattern(33, 14), 5, 3);
  CHECK(combineCode({shares[0], shares[1], longer[2]}) == Code::UNSEAL_FAILED);
  // A share too many is checked against the others; with just enough, a change goes into the secret.
  CHECK(combineCode({shares[0], shares[1], shares[2], changed(shares[3], 20, 1)}) == Code::UNSEAL_FAILED);
  CHECK(combineCode({changed(shares[0], 20, 1), shares[1], shares[2], shares[3]}) == Code::UNSEAL_FAILED);
  CHECK(combined({shares[0], shares[1], changed(shares[2], 20, 1)}) != secret);
}

TEST_CASE("shamir: what a split refuses") {
  std::vector<Secret> out;
  CHECK(shamirSplit(pattern(32), 0, 0, &out) == Code::BAD_REQUEST);
  CHECK(shamirSplit(pattern(32), 3, 0, &out) == Code::BAD_REQUEST);
  CHECK(shamirSplit(pattern(32), 3, 4, &out) == Code::BAD_REQUEST);
  CHECK(shamirSplit(pattern(32), 256, 2, &out) == Code::BAD_REQUEST);
  CHECK(shamirSplit({}, 3, 2, &out) == Code::BAD_REQUEST);
  CHECK(shamirSplit(pattern(kSharedSecretBytesMax + 1), 3, 2, &out) == Code::INPUT_TOO_LONG);
  CHECK(out.empty());
}

TEST_CASE("share text: there and back, in any writing") {
  for (size_t n : {size_t(1), size_t(2), size_t(3), size_t(4), size_t(5), size_t(32), kSharedSecretBytesMax}) {
    CAPTURE(n);
    for (const SecretPtr& share : split(pattern(n, 15), 3, 2)) {
      const std::string text = textOf(*share);
      Secret back;
      REQUIRE(decode(text, &back) == Code::OK);
      CHECK(toHex(back) == toHex(*share));
      std::string odd = "  \n";
      for (char c : text) {
        odd += c == '0' ? 'o' : c == '1' ? (odd.size() % 2 ? 'l' : 'I') : char(odd.size() % 3 ? std::tolower(c) : std::toupper(c));
        if (odd.size() % 7 == 0) odd += odd.size() % 2 ? "\r\n" : " \t";
      }
      if (odd.size() > 4096) continue;  // more white space than anyone types
      REQUIRE(decode(odd + "\n", &back) == Code::OK);
      CHECK(toHex(back) == toHex(*share));
    }
  }
  const std::string text = textOf(*split(pattern(32), 5, 3)[1]);
  CHECK(text.rfind("quorate-share-", 0) == 0);
  CHECK(text.substr(22, 5) == "-2-3-");
  CHECK(text.size() == 27 + 58 + 11);
}

TEST_CASE("share text: every typing error is found") {
  const std::string text = textOf(*split(pattern(32, 16), 5, 3)[1]);
  static const std::string kLetters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
  Secret out;
  size_t tried = 0;
  for (size_t i = 0; i < text.size(); i++) {
    if (text[i] == '-') continue;
    for (char c : kLetters + "U!*=_.\x80") {
      if (std::toupper(text[i]) == c) continue;
      std::string wrong = text;
      wrong[i] = c;
      CHECK(decode(wrong, &out) == Code::UNSEAL_FAILED);
      tried++;
    }
    std::string without = text, doubled = text;
    without.erase(i, 1);
    doubled.insert(i, 1, text[i]);
    CHECK(decode(without, &out) == Code::UNSEAL_FAILED);
    CHECK(decode(doubled, &out) == Code::UNSEAL_FAILED);
    if (i + 1 < text.size() && text[i + 1] != '-' && text[i + 1] != text[i]) {
      std::string swapped = text;
      std::swap(swapped[i], swapped[i + 1]);
      CHECK(decode(swapped, &out) == Code::UNSEAL_FAILED);
    }
  }
  CHECK(tried > 2000);
  for (size_t n = 0; n < text.size(); n++) CHECK(decode(text.substr(0, n), &out) == Code::UNSEAL_FAILED);
  CHECK(decode(text + "0", &out) == Code::UNSEAL_FAILED);
  CHECK(decode(text + std::string(5000, ' '), &out) == Code::UNSEAL_FAILED);
  CHECK(decode("quorate-share-", &out) == Code::UNSEAL_FAILED);
  CHECK(decode("quorate-share-00000000-256-3-00000", &out) == Code::UNSEAL_FAILED);
  CHECK(out.empty());
  CHECK(shareEncode(pattern(6), &out) == Code::BAD_REQUEST);
  CHECK(shareEncode(Buffer(38, 0), &out) == Code::BAD_REQUEST);
}
