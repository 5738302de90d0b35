// Every hot method over a real socket, each scheme once around.
#include <algorithm>

#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

namespace E = fields::EncryptRequest;
namespace D = fields::DecryptRequest;
namespace S = fields::SignRequest;
namespace V = fields::VerifyRequest;

Answer encrypt(Client& c, const std::string& key, const std::string& plaintext, const std::string& context = "") {
  return c.call(Method::Encrypt, Message().text(E::key, key).text(E::plaintext, plaintext).text(E::context, context));
}
Answer decrypt(Client& c, const std::string& key, const Answer& sealed, const std::string& context = "") {
  return c.call(Method::Decrypt, Message().text(D::key, key).text(D::ciphertext, sealed.text(fields::EncryptResponse::ciphertext)).text(D::context, context).text(D::iv, sealed.text(fields::EncryptResponse::iv)));
}
std::string sessionKey(Client& c, KeyType type, KeyScheme scheme, bool exportable = false) {
  namespace K = fields::CreateSessionKeyRequest;
  const Answer made = c.call(Method::CreateSessionKey, Message().number(K::type, static_cast<uint32_t>(type)).number(K::scheme, static_cast<uint32_t>(scheme)).number(K::exportable, exportable));
  REQUIRE(made.code() == Code::OK);
  return made.text(fields::SessionKeyResponse::key);
}

}  // namespace

TEST_CASE("plane: encrypt and decrypt, each scheme, stored and session keys") {
  TestPlane plane;
  Client c(plane.path());
  struct Row {
    KeyType type;
    KeyScheme scheme;
    const char* context;
  };
  const Row rows[] = {{KeyType::AES_256, KeyScheme::MANAGED, "ctx"}, {KeyType::AES_128, KeyScheme::AES_GCM, "aad"}, {KeyType::AES_256, KeyScheme::AES_GCM, ""},
                      {KeyType::AES_192, KeyScheme::AES_CBC, ""},    {KeyType::AES_256, KeyScheme::AES_CTR, ""},    {KeyType::RSA_2048, KeyScheme::RSA_OAEP, "label"}};
  int number = 0;
  for (const Row& row : rows) {
    const std::string stored = "key" + std::to_string(number++);
    plane.addKey(stored, row.type, row.scheme);
    for (const std::string& key : {stored, sessionKey(c, row.type, row.scheme)}) {
      for (const std::string& plaintext : {std::string("iban FR76"), std::string(), std::string(150, 'x')}) {
        CAPTURE(key);
        CAPTURE(static_cast<int>(row.scheme));
        CAPTURE(plaintext.size());
        const Answer sealed = encrypt(c, key, plaintext, row.context);
        REQUIRE(sealed.code() == Code::OK);
        CHECK(sealed.number(fields::EncryptResponse::version) == 1);
        const Answer opened = decrypt(c, key, sealed, row.context);
        REQUIRE(opened.code() == Code::OK);
        CHECK(opened.text(fields::DecryptResponse::plaintext) == plaintext);
        if (*row.context != '\0') CHECK(decrypt(c, key, sealed, "other").code() == Code::CIPHERTEXT_INVALID);
      }
    }
  }
}

TEST_CASE("plane: sign and verify, each scheme") {
  TestPlane plane;
  Client c(plane.path());
  const std::pair<KeyType, KeyScheme> rows[] = {{KeyType::EC_P256, KeyScheme::ECDSA}, {KeyType::EC_P384, KeyScheme::ECDSA}, {KeyType::EC_P521, KeyScheme::ECDSA},
                                                {KeyType::ED25519, KeyScheme::EDDSA}, {KeyType::RSA_2048, KeyScheme::RSA_PSS}, {KeyType::RSA_2048, KeyScheme::RSA_PKCS1}};
  for (const auto& row : rows) {
    const KeyType type = row.first;
    const KeyScheme scheme = row.second;
    CAPTURE(static_cast<int>(type));
    CAPTURE(static_cast<int>(scheme));
    plane.addKey("k" + std::to_string(static_cast<int>(type)) + std::to_string(static_cast<int>(scheme)), type, scheme);
    const std::string key = "k" + std::to_string(static_cast<int>(type)) + std::to_string(static_cast<int>(scheme));
    for (const std::string& message : {std::string("to be signed"), std::string(300'000, 'm')}) {
      const Answer made = c.call(Method::Sign, Message().text(S::key, key).text(S::message, message));
      REQUIRE(made.code() == Code::OK);
      const std::string signature = made.text(fields::SignResponse::signature);
      const auto verify = [&](const std::string& what) { return c.call(Method::Verify, Message().text(V::key, key).text(V::message, what).text(V::signature, signature)); };
      CHECK(verify(message).number(fields::VerifyResponse::valid) == 1);
      const Answer wrong = verify(message + "!");
      CHECK(wrong.code() == Code::OK);
      CHECK(wrong.number(fields::VerifyResponse::valid) == 0);
    }
  }
}
