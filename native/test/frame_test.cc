// Frames, and what is built from them: golden frames that the TypeScript tests read too, the length rule, messages written by hand.
#include "plane/frame.h"

#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <protozero/pbf_reader.hpp>
#include <sstream>

#include "hex.h"
#include "plane/encode.h"
#include "plane/hot_request.h"
#include "plane/methods.gen.h"

using namespace quorate;
using namespace quorate::test;

namespace {

std::map<std::string, Buffer> goldenFrames() {
  std::ifstream file("test/golden/frames.txt");
  REQUIRE_MESSAGE(file.good(), "run from the root of the checkout");
  std::map<std::string, Buffer> out;
  for (std::string line; std::getline(file, line);) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream words(line);
    std::string name, digits;
    words >> name >> digits;
    out[name] = quorate::test::hex(digits);
  }
  return out;
}

template <class F>
Buffer built(uint32_t id, uint16_t method, F body) {
  WireBuffer out;
  Reply reply(out, id, method);
  uint8_t* start = reply.begin(1024);
  reply.end(body(start));
  return Buffer(out.data(), out.data() + out.size());
}

std::string_view view(Bytes b) { return {reinterpret_cast<const char*>(b.data()), b.size()}; }

}  // namespace

TEST_CASE("frame: every golden frame reads and writes back") {
  const auto golden = goldenFrames();
  REQUIRE(golden.size() == 11);
  for (const auto& frame : golden) {
    const auto& bytes = frame.second;
    CAPTURE(frame.first);
    FrameHeader header;
    REQUIRE(peekFrame(bytes.data(), bytes.size(), &header) == FrameState::ready);
    REQUIRE(header.frameBytes() == bytes.size());
    Buffer again(kFrameHeaderBytes);
    writeFrameHeader(again.data(), header.id, header.method, header.status, header.bodyBytes());
    again.insert(again.end(), bytes.begin() + kFrameHeaderBytes, bytes.end());
    CHECK(again == bytes);
    for (size_t have = 0; have < bytes.size(); have++) CHECK(peekFrame(bytes.data(), have, &header) == FrameState::incomplete);
  }
}

TEST_CASE("frame: golden requests decode to what their comments say") {
  const auto golden = goldenFrames();
  const auto body = [&](const char* name) { return Bytes(golden.at(name)).subspan(kFrameHeaderBytes); };
  HotRequest request;
  decodeHotRequest(Method::Encrypt, body("encrypt_request"), &request);
  CHECK(request.key == "invoices");
  CHECK(view(request.data) == "iban FR76");
  CHECK(view(request.context) == "ctx");
  decodeHotRequest(Method::Ping, body("body_200"), &request);
  REQUIRE(request.data.size() == 200);
  CHECK(request.data[199] == static_cast<uint8_t>(199 * 7));
  CHECK(request.key.empty());
}

TEST_CASE("frame: golden answers are what the plane writes") {
  const auto golden = goldenFrames();
  namespace R = fields::EncryptResponse;
  Buffer ciphertext(25), iv(12);
  for (size_t i = 0; i < ciphertext.size(); i++) ciphertext[i] = static_cast<uint8_t>(0xc0 + i);
  for (size_t i = 0; i < iv.size(); i++) iv[i] = static_cast<uint8_t>(0xa0 + i);
  CHECK(built(3, 64, [&](uint8_t* out) { return putNumber(putField(putField(out, R::ciphertext, ciphertext), R::iv, iv), R::version, 300); }) == golden.at("encrypt_response"));
  WireBuffer out;
  Reply(out, 4, 65).fail(Code::CIPHERTEXT_INVALID, {"the ciphertext was changed", "ciphertext"});
  CHECK(Buffer(out.data(), out.data() + out.size()) == golden.at("failure"));
  out.consume(out.size(), false);
  Reply(out, 5, 32).fail(Code::BUSY, {"", "", 100});
  CHECK(Buffer(out.data(), out.data() + out.size()) == golden.at("failure_busy"));
}

