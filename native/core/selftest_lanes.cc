// The start-up self-test of the P-256 lanes.
#include <algorithm>
#include <memory>

#include "core/p256_ifma.h"
#include "core/p256_lanes.h"
#include "core/selftest.h"
#include "core/selftest_asym_known.h"

namespace quorate {

#if defined(__x86_64__)
namespace {

template <size_t n, size_t m>
void put(const std::array<uint8_t, n>& from, size_t at, std::array<uint8_t, m>* out) {
  std::copy(from.begin() + static_cast<ptrdiff_t>(at), from.begin() + static_cast<ptrdiff_t>(at + 32), out->end() - 32);
}

bool isTest(size_t lane) { return lane % 2 == 1; }

P256SignInput knownInput() {
  P256SignInput input{};
  for (size_t i = 0; i < kP256Lanes; i++) {
    put(isTest(i) ? known::kP256TestNonce : known::kP256Nonce, 0, &input.nonces[i]);
    put(known::kP256Scalar, 0, &input.scalars[i]);
    put(isTest(i) ? known::kP256TestDigest : known::kP256Digest, 0, &input.digests[i]);
  }
  return input;
}

bool knownSignatures(const P256Signatures& made) {
  P256Signatures wanted;
  for (size_t i = 0; i < kP256Lanes; i++) {
    const auto& signature = isTest(i) ? known::kP256TestSignature : known::kP256Signature;
    put(signature, 0, &wanted.r[i]);
    put(signature, 32, &wanted.s[i]);
  }
  return made.r == wanted.r && made.s == wanted.s;
}

// All are valid; lane 2 is not with another digest, lane 5 with another r, lane 6 with another s.
bool tellsApart(P256VerifyInput input, P256Signatures signatures) {
  input.signatures = &signatures;
  P256Verdicts verdicts = p256IfmaVerify(*p256GeneratorComb(), input);
  if (verdicts.valid != 0xff || verdicts.doubt != 0) return false;
  input.digests[2][31] ^= 1;
  signatures.r[5][7] ^= 1;
  signatures.s[6][16] ^= 1;
  verdicts = p256IfmaVerify(*p256GeneratorComb(), input);
  return verdicts.valid == 0x9b && verdicts.doubt == 0;
}

}  // namespace

bool p256LanesKnownAnswers() {
  if (!p256LanesAvailable()) return false;  // a table that could not be made, or is wrong
  const P256SignInput input = knownInput();
  P256Signatures made;
  if (p256IfmaSign(*p256GeneratorTable(), input, &made) != 0xff || !knownSignatures(made)) return false;
  P256VerifyInput verify{};
  verify.digests = input.digests;
  std::array<P256Comb*, kP256Lanes> combs;
  const auto space = std::make_unique<P256Comb[]>(kP256Lanes);
  for (size_t i = 0; i < kP256Lanes; i++) {
    put(known::kP256Public, 0, &verify.x[i]);
    put(known::kP256Public, 32, &verify.y[i]);
    combs[i] = &space[i];
  }
  if (!tellsApart(verify, made)) return false;
  if (p256IfmaCombs(verify.x, verify.y, combs) != 0xff) return false;
  std::copy(combs.begin(), combs.end(), verify.combs.begin());
  if (!tellsApart(verify, made)) return false;
  verify.inversesKnown = true;
  return tellsApart(verify, made);
}
#else
bool p256LanesKnownAnswers() { return true; }
#endif

}  // namespace quorate
