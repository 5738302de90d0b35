#include "core/attribute_rows.h"

#include <algorithm>
#include <iterator>

namespace quorate {
namespace {

constexpr uint32_t DATA = 1u << unsigned(ObjectClass::data), CERTIFICATE = 1u << unsigned(ObjectClass::certificate),
                   PUBLIC = 1u << unsigned(ObjectClass::publicKey), PRIVATE = 1u << unsigned(ObjectClass::privateKey),
                   SECRET = 1u << unsigned(ObjectClass::secretKey);
constexpr AttributeForm BOOLEAN = AttributeForm::boolean, NUMBER = AttributeForm::number, BYTES = AttributeForm::bytes, TEXT = AttributeForm::text,
                        DATE = AttributeForm::date, MECHANISMS = AttributeForm::mechanisms, TEMPLATE = AttributeForm::sheet;
constexpr AttributeRule MADE = AttributeRule::made, ONCE = AttributeRule::once, FREE = AttributeRule::free, TIGHTEN = AttributeRule::tighten;

constexpr AttributeRow kRows[] = {
#define A(name, number, kind, classes, rule) {number, kind, classes, rule, "CKA_" #name},
#include "core/attributes.def"
};
static_assert(std::is_sorted(std::begin(kRows), std::end(kRows), [](const AttributeRow& a, const AttributeRow& b) { return a.type < b.type; }));

struct CurveRow {
  KeyType type;
  Bytes params;
};
// SP 800-186 (RFC 5480), RFC 8410; then what PKCS #11 3.0 and older programs write for the two of RFC 7748 and 8032.
constexpr uint8_t kP256[] = {0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07};
constexpr uint8_t kP384[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22};
constexpr uint8_t kP521[] = {0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x23};
constexpr uint8_t kEd25519[] = {0x06, 0x03, 0x2b, 0x65, 0x70};
constexpr uint8_t kX25519[] = {0x06, 0x03, 0x2b, 0x65, 0x6e};
constexpr uint8_t kEd25519Name[] = {0x13, 0x0c, 'e', 'd', 'w', 'a', 'r', 'd', 's', '2', '5', '5', '1', '9'};
constexpr uint8_t kX25519Name[] = {0x13, 0x0a, 'c', 'u', 'r', 'v', 'e', '2', '5', '5', '1', '9'};
constexpr uint8_t kEd25519Gnu[] = {0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01};
constexpr uint8_t kX25519Gnu[] = {0x06, 0x0a, 0x2b, 0x06, 0x01, 0x04, 0x01, 0x97, 0x55, 0x01, 0x05, 0x01};

const CurveRow kCurves[] = {
    {KeyType::EC_P256, kP256},       {KeyType::EC_P384, kP384},      {KeyType::EC_P521, kP521},
    {KeyType::ED25519, kEd25519},    {KeyType::X25519, kX25519},     {KeyType::ED25519, kEd25519Name},
    {KeyType::X25519, kX25519Name},  {KeyType::ED25519, kEd25519Gnu}, {KeyType::X25519, kX25519Gnu},
};

}  // namespace

std::span<const AttributeRow> attributeRows() { return kRows; }

const AttributeRow* attributeRow(uint32_t type) {
  const auto at = std::lower_bound(std::begin(kRows), std::end(kRows), type, [](const AttributeRow& row, uint32_t wanted) { return row.type < wanted; });
  return at != std::end(kRows) && at->type == type ? at : nullptr;
}

KeyFamily familyOfCryptoki(uint64_t keyType) {
  switch (keyType) {
    case kCkkRsa: return KeyFamily::rsa;
    case kCkkEc: return KeyFamily::ec;
    case kCkkGenericSecret: return KeyFamily::secret;
    case kCkkAes: return KeyFamily::aes;
    case kCkkEdwards: return KeyFamily::edwards;
    case kCkkMontgomery: return KeyFamily::montgomery;
    default: return KeyFamily::none;
  }
}

uint64_t cryptokiOf(KeyFamily family) {
  switch (family) {
    case KeyFamily::rsa: return kCkkRsa;
    case KeyFamily::ec: return kCkkEc;
    case KeyFamily::aes: return kCkkAes;
    case KeyFamily::edwards: return kCkkEdwards;
    case KeyFamily::montgomery: return kCkkMontgomery;
    default: return kCkkGenericSecret;
  }
}

KeyType curveOf(Bytes ecParams) {
  for (const CurveRow& row : kCurves) {
    if (std::ranges::equal(row.params, ecParams)) return row.type;
  }
  return KeyType::KEY_TYPE_UNSPECIFIED;
}

Bytes ecParamsOf(KeyType type) {
  for (const CurveRow& row : kCurves) {
    if (row.type == type) return row.params;
  }
  return {};
}

}  // namespace quorate
