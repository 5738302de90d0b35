// What `#field` finds in a secret that is JSON. That JavaScript finds the same: test/crypto/jsonField.test.ts.
#include "core/json_field.h"

#include <doctest/doctest.h>

using namespace quorate;

namespace {

struct Found {
  JsonField outcome;
  std::string value;
};

Found fieldIn(const std::string& json, std::string_view field) {
  // Of exactly the length that is asked for: a byte more is seen.
  Buffer out(json.size() + kJsonFieldRoom);
  size_t written = 0;
  const JsonField outcome = jsonField(bytesOf(json), field, out, &written);
  return {outcome, std::string(out.begin(), out.begin() + static_cast<ptrdiff_t>(written))};
}
std::string valueOf(const std::string& json, std::string_view field) {
  const Found found = fieldIn(json, field);
  return found.outcome == JsonField::found ? found.value : "(none)";
}

}  // namespace

TEST_CASE("json field: names, dots, and the last of several") {
  CHECK(valueOf(R"({"a":"1","b":{"c":"2"}})", "a") == "1");
  CHECK(valueOf(R"({"a":"1","b":{"c":"2"}})", "b.c") == "2");
  CHECK(valueOf(R"({"b":{"c":"2"},"b.c":"3"})", "b.c") == "3");
  CHECK(valueOf(R"({"a":"1","a":"2"})", "a") == "2");
  CHECK(valueOf(R"({"\u0061":"x"})", "a") == "x");
  CHECK(valueOf(R"({"":{"":"x"}})", ".") == "x");
  CHECK(valueOf(R"({"a":["p",{"q":"r"}]})", "a.1.q") == "r");
  CHECK(valueOf(R"({"a":["p"]})", "a.length") == "1");
  CHECK(valueOf(R"({"a":["p"]})", "a.00") == "(none)");
  CHECK(fieldIn(R"({"a":"1"})", "b").outcome == JsonField::absent);
  CHECK(fieldIn(R"({"a":"1"})", "a.length").outcome == JsonField::absent);
  CHECK(fieldIn(R"("a")", "0").outcome == JsonField::absent);
  CHECK(fieldIn(R"({"a":{}})", "a").outcome == JsonField::compound);
  CHECK(fieldIn(R"({"a":[]})", "a").outcome == JsonField::compound);
}

TEST_CASE("json field: strings, numbers and words as JavaScript has them") {
  CHECK(valueOf(R"({"a":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000"})", "a") == std::string("\"\\/\b\f\n\r\t\xc3\xa9\xf0\x9f\x98\x80\0", 15));
  CHECK(valueOf(R"({"a":"\ud83d"})", "a") == "\xef\xbf\xbd");
  CHECK(valueOf(R"({"\ud83d":"x"})", "\xef\xbf\xbd") == "(none)");
  CHECK(valueOf(R"({"a":"\ud83dx\ude00"})", "a") == "\xef\xbf\xbdx\xef\xbf\xbd");
  const std::pair<const char*, const char*> numbers[] = {{"0", "0"}, {"-0", "0"}, {"5432", "5432"}, {"1.50", "1.5"}, {"1e3", "1000"}, {"1e21", "1e+21"}, {"123456789012345680000", "123456789012345680000"}, {"1e-7", "1e-7"},
                                                         {"0.000001", "0.000001"}, {"-12.5e-3", "-0.0125"}, {"9007199254740993", "9007199254740992"}, {"1e400", "null"}, {"-1e400", "null"}, {"1e-400", "0"}, {"1.5e300", "1.5e+300"}, {"5e-324", "5e-324"}};
  for (const auto& [text, written] : numbers) CHECK(valueOf(std::string("{\"a\":") + text + "}", "a") == written);
  for (const char* word : {"true", "false", "null"}) CHECK(valueOf(std::string("{\"a\":") + word + "}", "a") == word);
}

TEST_CASE("json field: what is no JSON, anywhere, has no field") {
  for (const char* text : {"", " ", "{", "{\"a\":\"1\"", "{\"a\":\"1\"}x", "{\"a\":\"1\",}", "{\"a\" \"1\"}", "{a:1}", "{\"a\":01}", "{\"a\":1.}", "{\"a\":.5}", "{\"a\":+1}", "{\"a\":-}", "{\"a\":1e}", "{\"a\":tru}", "{\"a\":\"\\x\"}",
                           "{\"a\":\"\\u12g4\"}", "{\"a\":\"1\n\"}", "{\"a\":\"1\"]", "[1,]", "{\"a\":1}{\"a\":1}", "'a'", "{\"a\":\"\\u123", "{\"a\":\"\\", "\xef\xbb", "{\"a\":\"\xff\"}", "{\"a\":\"\xed\xa0\x80\"}"})
    CHECK_MESSAGE(fieldIn(text, "a").outcome == JsonField::notJson, text);
  CHECK(valueOf("\xef\xbb\xbf{\"a\":\"1\"}", "a") == "1");
  CHECK(fieldIn("\xef\xbb\xbf\xef\xbb\xbf{\"a\":\"1\"}", "a").outcome == JsonField::notJson);
}

TEST_CASE("json field: as deep as a value is long") {
  const size_t half = limits::secret_value_bytes_max / 2;
  CHECK(fieldIn(std::string(half, '[') + std::string(half, ']'), "a").outcome == JsonField::absent);
  CHECK(fieldIn(std::string(2 * half, '['), "a").outcome == JsonField::notJson);
  CHECK(fieldIn(std::string(half, '[') + std::string(half - 1, ']') + "}", "a").outcome == JsonField::notJson);
}
