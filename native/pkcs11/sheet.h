// Attributes as the daemon keeps them: a sheet has, for each attribute, ascending by type and without repetition, u32 type, u32 length, value,
// little endian (docs/FORMAT.md).
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pkcs11/cryptoki.h"

namespace quorate::pkcs11 {

enum class AttributeKind { boolean, number, bytes, text, date, mechanisms, tmplate };
enum : uint32_t { kOfData = 1, kOfCertificate = 2, kOfPublic = 4, kOfPrivate = 8, kOfSecret = 16 };
struct AttributeRow {
  CK_ATTRIBUTE_TYPE type;
  AttributeKind kind;
  uint32_t classes;
};
// nullptr: the daemon keeps no such attribute.
const AttributeRow* attributeRow(CK_ATTRIBUTE_TYPE type);
uint32_t classBit(CK_OBJECT_CLASS kind);

// A sheet that was received. What is not whole, or not in order, ends where it is at fault: an attribute is absent then, never wrong.
class Sheet {
 public:
  Sheet() = default;
  explicit Sheet(std::string encoded);
  bool empty() const { return rows_.empty(); }
  std::optional<std::string_view> find(CK_ATTRIBUTE_TYPE type) const;
  bool flag(CK_ATTRIBUTE_TYPE type) const;  // false when absent
  CK_ULONG number(CK_ATTRIBUTE_TYPE type, CK_ULONG otherwise) const;
  const std::string& encoded() const { return encoded_; }
  struct Row {
    uint32_t type, at, length;
  };
  std::span<const Row> rows() const { return rows_; }
  std::string_view valueOf(const Row& row) const { return std::string_view(encoded_).substr(row.at, row.length); }

 private:
  std::string encoded_;
  std::vector<Row> rows_;
};

// A sheet that is made.
class SheetWriter {
 public:
  // False when there is one already.
  bool add(CK_ATTRIBUTE_TYPE type, std::string value);
  void set(CK_ATTRIBUTE_TYPE type, std::string value);
  void setFlag(CK_ATTRIBUTE_TYPE type, bool value) { set(type, std::string(1, value ? '\1' : '\0')); }
  const std::string* find(CK_ATTRIBUTE_TYPE type) const;
  bool flag(CK_ATTRIBUTE_TYPE type) const;
  std::string encode() const;

 private:
  std::vector<std::pair<uint32_t, std::string>> rows_;  // ascending
};

}  // namespace quorate::pkcs11
