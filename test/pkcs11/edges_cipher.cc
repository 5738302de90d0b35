// Encrypting and decrypting, whole, in parts and by messages; digests and MACs.
#include <algorithm>

#include "program.h"

namespace {

struct Cipher {
  CK_SESSION_HANDLE session;
  CK_OBJECT_HANDLE key;
  CK_MECHANISM mechanism;
};

std::string encrypted(const Cipher& c, const std::string& plain) {
  CK_MECHANISM mechanism = c.mechanism;
  std::string out(plain.size() + 64, '\0');
  CK_ULONG length = out.size();
  RV(CKR_OK, p11->C_EncryptInit(c.session, &mechanism, c.key));
  RV(CKR_OK, p11->C_Encrypt(c.session, bytes(plain.data()), plain.size(), bytes(out.data()), &length));
  out.resize(length);
  return out;
}
CK_RV decrypt(const Cipher& c, const std::string& sealed, std::string* out) {
  CK_MECHANISM mechanism = c.mechanism;
  out->assign(sealed.size() + 1, '\0');
  CK_ULONG length = out->size();
  if (const CK_RV rv = p11->C_DecryptInit(c.session, &mechanism, c.key); rv != CKR_OK) return rv;
  const CK_RV rv = p11->C_Decrypt(c.session, bytes(sealed.data()), sealed.size(), bytes(out->data()), &length);
  if (rv == CKR_OK) out->resize(length);
  return rv;
}

using Update = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG, CK_BYTE*, CK_ULONG*);
using Final = CK_RV (*)(CK_SESSION_HANDLE, CK_BYTE*, CK_ULONG*);

// In parts of `step` bytes, each with a buffer of exactly the bytes that it was said would come.
std::string inParts(const Cipher& c, bool isEncrypt, const std::string& in, size_t step) {
  CK_MECHANISM mechanism = c.mechanism;
  RV(CKR_OK, isEncrypt ? p11->C_EncryptInit(c.session, &mechanism, c.key) : p11->C_DecryptInit(c.session, &mechanism, c.key));
  const Update update = isEncrypt ? p11->C_EncryptUpdate : p11->C_DecryptUpdate;
  const Final final = isEncrypt ? p11->C_EncryptFinal : p11->C_DecryptFinal;
  std::string out;
  const auto take = [&](auto call) {
    CK_ULONG length = 0;
    RV(CKR_OK, call(nullptr, &length));
    const auto room = std::make_unique<CK_BYTE[]>(length + 1);
    if (length > 0) {
      CK_ULONG less = length - 1;
      const CK_RV rv = call(room.get(), &less);
      if (rv == CKR_OK) return void(out.append(room.get(), room.get() + less));  // shorter than the most that it may be
      IS(rv == CKR_BUFFER_TOO_SMALL && less <= length && less > 0);
    }
    RV(CKR_OK, call(room.get(), &length));
    out.append(room.get(), room.get() + length);
  };
  for (size_t at = 0; at < in.size(); at += step) {
    const size_t n = std::min(step, in.size() - at);
    take([&](CK_BYTE* to, CK_ULONG* length) { return update(c.session, bytes(in.data() + at), n, to, length); });
  }
  take([&](CK_BYTE* to, CK_ULONG* length) { return final(c.session, to, length); });
  return out;
}

std::string text(size_t bytes) {
  std::string out(bytes, '\0');
  for (size_t i = 0; i < bytes; i++) out[i] = static_cast<char>(i * 7 + i / 256);
  return out;
}

