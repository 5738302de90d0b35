// Attributes and searches, signatures and their state machine. The daemon has the keys ec, ec2, ed, pss, rsa and the managed key sym.
#include <memory>

#include "program.h"

namespace {

CK_RV get(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type, void* room, CK_ULONG* length) {
  CK_ATTRIBUTE attribute{type, room, *length};
  const CK_RV rv = p11->C_GetAttributeValue(session, object, &attribute, 1);
  *length = attribute.ulValueLen;
  return rv;
}

void badTemplates(CK_SESSION_HANDLE session) {
  CK_ATTRIBUTE none{CKA_LABEL, nullptr, 5};
  CK_OBJECT_HANDLE found[4];
  CK_ULONG count = 7;
  RV(CKR_ARGUMENTS_BAD, p11->C_FindObjectsInit(session, &none, 1));
  RV(CKR_ARGUMENTS_BAD, p11->C_FindObjectsInit(session, nullptr, 1));
  RV(CKR_ARGUMENTS_BAD, p11->C_FindObjectsInit(session, &none, 0xffffffff));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_FindObjects(session, found, 4, &count));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_FindObjectsFinal(session));
  const std::string label(1 << 20, 'x'), notText("\xff\xfe");
  IS(findAll(session, {{CKA_LABEL, const_cast<char*>(label.data()), label.size()}}).empty());
  IS(findAll(session, {{CKA_LABEL, const_cast<char*>(notText.data()), notText.size()}}).empty());
  CK_OBJECT_CLASS kind = 1;  // certificates
  IS(findAll(session, {{CKA_CLASS, &kind, sizeof(kind)}}).empty());
  IS(findAll(session, {{CKA_CLASS, &kind, 1}}).empty());
  CK_BYTE yes = CK_TRUE;
  IS(findAll(session, {{CKA_TOKEN, &yes, ~0ul - 1}}).empty());  // a length, never read
  // 10,000 templates, each in the one before.
  std::vector<CK_ATTRIBUTE> nested(10'000, {CKA_WRAP_TEMPLATE, nullptr, sizeof(CK_ATTRIBUTE)});
  for (size_t i = 0; i + 1 < nested.size(); i++) nested[i].pValue = &nested[i + 1];
  nested.back() = {CKA_TOKEN, &yes, 1};
  IS(findAll(session, {nested[0]}).empty());
}

void searches(CK_SESSION_HANDLE session) {
  // Two objects for each of five keys; the managed key is none.
  IS(findAll(session, {}).size() == 10);
  CK_OBJECT_CLASS kind = CKO_PRIVATE_KEY;
  IS(findAll(session, {{CKA_CLASS, &kind, sizeof(kind)}}).size() == 5);
  CK_KEY_TYPE type = CKK_RSA;
  IS(findAll(session, {{CKA_KEY_TYPE, &type, sizeof(type)}}).size() == 4);
  CK_BYTE e = 'e';
  IS(findAll(session, {{CKA_LABEL, &e, 1}}).empty());  // the beginning of a name is none
  IS(findKey(session, CKO_PRIVATE_KEY, "sym") == 0);
  const CK_OBJECT_HANDLE ec = findKey(session, CKO_PRIVATE_KEY, "ec");
  IS(ec != 0 && ec == findKey(session, CKO_PRIVATE_KEY, "ec"));
  CK_BYTE id[16], point[200];
  CK_ULONG idLength = sizeof(id), pointLength = sizeof(point);
  RV(CKR_OK, get(session, ec, CKA_ID, id, &idLength));
  RV(CKR_OK, get(session, ec, CKA_EC_POINT, point, &pointLength));
  IS(findAll(session, {{CKA_ID, id, 16}}).size() == 2 && findAll(session, {{CKA_EC_POINT, point, pointLength}}).size() == 2);
  id[0] ^= 1;
  IS(findAll(session, {{CKA_ID, id, 16}}).empty());
  // A bit at a time, with another search refused meanwhile.
  CK_OBJECT_HANDLE some[3];
  CK_ULONG count = 0, all = 0;
  RV(CKR_OK, p11->C_FindObjectsInit(session, nullptr, 0));
  RV(CKR_OPERATION_ACTIVE, p11->C_FindObjectsInit(session, nullptr, 0));
  RV(CKR_ARGUMENTS_BAD, p11->C_FindObjects(session, nullptr, 3, &count));
  RV(CKR_ARGUMENTS_BAD, p11->C_FindObjects(session, some, 3, nullptr));
  do {
    RV(CKR_OK, p11->C_FindObjects(session, some, 3, &count));
    all += count;
  } while (count != 0);
  IS(all == 10);
  RV(CKR_OK, p11->C_SessionCancel(session, 0x40));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_FindObjectsFinal(session));
}