TEST_CASE("frame: the length rule") {
  const auto state = [](uint32_t length, size_t have) {
    Buffer bytes(std::max<size_t>(have, 4));
    std::memcpy(bytes.data(), &length, 4);
    FrameHeader header;
    return peekFrame(bytes.data(), have, &header);
  };
  CHECK(state(7, 4) == FrameState::tooShort);
  CHECK(state(0, 12) == FrameState::tooShort);
  CHECK(state(8, 12) == FrameState::ready);
  CHECK(state(8, 11) == FrameState::incomplete);
  CHECK(state(limits::frame_bytes_max - 4, 12) == FrameState::incomplete);
  CHECK(state(limits::frame_bytes_max - 4, limits::frame_bytes_max) == FrameState::ready);
  CHECK(state(limits::frame_bytes_max - 3, 4) == FrameState::tooLarge);
  CHECK(state(UINT32_MAX, 12) == FrameState::tooLarge);
}

TEST_CASE("encode: varints and fields whose length comes late") {
  for (const uint64_t value : {0ull, 1ull, 127ull, 128ull, 16383ull, 16384ull, 0xffffffffull, ~0ull}) {
    uint8_t bytes[kVarintBytesMax];
    const auto n = static_cast<size_t>(putVarint(bytes, value) - bytes);
    CHECK(n == varintBytes(value));
    const char* at = reinterpret_cast<const char*>(bytes);
    CHECK(protozero::decode_varint(&at, at + n) == value);
  }
  for (const size_t written : {size_t{0}, size_t{1}, size_t{127}, size_t{128}, size_t{200}}) {
    Buffer place(fieldBytes(200), 0xee);
    OpenField field(place.data(), 1, 200);
    std::memset(field.content(), 'x', 200);
    const auto n = static_cast<size_t>(field.close(1, written) - place.data());
    Buffer expected(written == 0 ? 0 : fieldBytes(written));
    const Buffer content(written, 'x');
    putField(expected.data(), 1, content);
    CHECK(Buffer(place.begin(), place.begin() + static_cast<ptrdiff_t>(n)) == expected);
    for (size_t i = std::max(n, size_t{3}); i < place.size(); i++) CHECK(place[i] == 0);  // nothing of the content stays behind it
  }
}

TEST_CASE("decode: wrong wire types, unknown values and fields, torn messages") {
  HotRequest request;
  Buffer kept;  // the request's views point into it
  const auto decode = [&](Method method, std::initializer_list<uint8_t> body) {
    kept = body;
    decodeHotRequest(method, kept, &request);
  };
  CHECK_THROWS_AS(decode(Method::Encrypt, {0x08, 1}), BadField);               // key as a varint
  CHECK_THROWS_AS(decode(Method::Encrypt, {0x2a, 0}), BadField);               // tag_bytes as bytes
  CHECK_THROWS_AS(decode(Method::Encrypt, {0x30, 6}), BadField);               // no such hash
  CHECK_THROWS_AS(decode(Method::Encrypt, {0x0a, 5, 'a'}), protozero::exception);  // cut short
  CHECK_THROWS_AS(decode(Method::Encrypt, {0x0b}), protozero::exception);      // a group
  CHECK_THROWS_AS(decode(Method::Encrypt, {0x00}), protozero::exception);      // field 0
  CHECK_THROWS_AS(decode(Method::Encrypt, {0x28, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x01}), protozero::exception);
  decode(Method::Encrypt, {0xfa, 0x01, 1, 'z', 0x0a, 1, 'a', 0x0a, 1, 'b'});   // field 31 is skipped; the last key counts
  CHECK(request.key == "b");
}

TEST_CASE("decode: UTF-8") {
  for (const char* good : {"", "a", "\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x94\x91", "\xef\xbf\xbd", "\xf4\x8f\xbf\xbf"}) CHECK(validUtf8(good));
  for (const char* bad : {"\x80", "\xc3", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xf8\x88\x80\x80\x80", "a\xff", "\xe2\x82"}) CHECK(!validUtf8(bad));
}
