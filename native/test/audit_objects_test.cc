// What the audit log says of the methods by mechanism: wrapping, unwrapping and values that are told, each a leaf of its own; the rest counted.
#include "audit_plane_fixture.h"
#include "object_client.h"

using namespace quorate;
using namespace quorate::test;

TEST_CASE("audit objects: what moves key material is a leaf of its own, the rest is counted") {
  AuditPlaces places;
  places.options.tuning.syncMs = 60'000;
  AuditedPlane audited(places);
  TestPlane& plane = audited.plane();
  const KeyId kek = storeGenerated(plane, "kek", CKM_AES_KEY_GEN, aes().flag(attribute::Wrap).flag(attribute::Unwrap));
  const KeyId open = storeGenerated(plane, "open", CKM_AES_KEY_GEN, aes().flag(attribute::Extractable).flag(attribute::Sensitive, false));
  Client c(plane.path());
  const Answer wrapped = c.call(Method::WrapObject, by("kek", CKM_AES_KEY_WRAP).text(M::target, "open"));
  REQUIRE(wrapped.code() == Code::OK);
  CHECK(audited.log()->stats().size == 1);
  const Answer back = c.call(Method::UnwrapObject, by("kek", CKM_AES_KEY_WRAP, wrapped.text(R::data)).text(M::attributes, keyOf(ObjectClass::secretKey, kCkkAes)));
  REQUIRE(back.code() == Code::OK);
  CHECK(audited.log()->stats().size == 2);
  const Answer value = c.call(Method::GetObjectValue, Message().text(1, "open"));
  CHECK(value.text(1) == str(plane.keyOf("open").versions[0].first));
  CHECK(audited.log()->stats().size == 3);
  // A session object's value is its maker's own: counted.
  const std::string own = made(generate(c, CKM_AES_KEY_GEN, aes().flag(attribute::Extractable).flag(attribute::Sensitive, false)));
  CHECK(c.call(Method::GetObjectValue, Message().text(1, own)).code() == Code::OK);
  for (int i = 0; i < 3; i++) CHECK(c.call(Method::MechanismEncrypt, by("open", CKM_AES_ECB, std::string(16, 'x'))).code() == Code::OK);
  CHECK(c.call(Method::MechanismEncrypt, by("open", CKM_AES_ECB, "odd")).code() == Code::DATA_LENGTH_INVALID);
  CHECK(audited.log()->stats().size == 3);
  audited.stop();
  const auto leaves = readLeaves(places);
  namespace E = fields::AuditEntry;
  const std::tuple<Method, KeyId, std::string> expected[] = {{Method::WrapObject, kek, "open"}, {Method::UnwrapObject, kek, ""}, {Method::GetObjectValue, open, ""}};
  REQUIRE(leaves.size() > 3);
  for (size_t i = 0; i < 3; i++) {
    const Answer leaf{{}, leaves[i], true};
    const auto& [method, id, resource] = expected[i];
    CHECK(leaf.number(E::method) == static_cast<uint64_t>(method));
    CHECK(leaf.text(E::key_id) == str(id));
    CHECK(leaf.text(E::resource) == resource);
  }
  const LogContent content = contentOf(places);
  CHECK(content.countOf(Method::MechanismEncrypt, Code::OK) == 3);
  CHECK(content.countOf(Method::MechanismEncrypt, Code::DATA_LENGTH_INVALID) == 1);
  CHECK(content.countOf(Method::GetObjectValue, Code::OK) == 1);
  CHECK(content.countOf(Method::WrapObject, Code::OK) == 0);
}
