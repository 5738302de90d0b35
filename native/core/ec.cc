// EC keys on P-256, P-384 and P-521 (FIPS 186-5, SP 800-186), and ECDH (SP 800-56A 5.7.1.2; cofactor 1).
#include "core/ec.h"

#include <openssl/obj_mac.h>

#include <array>
#include <cstring>

#include "core/key_der.h"

namespace quorate {
namespace {

constexpr size_t kScalarBytesMax = 66;
constexpr size_t kPointBytesMax = 1 + 2 * kScalarBytesMax;

// The order, big-endian, row.bytes long.
Bytes ecOrder(const KeyRow& row) {
  static const auto orders = [] {
    std::array<std::array<uint8_t, kScalarBytesMax>, 3> all{};
    size_t i = 0;
    for (const KeyType type : {KeyType::EC_P256, KeyType::EC_P384, KeyType::EC_P521}) {
      const KeyRow& each = *keyRow(type);
      BN_bn2binpad(EC_GROUP_get0_order(ecGroup(each)), all[i++].data(), static_cast<int>(each.bytes));
    }
    return all;
  }();
  const size_t at = static_cast<size_t>(row.type) - static_cast<size_t>(KeyType::EC_P256);
  return {orders[at].data(), row.bytes};
}

// 0 < scalar < order, in time that depends on the lengths only.
bool scalarInRange(const KeyRow& row, Bytes scalar) {
  const Bytes order = ecOrder(row);
  if (scalar.size() != order.size()) return false;
  unsigned any = 0, borrow = 0;
  for (size_t i = scalar.size(); i-- > 0;) {
    any |= scalar[i];
    borrow = ((scalar[i] - order[i] - borrow) >> 8) & 1;
  }
  return (any != 0) & (borrow == 1);
}

// The same curve behind libcrypto's generic Montgomery code, whose ladder keeps the scalar in numbers that are overwritten.
// The faster code for P-256 and P-521 copies the scalar of a multiplication of any other point than the generator into
// heap memory that it frees as it is (ecp_nistz256_windowed_mul, nistp521_points_mul), so it is not for ECDH with a
// private key that outlives the call.
EC_GROUP* makeLadderGroup(const KeyRow& row) {
  const EC_GROUP* named = ecGroup(row);
  BnContext context(BN_CTX_new());
  Bn p(BN_new()), a(BN_new()), b(BN_new());
  std::array<uint8_t, kPointBytesMax> generator;
  const size_t pointBytes = 1 + 2 * row.bytes;
  if (!context || !p || !a || !b || !EC_GROUP_get_curve(named, p.get(), a.get(), b.get(), context.get())) return nullptr;
  if (EC_POINT_point2oct(named, EC_GROUP_get0_generator(named), POINT_CONVERSION_UNCOMPRESSED, generator.data(), generator.size(),
                         context.get()) != pointBytes) {
    return nullptr;
  }
  std::unique_ptr<EC_GROUP, Released<EC_GROUP_free>> group(EC_GROUP_new_curve_GFp(p.get(), a.get(), b.get(), context.get()));
  if (!group) return nullptr;
  EcPoint point(EC_POINT_new(group.get()));
  if (!point || !EC_POINT_oct2point(group.get(), point.get(), generator.data(), pointBytes, context.get()) ||
      !EC_GROUP_set_generator(group.get(), point.get(), EC_GROUP_get0_order(named), BN_value_one())) {
    return nullptr;
  }
  return group.release();
}

const EC_GROUP* ladderGroup(const KeyRow& row) {
  static const std::array<EC_GROUP*, 3> groups = {makeLadderGroup(*keyRow(KeyType::EC_P256)), makeLadderGroup(*keyRow(KeyType::EC_P384)),
                                                  makeLadderGroup(*keyRow(KeyType::EC_P521))};
  return groups[static_cast<size_t>(row.type) - static_cast<size_t>(KeyType::EC_P256)];
}

// FIPS 186-5 A.2.2: random bits of the order's length until they fall in range.
Code generate(const KeyRow& row, Secret* stored) {
  for (;;) {
    Secret scalar;
    const Code code = Secret::random(row.bytes, &scalar);
    if (code != Code::OK) return code;
    scalar.data()[0] &= ecOrder(row)[0] == 0x01 ? 0x01 : 0xff;
    if (!scalarInRange(row, scalar)) continue;
    *stored = std::move(scalar);
    return Code::OK;
  }
}

Code readInner(const KeyRow& row, Bytes inner, Bytes* stored, Bytes* publicInside, std::string* detail) {
  EcPrivateParts parts;
  if (!readEcPrivateKey(inner, &parts)) return keyInvalid(detail, "ECPrivateKey is not strict DER");
  // After its header and id-ecPublicKey, the AlgorithmIdentifier names the curve; inside, it may only be repeated.
  constexpr size_t kCurveAt = 11;
  if (!parts.curve.empty() && !equalConstantTime(parts.curve, row.algorithm.subspan(kCurveAt))) {
    return keyInvalid(detail, "ECPrivateKey names another curve than the algorithm");
  }
  if (parts.scalar.size() != row.bytes) return keyInvalid(detail, "the scalar has the wrong length");
  *stored = parts.scalar;
  *publicInside = parts.publicKey;
  return Code::OK;
}

void writeInner(const KeyRow&, Bytes stored, Bytes publicKey, DerWriter* writer) { writeEcPrivateKey(stored, publicKey, writer); }

Code checkPrivate(const KeyRow& row, Bytes stored, std::string* detail) {
  if (stored.size() != row.bytes) return keyInvalid(detail, "the scalar has the wrong length");
  if (!scalarInRange(row, stored)) return keyInvalid(detail, "the scalar is zero or not below the curve's order");
  return Code::OK;
}

Code publicOf(const KeyRow& row, Bytes stored, Buffer* publicKey) {
  const EC_GROUP* group = ecGroup(row);
  BnContext context(BN_CTX_secure_new());
  const Bn scalar = secretNumber(stored);
  EcPoint point(EC_POINT_new(group));
  Buffer octets(1 + 2 * row.bytes);
  if (!context || !scalar || !point || !EC_POINT_mul(group, point.get(), scalar.get(), nullptr, nullptr, context.get()) ||
      EC_POINT_point2oct(group, point.get(), POINT_CONVERSION_UNCOMPRESSED, octets.data(), octets.size(), context.get()) != octets.size()) {
    return Code::INTERNAL;
  }
  *publicKey = std::move(octets);
  return Code::OK;
}

Code checkPublic(const KeyRow& row, Bytes publicKey, std::string* detail) {
  if (publicKey.size() == 1 && publicKey[0] == 0x00) return keyInvalid(detail, "the public point is at infinity");
  if (publicKey.size() != 1 + 2 * row.bytes || publicKey[0] != 0x04)
    return keyInvalid(detail, "the public point is not an uncompressed one");
  if (!ecPoint(ecGroup(row), row, publicKey)) return keyInvalid(detail, "the public point is not on the curve");
  return Code::OK;
}

Code pairwise(const KeyRow& row, Bytes stored, Bytes publicKey) {
  constexpr std::array<uint8_t, 32> kDigest = {0x71, 0x75, 0x6f, 0x72, 0x61, 0x74, 0x65};
  const SignOptions options{.type = row.type, .scheme = KeyScheme::ECDSA, .format = SignatureFormat::P1363};
  Buffer signature;
  bool valid = false;
  const Code code = ecdsaSign(row, options, stored, nullptr, kDigest, &signature);
  if (code == Code::OK) ecdsaVerify(row, options, publicKey, kDigest, signature, &valid);
  return valid ? Code::OK : Code::SELF_TEST_FAILED;
}

Code agreeEc(const KeyRow& row, Bytes stored, Bytes peer, Secret* z) {
  const EC_GROUP* group = ladderGroup(row);
  if (group == nullptr) return Code::INTERNAL;
  const EcPoint theirs = ecPoint(group, row, peer);
  if (!theirs || !scalarInRange(row, stored)) return Code::KEY_INVALID;
  BnContext context(BN_CTX_secure_new());
  const Bn scalar = secretNumber(stored);
  Bn x = secretNumber();
  EcPoint shared(EC_POINT_new(group));
  Secret result;
  const Code code = Secret::make(row.bytes, &result);
  if (code != Code::OK) return code;
  if (!context || !scalar || !x || !shared || !EC_POINT_mul(group, shared.get(), nullptr, theirs.get(), scalar.get(), context.get()) ||
      EC_POINT_is_at_infinity(group, shared.get()) ||
      !EC_POINT_get_affine_coordinates(group, shared.get(), x.get(), nullptr, context.get()) ||
      BN_bn2binpad(x.get(), result.data(), static_cast<int>(row.bytes)) != static_cast<int>(row.bytes)) {
    return Code::INTERNAL;
  }
  *z = std::move(result);
  return Code::OK;
}

}  // namespace

const EC_GROUP* ecGroup(const KeyRow& row) {
  static const std::array<EC_GROUP*, 3> groups = {EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1),
                                                  EC_GROUP_new_by_curve_name(NID_secp384r1), EC_GROUP_new_by_curve_name(NID_secp521r1)};
  return groups[static_cast<size_t>(row.type) - static_cast<size_t>(KeyType::EC_P256)];
}

EcPoint ecPoint(const EC_GROUP* group, const KeyRow& row, Bytes uncompressed) {
  if (uncompressed.size() != 1 + 2 * row.bytes || uncompressed[0] != 0x04) return nullptr;
  EcPoint point(EC_POINT_new(group));
  // Refuses coordinates of p and more, and points off the curve. The cofactor is 1, so on the curve means in the group.
  if (!point || !EC_POINT_oct2point(group, point.get(), uncompressed.data(), uncompressed.size(), nullptr)) return nullptr;
  return point;
}

const AsymmetricVerbs kEcVerbs = {
    .signatures = {KeyScheme::ECDSA, KeyScheme::ECDSA},
    .signsMessage = false,
    .generate = generate,
    .readInner = readInner,
    .writeInner = writeInner,
    .checkPrivate = checkPrivate,
    .publicOf = publicOf,
    .checkPublic = checkPublic,
    .pairwise = pairwise,
    .prepare = nullptr,
    .sign = ecdsaSign,
    .verify = ecdsaVerify,
    .agree = agreeEc,
};

}  // namespace quorate
