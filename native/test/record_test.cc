#include "core/record.h"

#include <doctest/doctest.h>

#include "hex.h"

using namespace quorate;
using namespace quorate::test;

TEST_CASE("record: opens under its own kek and identity only, with every byte as it was") {
  const Buffer kek = pattern(32, 1), aad = text("default/key/7/generation 3");
  for (size_t n : {0, 1, 16, 32, 100, 5000}) {
    CAPTURE(n);
    const Buffer in = pattern(n, 2);
    Buffer sealed(n + kRecordOverheadBytes), again = sealed, out(n);
    REQUIRE(sealRecord(kek, aad, in, sealed) == Code::OK);
    REQUIRE(sealRecord(kek, aad, in, again) == Code::OK);
    CHECK(sealed[0] == 1);
    CHECK(sealed != again);
    CHECK(openRecord(kek, aad, sealed, out) == Code::OK);
    CHECK(out == in);
    CHECK(openRecord(pattern(32, 3), aad, sealed, out) == Code::STORE_CORRUPT);
    CHECK(out == Buffer(n, 0));
    CHECK(openRecord(kek, text("default/key/7/generation 2"), sealed, out) == Code::STORE_CORRUPT);
    for (size_t i = 0; i < sealed.size(); i += n > 100 ? 97 : 1) {
      Buffer changed = sealed;
      changed[i] ^= 4;
      std::fill(out.begin(), out.end(), 0xff);
      CHECK(openRecord(kek, aad, changed, out) == Code::STORE_CORRUPT);
      CHECK(out == Buffer(n, 0));
    }
  }
}

TEST_CASE("record: refuses wrong lengths") {
  const Buffer kek = pattern(32, 1);
  Buffer sealed(kRecordOverheadBytes + 4), out(4);
  CHECK(sealRecord(Buffer(16), {}, Buffer(4), sealed) == Code::KEY_INVALID);
  CHECK(sealRecord(kek, {}, Buffer(5), sealed) == Code::INTERNAL);
  REQUIRE(sealRecord(kek, {}, Buffer(4), sealed) == Code::OK);
  CHECK(openRecord(Buffer(33), {}, sealed, out) == Code::KEY_INVALID);
  for (size_t n = 0; n < sealed.size(); n++) {
    Buffer shorter(n < kRecordOverheadBytes ? 0 : n - kRecordOverheadBytes);
    CHECK(openRecord(kek, {}, Bytes(sealed).first(n), shorter) == Code::STORE_CORRUPT);
  }
}