void roundTrips(const Cipher& c, bool isPadded, bool isStream) {
  for (const size_t length : {16, 48, 4096, 200'000}) {
    const std::string plain = text(length + (isPadded || isStream ? 5 : 0));
    const std::string sealed = encrypted(c, plain);
    IS(sealed.size() == (isPadded ? plain.size() / 16 * 16 + 16 : plain.size()));
    for (const size_t step : {size_t{1}, size_t{7}, size_t{16}, size_t{100}, size_t{70'000}}) {
      if (plain.size() / step > 300) continue;
      IS(inParts(c, true, plain, step) == sealed);
      IS(inParts(c, false, sealed, step) == plain);
    }
    std::string back;
    RV(CKR_OK, decrypt(c, sealed, &back));
    IS(back == plain);
  }
}

void shortBuffers(const Cipher& gcm, const Cipher& pad) {
  CK_BYTE out[64];
  CK_MECHANISM mechanism = gcm.mechanism;
  CK_ULONG length = 0;
  RV(CKR_OK, p11->C_EncryptInit(gcm.session, &mechanism, gcm.key));
  RV(CKR_OPERATION_ACTIVE, p11->C_DecryptInit(gcm.session, &mechanism, gcm.key));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_Decrypt(gcm.session, out, 16, out, &length));
  RV(CKR_OK, p11->C_Encrypt(gcm.session, bytes("0123456789"), 10, nullptr, &length));
  IS(length == 22);
  length = 21;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_Encrypt(gcm.session, bytes("0123456789"), 10, out, &length));
  IS(length == 22);
  RV(CKR_OK, p11->C_Encrypt(gcm.session, bytes("0123456789"), 10, out, &length));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_Encrypt(gcm.session, bytes("0123456789"), 10, out, &length));
  // A result whose length only its content tells is kept until there is room for it.
  const std::string sealed = encrypted(pad, "0123456789");
  mechanism = pad.mechanism;
  RV(CKR_OK, p11->C_DecryptInit(pad.session, &mechanism, pad.key));
  length = 9;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_Decrypt(pad.session, bytes(sealed.data()), sealed.size(), out, &length));
  IS(length == 10);
  RV(CKR_OK, p11->C_Decrypt(pad.session, bytes(sealed.data()), sealed.size(), out, &length));
  IS(length == 10 && std::memcmp(out, "0123456789", 10) == 0);
  RV(CKR_OK, p11->C_EncryptInit(gcm.session, &mechanism, gcm.key));
  RV(CKR_ARGUMENTS_BAD, p11->C_Encrypt(gcm.session, nullptr, 1, out, &length));
  RV(CKR_OK, p11->C_EncryptInit(gcm.session, &mechanism, gcm.key));
  RV(CKR_ARGUMENTS_BAD, p11->C_Encrypt(gcm.session, out, 1, out, nullptr));
  RV(CKR_OK, p11->C_EncryptInit(gcm.session, &mechanism, gcm.key));
  RV(CKR_OK, p11->C_EncryptInit(gcm.session, nullptr, 0));
}

