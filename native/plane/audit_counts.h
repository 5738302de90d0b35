// Hot calls that were answered and are not a leaf yet: rows in the ring's file, so that a kill does not lose them. A count is in its row
// before its reply is sent; every few milliseconds the plane's thread makes a leaf of the rows and begins anew.
#pragma once
#include "plane/audit_leaf.h"

namespace quorate {

class AuditCounts {
 public:
  static constexpr size_t kRowsMax = 240, kBytes = 16 * 1024;
  static_assert(kCountsHeadBytesMax + kRowsMax * kCountRowBytesMax <= limits::audit_entry_bytes_max);

  // memory: kBytes of the ring's file, 8-byte aligned.
  explicit AuditCounts(uint8_t* memory) : table_(reinterpret_cast<Table*>(memory)) {}

  // sequence: what the next leaf of the ring gets, which is what the rows will become. False: there is no row left.
  bool add(const CountRow& call, uint64_t sequence);
  bool empty() const { return table_->rows == 0; }
  uint64_t openedMs() const { return table_->openedMs; }
  std::span<const CountRow> rows() const { return {table_->row, table_->rows}; }
  // Should the rows and a leaf of that sequence be found after a kill, they are one.
  uint64_t sequence() const { return table_->sequence; }
  void clear();
  // Whether what a killed process left can be rows.
  bool plausible() const { return table_->rows <= kRowsMax; }

 private:
  struct Table {
    uint64_t sequence, openedMs, rows;
    CountRow row[kRowsMax];
  };
  static_assert(sizeof(Table) <= kBytes);
  static constexpr size_t kPlaces = 512;  // a power of two above 2 * kRowsMax

  Table* const table_;
  size_t last_ = 0;
  uint16_t places_[kPlaces] = {};  // row + 1
};

}  // namespace quorate
