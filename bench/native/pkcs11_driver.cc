// Drives one PKCS#11 module, whichever it is, for bench/pkcs11.ts: one process for each module, so that one run can ask them in turns.
//   pkcs11_driver MODULE [PIN]     prints "ready", then reads lines
//   OP THREADS MS                  answers with one line of JSON: {"op","threads","perSecond","p50us","p99us"} or {"op","unsupported"}
//   objects N                      makes token keys "bench-000000" ... until there are N
//   clear                          destroys every token key whose label begins with "bench-"
// An operation is timed from its first C_ call to the return of its last one. Keys are session objects but for "create" and "find".
#include <dlfcn.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <sstream>
#include <string>
#include <thread>
#include <vector>

#include "pkcs11/cryptoki_functions.h"

namespace {

using Clock = std::chrono::steady_clock;

// What the module's own header has no need to name is named here, by the numbers of PKCS #11 3.0.
constexpr CK_ULONG kSecretKey = 4, kCkkAes = 0x1f, kCkkGeneric = 0x10;
constexpr CK_ATTRIBUTE_TYPE kValueLen = 0x161;
constexpr CK_MECHANISM_TYPE kAesKeyGen = 0x1080, kAesGcm = 0x1087, kAesCbc = 0x1082, kEcKeyPairGen = 0x1040, kEcdsa = 0x1041, kRsaKeyPairGen = 0x0,
                            kSha256RsaPkcs = 0x40, kGenericKeyGen = 0x350, kSha256Hmac = 0x251;
struct GcmParams {
  CK_BYTE* iv;
  CK_ULONG ivBytes, ivBits;
  CK_BYTE* aad;
  CK_ULONG aadBytes, tagBits;
};

CK_FUNCTION_LIST* p11;
CK_SLOT_ID slot;

struct Failed {
  const char* call;
  CK_RV rv;
};
void must(const char* call, CK_RV rv) {
  if (rv != CKR_OK) throw Failed{call, rv};
}

template <class T>
CK_ATTRIBUTE attribute(CK_ATTRIBUTE_TYPE type, T& value) {
  return {type, &value, sizeof(value)};
}

// A session of its own, and what one operation needs.
struct Work {
  CK_SESSION_HANDLE session = 0;
  CK_OBJECT_HANDLE key = 0;
  std::vector<CK_BYTE> in, out;
  CK_BYTE iv[16] = {};
  GcmParams gcm{};
  uint64_t count = 0, number = 0;
  std::function<void(Work&)> once;

  Work() { must("C_OpenSession", p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session)); }
  ~Work() { p11->C_CloseSession(session); }
  Work(const Work&) = delete;
};

CK_BBOOL yes = CK_TRUE, no = CK_FALSE;

CK_OBJECT_HANDLE makeSecret(Work& w, CK_MECHANISM_TYPE type, CK_ULONG kind, CK_ULONG bytes, bool token, const std::string& label, bool mac) {
  CK_ULONG objectClass = kSecretKey;
  std::vector<CK_ATTRIBUTE> wanted = {attribute(CKA_CLASS, objectClass), attribute(CKA_KEY_TYPE, kind), attribute(kValueLen, bytes),
                                      attribute(CKA_TOKEN, token ? yes : no), {CKA_LABEL, const_cast<char*>(label.data()), label.size()}};
  if (mac) {
    wanted.push_back(attribute(CKA_SIGN, yes));
    wanted.push_back(attribute(CKA_VERIFY, yes));
  } else {
    wanted.push_back(attribute(CKA_ENCRYPT, yes));
    wanted.push_back(attribute(CKA_DECRYPT, yes));
  }
  CK_MECHANISM mechanism{type, nullptr, 0};
  CK_OBJECT_HANDLE made = 0;
  must("C_GenerateKey", p11->C_GenerateKey(w.session, &mechanism, wanted.data(), wanted.size(), &made));
  return made;
}

CK_OBJECT_HANDLE makePair(Work& w, CK_MECHANISM_TYPE type) {
  CK_BYTE p256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
  CK_ULONG bits = 2048;
  std::vector<CK_ATTRIBUTE> open = {attribute(CKA_TOKEN, no), attribute(CKA_VERIFY, yes)}, secret = {attribute(CKA_TOKEN, no), attribute(CKA_SIGN, yes)};
  if (type == kEcKeyPairGen) open.push_back({CKA_EC_PARAMS, p256, sizeof(p256)});
  else open.push_back(attribute(CKA_MODULUS_BITS, bits));
  CK_MECHANISM mechanism{type, nullptr, 0};
  CK_OBJECT_HANDLE half = 0, made = 0;
  must("C_GenerateKeyPair", p11->C_GenerateKeyPair(w.session, &mechanism, open.data(), open.size(), secret.data(), secret.size(), &half, &made));
  return made;
}

