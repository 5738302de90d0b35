// Signatures: which operation is active when, and which mechanisms, parameters and data are taken.
#include <algorithm>

#include "program.h"

namespace {

CK_BYTE signature[512];
CK_ULONG length;

CK_RV sign(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_MECHANISM mechanism, const std::string& data) {
  if (const CK_RV rv = p11->C_SignInit(session, &mechanism, key); rv != CKR_OK) return rv;
  length = sizeof(signature);
  return p11->C_Sign(session, bytes(data.data()), data.size(), signature, &length);
}

CK_RV verify(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE key, CK_MECHANISM mechanism, const std::string& data) {
  if (const CK_RV rv = p11->C_VerifyInit(session, &mechanism, key + 1); rv != CKR_OK) return rv;
  return p11->C_Verify(session, bytes(data.data()), data.size(), signature, length);
}

void inParts(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE ec, CK_OBJECT_HANDLE ed) {
  CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OK, p11->C_SignUpdate(session, bytes("mess"), 4));
  RV(CKR_OK, p11->C_SignUpdate(session, nullptr, 0));
  RV(CKR_OK, p11->C_SignUpdate(session, bytes("age"), 3));
  length = 63;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_SignFinal(session, signature, &length));
  RV(CKR_OK, p11->C_SignFinal(session, signature, &length));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_SignFinal(session, signature, &length));
  RV(CKR_OK, verify(session, ec, mechanism, "message"));
  RV(CKR_OK, p11->C_VerifyInit(session, &mechanism, ec + 1));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_SignUpdate(session, bytes("m"), 1));  // another purpose
  RV(CKR_OK, p11->C_VerifyUpdate(session, bytes("messag"), 6));
  RV(CKR_OK, p11->C_VerifyUpdate(session, bytes("e"), 1));
  RV(CKR_OK, p11->C_VerifyFinal(session, signature, 64));
  // The whole after a part: refused, and over.
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OK, p11->C_SignUpdate(session, bytes("m"), 1));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_Sign(session, bytes("m"), 1, signature, &length));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_SignFinal(session, signature, &length));
  // More than a message may have: in pieces, to an operation in the daemon. EdDSA needs the whole at once.
  const std::string big(5 << 20, 'x');
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OK, p11->C_SignUpdate(session, bytes(big.data()), big.size()));
  RV(CKR_OK, p11->C_SignUpdate(session, bytes(big.data()), big.size()));
  length = 10;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_SignFinal(session, signature, &length));
  RV(CKR_OK, p11->C_SignFinal(session, signature, &length));
  RV(CKR_OK, p11->C_VerifyInit(session, &mechanism, ec + 1));
  for (size_t at = 0; at < 2 * big.size(); at += 80'000) RV(CKR_OK, p11->C_VerifyUpdate(session, bytes(big.data()), std::min<size_t>(80'000, 2 * big.size() - at)));
  RV(CKR_OK, p11->C_VerifyFinal(session, signature, 64));
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OK, p11->C_SignUpdate(session, bytes(big.data()), big.size()));
  RV(CKR_OK, p11->C_SessionCancel(session, CKF_SIGN));
  CK_MECHANISM whole{CKM_EDDSA, nullptr, 0};
  RV(CKR_OK, p11->C_SignInit(session, &whole, ed));
  RV(CKR_OK, p11->C_SignUpdate(session, bytes(big.data()), big.size()));
  RV(CKR_DATA_LEN_RANGE, p11->C_SignUpdate(session, bytes(big.data()), big.size()));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_SignUpdate(session, bytes("m"), 1));
  RV(CKR_OK, sign(session, ec, mechanism, big));
  RV(CKR_OK, sign(session, ec, mechanism, std::string(9 << 20, 'x')));
  RV(CKR_DATA_LEN_RANGE, sign(session, ed, whole, std::string(9 << 20, 'x')));
}

}  // namespace

