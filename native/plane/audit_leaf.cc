#include "plane/audit_leaf.h"

#include <time.h>

#include <charconv>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "plane/encode.h"
#include "plane/methods.gen.h"

namespace quorate {

namespace {

namespace E = fields::AuditEntry;
namespace C = fields::AuditCount;
// AuditKind
constexpr uint32_t kCall = 1, kCounts = 4, kGap = 9;

uint8_t* putRow(uint8_t* out, const CountRow& row) {
  uint8_t content[kCountRowBytesMax];
  uint8_t* end = putNumber(content, C::session, row.session);
  if (row.keyId != KeyId{}) end = putField(end, C::key_id, row.keyId);
  end = putNumber(end, C::version, row.version);
  end = putNumber(end, C::method, row.method);
  end = putNumber(end, C::status, row.status);
  end = putNumber(end, C::count, row.count);
  const auto n = static_cast<size_t>(end - content);
  out = putVarint(out, E::counts << 3 | 2);
  out = putVarint(out, n);
  std::memcpy(out, content, n);
  return out + n;
}
// session 11, key id 18, version 6, method 4, status 4, count 11, and tag and length before them
static_assert(11 + 18 + 6 + 4 + 4 + 11 + 3 <= kCountRowBytesMax);

std::string hexOf(const TreeHash& hash) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string out;
  for (const uint8_t b : hash) {
    out += kDigits[b >> 4];
    out += kDigits[b & 15];
  }
  return out;
}

bool readHex(std::string_view text, TreeHash* out) {
  if (text.size() != 2 * out->size()) return false;
  for (size_t i = 0; i < out->size(); i++) {
    const char* at = text.data() + 2 * i;
    const auto [end, error] = std::from_chars(at, at + 2, (*out)[i], 16);
    if (error != std::errc() || end != at + 2) return false;
  }
  return true;
}

std::string_view nextWord(std::string_view* in) {
  const std::string_view word = in->substr(0, in->find(' '));
  in->remove_prefix(std::min(in->size(), word.size() + 1));
  return word;
}

// "<name> <decimal digits>".
bool readNumber(std::string_view* in, std::string_view name, uint64_t* out) {
  if (nextWord(in) != name) return false;
  const std::string_view digits = nextWord(in);
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), *out);
  return error == std::errc() && end == digits.data() + digits.size();
}

}  // namespace

uint64_t auditTimeMs() {
  timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  return static_cast<uint64_t>(t.tv_sec) * 1000 + static_cast<uint64_t>(t.tv_nsec) / 1'000'000;
}

size_t encodeCounts(uint64_t timeMs, std::span<const CountRow> rows, uint8_t* out) {
  uint8_t* at = putNumber(out, E::kind, kCounts);
  at = putNumber(at, E::time_ms, timeMs);
  for (const CountRow& row : rows) at = putRow(at, row);
  return static_cast<size_t>(at - out);
}

Buffer encodeCall(const LoggedCall& call) {
  std::string out;
  protozero::pbf_writer writer{out};
  writer.add_uint32(E::kind, kCall);
  writer.add_uint64(E::time_ms, call.timeMs);
  const auto number = [&](uint32_t field, uint64_t value) {
    if (value != 0) writer.add_uint64(field, value);
  };
  number(E::uid, call.uid);
  number(E::pid, call.pid);
  number(E::session, call.session);
  number(E::method, call.method);
  if (!call.resource.empty()) writer.add_string(E::resource, call.resource.data(), call.resource.size());
  if (call.keyId != KeyId{}) writer.add_bytes(E::key_id, reinterpret_cast<const char*>(call.keyId.data()), call.keyId.size());
  number(E::version, call.version);
  number(E::status, call.status);
  return {out.begin(), out.end()};
}

Buffer encodeGap(uint64_t timeMs, const std::string& reason, uint64_t from, const AuditTree& known) {
  std::string detail = "from " + std::to_string(from) + " size " + std::to_string(known.size()) + " root " + hexOf(known.root()) + " subtrees";
  for (const TreeHash& hash : known.hashes()) detail += " " + hexOf(hash);
  std::string out;
  protozero::pbf_writer writer{out};
  writer.add_uint32(E::kind, kGap);
  writer.add_uint64(E::time_ms, timeMs);
  writer.add_string(E::reason, reason);
  writer.add_string(E::detail, detail);
  return {out.begin(), out.end()};
}

std::optional<AuditTree> decodeGap(Bytes leaf, uint64_t* from) {
  uint64_t kind = 0;
  std::string_view detail;
  try {
    for (protozero::pbf_reader in{reinterpret_cast<const char*>(leaf.data()), leaf.size()}; in.next();) {
      if (in.tag() == E::kind && in.wire_type() == protozero::pbf_wire_type::varint) {
        kind = in.get_uint64();
      } else if (in.tag() == E::detail && in.wire_type() == protozero::pbf_wire_type::length_delimited) {
        const protozero::data_view view = in.get_view();
        detail = {view.data(), view.size()};
      } else {
        in.skip();
      }
    }
  } catch (const protozero::exception&) {
    return std::nullopt;
  }
  uint64_t first = 0, size = 0;
  TreeHash root;
  if (kind != kGap || !readNumber(&detail, "from", &first) || !readNumber(&detail, "size", &size) || first > size) return std::nullopt;
  if (nextWord(&detail) != "root" || !readHex(nextWord(&detail), &root)) return std::nullopt;
  if (nextWord(&detail) != "subtrees") return std::nullopt;
  std::vector<TreeHash> hashes;
  while (!detail.empty()) {
    if (hashes.size() == 64 || !readHex(nextWord(&detail), &hashes.emplace_back())) return std::nullopt;
  }
  auto tree = AuditTree::restore(size, hashes);
  if (!tree || tree->root() != root) return std::nullopt;
  if (from != nullptr) *from = first;
  return tree;
}

}  // namespace quorate
