// What the programs of these tests share: they load the module as an application does, and say what was not as expected.
#pragma once
#include <dlfcn.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "pkcs11/cryptoki_functions.h"

inline CK_FUNCTION_LIST_3_0* p11 = nullptr;
inline int failures = 0;

inline void expectRv(const char* file, int line, const char* call, CK_RV got, CK_RV wanted) {
  if (got == wanted) return;
  std::printf("%s:%d: %s gave 0x%lx, not 0x%lx\n", file, line, call, got, wanted);
  failures++;
}
inline void expectTrue(const char* file, int line, const char* what, bool is) {
  if (is) return;
  std::printf("%s:%d: not so: %s\n", file, line, what);
  failures++;
}
#define RV(wanted, call) expectRv(__FILE__, __LINE__, #call, call, wanted)
#define IS(condition) expectTrue(__FILE__, __LINE__, #condition, condition)

inline void load() {
  void* const module = dlopen(std::getenv("MODULE"), RTLD_NOW | RTLD_LOCAL);
  if (module == nullptr) {
    std::printf("dlopen: %s\n", dlerror());
    std::exit(2);
  }
  const auto get = reinterpret_cast<decltype(&C_GetInterface)>(dlsym(module, "C_GetInterface"));
  CK_INTERFACE* found = nullptr;
  if (get == nullptr || get(nullptr, nullptr, &found, 0) != CKR_OK) std::exit(2);
  p11 = static_cast<CK_FUNCTION_LIST_3_0*>(found->pFunctionList);
}

inline CK_SESSION_HANDLE openSession() {
  CK_SESSION_HANDLE session = 0;
  RV(CKR_OK, p11->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &session));
  return session;
}

inline std::vector<CK_OBJECT_HANDLE> findAll(CK_SESSION_HANDLE session, std::vector<CK_ATTRIBUTE> wanted) {
  std::vector<CK_OBJECT_HANDLE> found(64);
  CK_ULONG count = 0;
  RV(CKR_OK, p11->C_FindObjectsInit(session, wanted.data(), wanted.size()));
  RV(CKR_OK, p11->C_FindObjects(session, found.data(), found.size(), &count));
  RV(CKR_OK, p11->C_FindObjectsFinal(session));
  found.resize(count);
  return found;
}

// The object of that class and name; 0 when there is not exactly one.
inline CK_OBJECT_HANDLE findKey(CK_SESSION_HANDLE session, CK_OBJECT_CLASS kind, const char* label) {
  const auto found = findAll(session, {{CKA_CLASS, &kind, sizeof(kind)}, {CKA_LABEL, const_cast<char*>(label), std::strlen(label)}});
  return found.size() == 1 ? found[0] : 0;
}

// Attributes with the values that they point to.
struct Wanted {
  Wanted& flag(CK_ATTRIBUTE_TYPE type, bool value) { return add(type, std::string(1, value ? '\1' : '\0')); }
  Wanted& number(CK_ATTRIBUTE_TYPE type, CK_ULONG value) { return add(type, {reinterpret_cast<const char*>(&value), sizeof(value)}); }
  Wanted& add(CK_ATTRIBUTE_TYPE type, std::string value) {
    values.push_back(std::make_unique<std::string>(std::move(value)));
    list.push_back({type, values.back()->data(), values.back()->size()});
    return *this;
  }
  CK_ATTRIBUTE* data() { return list.data(); }
  CK_ULONG size() const { return list.size(); }
  std::vector<std::unique_ptr<std::string>> values;
  std::vector<CK_ATTRIBUTE> list;
};

inline CK_SESSION_HANDLE openWriter() {
  CK_SESSION_HANDLE session = 0;
  RV(CKR_OK, p11->C_OpenSession(0, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session));
  return session;
}
inline CK_OBJECT_HANDLE makeAes(CK_SESSION_HANDLE session, Wanted more = {}) {
  CK_MECHANISM mechanism{CKM_AES_KEY_GEN, nullptr, 0};
  CK_OBJECT_HANDLE key = 0;
  if (more.size() == 0) more.number(CKA_VALUE_LEN, 32);
  RV(CKR_OK, p11->C_GenerateKey(session, &mechanism, more.data(), more.size(), &key));
  return key;
}
inline std::string attribute(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object, CK_ATTRIBUTE_TYPE type) {
  std::string out(4096, '\0');
  CK_ATTRIBUTE one{type, out.data(), out.size()};
  if (p11->C_GetAttributeValue(session, object, &one, 1) != CKR_OK) return "(none)";
  out.resize(one.ulValueLen);
  return out;
}

inline CK_BYTE* bytes(const char* text) { return reinterpret_cast<CK_BYTE*>(const_cast<char*>(text)); }

// Signs and verifies once, with the P-256 key `ec`.
inline CK_RV signOnce(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
  if (const CK_RV rv = p11->C_SignInit(session, &mechanism, key); rv != CKR_OK) return rv;
  CK_BYTE signature[64];
  CK_ULONG length = sizeof(signature);
  if (const CK_RV rv = p11->C_Sign(session, bytes("message"), 7, signature, &length); rv != CKR_OK) return rv;
  if (const CK_RV rv = p11->C_VerifyInit(session, &mechanism, key + 1); rv != CKR_OK) return rv;
  return p11->C_Verify(session, bytes("message"), 7, signature, length);
}

void life();
void interfaces();
void slots();
void objects();
void state();
void mechanisms();
void ciphers();
void messages();
void making();
void material();
void wrapping();
void badInput();
void forks();
void threads();