void state() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openSession();
  const CK_OBJECT_HANDLE ec = findKey(session, CKO_PRIVATE_KEY, "ec");
  CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
  length = sizeof(signature);
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_Sign(session, bytes("m"), 1, signature, &length));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_SignInit(session, nullptr, ec));
  RV(CKR_SESSION_HANDLE_INVALID, p11->C_SignInit(session + 1, &mechanism, ec));
  for (const CK_OBJECT_HANDLE bad : {0ul, 1ul, 77777ul, ~0ul}) RV(CKR_KEY_HANDLE_INVALID, p11->C_SignInit(session, &mechanism, bad));
  RV(CKR_KEY_FUNCTION_NOT_PERMITTED, p11->C_SignInit(session, &mechanism, ec + 1));
  RV(CKR_KEY_FUNCTION_NOT_PERMITTED, p11->C_VerifyInit(session, &mechanism, ec));

  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OPERATION_ACTIVE, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OPERATION_ACTIVE, p11->C_VerifyInit(session, &mechanism, ec + 1));
  RV(CKR_OK, p11->C_Sign(session, bytes("message"), 7, nullptr, &length));  // how long: the operation goes on
  IS(length == 64);
  length = 10;
  RV(CKR_BUFFER_TOO_SMALL, p11->C_Sign(session, bytes("message"), 7, signature, &length));
  IS(length == 64);
  RV(CKR_OK, p11->C_Sign(session, bytes("message"), 7, signature, &length));
  RV(CKR_OPERATION_NOT_INITIALIZED, p11->C_Sign(session, bytes("message"), 7, signature, &length));
  RV(CKR_OK, verify(session, ec, mechanism, "message"));
  RV(CKR_SIGNATURE_INVALID, verify(session, ec, mechanism, "massage"));
  length = 63;
  RV(CKR_SIGNATURE_LEN_RANGE, verify(session, ec, mechanism, "message"));

  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_ARGUMENTS_BAD, p11->C_Sign(session, nullptr, 1, signature, &length));
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_ARGUMENTS_BAD, p11->C_Sign(session, bytes("m"), 1, signature, nullptr));
  RV(CKR_OK, p11->C_VerifyInit(session, &mechanism, ec + 1));
  RV(CKR_ARGUMENTS_BAD, p11->C_Verify(session, bytes("m"), 1, nullptr, 64));
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OK, p11->C_SignInit(session, nullptr, 0));  // 3.0: given up
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OK, p11->C_SessionCancel(session, CKF_VERIFY));
  RV(CKR_OPERATION_ACTIVE, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OK, p11->C_SessionCancel(session, CKF_SIGN));
  RV(CKR_OK, sign(session, ec, mechanism, ""));
  inParts(session, ec, findKey(session, CKO_PRIVATE_KEY, "ed"));
  // Left active when the session goes.
  RV(CKR_OK, p11->C_SignInit(session, &mechanism, ec));
  RV(CKR_OK, p11->C_CloseSession(session));
  RV(CKR_OK, p11->C_Finalize(nullptr));
}

