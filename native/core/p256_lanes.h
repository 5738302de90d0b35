// ECDSA over P-256 (FIPS 186-5 6.4), up to eight signatures at once, each with a key of its own, on CPUs with AVX512-IFMA. Elsewhere,
// with QUORATE_CPU naming a kernel below vaes512, and for every lane in doubt, the same calls use libcrypto, one at a time.
//
// Constant time in private scalars and nonces: no branch and no address depends on them. Nonces are hedged as those of ecdsa.cc are: 512
// bits of SHA-512 over the private scalar, the digest and 64 fresh random bytes, modulo the order (FIPS 186-5 A.3.1 and A.3.3 with added
// randomness), so that a stuck generator does not repeat one for two digests. Every signature is verified before it is released.
#pragma once
#include <atomic>
#include <memory>
#include <string>

#include "core/base.h"
#include "core/cpu.h"

namespace quorate {

inline constexpr size_t kP256LanesMax = 8;
// From how many waiting signatures, and verifications, on the lanes are faster than libcrypto one at a time (bench/native/p256_bench.cc).
inline constexpr size_t kP256LanesWorth = 3, kP256LanesWorthWithoutCombs = 6, kP256VerifyLanesWorth = 2;

// Whether the lanes are used: the CPU has what they need, QUORATE_CPU allows it, and the generator's table was made and checked.
bool p256LanesAvailable();
// The first two of these.
bool p256LanesPick(const CpuFeatures& cpu, const std::string& forced);

// Multiples of one public key, which make verifying its signatures four times as fast. Public, so on the ordinary heap; 10 KiB, made
// when first needed. A process has kP256CombsMax of them at most: who comes later is verified without. Any thread.
inline constexpr size_t kP256CombsMax = 1024;
struct P256Comb;
class P256KeptComb {
 public:
  P256KeptComb() = default;
  ~P256KeptComb();
  P256KeptComb(const P256KeptComb&) = delete;
  P256KeptComb& operator=(const P256KeptComb&) = delete;

  const P256Comb* get() const { return comb_.load(std::memory_order_acquire); }
  // Takes a comb of this key, unless there is one.
  void offer(std::unique_ptr<P256Comb> comb);

 private:
  std::atomic<const P256Comb*> comb_{nullptr};
};

struct EcdsaLane {
  Bytes stored;                  // the private scalar, 32 bytes big-endian, in [1, order - 1]
  Bytes spki;                    // its public half, SubjectPublicKeyInfo in DER
  Bytes digest;                  // of any length; the leftmost 256 bits count
  P256KeptComb* comb = nullptr;  // of this public half; kept by whoever keeps the key
  uint8_t signature[64] = {};    // out: r and s, big-endian (P1363); zeros unless the code is OK
  Code code = Code::INTERNAL;    // out: KEY_INVALID (a length is wrong), INTERNAL
  bool inLane = false;           // out: made in a lane, and not by libcrypto
};
// 1 to kP256LanesMax lanes; BAD_REQUEST otherwise. OK when every lane has its signature, else the code of the first that has not.
Code ecdsaP256SignLanes(std::span<EcdsaLane> lanes);
// The same, in lanes when that is faster for so many.
Code ecdsaP256SignSome(std::span<EcdsaLane> lanes);

struct EcdsaVerifyLane {
  Bytes spki;                    // SubjectPublicKeyInfo in DER
  Bytes digest;                  // of any length
  Bytes signature;               // P1363; not valid unless it has 64 bytes
  P256KeptComb* comb = nullptr;  // used and made when every lane has one
  bool valid = false;            // out
  Code code = Code::INTERNAL;    // out: KEY_INVALID: no point of the curve
  bool inLane = false;           // out: decided in a lane
};
// Not in constant time. The same counts and codes as above.
Code ecdsaP256VerifyLanes(std::span<EcdsaVerifyLane> lanes);

}  // namespace quorate