void attributes(CK_SESSION_HANDLE session) {
  const CK_OBJECT_HANDLE ec = findKey(session, CKO_PRIVATE_KEY, "ec"), rsa = findKey(session, CKO_PRIVATE_KEY, "rsa"), ecPublic = findKey(session, CKO_PUBLIC_KEY, "ec");
  // Exactly as long as the value, so that a byte more is the sanitizer's to find.
  const auto room = std::make_unique<CK_BYTE[]>(67);
  CK_ULONG length = 0;
  RV(CKR_OK, get(session, ec, CKA_EC_POINT, nullptr, &length));
  IS(length == 67);
  RV(CKR_OK, get(session, ec, CKA_EC_POINT, room.get(), &length));
  IS(room[0] == 4 && room[1] == 65 && room[2] == 4);
  length = 66;
  std::memset(room.get(), 0, 67);
  RV(CKR_BUFFER_TOO_SMALL, get(session, ec, CKA_EC_POINT, room.get(), &length));
  IS(length == CK_UNAVAILABLE_INFORMATION && room[0] == 0);
  RV(CKR_ATTRIBUTE_SENSITIVE, get(session, ec, CKA_VALUE, room.get(), &length));
  IS(length == CK_UNAVAILABLE_INFORMATION);
  for (const CK_ATTRIBUTE_TYPE type : {CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_PRIME_2, CKA_EXPONENT_1, CKA_EXPONENT_2, CKA_COEFFICIENT}) {
    RV(CKR_ATTRIBUTE_SENSITIVE, get(session, rsa, type, nullptr, &length));
    RV(CKR_ATTRIBUTE_TYPE_INVALID, get(session, rsa + 1, type, nullptr, &length));
  }
  for (const CK_ATTRIBUTE_TYPE type : {0x99999999ul, static_cast<CK_ULONG>(CKA_MODULUS), static_cast<CK_ULONG>(CKA_UNWRAP_TEMPLATE)})
    RV(CKR_ATTRIBUTE_TYPE_INVALID, get(session, ec, type, nullptr, &length));

  // One that fails leaves the others.
  CK_OBJECT_CLASS kind = 0;
  CK_BBOOL sensitive = 2, extractable = 2;
  CK_ATTRIBUTE mixed[] = {{CKA_CLASS, &kind, sizeof(kind)}, {CKA_VALUE, room.get(), 67}, {CKA_SENSITIVE, &sensitive, 1}, {CKA_EXTRACTABLE, &extractable, 1}};
  RV(CKR_ATTRIBUTE_SENSITIVE, p11->C_GetAttributeValue(session, ec, mixed, 4));
  IS(kind == CKO_PRIVATE_KEY && sensitive == CK_TRUE && extractable == CK_FALSE && mixed[1].ulValueLen == CK_UNAVAILABLE_INFORMATION);

  CK_MECHANISM_TYPE allowed[16];
  length = sizeof(allowed);
  RV(CKR_OK, get(session, ec, CKA_ALLOWED_MECHANISMS, allowed, &length));
  IS(length % sizeof(allowed[0]) == 0 && allowed[0] == CKM_ECDSA);
  CK_BYTE modulus[512];
  length = sizeof(modulus);
  RV(CKR_OK, get(session, rsa, CKA_MODULUS, modulus, &length));
  IS(length == 256 && (modulus[0] & 0x80) != 0);
  CK_ULONG bits = 0;
  length = sizeof(bits);
  RV(CKR_OK, get(session, rsa + 1, CKA_MODULUS_BITS, &bits, &length));
  IS(bits == 2048);
  char unique[64] = {};
  length = sizeof(unique);
  RV(CKR_OK, get(session, ecPublic, CKA_UNIQUE_ID, unique, &length));
  IS(length == 36 && std::strcmp(unique + 32, ":pub") == 0);
  RV(CKR_ARGUMENTS_BAD, p11->C_GetAttributeValue(session, ec, nullptr, 1));
  RV(CKR_ARGUMENTS_BAD, p11->C_GetAttributeValue(session, ec, mixed, 0xffffffff));
  for (const CK_OBJECT_HANDLE bad : {0ul, 1ul, 9999ul, ~0ul}) RV(CKR_OBJECT_HANDLE_INVALID, p11->C_GetAttributeValue(session, bad, mixed, 1));
  RV(CKR_SESSION_HANDLE_INVALID, p11->C_GetAttributeValue(~0ul, ec, mixed, 1));
}

}  // namespace

void objects() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openSession();
  badTemplates(session);
  searches(session);
  attributes(session);
  RV(CKR_OK, p11->C_Finalize(nullptr));
}
