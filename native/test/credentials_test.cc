// Which addresses speak for a unit, and which secret a credential is.
#include "plane/credentials.h"

#include <doctest/doctest.h>

using namespace quorate;

namespace {

bool reads(const std::string& address, CredentialName* out) {
  const char* fault = nullptr;
  const bool is = readCredentialAddress(bytesOf(address), out, &fault);
  CHECK((is || fault != nullptr));
  return is;
}
std::string abstract(const std::string& rest) { return '\0' + rest; }

}  // namespace

TEST_CASE("credentials: an address that systemd makes") {
  CredentialName name;
  for (const char* random : {"0", "abc", "0123456789abcdef"}) {
    REQUIRE(reads(abstract(std::string(random) + "/unit/billing.service/db-password"), &name));
    CHECK((name.unit == "billing.service" && name.credential == "db-password"));
  }
  for (const char* unit : {"a.service", "worker@1.service", "w@a@b.c.service", "a-b:c_d.e\\x2d.mount", "x.socket", "x.swap"}) {
    CAPTURE(unit);
    REQUIRE(reads(abstract("1/unit/" + std::string(unit) + "/a b.c"), &name));
    CHECK((name.unit == unit && name.credential == "a b.c"));
  }
  // As long as an address can be.
  const std::string longest = abstract("0123456789abcdef/unit/" + std::string(75, 'u') + ".service/c");
  REQUIRE(longest.size() == 108);
  CHECK(reads(longest, &name));
}

TEST_CASE("credentials: every other address is nobody's") {
  CredentialName name{"kept", "kept"};
  for (const std::string& bad :
       {std::string(), std::string(1, '\0'), std::string("/run/unit/a.service/c"), std::string("1/unit/a.service/c"), std::string("11/unit/a.service/c"), abstract("/unit/a.service/c"), abstract("0123456789abcdef0/unit/a.service/c"), abstract("ABC/unit/a.service/c"),
        abstract("g/unit/a.service/c"), abstract("1/unit/a.service"), abstract("1/unit/a.service/"), abstract("1/unit//c"), abstract("1/user/a.service/c"), abstract("1/unit/a.service/c/d"), abstract("1/unit/a.service/.."),
        abstract("1/unit/a.service/."), abstract("1/unit/../a.service/c"), abstract("1/unit/a.service/c\n"), abstract(std::string("1/unit/a.service/c\0", 19)), abstract("1/unit/a.service/c:d"), abstract("1/unit/a.service/\xc3\xa9"),
        abstract("1/unit/a/c"), abstract("1/unit/.service/c"), abstract("1/unit/a.target/c"), abstract("1/unit/a.slice/c"), abstract("1/unit/@1.service/c"), abstract("1/unit/w@.service/c"), abstract("1/unit/a b.service/c"),
        abstract("1/unit/a\n.service/c"), abstract(std::string("1/unit/a\0.service/c", 19)), abstract("1/unit/\xc3\xa9.service/c"), abstract(std::string("1/unit/a.service/c") + std::string(100, 'x')),
        abstract("1/unit/" + std::string(76, 'u') + ".service/c")}) {
    CAPTURE(bad);
    CHECK(!reads(bad, &name));
  }
  CHECK((name.unit == "kept" && name.credential == "kept"));
}

TEST_CASE("credentials: the unit's own entry, its template's, and the path that follows from the names") {
  CredentialMap map;
  map.put("billing.service", "pw", {"app/db", "password"});
  map.put("worker@.service", "pw", {"app/worker", ""});
  map.put("worker@7.service", "pw", {"app/seven", ""});
  const auto found = [&](const char* unit, const char* credential) {
    const CredentialSource source = map.find({unit, credential});
    return source.path + '#' + source.field;
  };
  CHECK(found("billing.service", "pw") == "app/db#password");
  CHECK(found("billing.service", "other") == "systemd/billing.service/other#");
  CHECK(found("worker@7.service", "pw") == "app/seven#");
  CHECK(found("worker@8.service", "pw") == "app/worker#");
  CHECK(found("worker@a@b.service", "pw") == "app/worker#");
  CHECK(found("worker@8.service", "other") == "systemd/worker/8.service/other#");
  CHECK(found("worker@8.socket", "pw") == "systemd/worker/8.socket/pw#");
}