void wrongParameters(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key) {
  CK_BYTE iv[16] = {};
  CK_GCM_PARAMS good{iv, 12, 96, nullptr, 0, 128};
  const auto begin = [&](CK_MECHANISM_TYPE type, void* parameter, CK_ULONG size) {
    CK_MECHANISM mechanism{type, parameter, size};
    return p11->C_EncryptInit(session, &mechanism, key);
  };
  RV(CKR_MECHANISM_PARAM_INVALID, begin(CKM_AES_GCM, &good, 40));  // what Java tries first
  RV(CKR_MECHANISM_PARAM_INVALID, begin(CKM_AES_GCM, nullptr, 0));
  RV(CKR_MECHANISM_PARAM_INVALID, begin(CKM_AES_GCM, nullptr, sizeof(good)));
  for (const CK_GCM_PARAMS& bad : {CK_GCM_PARAMS{iv, 11, 88, nullptr, 0, 128}, {iv, 16, 128, nullptr, 0, 128}, {nullptr, 12, 96, nullptr, 0, 128},
                                   {iv, 12, 96, nullptr, 1, 128}, {iv, 12, 96, iv, ~0ul, 128}, {iv, 12, 96, nullptr, 0, 88}, {iv, 12, 96, nullptr, 0, 129}, {iv, 12, 96, nullptr, 0, ~0ul}, {iv, ~0ul, 96, nullptr, 0, 128}}) {
    CK_GCM_PARAMS given = bad;
    RV(CKR_MECHANISM_PARAM_INVALID, begin(CKM_AES_GCM, &given, sizeof(given)));
  }
  for (const CK_ULONG bits : {0ul, 95ul, ~0ul}) {  // as callers' heaps had it
    CK_GCM_PARAMS given{iv, 12, bits, nullptr, 0, 128};
    RV(CKR_OK, begin(CKM_AES_GCM, &given, sizeof(given)));
    RV(CKR_OK, p11->C_EncryptInit(session, nullptr, 0));
  }
  for (const CK_ULONG size : {0ul, 15ul, 17ul, ~0ul}) RV(CKR_MECHANISM_PARAM_INVALID, begin(CKM_AES_CBC, iv, size));
  CK_AES_CTR_PARAMS ctr{129, {}};
  RV(CKR_MECHANISM_PARAM_INVALID, begin(CKM_AES_CTR, &ctr, sizeof(ctr)));
  RV(CKR_MECHANISM_PARAM_INVALID, begin(CKM_AES_ECB, iv, 16));
  RV(CKR_MECHANISM_INVALID, begin(0x132, iv, 8));  // CKM_DES3_ECB
  RV(CKR_MECHANISM_INVALID, begin(CKM_SHA256, nullptr, 0));
  RV(CKR_KEY_TYPE_INCONSISTENT, begin(CKM_RSA_X_509, nullptr, 0));
  for (const CK_ULONG size : {1, 15, 17}) {
    RV(CKR_OK, begin(CKM_AES_ECB, nullptr, 0));
    CK_BYTE out[32];
    CK_ULONG length = sizeof(out);
    RV(CKR_DATA_LEN_RANGE, p11->C_Encrypt(session, iv, size, out, &length));
  }
}

void digests(CK_SESSION_HANDLE session) {
  const std::string big = text(300'000);
  CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
  CK_BYTE whole[32], parts[32];
  CK_ULONG length = sizeof(whole);
  RV(CKR_OK, p11->C_DigestInit(session, &mechanism));
  RV(CKR_OK, p11->C_Digest(session, bytes(big.data()), big.size(), nullptr, &length));
  IS(length == 32);
  RV(CKR_OK, p11->C_Digest(session, bytes(big.data()), big.size(), whole, &length));
  RV(CKR_OK, p11->C_DigestInit(session, &mechanism));
  for (size_t at = 0; at < big.size(); at += 10'000) RV(CKR_OK, p11->C_DigestUpdate(session, bytes(big.data() + at), 10'000));
  length = 31;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_DigestFinal(session, parts, &length));
  RV(CKR_OK, p11->C_DigestFinal(session, parts, &length));
  IS(std::memcmp(whole, parts, 32) == 0);
  RV(CKR_OK, p11->C_DigestInit(session, &mechanism));
  RV(CKR_OK, p11->C_Digest(session, bytes("abc"), 3, whole, &length));
  IS(whole[0] == 0xba && whole[31] == 0xad);  // FIPS 180-4's example
  const CK_OBJECT_HANDLE key = makeAes(session);
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_DigestKey(session, key));
  RV(CKR_OK, p11->C_DigestInit(session, &mechanism));
  RV(CKR_KEY_INDIGESTIBLE, p11->C_DigestKey(session, key));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_DigestFinal(session, parts, &length));
  RV(CKR_OK, p11->C_DigestInit(session, &mechanism));
  RV(CKR_STATE_UNSAVEABLE, p11->C_GetOperationState(session, nullptr, &length));
  RV(CKR_OK, p11->C_SessionCancel(session, CKF_DIGEST));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_GetOperationState(session, nullptr, &length));
}

}  // namespace

