// Reads Wycheproof's JSON. The vectors lie outside the project ($QUORATE_SHARED/wycheproof, else ../shared/wycheproof):
// tests that need them are skipped, and counted so, where they are absent.
#pragma once
#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <sstream>
#include <string>

#include "hex.h"

namespace quorate::test {

// The fields of one vector and, before them, of its group: strings as they are, numbers and lists as written; of an
// object in a group (its key), the fields as "key.field".
struct Vector {
  std::map<std::string, std::string> fields;
  std::string operator[](const std::string& name) const {
    const auto found = fields.find(name);
    QUORATE_REQUIRE(found != fields.end());
    return found->second;
  }
  bool has(const std::string& name) const { return fields.count(name) > 0; }
  Buffer bytes(const std::string& name) const { return hex((*this)[name]); }
  size_t number(const std::string& name) const { return std::stoul((*this)[name]); }
  bool valid() const { return (*this)["result"] == "valid"; }
  bool acceptable() const { return (*this)["result"] == "acceptable"; }
  bool flagged(const std::string& flag) const { return (*this)["flags"].find('"' + flag + '"') != std::string::npos; }
};

inline std::string wycheproofFolder() {
  const char* shared = std::getenv("QUORATE_SHARED");
  return std::string(shared != nullptr ? shared : "../shared") + "/wycheproof/";
}

inline bool wycheproofAbsent() {
  struct stat info;
  return stat(wycheproofFolder().c_str(), &info) != 0;
}

class WycheproofReader {
 public:
  WycheproofReader(std::string json, std::function<void(const Vector&)> f) : json_(std::move(json)), f_(std::move(f)) {}
  size_t run() {
    value("", {});
    return count_;
  }

 private:
  using Fields = std::map<std::string, std::string>;

  char peek() {
    while (at_ < json_.size() && (json_[at_] == ' ' || json_[at_] == '\n' || json_[at_] == '\r' || json_[at_] == '\t')) at_++;
    QUORATE_REQUIRE(at_ < json_.size());
    return json_[at_];
  }
  bool accept(char c) {
    if (peek() != c) return false;
    at_++;
    return true;
  }
  std::string string() {
    QUORATE_REQUIRE(accept('"'));
    std::string out;
    while (json_[at_] != '"') {
      if (json_[at_] == '\\') at_++;  // comments alone have escapes; what they mean is of no interest
      out += json_[at_++];
    }
    at_++;
    return out;
  }
  // An object with a tcId is a vector; one without hands its fields down to the objects inside it.
  Fields object(const std::string& name, const Fields& outer) {
    Fields own = outer;
    QUORATE_REQUIRE(accept('{'));
    for (bool first = true; !accept('}'); first = false) {
      if (!first) QUORATE_REQUIRE(accept(','));
      const std::string key = string();
      QUORATE_REQUIRE(accept(':'));
      if (peek() == '{') {
        for (const auto& [k, v] : object(key, {})) own[key + "." + k] = v;
      } else {
        own[key] = value(key, own);
      }
    }
    if (name == "tests") {
      count_++;
      f_(Vector{own});
    }
    return own;
  }
  std::string value(const std::string& name, const Fields& outer) {
    const char c = peek();
    if (c == '"') return string();
    if (c == '{') return object(name, outer), "";
    const size_t from = at_;
    if (c == '[') {
      at_++;
      for (bool first = true; !accept(']'); first = false) {
        if (!first) QUORATE_REQUIRE(accept(','));
        value(name, outer);
      }
      return json_.substr(from, at_ - from);
    }
    while (json_[at_] != ',' && json_[at_] != '}' && json_[at_] != ']' && json_[at_] != '\n') at_++;
    return json_.substr(from, at_ - from);
  }

  std::string json_;
  std::function<void(const Vector&)> f_;
  size_t at_ = 0, count_ = 0;
};

// Calls f for every vector of the file ("hmac_sha256_test.json"); at least one, or the test fails.
inline void wycheproof(const std::string& file, std::function<void(const Vector&)> f) {
  std::ifstream in(wycheproofFolder() + file);
  REQUIRE_MESSAGE(in.good(), file);
  std::stringstream text;
  text << in.rdbuf();
  const size_t count = WycheproofReader(text.str(), [&](const Vector& v) {
    INFO(file << " tcId " << v["tcId"] << ": " << v["comment"]);
    f(v);
  }).run();
  CHECK(count > 0);
}

}  // namespace quorate::test
