// Objects that are made, changed, copied, wrapped, derived and destroyed; and templates that are wrong.
#include "program.h"

namespace {

const std::string kP256("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10), kYes(1, '\1'), kNo(1, '\0');

CK_RV makeEc(CK_SESSION_HANDLE session, Wanted more, CK_OBJECT_HANDLE* publicKey, CK_OBJECT_HANDLE* privateKey) {
  CK_MECHANISM mechanism{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
  Wanted params;
  params.add(CKA_EC_PARAMS, kP256);
  return p11->C_GenerateKeyPair(session, &mechanism, params.data(), params.size(), more.data(), more.size(), publicKey, privateKey);
}

void tokenObjects(CK_SESSION_HANDLE reader, CK_SESSION_HANDLE writer) {
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  Wanted token;
  token.flag(CKA_TOKEN, true).number(CKA_VALUE_LEN, 16).add(CKA_LABEL, "kept").add(CKA_ID, "id-of-kept");
  CK_OBJECT_HANDLE key = 0, copy = 0;
  RV(CKR_SESSION_READ_ONLY, p11->C_GenerateKey(reader, &mechanism, token.data(), token.size(), &key));
  RV(CKR_OK, p11->C_GenerateKey(writer, &mechanism, token.data(), token.size(), &key));
  IS(findAll(reader, {{CKA_LABEL, bytes("kept"), 4}}) == std::vector{key} && findAll(reader, {{CKA_ID, bytes("id-of-kept"), 10}}) == std::vector{key});
  IS(attribute(reader, key, CKA_SENSITIVE) == kYes && attribute(reader, key, CKA_LOCAL) == kYes && attribute(reader, key, CKA_VALUE) == "(none)");
  CK_ATTRIBUTE label{CKA_LABEL, bytes("renamed"), 7};
  RV(CKR_SESSION_READ_ONLY, p11->C_SetAttributeValue(reader, key, &label, 1));
  RV(CKR_OK, p11->C_SetAttributeValue(writer, key, &label, 1));
  IS(findAll(reader, {{CKA_LABEL, bytes("kept"), 4}}).empty() && findAll(reader, {{CKA_LABEL, bytes("renamed"), 7}}) == std::vector{key});
  CK_BBOOL no = CK_FALSE;
  CK_ATTRIBUTE weaker[] = {{CKA_SENSITIVE, &no, 1}, {CKA_UNIQUE_ID, &no, 1}, {CKA_LOCAL, &no, 1}};
  for (CK_ATTRIBUTE& each : weaker) RV(CKR_ATTRIBUTE_READ_ONLY, p11->C_SetAttributeValue(writer, key, &each, 1));
  Wanted asSession;
  asSession.flag(CKA_TOKEN, false).add(CKA_LABEL, "copy");
  RV(CKR_OK, p11->C_CopyObject(reader, key, asSession.data(), asSession.size(), &copy));
  IS(copy != key && attribute(reader, copy, CKA_TOKEN) == kNo && attribute(reader, copy, CKA_SENSITIVE) == kYes);
  RV(CKR_SESSION_READ_ONLY, p11->C_DestroyObject(reader, key));
  RV(CKR_OK, p11->C_DestroyObject(writer, key));
  RV(CKR_OBJECT_HANDLE_INVALID, p11->C_DestroyObject(writer, key));
  IS(findAll(reader, {{CKA_LABEL, bytes("renamed"), 7}}).empty());
  RV(CKR_OK, p11->C_DestroyObject(reader, copy));
  CK_ULONG size = 0;
  RV(CKR_OBJECT_HANDLE_INVALID, p11->C_GetObjectSize(reader, copy, &size));
}

// They are seen by all sessions, and go with the one that made them.
void sessionObjects(CK_SESSION_HANDLE reader) {
  const CK_SESSION_HANDLE other = openSession();
  Wanted named;
  named.number(CKA_VALUE_LEN, 32).add(CKA_LABEL, "passing");
  const CK_OBJECT_HANDLE key = makeAes(other, std::move(named));
  IS(findAll(reader, {{CKA_LABEL, bytes("passing"), 7}}) == std::vector{key});
  CK_OBJECT_HANDLE publicKey = 0, privateKey = 0;
  RV(CKR_OK, makeEc(other, {}, &publicKey, &privateKey));
  RV(CKR_OK, signOnce(reader, privateKey));
  IS(attribute(reader, publicKey, CKA_EC_POINT).size() == 67 && attribute(reader, publicKey, CKA_EC_PARAMS) == kP256);
  RV(CKR_OK, p11->C_DestroyObject(other, publicKey));
  RV(CKR_OBJECT_HANDLE_INVALID, p11->C_DestroyObject(other, publicKey));
  CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
  RV(CKR_OK, p11->C_SignInit(reader, &mechanism, privateKey));
  RV(CKR_OK, p11->C_CloseSession(other));
  RV(CKR_KEY_HANDLE_INVALID, p11->C_VerifyInit(openSession(), &mechanism, privateKey));
  IS(findAll(reader, {{CKA_LABEL, bytes("passing"), 7}}).empty());
  CK_ULONG size = 0;
  RV(CKR_OBJECT_HANDLE_INVALID, p11->C_GetObjectSize(reader, key, &size));
  RV(CKR_OK, p11->C_SessionCancel(reader, CKF_SIGN));
}

void certificates(CK_SESSION_HANDLE writer) {
  // A self-made skeleton: version, serial, algorithm, issuer, validity, subject.
  const std::string issuer("\x30\x03\x0c\x01\x69", 5), subject("\x30\x03\x0c\x01\x73", 5), serial("\x02\x01\x07", 3);
  const std::string body = std::string("\xa0\x03\x02\x01\x02", 5) + serial + std::string("\x30\x00", 2) + issuer + std::string("\x30\x00", 2) + subject;
  const std::string inner = std::string("\x30") + static_cast<char>(body.size()) + body;
  const std::string whole = std::string("\x30") + static_cast<char>(inner.size()) + inner;
  for (const bool isToken : {false, true}) {
    Wanted wanted;
    wanted.number(CKA_CLASS, CKO_CERTIFICATE).number(CKA_CERTIFICATE_TYPE, CKC_X_509).flag(CKA_TOKEN, isToken).add(CKA_VALUE, whole).add(CKA_LABEL, "cert").add(CKA_ID, "cid");
    if (isToken) wanted.add(CKA_SUBJECT, subject);
    CK_OBJECT_HANDLE certificate = 0, copy = 0;
    RV(CKR_OK, p11->C_CreateObject(writer, wanted.data(), wanted.size(), &certificate));
    IS(attribute(writer, certificate, CKA_VALUE) == whole && attribute(writer, certificate, CKA_ISSUER) == issuer && attribute(writer, certificate, CKA_SERIAL_NUMBER) == serial);
    IS(attribute(writer, certificate, CKA_SUBJECT) == subject);
    IS(findAll(writer, {{CKA_SUBJECT, bytes(subject.data()), 5}}) == std::vector{certificate});
    CK_ATTRIBUTE label{CKA_LABEL, bytes("copied"), 6};
    RV(CKR_OK, p11->C_CopyObject(writer, certificate, &label, 1, &copy));
    IS(attribute(writer, copy, CKA_VALUE) == whole && attribute(writer, copy, CKA_LABEL) == "copied");
    RV(CKR_OK, p11->C_SetAttributeValue(writer, copy, &label, 1));
    for (const CK_OBJECT_HANDLE each : {certificate, copy}) RV(CKR_OK, p11->C_DestroyObject(writer, each));
  }
  Wanted data;
  data.number(CKA_CLASS, CKO_DATA).add(CKA_VALUE, "some data").add(CKA_APPLICATION, "test");
  CK_OBJECT_HANDLE object = 0;
  RV(CKR_OK, p11->C_CreateObject(writer, data.data(), data.size(), &object));
  IS(attribute(writer, object, CKA_VALUE) == "some data" && attribute(writer, object, CKA_KEY_TYPE) == "(none)");
  CK_MECHANISM mechanism{CKM_SHA256_HMAC, nullptr, 0};
  RV(CKR_KEY_TYPE_INCONSISTENT, p11->C_SignInit(writer, &mechanism, object));
}

}  // namespace

void making() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE reader = openSession(), writer = openWriter();
  tokenObjects(reader, writer);
  sessionObjects(reader);
  certificates(writer);
  RV(CKR_OK, p11->C_Finalize(nullptr));
}

// Values that go in come out again, where that is allowed, and nowhere else.
void material() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openSession();
  CK_OBJECT_HANDLE key = 0;
  const std::string value = "0123456789abcdef";
  Wanted open;
  open.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES).flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true).add(CKA_VALUE, value);
  RV(CKR_OK, p11->C_CreateObject(session, open.data(), open.size(), &key));
  IS(attribute(session, key, CKA_VALUE) == value && attribute(session, key, CKA_LOCAL) == kNo && attribute(session, key, CKA_ALWAYS_SENSITIVE) == kNo);
  IS(findAll(session, {{CKA_VALUE, bytes(value.data()), value.size()}}).empty());  // a search is no way to guess it
  for (const auto& [sensitive, extractable] : {std::pair{true, true}, {false, false}, {true, false}}) {
    Wanted closed;
    closed.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_GENERIC_SECRET).flag(CKA_SENSITIVE, sensitive).flag(CKA_EXTRACTABLE, extractable).add(CKA_VALUE, value);
    RV(CKR_OK, p11->C_CreateObject(session, closed.data(), closed.size(), &key));
    IS(attribute(session, key, CKA_VALUE) == "(none)");
  }
  // A pair of P-256, out as its numbers and in again.
  CK_OBJECT_HANDLE publicKey = 0, privateKey = 0;
  Wanted told;
  told.flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true);
  RV(CKR_OK, makeEc(session, std::move(told), &publicKey, &privateKey));
  const std::string scalar = attribute(session, privateKey, CKA_VALUE), point = attribute(session, publicKey, CKA_EC_POINT);
  IS(scalar.size() == 32 && point.size() == 67);
  Wanted in, half;
  in.number(CKA_CLASS, CKO_PRIVATE_KEY).number(CKA_KEY_TYPE, CKK_EC).add(CKA_EC_PARAMS, kP256).add(CKA_VALUE, scalar);
  half.number(CKA_CLASS, CKO_PUBLIC_KEY).number(CKA_KEY_TYPE, CKK_EC).add(CKA_EC_PARAMS, kP256).add(CKA_EC_POINT, point);
  CK_OBJECT_HANDLE again = 0, alone = 0;
  RV(CKR_OK, p11->C_CreateObject(session, in.data(), in.size(), &again));
  RV(CKR_OK, p11->C_CreateObject(session, half.data(), half.size(), &alone));
  IS(attribute(session, alone, CKA_EC_POINT) == point && attribute(session, again, CKA_EC_POINT) == point);
  CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
  CK_BYTE signature[64];
  CK_ULONG length = sizeof(signature);
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, again));
  RV(CKR_OK, p11->C_Sign(session, bytes("m"), 1, signature, &length));
  RV(CKR_OK, p11->C_VerifyInit(session, &mechanism, alone));
  RV(CKR_OK, p11->C_Verify(session, bytes("m"), 1, signature, length));
  // RSA: eight numbers.
  CK_MECHANISM rsa{CKM_RSA_PKCS_KEY_PAIR_GEN, nullptr, 0};
  Wanted publicPart, privatePart, back;
  publicPart.number(CKA_MODULUS_BITS, 2048);
  privatePart.flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true);
  RV(CKR_OK, p11->C_GenerateKeyPair(session, &rsa, publicPart.data(), publicPart.size(), privatePart.data(), privatePart.size(), &publicKey, &privateKey));
  back.number(CKA_CLASS, CKO_PRIVATE_KEY).number(CKA_KEY_TYPE, CKK_RSA);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_MODULUS, CKA_PUBLIC_EXPONENT, CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2, CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT}) {
    const std::string number = attribute(session, privateKey, type);
    IS(number != "(none)");
    back.add(type, number);
  }
  RV(CKR_OK, p11->C_CreateObject(session, back.data(), back.size(), &again));
  IS(attribute(session, again, CKA_MODULUS) == attribute(session, publicKey, CKA_MODULUS) && attribute(session, again, CKA_PRIME_1) == "(none)");
  RV(CKR_TEMPLATE_INCOMPLETE, p11->C_CreateObject(session, back.data(), back.size() - 1, &again));
  RV(CKR_OK, p11->C_Finalize(nullptr));
}