void mechanisms() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openSession();
  const auto key = [&](const char* name) { return findKey(session, CKO_PRIVATE_KEY, name); };
  const CK_OBJECT_HANDLE ec = key("ec"), ec2 = key("ec2"), ed = key("ed"), pss = key("pss"), rsa = key("rsa");
  CK_BYTE junk[8] = {};
  RV(CKR_MECHANISM_INVALID, sign(session, ec, {0x80000001, nullptr, 0}, "m"));
  RV(CKR_MECHANISM_INVALID, sign(session, ec, {0x1042, nullptr, 0}, "m"));  // CKM_ECDSA_SHA1
  RV(CKR_KEY_TYPE_INCONSISTENT, sign(session, ec, {CKM_EDDSA, nullptr, 0}, "m"));
  RV(CKR_MECHANISM_INVALID, sign(session, pss, {CKM_SHA256_RSA_PKCS, nullptr, 0}, "m"));  // not its scheme's
  RV(CKR_MECHANISM_PARAM_INVALID, sign(session, ec, {CKM_ECDSA, junk, sizeof(junk)}, "m"));
  RV(CKR_MECHANISM_PARAM_INVALID, sign(session, ec, {CKM_ECDSA, nullptr, 8}, "m"));
  RV(CKR_MECHANISM_PARAM_INVALID, sign(session, ed, {CKM_EDDSA, junk, sizeof(junk)}, "m"));
  for (const size_t bytes : {0, 65, 300}) RV(CKR_DATA_LEN_RANGE, sign(session, ec, {CKM_ECDSA, nullptr, 0}, std::string(bytes, 'd')));
  for (const size_t bytes : {28, 32, 48, 64}) {
    RV(CKR_OK, sign(session, ec2, {CKM_ECDSA, nullptr, 0}, std::string(bytes, 'd')));
    IS(length == 96);
    RV(CKR_OK, verify(session, ec2, {CKM_ECDSA, nullptr, 0}, std::string(bytes, 'd')));
  }
  for (CK_MECHANISM_TYPE type = CKM_ECDSA_SHA224; type <= CKM_ECDSA_SHA512; type++) {
    RV(CKR_OK, sign(session, ec, {type, nullptr, 0}, "m"));
    RV(CKR_OK, verify(session, ec, {type, nullptr, 0}, "m"));
  }
  RV(CKR_OK, sign(session, ed, {CKM_EDDSA, nullptr, 0}, "m"));
  IS(length == 64);
  RV(CKR_OK, verify(session, ed, {CKM_EDDSA, nullptr, 0}, "m"));
  for (const CK_MECHANISM_TYPE type : {CKM_SHA224_RSA_PKCS, CKM_SHA256_RSA_PKCS, CKM_SHA384_RSA_PKCS, CKM_SHA512_RSA_PKCS}) {
    RV(CKR_OK, sign(session, rsa, {type, nullptr, 0}, "m"));
    IS(length == 256);
    RV(CKR_OK, verify(session, rsa, {type, nullptr, 0}, "m"));
  }
  const std::string head("\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20", 19), digest(32, 'd');
  RV(CKR_OK, sign(session, rsa, {CKM_RSA_PKCS, nullptr, 0}, head + digest));
  RV(CKR_DATA_LEN_RANGE, sign(session, rsa, {CKM_RSA_PKCS, nullptr, 0}, std::string(246, 'd')));  // k - 11 at most

  CK_RSA_PKCS_PSS_PARAMS good{CKM_SHA256, CKG_MGF1_SHA256, 32};
  RV(CKR_OK, sign(session, pss, {CKM_SHA256_RSA_PKCS_PSS, &good, sizeof(good)}, "m"));
  RV(CKR_OK, verify(session, pss, {CKM_SHA256_RSA_PKCS_PSS, &good, sizeof(good)}, "m"));
  RV(CKR_OK, sign(session, pss, {CKM_RSA_PKCS_PSS, &good, sizeof(good)}, digest));
  RV(CKR_DATA_LEN_RANGE, sign(session, pss, {CKM_RSA_PKCS_PSS, &good, sizeof(good)}, "short"));
  for (CK_RSA_PKCS_PSS_PARAMS bad : {CK_RSA_PKCS_PSS_PARAMS{CKM_SHA384, CKG_MGF1_SHA384, 32}, {CKM_SHA256, 99, 32}, {99, CKG_MGF1_SHA256, 32}, {CKM_SHA256, CKG_MGF1_SHA256, 223}, {CKM_SHA256, CKG_MGF1_SHA256, ~0ul}, {0x220, 1, 20}})
    RV(CKR_MECHANISM_PARAM_INVALID, sign(session, pss, {CKM_SHA256_RSA_PKCS_PSS, &bad, sizeof(bad)}, "m"));
  for (const CK_ULONG size : {0ul, 23ul, 25ul}) RV(CKR_MECHANISM_PARAM_INVALID, sign(session, pss, {CKM_SHA256_RSA_PKCS_PSS, &good, size}, "m"));
  RV(CKR_OK, p11->C_Finalize(nullptr));
}