void ciphers() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openSession();
  const CK_OBJECT_HANDLE key = makeAes(session);
  CK_BYTE iv[16] = {1, 2, 3}, aad[5] = {9};
  CK_GCM_PARAMS gcmParams{iv, 12, 96, aad, 5, 96};
  CK_AES_CTR_PARAMS ctrParams{128, {1}};
  const Cipher gcm{session, key, {CKM_AES_GCM, &gcmParams, sizeof(gcmParams)}}, pad{session, key, {CKM_AES_CBC_PAD, iv, 16}};
  roundTrips({session, key, {CKM_AES_ECB, nullptr, 0}}, false, false);
  roundTrips({session, key, {CKM_AES_CBC, iv, 16}}, false, false);
  roundTrips({session, key, {CKM_AES_CTR, &ctrParams, sizeof(ctrParams)}}, false, true);
  roundTrips(pad, true, false);
  const std::string plain = text(100'000), sealed = encrypted(gcm, plain);
  IS(sealed.size() == plain.size() + 12);
  std::string back;
  RV(CKR_OK, decrypt(gcm, sealed, &back));
  IS(back == plain);
  std::string broken = sealed;
  broken[5] ^= 1;
  RV(CKR_ENCRYPTED_DATA_INVALID, decrypt(gcm, broken, &back));
  RV(CKR_ENCRYPTED_DATA_LEN_RANGE, decrypt(gcm, "short", &back));
  // In parts: nothing comes out before the end.
  CK_MECHANISM mechanism = gcm.mechanism;
  CK_ULONG length = 10;
  CK_BYTE out[64];
  RV(CKR_OK, p11->C_EncryptInit(session, &mechanism, key));
  RV(CKR_OK, p11->C_EncryptUpdate(session, bytes("abc"), 3, out, &length));
  IS(length == 0);
  length = sizeof(out);
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_Encrypt(session, bytes("abc"), 3, out, &length));  // the whole after a part
  RV(CKR_OK, p11->C_EncryptInit(session, &mechanism, key));
  RV(CKR_OK, p11->C_EncryptUpdate(session, bytes("abc"), 3, out, &length));
  RV(CKR_OK, p11->C_EncryptUpdate(session, bytes("def"), 3, out, &length));
  length = sizeof(out);
  RV(CKR_OK, p11->C_EncryptFinal(session, out, &length));
  IS(std::string(out, out + length) == encrypted(gcm, "abcdef"));
  shortBuffers(gcm, pad);
  wrongParameters(session, key);
  digests(session);
  RV(CKR_OK, p11->C_Finalize(nullptr));
}

