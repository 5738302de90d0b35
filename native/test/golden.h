// test/golden/*.txt: `name = hexadecimal`, one a line; what TypeScript's tests read too. Tests run from the repository's root.
#pragma once
#include <doctest/doctest.h>

#include <fstream>
#include <map>
#include <string>

#include "hex.h"

namespace quorate::test {

class Golden {
 public:
  explicit Golden(const std::string& file) {
    std::ifstream in("test/golden/" + file);
    REQUIRE_MESSAGE(in.good(), file);
    for (std::string line; std::getline(in, line);) {
      if (line.empty() || line[0] == '#') continue;
      const size_t at = line.find(" = ");
      REQUIRE(at != std::string::npos);
      values_[line.substr(0, at)] = hex(line.substr(at + 3));
    }
  }
  const Buffer& operator[](const std::string& name) const {
    const auto found = values_.find(name);
    REQUIRE_MESSAGE(found != values_.end(), name);
    return found->second;
  }

 private:
  std::map<std::string, Buffer> values_;
};

}  // namespace quorate::test
