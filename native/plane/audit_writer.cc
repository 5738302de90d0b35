#include "plane/audit_writer.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "core/random.h"
#include "core/require.h"
#include "core/stack_scrub.h"

namespace quorate {

namespace {

constexpr size_t kBufferBytes = 256 * 1024;
AuditFault keyFault(Code code) { return {AuditFaultKind::io, std::string("the segment's key: ") + codeMessage(code)}; }

}  // namespace

void AuditWriter::bind(uint64_t delta) {
  ring_.bind(delta);
  deltaSince_ = ring_.taken().sequence;
}

AuditFault AuditWriter::flush() {
  if (buffer_.empty()) return {};
  if (AuditFault fault = writeEnd(segment_.file.get(), segment_.name, buffer_)) return fault;
  segment_.bytes += buffer_.size();
  buffer_.clear();
  return {};
}

AuditFault AuditWriter::drain(uint64_t untilSequence) {
  AuditFault fault;
  AuditRing::Cursor next = cursor_;
  AuditRing::Entry entry;
  while (!fault && next.sequence < untilSequence && ring_.read(&next, &entry)) {
    QUORATE_REQUIRE(entry.sequence + ring_.delta() == tree_.size());
    if (isFull()) {
      if (fault = flush(); !fault) fault = sync();
      if (!fault) fault = rotate();
      if (fault) break;
    }
    const size_t at = buffer_.size();
    buffer_.resize(at + entry.leaf.size() + kEntryOverheadBytes);
    segment_.key.seal(tree_.size(), entry.leaf, buffer_.data() + at);
    tree_.add(auditLeafHash(entry.leaf));
    cursor_ = next;
    if (buffer_.size() >= kBufferBytes) fault = flush();
  }
  scrubStack();
  return fault ? fault : flush();
}

// A leaf is durable when it lies in the file that stands at the log's place: one that was cut or moved a moment ago has taken our bytes too.
AuditFault AuditWriter::sync() {
  if (fdatasync(segment_.file.get()) != 0) return systemFault(segment_.name);
  if (AuditFault fault = check()) return fault;
  durable_ = {tree_, segment_.bytes, cursor_};
  ring_.release(cursor_);
  return {};
}

AuditFault AuditWriter::reserve() {
  if (segment_.reservedTo >= segment_.bytes + tuning_.reserveBytes / 2) return {};
  if (fallocate(segment_.file.get(), FALLOC_FL_KEEP_SIZE, static_cast<off_t>(segment_.bytes), static_cast<off_t>(tuning_.reserveBytes)) != 0 && errno != EOPNOTSUPP && errno != ENOSYS)
    return systemFault(segment_.name + ": no room ahead");
  segment_.reservedTo = segment_.bytes + tuning_.reserveBytes;
  return {};
}

AuditFault AuditWriter::check() const {
  if (AuditFault fault = folder_.check()) return fault;
  return folder_.checkFile(segment_.name, segment_.file.get(), segment_.bytes);
}

// The file with its header, and its first leaf if one is given, is durable before it is one of the log's.
AuditFault AuditWriter::beginSegment(const AuditTree& start, std::vector<FinishedSegment> finished, Bytes firstLeaf) {
  Segment made;
  SegmentHeader header{storeId_, {}, start.size()};
  randomBytes(header.salt);
  made.header = encodeSegmentHeader(header);
  made.name = segmentName(start.size());
  if (const Code code = SegmentKey::make(*keys_.seal, made.header, &made.key); code != Code::OK) return keyFault(code);
  Buffer content(made.header.begin(), made.header.end());
  if (!firstLeaf.empty()) {
    content.resize(content.size() + firstLeaf.size() + kEntryOverheadBytes);
    made.key.seal(start.size(), firstLeaf, content.data() + kSegmentHeaderBytes);
    scrubStack();
  }
  if (AuditFault fault = folder_.createFile(made.name, kSegmentHeaderBytes, &made.file)) return fault;
  if (AuditFault fault = writeEnd(made.file.get(), made.name, content)) return fault;
  if (fdatasync(made.file.get()) != 0) return systemFault(made.name);
  made.bytes = content.size();
  const SegmentList list{std::move(finished), start};
  if (AuditFault fault = folder_.replace("segments", encodeSegmentList(list, storeId_, *keys_.seal))) return fault;
  if (AuditFault fault = folder_.sync()) return fault;
  segment_ = std::move(made);
  list_ = list;
  tree_ = start;
  if (!firstLeaf.empty()) tree_.add(auditLeafHash(firstLeaf));
  durable_ = {tree_, segment_.bytes, durable_.cursor};
  return {};
}

// Everything is durable.
AuditFault AuditWriter::rotate() {
  [[maybe_unused]] const int freed = ftruncate(segment_.file.get(), static_cast<off_t>(segment_.bytes));  // the room ahead
  std::vector<FinishedSegment> finished = list_.finished;
  finished.push_back({list_.start.size(), segment_.bytes});
  if (AuditFault fault = beginSegment(tree_, std::move(finished), {})) return fault;
  return reserve();
}

AuditFault AuditWriter::checkpoint() {
  if (checkpointed_ == durable_.tree.size()) return {};
  std::string note;
  if (const Code code = keys_.signer->sign({durable_.tree.size(), durable_.tree.root()}, &note); code != Code::OK) return {AuditFaultKind::io, std::string("the checkpoint: ") + codeMessage(code)};
  // In this order, so that a reader finds each in the file that it looks into later.
  if (AuditFault fault = folder_.append("checkpoints.log", bytesOf(note + "\n"))) return fault;
  if (AuditFault fault = folder_.replace("checkpoint", bytesOf(note))) return fault;
  if (AuditFault fault = folder_.replace("frontier", encodeFrontier(durable_.tree, storeId_))) return fault;
  if (AuditFault fault = folder_.sync()) return fault;
  checkpointed_ = durable_.tree.size();
  return {};
}

void AuditWriter::forget() {
  segment_ = {};
  keys_ = {};
  buffer_.clear();
  folder_.close();
  started_ = false;
  walked_.reset();
  failedPrint_.clear();
}

}  // namespace quorate