void wrapping() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openSession();
  Wanted kekWanted, targetWanted, unwrapped;
  kekWanted.number(CKA_VALUE_LEN, 32).flag(CKA_WRAP, true).flag(CKA_UNWRAP, true);
  targetWanted.number(CKA_VALUE_LEN, 16).flag(CKA_EXTRACTABLE, true);
  const CK_OBJECT_HANDLE kek = makeAes(session, std::move(kekWanted)), target = makeAes(session, std::move(targetWanted)), fixed = makeAes(session);
  CK_BYTE wrapped[64];
  CK_ULONG length = 0;
  CK_MECHANISM kw{CKM_AES_KEY_WRAP, nullptr, 0}, ecb{CKM_AES_ECB, nullptr, 0};
  RV(CKR_OK, p11->C_WrapKey(session, &kw, kek, target, nullptr, &length));
  IS(length == 24);
  length = 23;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_WrapKey(session, &kw, kek, target, wrapped, &length));
  RV(CKR_OK, p11->C_WrapKey(session, &kw, kek, target, wrapped, &length));
  RV(CKR_MECHANISM_INVALID, p11->C_WrapKey(session, &ecb, kek, target, wrapped, &length));
  length = sizeof(wrapped);
  RV(CKR_KEY_UNEXTRACTABLE, p11->C_WrapKey(session, &kw, kek, fixed, wrapped, &length));
  RV(CKR_KEY_FUNCTION_NOT_PERMITTED, p11->C_WrapKey(session, &kw, fixed, target, wrapped, &length));
  RV(CKR_WRAPPING_KEY_HANDLE_INVALID, p11->C_WrapKey(session, &kw, 9999, target, wrapped, &length));
  RV(CKR_KEY_HANDLE_INVALID, p11->C_WrapKey(session, &kw, kek, 9999, wrapped, &length));
  unwrapped.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_AES);
  CK_OBJECT_HANDLE back = 0;
  RV(CKR_OK, p11->C_UnwrapKey(session, &kw, kek, wrapped, 24, unwrapped.data(), unwrapped.size(), &back));
  IS(attribute(session, back, CKA_SENSITIVE) == kYes && attribute(session, back, CKA_LOCAL) == kNo);
  const CK_ULONG sixteen = 16;
  IS(attribute(session, back, CKA_VALUE_LEN) == std::string(reinterpret_cast<const char*>(&sixteen), 8));
  wrapped[3] ^= 1;
  RV(CKR_WRAPPED_KEY_INVALID, p11->C_UnwrapKey(session, &kw, kek, wrapped, 24, unwrapped.data(), unwrapped.size(), &back));
  RV(CKR_WRAPPED_KEY_LEN_RANGE, p11->C_UnwrapKey(session, &kw, kek, wrapped, 1 << 20, unwrapped.data(), unwrapped.size(), &back));
  RV(CKR_UNWRAPPING_KEY_HANDLE_INVALID, p11->C_UnwrapKey(session, &kw, 9999, wrapped, 24, unwrapped.data(), unwrapped.size(), &back));
  // Out by a wrap, in again as one whose value is told: refused.
  wrapped[3] ^= 1;
  unwrapped.flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true);
  RV(CKR_TEMPLATE_INCONSISTENT, p11->C_UnwrapKey(session, &kw, kek, wrapped, 24, unwrapped.data(), unwrapped.size(), &back));
  // Two ends of one secret.
  CK_OBJECT_HANDLE publics[2], privates[2], secrets[2];
  std::string values[2];
  for (int i = 0; i < 2; i++) RV(CKR_OK, makeEc(session, {}, &publics[i], &privates[i]));
  for (int i = 0; i < 2; i++) {
    std::string point = attribute(session, publics[1 - i], CKA_EC_POINT);
    CK_ECDH1_DERIVE_PARAMS params{CKD_NULL, 0, nullptr, point.size(), bytes(point.data())};
    CK_MECHANISM ecdh{CKM_ECDH1_DERIVE, &params, sizeof(params)};
    Wanted derived;
    derived.number(CKA_CLASS, CKO_SECRET_KEY).number(CKA_KEY_TYPE, CKK_GENERIC_SECRET).flag(CKA_SENSITIVE, false).flag(CKA_EXTRACTABLE, true).number(CKA_VALUE_LEN, 32);
    RV(CKR_OK, p11->C_DeriveKey(session, &ecdh, privates[i], derived.data(), derived.size(), &secrets[i]));
    values[i] = attribute(session, secrets[i], CKA_VALUE);
    params.kdf = 99;
    RV(CKR_MECHANISM_PARAM_INVALID, p11->C_DeriveKey(session, &ecdh, privates[i], derived.data(), derived.size(), &secrets[i]));
  }
  IS(values[0].size() == 32 && values[0] == values[1]);
  RV(CKR_OK, p11->C_Finalize(nullptr));
}

