#include "pkcs11/material.h"

namespace quorate::pkcs11 {

namespace {

using namespace std::string_view_literals;

// OBJECT IDENTIFIERs: prime256v1, secp384r1, secp521r1 (RFC 5480), id-X25519, id-Ed25519 (RFC 8410), id-ecPublicKey, rsaEncryption with its NULL.
constexpr std::string_view kP256 = "\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07"sv, kP384 = "\x06\x05\x2b\x81\x04\x00\x22"sv, kP521 = "\x06\x05\x2b\x81\x04\x00\x23"sv;
constexpr std::string_view kX25519 = "\x06\x03\x2b\x65\x6e"sv, kEd25519 = "\x06\x03\x2b\x65\x70"sv;
constexpr std::string_view kEcPublicKey = "\x06\x07\x2a\x86\x48\xce\x3d\x02\x01"sv;
constexpr std::string_view kRsaEncryption = "\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01\x05\x00"sv;
constexpr size_t kOctets25519 = 32;

struct Curve {
  std::string_view oid;
  size_t bytes;
};
constexpr Curve kCurves[] = {{kP256, 32}, {kP384, 48}, {kP521, 66}};

const Curve* curveIn(std::string_view params) {
  for (const Curve& each : kCurves)
    if (each.oid == params) return &each;
  return nullptr;
}

void putAlgorithm(Buffer* out, std::string_view oid, std::string_view params) {
  Buffer inside(oid);
  inside.append(params);
  der::put(out, der::kSequence, inside.view());
}

void putPrivateKeyInfo(Buffer* out, std::string_view oid, std::string_view params, std::string_view privateKey) {
  Buffer inside;
  der::putNumber(&inside, "");
  putAlgorithm(&inside, oid, params);
  der::put(&inside, der::kOctetString, privateKey);
  der::put(out, der::kSequence, inside.view());
}

void putPublicKeyInfo(Buffer* out, std::string_view oid, std::string_view params, std::string_view publicKey) {
  Buffer inside, bits;
  bits.push(0);
  bits.append(publicKey);
  putAlgorithm(&inside, oid, params);
  der::put(&inside, der::kBitString, bits.view());
  der::put(out, der::kSequence, inside.view());
}

// CKA_EC_POINT is an OCTET STRING around the point, or, from some applications, the point itself.
std::string_view pointIn(std::string_view attribute) {
  std::string_view rest = attribute, content;
  return der::take(&rest, der::kOctetString, &content) && rest.empty() ? content : attribute;
}

CK_RV writeRsa(bool isPrivate, const KeyNumbers& n, Buffer* out) {
  if (n.modulus.empty() || n.publicExponent.empty()) return CKR_TEMPLATE_INCOMPLETE;
  Buffer numbers, sequence;
  if (!isPrivate) {
    der::putNumber(&numbers, n.modulus);
    der::putNumber(&numbers, n.publicExponent);
    der::put(&sequence, der::kSequence, numbers.view());
    putPublicKeyInfo(out, kRsaEncryption, "", sequence.view());
    return CKR_OK;
  }
  der::putNumber(&numbers, "");
  for (const std::string_view each : {n.modulus, n.publicExponent, n.privateExponent, n.prime1, n.prime2, n.exponent1, n.exponent2, n.coefficient}) {
    if (each.empty()) return CKR_TEMPLATE_INCOMPLETE;
    der::putNumber(&numbers, each);
  }
  der::put(&sequence, der::kSequence, numbers.view());
  putPrivateKeyInfo(out, kRsaEncryption, "", sequence.view());
  return CKR_OK;
}

CK_RV writeEc(bool isPrivate, std::string_view params, const KeyNumbers& n, Buffer* out) {
  const Curve* const curve = curveIn(params);
  if (params.empty()) return CKR_TEMPLATE_INCOMPLETE;
  if (curve == nullptr) return CKR_CURVE_NOT_SUPPORTED;
  if (!isPrivate) {
    if (n.point.empty()) return CKR_TEMPLATE_INCOMPLETE;
    // A point that is given bare begins with 4, as an OCTET STRING does, and may look like one: its length tells.
    const bool isBare = n.point.size() == 1 + 2 * curve->bytes && n.point[0] == 4;
    putPublicKeyInfo(out, kEcPublicKey, params, isBare ? n.point : pointIn(n.point));
    return CKR_OK;
  }
  std::string_view scalar = n.value;
  if (scalar.empty()) return CKR_TEMPLATE_INCOMPLETE;
  while (scalar.size() > curve->bytes && scalar[0] == 0) scalar.remove_prefix(1);
  if (scalar.size() > curve->bytes) return CKR_ATTRIBUTE_VALUE_INVALID;
  // ECPrivateKey (RFC 5915): version 1, the scalar as long as the order.
  Buffer padded, inside, key;
  for (size_t i = scalar.size(); i < curve->bytes; i++) padded.push(0);
  padded.append(scalar);
  der::putNumber(&inside, "\1");
  der::put(&inside, der::kOctetString, padded.view());
  der::put(&key, der::kSequence, inside.view());
  putPrivateKeyInfo(out, kEcPublicKey, params, key.view());
  return CKR_OK;
}

CK_RV write25519(bool isPrivate, std::string_view oid, const KeyNumbers& n, Buffer* out) {
  const std::string_view bytes = isPrivate ? n.value : n.point;
  if (bytes.empty()) return CKR_TEMPLATE_INCOMPLETE;
  const std::string_view key = bytes.size() == kOctets25519 ? bytes : pointIn(bytes);
  if (key.size() != kOctets25519) return CKR_ATTRIBUTE_VALUE_INVALID;
  if (isPrivate) {
    Buffer inside;
    der::put(&inside, der::kOctetString, key);
    putPrivateKeyInfo(out, oid, "", inside.view());
  } else {
    putPublicKeyInfo(out, oid, "", key);
  }
  return CKR_OK;
}

}  // namespace

std::string_view* numberOf(KeyNumbers* n, CK_ATTRIBUTE_TYPE type) {
  switch (type) {
    case CKA_VALUE: return &n->value;
    case CKA_EC_POINT: return &n->point;
    case CKA_MODULUS: return &n->modulus;
    case CKA_PUBLIC_EXPONENT: return &n->publicExponent;
    case CKA_PRIVATE_EXPONENT: return &n->privateExponent;
    case CKA_PRIME_1: return &n->prime1;
    case CKA_PRIME_2: return &n->prime2;
    case CKA_EXPONENT_1: return &n->exponent1;
    case CKA_EXPONENT_2: return &n->exponent2;
    case CKA_COEFFICIENT: return &n->coefficient;
    default: return nullptr;
  }
}

CK_RV writeMaterial(CK_OBJECT_CLASS kind, CK_KEY_TYPE type, std::string_view params, const KeyNumbers& numbers, Buffer* out) {
  if (kind == CKO_SECRET_KEY) {
    if (numbers.value.empty()) return CKR_TEMPLATE_INCOMPLETE;
    out->append(numbers.value);
    return CKR_OK;
  }
  const bool isPrivate = kind == CKO_PRIVATE_KEY;
  switch (type) {
    case CKK_RSA: return writeRsa(isPrivate, numbers, out);
    case CKK_EC: return writeEc(isPrivate, params, numbers, out);
    case CKK_EC_EDWARDS: return write25519(isPrivate, kEd25519, numbers, out);
    case CKK_EC_MONTGOMERY: return write25519(isPrivate, kX25519, numbers, out);
    default: return CKR_ATTRIBUTE_VALUE_INVALID;
  }
}

bool readPrivateKey(std::string_view pkcs8, KeyType type, KeyNumbers* out) {
  std::string_view whole, version, algorithm, key, inside;
  if (!der::take(&pkcs8, der::kSequence, &whole) || !der::takeNumber(&whole, &version) || !der::take(&whole, der::kSequence, &algorithm)) return false;
  if (!der::take(&whole, der::kOctetString, &key)) return false;
  if (type == KeyType::ED25519 || type == KeyType::X25519) return der::take(&key, der::kOctetString, &out->value) && out->value.size() == kOctets25519;
  if (!der::take(&key, der::kSequence, &inside) || !der::takeNumber(&inside, &version)) return false;
  if (!isRsa(type)) return der::take(&inside, der::kOctetString, &out->value);
  for (std::string_view* each : {&out->modulus, &out->publicExponent, &out->privateExponent, &out->prime1, &out->prime2, &out->exponent1, &out->exponent2, &out->coefficient})
    if (!der::takeNumber(&inside, each)) return false;
  return true;
}

bool readPublicKey(std::string_view spki, bool isRsaKey, PublicParts* out) {
  std::string_view whole, algorithm, bits, numbers, modulus, exponent;
  if (!der::take(&spki, der::kSequence, &whole) || !spki.empty() || !der::take(&whole, der::kSequence, &algorithm) || !der::take(&whole, der::kBitString, &bits)) return false;
  if (!whole.empty() || bits.size() < 2 || bits[0] != 0) return false;
  bits.remove_prefix(1);
  if (!isRsaKey) {
    out->point = bits;
    return true;
  }
  if (!der::take(&bits, der::kSequence, &numbers) || !bits.empty() || !der::takeNumber(&numbers, &modulus) || !der::takeNumber(&numbers, &exponent)) return false;
  out->modulus = modulus;
  out->exponent = exponent;
  return numbers.empty() && !modulus.empty() && !exponent.empty();
}

std::string_view curveOf(KeyType type) {
  switch (type) {
    case KeyType::EC_P256: return kP256;
    case KeyType::EC_P384: return kP384;
    case KeyType::EC_P521: return kP521;
    case KeyType::ED25519: return kEd25519;
    case KeyType::X25519: return kX25519;
    default: return {};
  }
}

size_t keyBits(KeyType type) {
  switch (type) {
    case KeyType::AES_128: return 128;
    case KeyType::AES_192: return 192;
    case KeyType::AES_256:
    case KeyType::EC_P256: return 256;
    case KeyType::EC_P384: return 384;
    case KeyType::EC_P521: return 521;
    case KeyType::ED25519:
    case KeyType::X25519: return 255;
    case KeyType::RSA_2048: return 2048;
    case KeyType::RSA_3072: return 3072;
    case KeyType::RSA_4096: return 4096;
    default: return 0;
  }
}

bool isRsa(KeyType type) { return type == KeyType::RSA_2048 || type == KeyType::RSA_3072 || type == KeyType::RSA_4096; }

bool readCertificate(std::string_view in, CertificateParts* out) {
  std::string_view whole, body;
  if (!der::take(&in, der::kSequence, &whole) || !in.empty() || !der::take(&whole, der::kSequence, &body)) return false;
  if (!body.empty() && body[0] == der::kContext0 && !der::skip(&body)) return false;  // version
  return der::takeWhole(&body, der::kInteger, &out->serialNumber) && der::skip(&body) /* signature */ && der::takeWhole(&body, der::kSequence, &out->issuer) &&
         der::skip(&body) /* validity */ && der::takeWhole(&body, der::kSequence, &out->subject);
}

}  // namespace quorate::pkcs11
