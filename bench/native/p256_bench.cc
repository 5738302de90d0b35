// P-256 signatures on one core: eight lanes, four, and as few as are worth it, each verified before it is released, against OpenSSL's one
// at a time with a reused key (not verified) and the scalar call of core; and verifications.
//
//   p256_bench [--rounds N] [--ms MS] [--json]
//
// All contenders are interleaved in each round; shown are the best round and, as spread, the slowest over the best.
#include "core/libcrypto.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <algorithm>
#include <functional>

#include "core/ec.h"
#include "core/key_der.h"
#include "core/p256_lanes.h"
#include "core/random.h"

namespace {

using namespace quorate;

double nowNs() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);  // of this core: the machine may be busy
  return t.tv_sec * 1e9 + t.tv_nsec;
}

struct Key {
  Secret stored;
  Buffer spki;
  P256KeptComb comb;
  EcKey openssl;
};
Key keys[8];
Buffer digests[8];

void need(bool fine) {
  if (fine) return;
  fprintf(stderr, "something failed\n");
  exit(1);
}

void makeKeys() {
  std::string detail;
  need(Arena::open(1 << 20, &detail) == Code::OK);
  const EC_GROUP* group = ecGroup(*keyRow(KeyType::EC_P256));
  for (size_t i = 0; i < 8; i++) {
    need(generateKey(KeyType::EC_P256, 0, &keys[i].stored, &keys[i].spki) == Code::OK);
    digests[i].resize(32);
    randomBytes(digests[i]);
    keys[i].openssl.reset(EC_KEY_new());
    PublicKeyInfo info;
    need(readPublicKeyInfo(keys[i].spki, &info));
    const Bn scalar = secretNumber(keys[i].stored);
    const EcPoint point = ecPoint(group, *keyRow(KeyType::EC_P256), info.publicKey);
    need(EC_KEY_set_group(keys[i].openssl.get(), group) && EC_KEY_set_private_key(keys[i].openssl.get(), scalar.get()) &&
         EC_KEY_set_public_key(keys[i].openssl.get(), point.get()));
  }
}

struct Contender {
  std::string name;
  size_t each;                 // operations a call
  std::function<void()> once;
  std::vector<double> ns = {};  // an operation, one figure a round
};

Contender signLanes(size_t count, bool combs) {
  return {std::to_string(count) + (count == 1 ? " lane" : " lanes") + (combs ? "" : ", no combs"), count, [=] {
            EcdsaLane lanes[8];
            for (size_t i = 0; i < count; i++) {
              lanes[i].stored = keys[i].stored;
              lanes[i].spki = keys[i].spki;
              lanes[i].digest = digests[i];
              lanes[i].comb = combs ? &keys[i].comb : nullptr;
            }
            need(ecdsaP256SignLanes({lanes, count}) == Code::OK);
          }};
}

Contender verifyLanes(size_t count, bool combs, const std::vector<Buffer>& signatures) {
  return {std::to_string(count) + (count == 1 ? " lane" : " lanes") + (combs ? ", combs" : ""), count, [=, &signatures] {
            EcdsaVerifyLane lanes[8];
            for (size_t i = 0; i < count; i++) {
              lanes[i].spki = keys[i].spki;
              lanes[i].digest = digests[i];
              lanes[i].signature = signatures[i];
              lanes[i].comb = combs ? &keys[i].comb : nullptr;
            }
            need(ecdsaP256VerifyLanes({lanes, count}) == Code::OK && lanes[count - 1].valid);
          }};
}

void measure(const char* what, std::vector<Contender> all, unsigned rounds, double ms, bool json) {
  for (unsigned r = 0; r < rounds; r++) {
    for (Contender& c : all) {
      for (int i = 0; i < 4; i++) c.once();
      const double begin = nowNs();
      double now = begin;
      size_t done = 0;
      while (now - begin < ms * 1e6) {
        for (int i = 0; i < 8; i++) c.once();
        done += 8 * c.each;
        now = nowNs();
      }
      c.ns.push_back((now - begin) / static_cast<double>(done));
    }
  }
  const auto best = [](const Contender& c) { return *std::min_element(c.ns.begin(), c.ns.end()); };
  for (const Contender& c : all) {
    const double ns = best(c), spread = *std::max_element(c.ns.begin(), c.ns.end()) / ns;
    if (json) {
      printf("{\"what\":\"%s\",\"who\":\"%s\",\"ns\":%.0f,\"spread\":%.3f}\n", what, c.name.c_str(), ns, spread);
    } else {
      printf("%-6s %-20s %9.0f /s  spread %.2f  %5.2f x openssl\n", what, c.name.c_str(), 1e9 / ns, spread, best(all[0]) / ns);
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  unsigned rounds = 9;
  double ms = 20;
  bool json = false;
  for (int i = 1; i < argc; i++) {
    if (!strcmp(argv[i], "--json")) json = true;
    else if (i + 1 < argc && !strcmp(argv[i], "--rounds")) rounds = static_cast<unsigned>(atoi(argv[++i]));
    else if (i + 1 < argc && !strcmp(argv[i], "--ms")) ms = atof(argv[++i]);
  }
  makeKeys();
  const SignOptions options{.type = KeyType::EC_P256, .scheme = KeyScheme::ECDSA, .prehashed = true, .format = SignatureFormat::P1363};
  std::vector<Buffer> signatures(8);
  for (size_t i = 0; i < 8; i++) need(sign(options, keys[i].stored, digests[i], &signatures[i]) == Code::OK);

  std::vector<Contender> all;
  all.push_back({"openssl", 1, [] { need(EcdsaSignature(ECDSA_do_sign(digests[0].data(), 32, keys[0].openssl.get())) != nullptr); }});
  all.push_back({"core, one", 1, [&] {
                   Buffer out;
                   need(sign(options, keys[0].stored, digests[0], &out) == Code::OK);
                 }});
  if (p256LanesAvailable()) {
    for (const size_t count : {1u, 2u, 3u, 4u, 6u, 8u}) all.push_back(signLanes(count, true));
    for (const size_t count : {4u, 8u}) all.push_back(signLanes(count, false));
  }
  measure("sign", std::move(all), rounds, ms, json);

  all.clear();
  EcdsaSignature parsed(ECDSA_SIG_new());
  ECDSA_SIG_set0(parsed.get(), BN_bin2bn(signatures[0].data(), 32, nullptr), BN_bin2bn(signatures[0].data() + 32, 32, nullptr));
  all.push_back({"openssl", 1, [&] { need(ECDSA_do_verify(digests[0].data(), 32, parsed.get(), keys[0].openssl.get()) == 1); }});
  all.push_back({"core, one", 1, [&] {
                   bool valid = false;
                   need(verify(options, keys[0].spki, digests[0], signatures[0], &valid) == Code::OK && valid);
                 }});
  if (p256LanesAvailable()) {
    for (const size_t count : {1u, 2u, 4u, 8u}) all.push_back(verifyLanes(count, false, signatures));
    for (const size_t count : {1u, 8u}) all.push_back(verifyLanes(count, true, signatures));
  }
  measure("verify", std::move(all), rounds, ms, json);
  return 0;
}