std::string labelOf(uint64_t number) {
  char text[32];
  std::snprintf(text, sizeof(text), "bench-%06llu", static_cast<unsigned long long>(number));
  return text;
}

void signOnce(Work& w, CK_MECHANISM_TYPE type) {
  CK_MECHANISM mechanism{type, nullptr, 0};
  CK_ULONG n = w.out.size();
  must("C_SignInit", p11->C_SignInit(w.session, &mechanism, w.key));
  must("C_Sign", p11->C_Sign(w.session, w.in.data(), w.in.size(), w.out.data(), &n));
}

void encryptOnce(Work& w, CK_MECHANISM_TYPE type, void* params, CK_ULONG bytes) {
  CK_MECHANISM mechanism{type, params, bytes};
  CK_ULONG n = w.out.size();
  must("C_EncryptInit", p11->C_EncryptInit(w.session, &mechanism, w.key));
  must("C_Encrypt", p11->C_Encrypt(w.session, w.in.data(), w.in.size(), w.out.data(), &n));
}

CK_ULONG findLabel(Work& w, const std::string& label) {
  CK_ATTRIBUTE wanted = {CKA_LABEL, const_cast<char*>(label.data()), label.size()};
  CK_OBJECT_HANDLE found[2];
  CK_ULONG n = 0;
  must("C_FindObjectsInit", p11->C_FindObjectsInit(w.session, &wanted, 1));
  must("C_FindObjects", p11->C_FindObjects(w.session, found, 2, &n));
  must("C_FindObjectsFinal", p11->C_FindObjectsFinal(w.session));
  return n;
}

std::atomic<uint64_t> created{1'000'000};
uint64_t kept = 0;  // token keys that "objects" has made

size_t sizeIn(const std::string& op) {
  const std::string last = op.substr(op.rfind('-') + 1);
  return last == "16k" ? 16384 : last == "1k" ? 1024 : last == "1m" ? 1 << 20 : 64;
}

// False: no such operation.
bool prepare(const std::string& op, Work& w) {
  w.in.assign(sizeIn(op), 0x5a);
  w.out.resize(w.in.size() + 512);
  if (op.starts_with("aes-gcm-")) {
    w.key = makeSecret(w, kAesKeyGen, kCkkAes, 32, false, "gcm", false);
    w.gcm = {w.iv, 12, 96, nullptr, 0, 128};
    w.once = [](Work& x) {
      std::memcpy(x.iv, &++x.count, sizeof(x.count));
      encryptOnce(x, kAesGcm, &x.gcm, sizeof(x.gcm));
    };
  } else if (op.starts_with("aes-cbc-")) {
    w.key = makeSecret(w, kAesKeyGen, kCkkAes, 32, false, "cbc", false);
    w.once = [](Work& x) { encryptOnce(x, kAesCbc, x.iv, 16); };
  } else if (op == "hmac-sha256") {
    w.key = makeSecret(w, kGenericKeyGen, kCkkGeneric, 32, false, "mac", true);
    w.once = [](Work& x) { signOnce(x, kSha256Hmac); };
  } else if (op == "ecdsa-p256") {
    w.key = makePair(w, kEcKeyPairGen);
    w.in.resize(32);
    w.once = [](Work& x) { signOnce(x, kEcdsa); };
  } else if (op == "rsa-2048") {
    w.key = makePair(w, kRsaKeyPairGen);
    w.once = [](Work& x) { signOnce(x, kSha256RsaPkcs); };
  } else if (op == "random-32") {
    w.once = [](Work& x) { must("C_GenerateRandom", p11->C_GenerateRandom(x.session, x.out.data(), 32)); };
  } else if (op == "create") {
    w.once = [](Work& x) { makeSecret(x, kAesKeyGen, kCkkAes, 32, true, labelOf(created++), false); };
  } else if (op == "find") {
    w.once = [](Work& x) {
      x.number = (x.number * 7919 + 13) % kept;
      if (findLabel(x, labelOf(x.number)) != 1) throw Failed{"one object of that label", 0};
    };
  } else {
    return false;
  }
  w.once(w);
  return true;
}

