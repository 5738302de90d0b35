// RSA keys: generation, the checks of an import, and the objects that operations use.
#include <array>

#include "core/rsa.h"

namespace quorate {
namespace {

// FIPS 186-5 A.1.1 wants e above 2^16 and odd. Above 64 bits libcrypto refuses to verify with moduli over 3072 bits, and every
// verification by anyone would cost more the longer e is.
const char* faultOfPublic(const KeyRow& row, const BIGNUM* n, const BIGNUM* e) {
  if (BN_num_bits(n) != static_cast<int>(8 * row.bytes)) return "the modulus does not have the type's number of bits";
  if (!BN_is_odd(n)) return "the modulus is even";
  if (!BN_is_odd(e)) return "the public exponent is even";
  if (BN_num_bits(e) < 17) return "the public exponent is not above 65536";
  if (BN_num_bits(e) > 64) return "the public exponent has more than 64 bits";
  return nullptr;
}

// Of the primes that the form was made of, those which tell it from others best (Nemec and others 2017, 3.2).
constexpr unsigned kTellingPrimes[] = {11, 13, 17, 19, 37, 53, 61, 71, 73, 79, 97, 103, 107, 109, 127, 151, 157};
constexpr unsigned kFormGenerator = 65537;

bool isPowerOfGenerator(unsigned value, unsigned prime) {
  unsigned power = 1;
  for (unsigned i = 0; i < prime; i++) {
    if (power == value) return true;
    power = power * (kFormGenerator % prime) % prime;
  }
  return false;
}

struct Numbers {
  explicit Numbers(const RsaPrivateParts& parts)
      : n(publicNumber(parts.n)),
        e(publicNumber(parts.e)),
        d(secretNumber(parts.d)),
        p(secretNumber(parts.p)),
        q(secretNumber(parts.q)),
        dp(secretNumber(parts.dp)),
        dq(secretNumber(parts.dq)),
        qi(secretNumber(parts.qi)),
        t(secretNumber()),
        u(secretNumber()),
        context(BN_CTX_secure_new()) {}
  bool complete() const { return n && e && d && p && q && dp && dq && qi && t && u && context; }