void badInput() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openWriter();
  CK_MECHANISM gen{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  CK_ULONG length = 32;
  CK_BBOOL yes = CK_TRUE, two = 2;
  const std::string label(1 << 20, 'x');
  CK_ATTRIBUTE size{CKA_VALUE_LEN, &length, sizeof(length)};
  const auto make = [&](std::vector<CK_ATTRIBUTE> more) {
    more.push_back(size);
    return p11->C_GenerateKey(session, &gen, more.data(), more.size(), &key);
  };
  RV(CKR_ARGUMENTS_BAD, p11->C_GenerateKey(session, &gen, nullptr, 1, &key));
  RV(CKR_ARGUMENTS_BAD, p11->C_GenerateKey(session, &gen, &size, 0xffffffff, &key));
  RV(CKR_ARGUMENTS_BAD, p11->C_GenerateKey(session, &gen, &size, 1, nullptr));
  RV(CKR_ARGUMENTS_BAD, p11->C_GenerateKey(session, nullptr, &size, 1, &key));
  RV(CKR_ARGUMENTS_BAD, make({{CKA_LABEL, nullptr, 5}}));
  RV(CKR_ATTRIBUTE_VALUE_INVALID, make({{CKA_LABEL, bytes(label.data()), label.size()}}));
  RV(CKR_ATTRIBUTE_VALUE_INVALID, make({{CKA_ID, bytes(label.data()), label.size()}}));
  RV(CKR_ATTRIBUTE_VALUE_INVALID, make({{CKA_ENCRYPT, &yes, ~0ul}}));
  RV(CKR_ATTRIBUTE_VALUE_INVALID, make({{CKA_ENCRYPT, &two, 1}}));
  RV(CKR_ATTRIBUTE_VALUE_INVALID, make({{CKA_START_DATE, bytes("2026"), 4}}));
  RV(CKR_ATTRIBUTE_TYPE_INVALID, make({{0x99999999, &yes, 1}}));
  RV(CKR_ATTRIBUTE_READ_ONLY, make({{CKA_UNIQUE_ID, &yes, 1}}));
  RV(CKR_TEMPLATE_INCONSISTENT, make({{CKA_ENCRYPT, &yes, 1}, {CKA_ENCRYPT, &yes, 1}}));
  RV(CKR_TEMPLATE_INCONSISTENT, make({{CKA_MODULUS, &yes, 1}}));
  RV(CKR_TEMPLATE_INCONSISTENT, make({{CKA_WRAP, &yes, 1}, {CKA_DECRYPT, &yes, 1}}));
  // 10,000 templates, each in the one before; one that is right; one of half a structure.
  std::vector<CK_ATTRIBUTE> nested(10'000, {CKA_WRAP_TEMPLATE, nullptr, sizeof(CK_ATTRIBUTE)});
  for (size_t i = 0; i + 1 < nested.size(); i++) nested[i].pValue = &nested[i + 1];
  nested.back() = {CKA_TOKEN, &yes, 1};
  RV(CKR_ATTRIBUTE_VALUE_INVALID, make({nested[0], {CKA_WRAP, &yes, 1}}));
  CK_ATTRIBUTE inside{CKA_EXTRACTABLE, &yes, 1};
  RV(CKR_ATTRIBUTE_VALUE_INVALID, make({{CKA_WRAP_TEMPLATE, &inside, sizeof(inside) - 1}, {CKA_WRAP, &yes, 1}}));
  RV(CKR_OK, make({{CKA_WRAP_TEMPLATE, &inside, sizeof(inside)}, {CKA_WRAP, &yes, 1}}));
  CK_BBOOL told = 0;
  CK_ATTRIBUTE row{0, &told, 1}, whole{CKA_WRAP_TEMPLATE, nullptr, 0};
  RV(CKR_OK, p11->C_GetAttributeValue(session, key, &whole, 1));
  IS(whole.ulValueLen == sizeof(row));
  whole.pValue = &row;
  RV(CKR_OK, p11->C_GetAttributeValue(session, key, &whole, 1));
  IS(row.type == CKA_EXTRACTABLE && row.ulValueLen == 1 && told == CK_TRUE);
  for (const CK_OBJECT_CLASS kind : {5ul, ~0ul}) {
    Wanted wanted;
    wanted.number(CKA_CLASS, kind);
    RV(CKR_ATTRIBUTE_VALUE_INVALID, p11->C_CreateObject(session, wanted.data(), wanted.size(), &key));
  }
  RV(CKR_TEMPLATE_INCOMPLETE, p11->C_CreateObject(session, nullptr, 0, &key));
  const std::string junk(200, '\x30');
  for (const CK_OBJECT_CLASS kind : {CKO_PUBLIC_KEY, CKO_PRIVATE_KEY}) {
    Wanted wanted;
    wanted.number(CKA_CLASS, kind).number(CKA_KEY_TYPE, CKK_EC).add(CKA_EC_PARAMS, kP256).add(kind == CKO_PUBLIC_KEY ? CKA_EC_POINT : CKA_VALUE, junk);
    RV(CKR_ATTRIBUTE_VALUE_INVALID, p11->C_CreateObject(session, wanted.data(), wanted.size(), &key));
    wanted.list[2].ulValueLen = 3;
    RV(CKR_CURVE_NOT_SUPPORTED, p11->C_CreateObject(session, wanted.data(), wanted.size(), &key));
  }
  RV(CKR_USER_TYPE_INVALID, p11->C_Login(session, 7, bytes("x"), 1));
  RV(CKR_ARGUMENTS_BAD, p11->C_Login(session, CKU_USER, nullptr, 4));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_Login(session, CKU_CONTEXT_SPECIFIC, bytes("x"), 1));
  RV(CKR_PIN_INCORRECT, p11->C_Login(session, CKU_USER, bytes(label.data()), label.size()));
  RV(CKR_PIN_INCORRECT, p11->C_Login(session, CKU_SO, bytes("12345678"), 8));
  RV(CKR_USER_NOT_LOGGED_IN, p11->C_Logout(session));
  RV(CKR_USER_NOT_LOGGED_IN, p11->C_InitPIN(session, bytes("12345678"), 8));
  RV(CKR_PIN_LEN_RANGE, p11->C_SetPIN(session, bytes("12345678"), 8, bytes("1"), 1));
  RV(CKR_OK, p11->C_Login(session, CKU_USER, nullptr, 0));  // whom the socket says
  RV(CKR_USER_ALREADY_LOGGED_IN, p11->C_Login(session, CKU_USER, nullptr, 0));
  CK_SESSION_INFO info;
  RV(CKR_OK, p11->C_GetSessionInfo(session, &info));
  IS(info.state == CKS_RW_USER_FUNCTIONS);
  RV(CKR_OK, p11->C_Logout(session));
  RV(CKR_OK, p11->C_Finalize(nullptr));
}