void measure(const std::string& op, int threads, int ms) {
  std::vector<std::vector<double>> times(static_cast<size_t>(threads));
  std::vector<std::thread> all;
  std::atomic<int> ready{0};
  std::atomic<bool> go{false}, stop{false};
  std::atomic<CK_RV> failed{CKR_OK};
  for (int i = 0; i < threads; i++) {
    all.emplace_back([&, i] {
      try {
        Work w;
        const bool known = prepare(op, w);
        ready++;
        while (!go) std::this_thread::yield();
        auto& mine = times[static_cast<size_t>(i)];
        while (known && !stop) {
          const auto begin = Clock::now();
          w.once(w);
          mine.push_back(std::chrono::duration<double, std::micro>(Clock::now() - begin).count());
        }
      } catch (const Failed& f) {
        std::fprintf(stderr, "%s: %s: 0x%lx\n", op.c_str(), f.call, f.rv);
        failed = f.rv == CKR_OK ? CKR_GENERAL_ERROR : f.rv;
        ready++;
      }
    });
  }
  while (ready < threads) std::this_thread::yield();
  const auto begin = Clock::now();
  go = true;
  std::this_thread::sleep_for(std::chrono::milliseconds(ms));
  stop = true;
  for (std::thread& one : all) one.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::vector<double> every;
  for (auto& one : times) every.insert(every.end(), one.begin(), one.end());
  if (failed != CKR_OK || every.empty()) {
    std::printf("{\"op\":\"%s\",\"threads\":%d,\"unsupported\":\"0x%lx\"}\n", op.c_str(), threads, failed.load());
    return;
  }
  std::sort(every.begin(), every.end());
  const auto at = [&](double q) { return every[std::min(every.size() - 1, static_cast<size_t>(q * static_cast<double>(every.size())))]; };
  std::printf("{\"op\":\"%s\",\"threads\":%d,\"perSecond\":%.1f,\"p50us\":%.2f,\"p99us\":%.2f}\n", op.c_str(), threads, static_cast<double>(every.size()) / seconds, at(0.5), at(0.99));
}

void clear() {
  Work w;
  CK_ULONG objectClass = kSecretKey;
  CK_ATTRIBUTE wanted[] = {attribute(CKA_CLASS, objectClass), attribute(CKA_TOKEN, yes)};
  std::vector<CK_OBJECT_HANDLE> found(100'000);
  CK_ULONG n = 0;
  must("C_FindObjectsInit", p11->C_FindObjectsInit(w.session, wanted, 2));
  must("C_FindObjects", p11->C_FindObjects(w.session, found.data(), found.size(), &n));
  p11->C_FindObjectsFinal(w.session);
  for (CK_ULONG i = 0; i < n; i++) {
    char label[64] = {};
    CK_ATTRIBUTE named = {CKA_LABEL, label, sizeof(label) - 1};
    if (p11->C_GetAttributeValue(w.session, found[i], &named, 1) == CKR_OK && std::strncmp(label, "bench-", 6) == 0) must("C_DestroyObject", p11->C_DestroyObject(w.session, found[i]));
  }
  kept = 0;
}

void command(const std::string& line) {
  std::istringstream words(line);
  std::string op;
  int threads = 1, ms = 100;
  words >> op;
  if (op == "objects") {
    uint64_t wanted = 0;
    words >> wanted;
    Work w;
    for (; kept < wanted; kept++) makeSecret(w, kAesKeyGen, kCkkAes, 32, true, labelOf(kept), false);
    std::puts("{\"op\":\"objects\"}");
  } else if (op == "clear") {
    clear();
    std::puts("{\"op\":\"clear\"}");
  } else {
    words >> threads >> ms;
    measure(op, threads, ms);
  }
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 2) return 64;
  void* module = dlopen(argv[1], RTLD_NOW);
  if (module == nullptr) {
    std::fprintf(stderr, "%s\n", dlerror());
    return 69;
  }
  using GetList = CK_RV (*)(CK_FUNCTION_LIST**);
  try {
    must("C_GetFunctionList", reinterpret_cast<GetList>(dlsym(module, "C_GetFunctionList"))(&p11));
    CK_C_INITIALIZE_ARGS args{};
    args.flags = CKF_OS_LOCKING_OK;
    must("C_Initialize", p11->C_Initialize(&args));
    CK_SLOT_ID slots[64];
    CK_ULONG n = 64;
    must("C_GetSlotList", p11->C_GetSlotList(CK_TRUE, slots, &n));
    slot = slots[0];
    Work holdsTheLogin;
    if (argc > 2) must("C_Login", p11->C_Login(holdsTheLogin.session, 1, reinterpret_cast<CK_UTF8CHAR*>(argv[2]), std::strlen(argv[2])));
    std::puts("ready");
    std::fflush(stdout);
    for (std::string line; std::getline(std::cin, line);) command(line);
  } catch (const Failed& f) {
    std::fprintf(stderr, "%s: 0x%lx\n", f.call, f.rv);
    return 1;
  }
  p11->C_Finalize(nullptr);
  return 0;
}