void messages() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openSession();
  const CK_OBJECT_HANDLE key = makeAes(session);
  CK_MECHANISM mechanism{CKM_AES_GCM, nullptr, 0};
  CK_BYTE iv[12] = {}, tag[16] = {}, out[32], back[32];
  CK_GCM_MESSAGE_PARAMS params{iv, 12, 0, CKG_GENERATE, tag, 128};
  CK_ULONG length = sizeof(out);
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_EncryptMessage(session, &params, sizeof(params), nullptr, 0, bytes("abc"), 3, out, &length));
  RV(CKR_OK, p11->C_MessageEncryptInit(session, &mechanism, key));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_Encrypt(session, bytes("abc"), 3, out, &length));
  RV(CKR_OPERATION_ACTIVE, p11->C_MessageDecryptInit(session, &mechanism, key));
  RV(CKR_OK, p11->C_EncryptMessage(session, &params, sizeof(params), bytes("aad"), 3, bytes("abc"), 3, out, &length));
  IS(length == 3 && std::string(iv, iv + 12) != std::string(12, '\0'));
  const std::string first(iv, iv + 12);
  length = 2;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_EncryptMessage(session, &params, sizeof(params), nullptr, 0, bytes("abc"), 3, out, &length));
  RV(CKR_MECHANISM_PARAM_INVALID, p11->C_EncryptMessage(session, &params, 47, nullptr, 0, bytes("abc"), 3, out, &length));
  for (const CK_ULONG generator : {CK_ULONG{CKG_GENERATE_COUNTER}, CK_ULONG{CKG_GENERATE_COUNTER_XOR}, 77ul}) {
    CK_GCM_MESSAGE_PARAMS bad = params;
    bad.ivGenerator = generator;
    RV(CKR_MECHANISM_PARAM_INVALID, p11->C_EncryptMessage(session, &bad, sizeof(bad), nullptr, 0, bytes("abc"), 3, out, &length));
  }
  // By parts, with an IV of the caller's.
  params.ivGenerator = CKG_NO_GENERATE;
  RV(CKR_OK, p11->C_EncryptMessageBegin(session, &params, sizeof(params), bytes("aad"), 3));
  RV(CKR_OPERATION_ACTIVE, p11->C_EncryptMessage(session, &params, sizeof(params), nullptr, 0, bytes("abc"), 3, out, &length));
  RV(CKR_OK, p11->C_EncryptMessageNext(session, &params, sizeof(params), bytes("ab"), 2, out, &length, 0));
  IS(length == 0);
  length = sizeof(out);
  RV(CKR_OK, p11->C_EncryptMessageNext(session, &params, sizeof(params), bytes("c"), 1, out, &length, CKF_END_OF_MESSAGE));
  IS(length == 3 && first == std::string(iv, iv + 12));
  RV(CKR_OK, p11->C_MessageEncryptFinal(session));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_MessageEncryptFinal(session));

  RV(CKR_OK, p11->C_MessageDecryptInit(session, &mechanism, key));
  length = sizeof(back);
  RV(CKR_OK, p11->C_DecryptMessage(session, &params, sizeof(params), bytes("aad"), 3, out, 3, back, &length));
  IS(length == 3 && std::memcmp(back, "abc", 3) == 0);
  tag[0] ^= 1;
  RV(CKR_ENCRYPTED_DATA_INVALID, p11->C_DecryptMessage(session, &params, sizeof(params), bytes("aad"), 3, out, 3, back, &length));
  tag[0] ^= 1;  // the next message is as good as any
  length = sizeof(back);
  RV(CKR_OK, p11->C_DecryptMessageBegin(session, &params, sizeof(params), bytes("aad"), 3));
  RV(CKR_OK, p11->C_DecryptMessageNext(session, &params, sizeof(params), out, 3, back, &length, CKF_END_OF_MESSAGE));
  RV(CKR_OK, p11->C_SessionCancel(session, CKF_MESSAGE_DECRYPT));

  const CK_OBJECT_HANDLE ec = findKey(session, CKO_PRIVATE_KEY, "ec");
  CK_BYTE signatures[2][64];
  CK_MECHANISM ecdsa{CKM_ECDSA_SHA256, nullptr, 0};
  RV(CKR_OK, p11->C_MessageSignInit(session, &ecdsa, ec));
  length = 64;
  RV(CKR_OK, p11->C_SignMessage(session, nullptr, 0, bytes("one"), 3, signatures[0], &length));
  RV(CKR_OK, p11->C_SignMessageBegin(session, nullptr, 0));
  RV(CKR_OK, p11->C_SignMessageNext(session, nullptr, 0, bytes("tw"), 2, nullptr, nullptr));
  RV(CKR_OK, p11->C_SignMessageNext(session, nullptr, 0, bytes("o"), 1, signatures[1], &length));
  RV(CKR_OK, p11->C_MessageSignFinal(session));
  RV(CKR_OK, p11->C_MessageVerifyInit(session, &ecdsa, ec + 1));
  RV(CKR_OK, p11->C_VerifyMessage(session, nullptr, 0, bytes("one"), 3, signatures[0], 64));
  RV(CKR_SIGNATURE_INVALID, p11->C_VerifyMessage(session, nullptr, 0, bytes("one"), 3, signatures[1], 64));
  RV(CKR_OK, p11->C_VerifyMessageBegin(session, nullptr, 0));
  RV(CKR_OK, p11->C_VerifyMessageNext(session, nullptr, 0, bytes("two"), 3, nullptr, 0));
  RV(CKR_OK, p11->C_VerifyMessageNext(session, nullptr, 0, nullptr, 0, signatures[1], 64));
  RV(CKR_OK, p11->C_MessageVerifyFinal(session));
  RV(CKR_OK, p11->C_Finalize(nullptr));
}
