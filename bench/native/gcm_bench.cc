// AES-256-GCM in core: every kernel that this CPU runs against OpenSSL with a reused context and, for VAES-512, against the
// limit of the ports (the AES and carry-less multiplications of one 64-byte group and nothing else), measured in the same run.
//
//   gcm_bench [--rounds N] [--ms MS] [--json]
//
// All contenders of one size are interleaved in each round; shown are the best round and, as spread, the slowest over the best.
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <functional>
#include <string>
#include <vector>

#include "core/gcm.h"

namespace {

using namespace quorate;

double nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

alignas(64) uint8_t gIn[1 << 20], gOut[(1 << 20) + 16], gSealed[1 << 20];
const uint8_t gKey[32] = {1, 2, 3};
uint8_t gTag[16];

struct Contender {
  std::string name;
  std::function<void(size_t)> once;  // one message of that size
  std::vector<double> ns;            // a message, one figure a round
};

void tickIv(uint8_t iv[12]) {
  for (int i = 11; i >= 0 && ++iv[i] == 0; i--) {
  }
}

Contender ours(const GcmImplementation* kernel, GcmKey* key, bool open) {
  kernel->init(key, gKey, 32);
  if (!open) {
    return {kernel->name, [=, iv = std::vector<uint8_t>(12)](size_t n) mutable {
              tickIv(iv.data());
              kernel->seal(key, iv.data(), nullptr, 0, gIn, n, gOut, gTag);
            }, {}};
  }
  return {kernel->name, [=, sealedFor = size_t(-1), tag = std::vector<uint8_t>(16)](size_t n) mutable {
            static const uint8_t iv[12] = {};
            if (sealedFor != n) kernel->seal(key, iv, nullptr, 0, gIn, n, gSealed, tag.data());
            sealedFor = n;
            if (!kernel->open(key, iv, nullptr, 0, gSealed, n, gOut, tag.data(), 16)) abort();
          }, {}};
}

Contender openssl(bool open) {
  EVP_CIPHER_CTX* seal = EVP_CIPHER_CTX_new();
  EVP_EncryptInit_ex(seal, EVP_aes_256_gcm(), nullptr, gKey, nullptr);
  if (!open) {
    return {"openssl", [=, iv = std::vector<uint8_t>(12)](size_t n) mutable {
              int len;
              tickIv(iv.data());
              EVP_EncryptInit_ex(seal, nullptr, nullptr, nullptr, iv.data());
              EVP_EncryptUpdate(seal, gOut, &len, gIn, int(n));
              EVP_EncryptFinal_ex(seal, gOut + len, &len);
              EVP_CIPHER_CTX_ctrl(seal, EVP_CTRL_GCM_GET_TAG, 16, gTag);
            }, {}};
  }
  EVP_CIPHER_CTX* opener = EVP_CIPHER_CTX_new();
  EVP_DecryptInit_ex(opener, EVP_aes_256_gcm(), nullptr, gKey, nullptr);
  return {"openssl", [=, sealedFor = size_t(-1), tag = std::vector<uint8_t>(16)](size_t n) mutable {
            static const uint8_t iv[12] = {};
            int len;
            if (sealedFor != n) {
              EVP_EncryptInit_ex(seal, nullptr, nullptr, nullptr, iv);
              EVP_EncryptUpdate(seal, gSealed, &len, gIn, int(n));
              EVP_EncryptFinal_ex(seal, gOut, &len);
              EVP_CIPHER_CTX_ctrl(seal, EVP_CTRL_GCM_GET_TAG, 16, tag.data());
            }
            sealedFor = n;
            EVP_DecryptInit_ex(opener, nullptr, nullptr, nullptr, iv);
            EVP_DecryptUpdate(opener, gOut, &len, gSealed, int(n));
            EVP_CIPHER_CTX_ctrl(opener, EVP_CTRL_GCM_SET_TAG, 16, tag.data());
            if (EVP_DecryptFinal_ex(opener, gOut + len, &len) != 1) abort();
          }, {}};
}

#define AES(i) "vaesenc %%zmm31,%%zmm" #i ",%%zmm" #i "\n"
#define MUL(i) "vpclmulqdq $0x11,%%zmm31,%%zmm" #i ",%%zmm" #i "\n"
#define AES14 AES(0) AES(1) AES(2) AES(3) AES(4) AES(5) AES(6) AES(7) AES(8) AES(9) AES(10) AES(11) AES(12) AES(13)
#define MUL3 MUL(14) MUL(15) MUL(16)

// 14 AES rounds and 3 multiplications (Karatsuba) for each 64 bytes, all independent: what no AES-256-GCM can beat.
__attribute__((target("avx512f"))) void portLimit(size_t bytes) {
  uint64_t groups = std::max<size_t>(bytes / 64, 1);
  asm volatile("1:\n" AES14 MUL3 "dec %0\njnz 1b" : "+r"(groups)::"cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9",
               "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15", "xmm16", "xmm31");
}

void round(std::vector<Contender>& all, size_t size, double ms) {
  for (Contender& c : all) {
    for (int i = 0; i < 16; i++) c.once(size);
    const size_t batch = std::max<size_t>(1, 65536 / (size + 64));
    const double begin = nowNs();
    double now = begin;
    size_t done = 0;
    while (now - begin < ms * 1e6) {
      for (size_t i = 0; i < batch; i++) c.once(size);
      done += batch;
      now = nowNs();
    }
    c.ns.push_back((now - begin) / done);
  }
}

}  // namespace

int main(int argc, char** argv) {
  unsigned rounds = 9;
  double ms = 40;
  bool json = false;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--json")) json = true;
    else if (i + 1 < argc && !strcmp(argv[i], "--rounds")) rounds = atoi(argv[++i]);
    else if (i + 1 < argc && !strcmp(argv[i], "--ms")) ms = atof(argv[++i]);
  }
  static GcmKey keys[8];
  for (bool open : {false, true}) {
    for (size_t size : {16u, 64u, 256u, 1024u, 16384u, 65536u, 1048576u}) {
      std::vector<Contender> all;
      size_t used = 0;
      for (const GcmImplementation* kernel : gcmImplementations())
        if (kernel->usable(cpuFeatures())) all.push_back(ours(kernel, &keys[used++], open));
      all.push_back(openssl(open));
      if (cpuFeatures().vaes512) all.push_back({"limit", portLimit, {}});
      for (unsigned r = 0; r < rounds; r++) round(all, size, ms);
      auto best = [](const Contender& c) { return *std::min_element(c.ns.begin(), c.ns.end()); };
      auto named = [&](const std::string& name) -> const Contender* {
        for (const Contender& c : all)
          if (c.name == name) return &c;
        return nullptr;
      };
      const double reference = best(*named("openssl"));
      for (const Contender& c : all) {
        const double ns = best(c), spread = *std::max_element(c.ns.begin(), c.ns.end()) / ns;
        if (json) {
          printf("{\"what\":\"%s\",\"size\":%zu,\"who\":\"%s\",\"ns\":%.2f,\"spread\":%.3f}\n", open ? "open" : "seal", size, c.name.c_str(), ns, spread);
          continue;
        }
        printf("%s %8zu  %-9s %10.1f ns %7.2f GB/s  spread %.2f  %5.2f x openssl", open ? "open" : "seal", size, c.name.c_str(), ns, size / ns, spread, reference / ns);
        if (const Contender* limit = named("limit")) printf("  %3.0f %% of the ports' limit", 100 * best(*limit) / ns);
        printf("\n");
      }
    }
  }
  return 0;
}
