// Every function of the list, with arguments that are right, nearly right, or wrong.
#include <algorithm>

#include "sequences.h"

namespace {

std::string keep(World& w, const void* structure, size_t bytes) {
  w.kept.push_back(std::make_unique<std::string>(static_cast<const char*>(structure), bytes));
  return "";
}
CK_BYTE* keepBytes(World& w, size_t bytes) {
  w.kept.push_back(std::make_unique<std::string>(bytes, static_cast<char>(w.dice.next())));
  return reinterpret_cast<CK_BYTE*>(w.kept.back()->data());
}

// Output: NULL, too short, or long enough.
struct Out {
  explicit Out(World& w) : place(w.dice.of<size_t>({0, 1, 16, 31, 64, 300, 5000, 80'000})), length(place.room), isNull(w.dice.oneIn(5)), noLength(w.dice.oneIn(40)) {}
  CK_BYTE* at() { return isNull ? nullptr : place.at(); }
  CK_ULONG* size() { return noLength ? nullptr : &length; }
  Place place;
  CK_ULONG length;
  bool isNull, noLength;
};

struct In {
  explicit In(World& w) : text(w.data()), at(bytes(text.data())), length(text.size()) {
    if (!w.dice.oneIn(30)) return;
    at = nullptr;
    length = w.dice.of<CK_ULONG>({0, 1, 0xffffffff, ~0ul});
  }
  std::string text;
  CK_BYTE* at;
  CK_ULONG length;
};

using Maker = CK_RV (*)(World&);
struct Row {
  const char* name;
  Maker call;
  int weight;
};

template <auto Member>
CK_RV initWithKey(World& w) {
  return (p11->*Member)(w.session(), w.mechanism(), w.object());
}
template <auto Member>
CK_RV through(World& w) {
  In in(w);
  Out out(w);
  return (p11->*Member)(w.session(), in.at, in.length, out.at(), out.size());
}
template <auto Member>
CK_RV feed(World& w) {
  In in(w);
  return (p11->*Member)(w.session(), in.at, in.length);
}
template <auto Member>
CK_RV finish(World& w) {
  Out out(w);
  return (p11->*Member)(w.session(), out.at(), out.size());
}
template <auto Member>
CK_RV withSession(World& w) {
  return (p11->*Member)(w.session());
}

struct Message {
  explicit Message(World& w) : tag(16), iv(12) {
    params = {iv.at(), w.dice.of<CK_ULONG>({12, 12, 12, 0, ~0ul}), w.dice.of<CK_ULONG>({0, 0, 0, 32}), w.dice.below(6), w.dice.oneIn(30) ? nullptr : tag.at(), w.dice.of<CK_ULONG>({128, 96, 0, ~0ul})};
    at = w.dice.oneIn(20) ? nullptr : &params;
    length = w.dice.oneIn(20) ? w.dice.below(60) : sizeof(params);
    if (w.dice.oneIn(3)) at = nullptr, length = 0;  // signatures have none
  }
  Place tag, iv;
  CK_GCM_MESSAGE_PARAMS params;
  void* at;
  CK_ULONG length;
};
template <auto Member>
CK_RV message(World& w) {
  Message m(w);
  In aad(w), in(w);
  Out out(w);
  return (p11->*Member)(w.session(), m.at, m.length, aad.at, aad.length, in.at, in.length, out.at(), out.size());
}
template <auto Member>
CK_RV messageNext(World& w) {
  Message m(w);
  In in(w);
  Out out(w);
  return (p11->*Member)(w.session(), m.at, m.length, in.at, in.length, out.at(), out.size(), w.dice.below(3));
}
// Begin keeps the pointers of its parameters: they live on.
template <auto Member>
CK_RV messageBegin(World& w) {
  CK_GCM_MESSAGE_PARAMS params{keepBytes(w, 12), 12, 0, w.dice.below(5), keepBytes(w, 16), 128};
  In aad(w);
  return (p11->*Member)(w.session(), &params, sizeof(params), aad.at, aad.length);
}
template <auto Member>
CK_RV signOne(World& w) {
  In in(w);
  Out out(w);
  return (p11->*Member)(w.session(), nullptr, w.dice.oneIn(20) ? 3 : 0, in.at, in.length, out.at(), w.dice.oneIn(4) ? nullptr : out.size());
}
template <auto Member>
CK_RV verifyOne(World& w) {
  In in(w), signature(w);
  return (p11->*Member)(w.session(), nullptr, 0, in.at, in.length, signature.at, signature.length);
}

CK_RV generate(World& w) {
  CK_OBJECT_HANDLE made = 0;
  Wanted& wanted = w.wanted();
  if (w.isRight) wanted.number(CKA_VALUE_LEN, 32);
  CK_MECHANISM mechanism{w.dice.of<CK_MECHANISM_TYPE>({CKM_AES_KEY_GEN, CKM_AES_KEY_GEN, CKM_GENERIC_SECRET_KEY_GEN, CKM_AES_ECB}), nullptr, w.dice.oneIn(30) ? 5u : 0u};
  const CK_RV rv = p11->C_GenerateKey(w.session(), &mechanism, wanted.data(), w.dice.oneIn(50) ? 0xffffffff : wanted.size(), w.dice.oneIn(50) ? nullptr : &made);
  w.made(made);
  return rv;
}
CK_RV generatePair(World& w) {
  CK_OBJECT_HANDLE made[2] = {};
  CK_MECHANISM mechanism{w.dice.of<CK_MECHANISM_TYPE>({CKM_EC_KEY_PAIR_GEN, CKM_EC_KEY_PAIR_GEN, CKM_EC_EDWARDS_KEY_PAIR_GEN, CKM_EC_MONTGOMERY_KEY_PAIR_GEN}), nullptr, 0};
  if (w.dice.oneIn(300)) mechanism.mechanism = CKM_RSA_PKCS_KEY_PAIR_GEN;
  Wanted &half = w.wanted(), &main = w.wanted();
  if (!w.dice.oneIn(4)) half.add(CKA_EC_PARAMS, std::string("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10));
  const CK_RV rv = p11->C_GenerateKeyPair(w.session(), &mechanism, half.data(), half.size(), main.data(), main.size(), &made[0], &made[1]);
  for (const CK_OBJECT_HANDLE each : made) w.made(each);
  return rv;
}
CK_RV create(World& w) {
  CK_OBJECT_HANDLE made = 0;
  Wanted& wanted = w.wanted();
  const bool isMarked = w.dice.oneIn(2);
  wanted.number(CKA_CLASS, isMarked ? CK_ULONG{CKO_SECRET_KEY} : w.dice.of<CK_ULONG>({CKO_SECRET_KEY, CKO_DATA, CKO_CERTIFICATE, CKO_PRIVATE_KEY, CKO_PUBLIC_KEY, 9}));
  wanted.number(CKA_KEY_TYPE, w.dice.of<CK_ULONG>({CKK_AES, CKK_GENERIC_SECRET, CKK_EC, CKK_RSA, 77}));
  if (isMarked) wanted.flag(CKA_SENSITIVE, true);
  if (!w.dice.oneIn(10)) wanted.add(CKA_VALUE, isMarked ? std::string(kMarker, 32) : std::string(w.dice.of<size_t>({16, 32, 0, 9000}), 'v'));
  const CK_RV rv = p11->C_CreateObject(w.session(), wanted.data(), wanted.size(), &made);
  w.made(made);
  return rv;
}
CK_RV copy(World& w) {
  CK_OBJECT_HANDLE made = 0;
  Wanted& wanted = w.wanted();
  const CK_RV rv = p11->C_CopyObject(w.session(), w.object(), wanted.data(), wanted.size(), &made);
  w.made(made);
  return rv;
}
CK_RV unwrapOrDerive(World& w, bool isUnwrap) {
  CK_OBJECT_HANDLE made = 0;
  In in(w);
  Wanted& wanted = w.wanted();
  const CK_RV rv = isUnwrap ? p11->C_UnwrapKey(w.session(), w.mechanism(), w.object(), in.at, in.length, wanted.data(), wanted.size(), &made)
                            : p11->C_DeriveKey(w.session(), w.mechanism(), w.object(), wanted.data(), wanted.size(), &made);
  w.made(made);
  return rv;
}

bool isOpen(CK_SESSION_HANDLE session, CK_OBJECT_HANDLE object) {
  const std::string kind = attribute(session, object, CKA_CLASS);
  if (!kind.empty() && kind[0] <= 1) return true;  // data, certificates
  return attribute(session, object, CKA_SENSITIVE) == std::string(1, '\0') && attribute(session, object, CKA_EXTRACTABLE) == std::string(1, '\1');
}
CK_RV getAttributes(World& w) {
  const CK_SESSION_HANDLE session = w.session();
  const CK_OBJECT_HANDLE object = w.object();
  std::vector<std::unique_ptr<Out>> places;
  std::vector<CK_ATTRIBUTE> asked;
  for (size_t i = w.dice.below(6); i > 0; i--) {
    places.push_back(std::make_unique<Out>(w));
    const CK_ATTRIBUTE_TYPE type = w.dice.of<CK_ATTRIBUTE_TYPE>({CKA_VALUE, CKA_CLASS, CKA_LABEL, CKA_ID, CKA_EC_POINT, CKA_MODULUS, CKA_PRIVATE_EXPONENT, CKA_PRIME_1, CKA_SENSITIVE, CKA_UNIQUE_ID, CKA_SUBJECT, CKA_VALUE_LEN, 0x12345678});
    asked.push_back({type, places.back()->at(), places.back()->length});
  }
  const CK_RV rv = p11->C_GetAttributeValue(session, object, asked.data(), w.dice.oneIn(50) ? 0xffffffff : asked.size());
  for (const CK_ATTRIBUTE& each : asked) {
    const bool isSecret = each.type == CKA_VALUE || each.type == CKA_PRIVATE_EXPONENT || each.type == CKA_PRIME_1;
    if (rv == CKR_OK && isSecret && each.pValue != nullptr && each.ulValueLen != 0 && each.ulValueLen != CK_UNAVAILABLE_INFORMATION && !isOpen(session, object)) breaks("a sensitive value was told");
  }
  return rv;
}
CK_RV find(World& w) {
  const CK_SESSION_HANDLE session = w.session();
  Wanted& wanted = w.wanted();
  const CK_RV rv = p11->C_FindObjectsInit(session, wanted.data(), w.dice.oneIn(2) ? 0 : wanted.size());
  CK_OBJECT_HANDLE found[8];
  CK_ULONG count = 0;
  if (p11->C_FindObjects(session, found, w.dice.below(9), &count) == CKR_OK)
    for (CK_ULONG i = 0; i < count; i++) w.made(found[i]);
  if (!w.dice.oneIn(10)) p11->C_FindObjectsFinal(session);
  return rv;
}
CK_RV wrap(World& w) {
  Out out(w);
  return p11->C_WrapKey(w.session(), w.mechanism(), w.object(), w.object(), out.at(), out.size());
}
CK_RV open(World& w) {
  CK_SESSION_HANDLE session = 0;
  const CK_RV rv = p11->C_OpenSession(w.dice.oneIn(20) ? w.dice.below(3) : 0, w.dice.of<CK_FLAGS>({4, 6, 6, 2, 0}), nullptr, nullptr, &session);
  if (rv == CKR_OK) w.sessions.push_back(session);
  return rv;
}
// A PIN that is wrong costs the daemon's patience, and its holder's tries: seldom.
CK_RV login(World& w) {
  const bool isTried = w.dice.oneIn(400);
  return p11->C_Login(w.session(), w.dice.of<CK_USER_TYPE>({0, 1, 1, 2, 9}), isTried ? bytes("wrong-pin") : nullptr, isTried ? 9 : w.dice.of<CK_ULONG>({0, 0, 5, ~0ul}));
}

constexpr Row kRows[] = {
    {"GetInfo", [](World& w) { CK_INFO info; return p11->C_GetInfo(w.dice.oneIn(9) ? nullptr : &info); }, 1},
    {"GetSlotList", [](World& w) { CK_SLOT_ID ids[4]; CK_ULONG n = w.dice.below(5); return p11->C_GetSlotList(w.dice.below(2), w.dice.oneIn(2) ? nullptr : ids, w.dice.oneIn(9) ? nullptr : &n); }, 1},
    {"GetSlotInfo", [](World& w) { CK_SLOT_INFO info; return p11->C_GetSlotInfo(w.dice.below(3), &info); }, 1},
    {"GetTokenInfo", [](World& w) { CK_TOKEN_INFO info; return p11->C_GetTokenInfo(w.dice.below(3), &info); }, 1},
    {"GetMechanismList", [](World& w) { CK_MECHANISM_TYPE all[99]; CK_ULONG n = w.dice.below(100); return p11->C_GetMechanismList(0, w.dice.oneIn(3) ? nullptr : all, &n); }, 1},
    {"GetMechanismInfo", [](World& w) { CK_MECHANISM_INFO info; return p11->C_GetMechanismInfo(0, w.dice.below(0x2200), &info); }, 1},
    {"InitToken", [](World&) { return p11->C_InitToken(0, nullptr, 0, nullptr); }, 1},
    {"InitPIN", [](World& w) { return p11->C_InitPIN(w.session(), bytes("1"), w.dice.of<CK_ULONG>({0, 1})); }, 1},
    {"SetPIN", [](World& w) { return p11->C_SetPIN(w.session(), bytes("1"), 1, nullptr, w.dice.of<CK_ULONG>({0, 1})); }, 1},
    {"OpenSession", open, 8},
    {"CloseSession", [](World& w) { return p11->C_CloseSession(w.session()); }, 3},
    {"CloseAllSessions", [](World& w) { return w.dice.oneIn(10) ? p11->C_CloseAllSessions(w.dice.below(2)) : CKR_OK; }, 1},
    {"GetSessionInfo", [](World& w) { CK_SESSION_INFO info; return p11->C_GetSessionInfo(w.session(), w.dice.oneIn(9) ? nullptr : &info); }, 1},
    {"GetOperationState", finish<&CK_FUNCTION_LIST_3_0::C_GetOperationState>, 1},
    {"SetOperationState", [](World& w) { return p11->C_SetOperationState(w.session(), nullptr, 0, 0, 0); }, 1},
    {"Login", login, 1},
    {"LoginUser", [](World& w) { return p11->C_LoginUser(w.session(), w.dice.below(4), nullptr, 0, bytes("nobody"), 6); }, 1},
    {"Logout", withSession<&CK_FUNCTION_LIST_3_0::C_Logout>, 1},
    {"CreateObject", create, 8},
    {"CopyObject", copy, 4},
    {"DestroyObject", [](World& w) { return p11->C_DestroyObject(w.session(), w.object()); }, 6},
    {"GetObjectSize", [](World& w) { CK_ULONG n; return p11->C_GetObjectSize(w.session(), w.object(), w.dice.oneIn(9) ? nullptr : &n); }, 1},
    {"GetAttributeValue", getAttributes, 10},
    {"SetAttributeValue", [](World& w) { Wanted& wanted = w.wanted(); return p11->C_SetAttributeValue(w.session(), w.object(), wanted.data(), wanted.size()); }, 4},
    {"FindObjects", find, 6},
    {"FindObjectsFinal", withSession<&CK_FUNCTION_LIST_3_0::C_FindObjectsFinal>, 1},
    {"EncryptInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_EncryptInit>, 12}, {"Encrypt", through<&CK_FUNCTION_LIST_3_0::C_Encrypt>, 8},
    {"EncryptUpdate", through<&CK_FUNCTION_LIST_3_0::C_EncryptUpdate>, 8}, {"EncryptFinal", finish<&CK_FUNCTION_LIST_3_0::C_EncryptFinal>, 4},
    {"DecryptInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_DecryptInit>, 12}, {"Decrypt", through<&CK_FUNCTION_LIST_3_0::C_Decrypt>, 8},
    {"DecryptUpdate", through<&CK_FUNCTION_LIST_3_0::C_DecryptUpdate>, 8}, {"DecryptFinal", finish<&CK_FUNCTION_LIST_3_0::C_DecryptFinal>, 4},
    {"DigestInit", [](World& w) { return p11->C_DigestInit(w.session(), w.mechanism()); }, 4}, {"Digest", through<&CK_FUNCTION_LIST_3_0::C_Digest>, 3},
    {"DigestUpdate", feed<&CK_FUNCTION_LIST_3_0::C_DigestUpdate>, 4}, {"DigestKey", [](World& w) { return p11->C_DigestKey(w.session(), w.object()); }, 1},
    {"DigestFinal", finish<&CK_FUNCTION_LIST_3_0::C_DigestFinal>, 2},
    {"SignInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_SignInit>, 10}, {"Sign", through<&CK_FUNCTION_LIST_3_0::C_Sign>, 6},
    {"SignUpdate", feed<&CK_FUNCTION_LIST_3_0::C_SignUpdate>, 5}, {"SignFinal", finish<&CK_FUNCTION_LIST_3_0::C_SignFinal>, 3},
    {"SignRecoverInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_SignRecoverInit>, 1}, {"SignRecover", through<&CK_FUNCTION_LIST_3_0::C_SignRecover>, 1},
    {"VerifyInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_VerifyInit>, 10},
    {"Verify", [](World& w) { In in(w), signature(w); return p11->C_Verify(w.session(), in.at, in.length, signature.at, signature.length); }, 6},
    {"VerifyUpdate", feed<&CK_FUNCTION_LIST_3_0::C_VerifyUpdate>, 4}, {"VerifyFinal", feed<&CK_FUNCTION_LIST_3_0::C_VerifyFinal>, 3},
    {"VerifyRecoverInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_VerifyRecoverInit>, 1}, {"VerifyRecover", through<&CK_FUNCTION_LIST_3_0::C_VerifyRecover>, 1},
    {"DigestEncryptUpdate", through<&CK_FUNCTION_LIST_3_0::C_DigestEncryptUpdate>, 1}, {"DecryptDigestUpdate", through<&CK_FUNCTION_LIST_3_0::C_DecryptDigestUpdate>, 1},
    {"SignEncryptUpdate", through<&CK_FUNCTION_LIST_3_0::C_SignEncryptUpdate>, 1}, {"DecryptVerifyUpdate", through<&CK_FUNCTION_LIST_3_0::C_DecryptVerifyUpdate>, 1},
    {"GenerateKey", generate, 10}, {"GenerateKeyPair", generatePair, 4}, {"WrapKey", wrap, 6}, {"UnwrapKey", [](World& w) { return unwrapOrDerive(w, true); }, 4}, {"DeriveKey", [](World& w) { return unwrapOrDerive(w, false); }, 4},
    {"SeedRandom", feed<&CK_FUNCTION_LIST_3_0::C_SeedRandom>, 1},
    {"GenerateRandom", [](World& w) { Place place(w.dice.below(400)); return p11->C_GenerateRandom(w.session(), place.at(), w.dice.oneIn(30) ? ~0ul : place.room); }, 2},
    {"GetFunctionStatus", withSession<&CK_FUNCTION_LIST_3_0::C_GetFunctionStatus>, 1}, {"CancelFunction", withSession<&CK_FUNCTION_LIST_3_0::C_CancelFunction>, 1},
    {"WaitForSlotEvent", [](World& w) { CK_SLOT_ID slot; return p11->C_WaitForSlotEvent(w.dice.below(2), w.dice.oneIn(3) ? nullptr : &slot, nullptr); }, 1},
    {"SessionCancel", [](World& w) { return p11->C_SessionCancel(w.session(), w.dice.next() & 0xfffff); }, 3},
    {"MessageEncryptInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_MessageEncryptInit>, 5}, {"EncryptMessage", message<&CK_FUNCTION_LIST_3_0::C_EncryptMessage>, 5},
    {"EncryptMessageBegin", messageBegin<&CK_FUNCTION_LIST_3_0::C_EncryptMessageBegin>, 3}, {"EncryptMessageNext", messageNext<&CK_FUNCTION_LIST_3_0::C_EncryptMessageNext>, 3},
    {"MessageEncryptFinal", withSession<&CK_FUNCTION_LIST_3_0::C_MessageEncryptFinal>, 2},
    {"MessageDecryptInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_MessageDecryptInit>, 5}, {"DecryptMessage", message<&CK_FUNCTION_LIST_3_0::C_DecryptMessage>, 5},
    {"DecryptMessageBegin", messageBegin<&CK_FUNCTION_LIST_3_0::C_DecryptMessageBegin>, 3}, {"DecryptMessageNext", messageNext<&CK_FUNCTION_LIST_3_0::C_DecryptMessageNext>, 3},
    {"MessageDecryptFinal", withSession<&CK_FUNCTION_LIST_3_0::C_MessageDecryptFinal>, 2},
    {"MessageSignInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_MessageSignInit>, 4}, {"SignMessage", signOne<&CK_FUNCTION_LIST_3_0::C_SignMessage>, 4},
    {"SignMessageBegin", [](World& w) { return p11->C_SignMessageBegin(w.session(), nullptr, 0); }, 2}, {"SignMessageNext", signOne<&CK_FUNCTION_LIST_3_0::C_SignMessageNext>, 3},
    {"MessageSignFinal", withSession<&CK_FUNCTION_LIST_3_0::C_MessageSignFinal>, 2},
    {"MessageVerifyInit", initWithKey<&CK_FUNCTION_LIST_3_0::C_MessageVerifyInit>, 4}, {"VerifyMessage", verifyOne<&CK_FUNCTION_LIST_3_0::C_VerifyMessage>, 3},
    {"VerifyMessageBegin", [](World& w) { return p11->C_VerifyMessageBegin(w.session(), nullptr, 0); }, 2}, {"VerifyMessageNext", verifyOne<&CK_FUNCTION_LIST_3_0::C_VerifyMessageNext>, 2},
    {"MessageVerifyFinal", withSession<&CK_FUNCTION_LIST_3_0::C_MessageVerifyFinal>, 2},
};

}  // namespace

CK_MECHANISM* World::mechanism() {
  CK_BYTE* const iv = keepBytes(*this, 32);
  if (isRight && !use.empty()) {
    CK_GCM_PARAMS good{iv, 12, 96, nullptr, 0, 128};
    keep(*this, &good, sizeof(good));
    last = {CKM_AES_CMAC, nullptr, 0};
    if (use == "Sign" || use == "Verify") last.mechanism = dice.of<CK_MECHANISM_TYPE>({CKM_ECDSA_SHA256, CKM_ECDSA_SHA256, CKM_AES_CMAC, CKM_SHA256_HMAC});
    if (use == "Digest") last.mechanism = dice.of<CK_MECHANISM_TYPE>({CKM_SHA256, CKM_SHA_1});
    if (use == "message") last.mechanism = CKM_AES_GCM;
    if (use != "Encrypt" && use != "Decrypt") return &last;
    last = {CKM_AES_GCM, kept.back()->data(), sizeof(good)};
    if (dice.oneIn(3)) last = {CKM_AES_CBC_PAD, iv, 16};
    if (dice.oneIn(3)) last = {CKM_AES_ECB, nullptr, 0};
    return &last;
  }
  CK_GCM_PARAMS gcm{iv, dice.of<CK_ULONG>({12, 12, 12, 16, 0}), dice.of<CK_ULONG>({96, 0, 5}), nullptr, dice.of<CK_ULONG>({0, 0, 9}), dice.of<CK_ULONG>({128, 96, 64, ~0ul})};
  CK_AES_CTR_PARAMS ctr{dice.of<CK_ULONG>({128, 32, 0, ~0ul}), {}};
  CK_RSA_PKCS_PSS_PARAMS pss{CKM_SHA256, CKG_MGF1_SHA256, dice.of<CK_ULONG>({32, 0, ~0ul})};
  CK_RSA_PKCS_OAEP_PARAMS oaep{CKM_SHA256, CKG_MGF1_SHA256, dice.below(3), iv, dice.of<CK_ULONG>({0, 5, ~0ul})};
  CK_ECDH1_DERIVE_PARAMS ecdh{dice.below(9), 0, nullptr, dice.of<CK_ULONG>({32, 0, ~0ul}), iv};
  CK_ULONG mac = dice.of<CK_ULONG>({8, 0, 16, 33, ~0ul});
  const size_t which = dice.below(18);
  if (which == 17) return nullptr;
  constexpr CK_MECHANISM_TYPE kTypes[] = {CKM_AES_GCM, CKM_AES_GCM, CKM_AES_CTR, CKM_AES_CBC, CKM_AES_CBC_PAD, CKM_AES_ECB, CKM_AES_CMAC, CKM_AES_CMAC_GENERAL, CKM_SHA256_HMAC, CKM_SHA256_HMAC_GENERAL,
                                          CKM_ECDSA, CKM_ECDSA_SHA256, CKM_EDDSA, CKM_SHA256, CKM_RSA_PKCS_OAEP, CKM_SHA256_RSA_PKCS_PSS, CKM_ECDH1_DERIVE};
  last = {dice.oneIn(6) ? dice.of<CK_MECHANISM_TYPE>({CKM_AES_KEY_WRAP, CKM_AES_KEY_WRAP_PAD, CKM_RSA_X_509, 0x1054, 0x99, ~0ul}) : kTypes[which], nullptr, 0};
  const auto give = [&](const void* structure, size_t size) {
    keep(*this, structure, size);
    last.pParameter = kept.back()->data();
    last.ulParameterLen = size;
  };
  switch (last.mechanism) {
    case CKM_AES_GCM: if (!dice.oneIn(3)) give(&gcm, sizeof(gcm)); break;
    case CKM_AES_CTR: give(&ctr, sizeof(ctr)); break;
    case CKM_AES_CBC:
    case CKM_AES_CBC_PAD: give(iv, 16); break;
    case CKM_SHA256_RSA_PKCS_PSS: give(&pss, sizeof(pss)); break;
    case CKM_RSA_PKCS_OAEP: give(&oaep, sizeof(oaep)); break;
    case CKM_ECDH1_DERIVE: give(&ecdh, sizeof(ecdh)); break;
    case CKM_AES_CMAC_GENERAL:
    case CKM_SHA256_HMAC_GENERAL: give(&mac, sizeof(mac)); break;
    default: break;
  }
  if (isRight) return &last;
  if (dice.oneIn(25)) last.ulParameterLen = dice.of<CK_ULONG>({0, 1, 40, ~0ul});
  if (dice.oneIn(40)) last.pParameter = nullptr;
  return &last;
}

Wanted& World::wanted() {
  templates.push_back(std::make_unique<Wanted>());
  Wanted& out = *templates.back();
  if (isRight) {
    if (dice.oneIn(3)) out.add(CKA_LABEL, "right");
    if (dice.oneIn(3)) out.flag(CKA_EXTRACTABLE, true);
    return out;
  }
  for (const CK_ATTRIBUTE_TYPE type : {CKA_ENCRYPT, CKA_DECRYPT, CKA_SIGN, CKA_VERIFY, CKA_WRAP, CKA_UNWRAP, CKA_DERIVE, CKA_SENSITIVE, CKA_EXTRACTABLE, CKA_MODIFIABLE})
    if (dice.oneIn(8)) out.flag(type, dice.oneIn(2));
  if (dice.oneIn(2)) out.number(CKA_VALUE_LEN, dice.of<CK_ULONG>({16, 32, 32, 7, ~0ul}));
  if (dice.oneIn(60)) out.flag(CKA_TOKEN, true);
  if (dice.oneIn(4)) out.add(CKA_LABEL, std::string(dice.of<size_t>({3, 0, 40, 2000}), 'l'));
  if (dice.oneIn(30)) out.flag(CKA_LOCAL, true);
  if (dice.oneIn(30)) out.add(0x80001234, "vendor");
  if (dice.oneIn(30)) out.list.push_back({CKA_ID, nullptr, dice.of<CK_ULONG>({0, 9, ~0ul})});
  if (dice.oneIn(30) && out.size() > 0) out.list[dice.below(out.size())].ulValueLen = dice.of<CK_ULONG>({0, 0xffffffff, ~0ul});
  return out;
}

void makeKeys(World& w) {
  CK_OBJECT_HANDLE made[3] = {};
  Wanted aes, open, none, curve;
  aes.number(CKA_VALUE_LEN, 32).flag(CKA_EXTRACTABLE, true);
  open.number(CKA_VALUE_LEN, 16).flag(CKA_WRAP, true).flag(CKA_UNWRAP, true);
  curve.add(CKA_EC_PARAMS, std::string("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10));
  CK_MECHANISM gen{CKM_AES_KEY_GEN, nullptr, 0}, pair{CKM_EC_KEY_PAIR_GEN, nullptr, 0}, secret{CKM_GENERIC_SECRET_KEY_GEN, nullptr, 0};
  const CK_SESSION_HANDLE session = w.sessions.empty() ? 0 : w.sessions[0];
  p11->C_GenerateKey(session, &gen, aes.data(), aes.size(), &made[0]);
  p11->C_GenerateKey(session, w.dice.oneIn(2) ? &gen : &secret, w.dice.oneIn(2) ? open.data() : aes.data(), 1, &made[1]);
  for (const CK_OBJECT_HANDLE each : {made[0], made[0], made[1]}) w.made(each);
  if (!w.dice.oneIn(2)) return;
  p11->C_GenerateKeyPair(session, &pair, curve.data(), curve.size(), none.data(), 0, &made[0], &made[1]);
  for (const CK_OBJECT_HANDLE each : {made[0], made[1]}) w.made(each);
}

// Which calls go on with what an Init began.
std::string_view familyOf(std::string_view name) {
  if (!name.ends_with("Init") || name.find("Recover") != std::string_view::npos) return {};
  name.remove_suffix(4);
  if (name.starts_with("Message")) name.remove_prefix(7);
  return name;
}

void callOnce(World& world, CK_RV* rv) {
  const bool follows = world.turns > 0;
  if (follows) world.turns--;
  const auto isWanted = [&](const Row& row) {
    const std::string_view name = row.name;
    return !follows || (name.find(world.family) != std::string_view::npos && familyOf(name).empty());
  };
  size_t total = 0;
  for (const Row& row : kRows) total += isWanted(row) ? static_cast<size_t>(row.weight) : 0;
  size_t at = world.dice.below(total);
  for (const Row& row : kRows) {
    if (!isWanted(row)) continue;
    if (at >= static_cast<size_t>(row.weight)) {
      at -= static_cast<size_t>(row.weight);
      continue;
    }
    world.isRight = !world.dice.oneIn(4);
    world.use = familyOf(row.name);
    if (std::string_view(row.name).starts_with("Message") && (world.use == "Encrypt" || world.use == "Decrypt")) world.use = "message";
    calling(row.name);
    *rv = row.call(world);
    if (*rv == CKR_OK && !familyOf(row.name).empty()) {
      world.family = familyOf(row.name);
      world.turns = 1 + world.dice.below(4);
    }
    return;
  }
}