  Bn n, e, d, p, q, dp, dq, qi;
  Bn t, u;  // scratch
  BnContext context;
};

// exponent must be d mod (prime - 1), and the inverse of e there. INTERNAL is told by *failed.
const char* faultOfExponent(Numbers& x, const BIGNUM* prime, const BIGNUM* exponent, const char* fault, bool* failed) {
  BN_CTX* const context = x.context.get();
  if (!BN_copy(x.t.get(), prime) || !BN_sub_word(x.t.get(), 1) || !BN_mod(x.u.get(), x.d.get(), x.t.get(), context)) *failed = true;
  if (*failed || BN_ucmp(x.u.get(), exponent) != 0) return fault;
  if (!BN_mod_mul(x.u.get(), x.u.get(), x.e.get(), x.t.get(), context)) *failed = true;
  return BN_is_one(x.u.get()) ? nullptr : "the private exponent does not invert the public one";
}

const char* faultOfFactors(Numbers& x, int primeBits, bool* failed) {
  if (BN_num_bits(x.p.get()) != primeBits || BN_num_bits(x.q.get()) != primeBits) {
    return "a prime does not have half the modulus' bits";
  }
  if (BN_ucmp(x.p.get(), x.q.get()) == 0) return "the two primes are the same";
  // FIPS 186-5 A.1.3: closer ones are found by Fermat's method.
  if (!BN_sub(x.t.get(), x.p.get(), x.q.get())) *failed = true;
  if (BN_num_bits(x.t.get()) <= primeBits - 100) return "the two primes are too close";
  if (!BN_mul(x.t.get(), x.p.get(), x.q.get(), x.context.get())) *failed = true;
  return BN_ucmp(x.t.get(), x.n.get()) == 0 ? nullptr : "the modulus is not the product of the primes";
}

const char* faultOfPrivate(const KeyRow& row, Bytes n, Numbers& x, bool* failed) {
  const int primeBits = static_cast<int>(4 * row.bytes);
  if (const char* fault = faultOfPublic(row, x.n.get(), x.e.get())) return fault;
  if (rsaIsRoca(n)) return "the modulus is of a form whose primes can be found (CVE-2017-15361)";
  if (const char* fault = faultOfFactors(x, primeBits, failed)) return fault;
  // FIPS 186-5 A.1.1: a d of half the modulus' bits or less is found from the public half (Wiener, Boneh-Durfee).
  if (BN_num_bits(x.d.get()) <= primeBits || BN_ucmp(x.d.get(), x.n.get()) >= 0) return "the private exponent is out of range";
  if (const char* fault = faultOfExponent(x, x.p.get(), x.dp.get(), "the first CRT exponent is wrong", failed)) return fault;
  if (const char* fault = faultOfExponent(x, x.q.get(), x.dq.get(), "the second CRT exponent is wrong", failed)) return fault;
  if (!BN_mod_mul(x.t.get(), x.qi.get(), x.q.get(), x.p.get(), x.context.get())) *failed = true;
  if (BN_ucmp(x.qi.get(), x.p.get()) >= 0 || !BN_is_one(x.t.get())) return "the CRT coefficient is wrong";
  // Last, because it takes nearly all of the time: 64 rounds of Miller-Rabin with random bases, for whoever chose the
  // number may have chosen it against fixed ones.
  const int first = BN_check_prime(x.p.get(), x.context.get(), nullptr);
  const int second = first == 1 ? BN_check_prime(x.q.get(), x.context.get(), nullptr) : 1;
  if (first < 0 || second < 0) *failed = true;
  if (first != 1) return "the first prime is composite";
  if (second != 1) return "the second prime is composite";
  return nullptr;
}

// One number of a generated key, in an arena block of its own.
Code toSecret(const BIGNUM* number, size_t bytes, Secret* out) {
  const Code code = Secret::make(bytes, out);
  if (code != Code::OK) return code;
  return BN_bn2binpad(number, out->data(), static_cast<int>(bytes)) == static_cast<int>(bytes) ? Code::OK : Code::INTERNAL;
}

}  // namespace

bool rsaIsRoca(Bytes n) {
  for (const unsigned prime : kTellingPrimes) {
    unsigned rest = 0;
    for (const uint8_t byte : n) rest = (rest << 8 | byte) % prime;
    if (!isPowerOfGenerator(rest, prime)) return false;
  }
  return true;
}

RsaKey rsaPublic(const RsaPublicParts& parts) {
  RsaKey key(RSA_new());
  Bn n = publicNumber(parts.n), e = publicNumber(parts.e);
  if (!key || !n || !e || !RSA_set0_key(key.get(), n.get(), e.get(), nullptr)) return nullptr;
  n.release(), e.release();
  return key;
}

RsaKey rsaPrivate(const RsaPrivateParts& parts) {
  RsaKey key(RSA_new());
  Bn n = publicNumber(parts.n), e = publicNumber(parts.e), d = secretNumber(parts.d), p = secretNumber(parts.p), q = secretNumber(parts.q);
  Bn dp = secretNumber(parts.dp), dq = secretNumber(parts.dq), qi = secretNumber(parts.qi);
  if (!key || !n || !e || !d || !p || !q || !dp || !dq || !qi) return nullptr;
  // None of these can fail with numbers given.
  RSA_set0_key(key.get(), n.release(), e.release(), d.release());
  RSA_set0_factors(key.get(), p.release(), q.release());
  RSA_set0_crt_params(key.get(), dp.release(), dq.release(), qi.release());
  return key;
}

Code rsaGenerate(const KeyRow& row, Secret* stored) {
  const RsaKey key(RSA_new());
  const Bn e(BN_new());
  if (!key || !e || !BN_set_word(e.get(), RSA_F4) ||
      RSA_generate_key_ex(key.get(), static_cast<int>(8 * row.bytes), e.get(), nullptr) != 1) {
    return Code::INTERNAL;
  }
  const RSA* const made = key.get();
  Secret d, p, q, dp, dq, qi, whole;
  for (const auto& [number, bytes, out] :
       {std::tuple{RSA_get0_d(made), row.bytes, &d}, std::tuple{RSA_get0_p(made), row.bytes / 2, &p},
        std::tuple{RSA_get0_q(made), row.bytes / 2, &q}, std::tuple{RSA_get0_dmp1(made), row.bytes / 2, &dp},
        std::tuple{RSA_get0_dmq1(made), row.bytes / 2, &dq}, std::tuple{RSA_get0_iqmp(made), row.bytes / 2, &qi}}) {
    const Code code = toSecret(number, bytes, out);
    if (code != Code::OK) return code;
  }
  Buffer n(row.bytes);
  constexpr std::array<uint8_t, 3> kE = {0x01, 0x00, 0x01};
  if (BN_bn2binpad(RSA_get0_n(made), n.data(), static_cast<int>(n.size())) < 0) return Code::INTERNAL;
  const Code code = Secret::make(limits::secret_bytes_max, &whole);
  if (code != Code::OK) return code;
  DerWriter writer(whole.span());
  writeRsaPrivateKey({.n = n, .e = kE, .d = d, .p = p, .q = q, .dp = dp, .dq = dq, .qi = qi}, &writer);
  return Secret::copy(writer.result(), stored);
}

Code rsaCheckPublic(const KeyRow& row, Bytes publicKey, std::string* detail) {
  RsaPublicParts parts;
  if (!readRsaPublicKey(publicKey, &parts)) return keyInvalid(detail, "RSAPublicKey is not strict DER");
  const Bn n = publicNumber(parts.n), e = publicNumber(parts.e);
  if (!n || !e) return Code::INTERNAL;
  const char* const fault = faultOfPublic(row, n.get(), e.get());
  return fault == nullptr ? Code::OK : keyInvalid(detail, fault);
}

Code rsaCheckPrivate(const KeyRow& row, Bytes stored, std::string* detail) {
  RsaPrivateParts parts;
  if (!readRsaPrivateKey(stored, &parts)) return keyInvalid(detail, "RSAPrivateKey is not strict DER of two primes");
  Numbers numbers(parts);
  if (!numbers.complete()) return Code::INTERNAL;
  bool failed = false;
  const char* const fault = faultOfPrivate(row, parts.n, numbers, &failed);
  if (failed) return Code::INTERNAL;
  return fault == nullptr ? Code::OK : keyInvalid(detail, fault);
}

}  // namespace quorate
