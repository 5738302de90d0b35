// Opening the log: at a start, where the signed checkpoint, the list of segments and the ring say what it must be; and after a fault, where
// the tree in memory does.
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "core/stack_scrub.h"
#include "plane/audit_leaf.h"
#include "plane/audit_walk.h"
#include "plane/audit_writer.h"

namespace quorate {

namespace {

constexpr size_t kSmallFile = 64 * 1024, kListBytesMax = 64 * 1024 * 1024;

AuditFault corrupt(std::string detail) { return {AuditFaultKind::corrupt, std::move(detail)}; }
std::string leaves(uint64_t n) { return std::to_string(n) + (n == 1 ? " leaf" : " leaves"); }

}  // namespace

AuditFault AuditWriter::start(const StoreId& storeId, AuditKeys keys, bool create) {
  storeId_ = storeId;
  keys_ = std::move(keys);
  create_ = create;
  failedPrint_.clear();
  return reopen();
}

// What failed because of what the files say is tried again when the files are others.
AuditFault AuditWriter::reopen() {
  buffer_.clear();
  if (started_ && failed_.kind == AuditFaultKind::full && segment_.file.isOpen()) {
    if (AuditFault fault = checkRoom()) return fault;  // before the segment is read again
    segment_.reservedTo = 0;
    if (AuditFault fault = reserve()) return fault;
  }
  if (AuditFault fault = folder_.open(create_ && !started_)) return fault;
  std::string print = folder_.fingerprint();
  if (!failedPrint_.empty() && print == failedPrint_) return failed_;
  AuditFault fault = started_ ? reopenOnce() : begin();
  const bool ofFiles = fault && fault.kind != AuditFaultKind::full && fault.kind != AuditFaultKind::io;
  failedPrint_ = ofFiles ? std::move(print) : "";
  failed_ = fault;
  return fault;
}

AuditFault AuditWriter::look(Found* found) const {
  if (AuditFault fault = folder_.list(&found->segments)) return fault;
  std::optional<Buffer> content;
  if (AuditFault fault = folder_.readEnd("checkpoint", kSmallFile, &content)) return fault;
  found->checkpointThere = content.has_value();
  if (content) found->checkpoint = keys_.signer->open({content->begin(), content->end()});
  if (AuditFault fault = folder_.readEnd("frontier", kSmallFile, &content)) return fault;
  if (content) found->frontier = decodeFrontier(*content, storeId_);
  if (AuditFault fault = folder_.readEnd("segments", kListBytesMax, &content)) return fault;
  found->listThere = content.has_value();
  if (content) found->list = decodeSegmentList(*content, storeId_, *keys_.seal);
  return {};
}

AuditFault AuditWriter::openSegment(uint64_t firstIndex, Segment* out) const {
  out->name = segmentName(firstIndex);
  out->reservedTo = 0;
  if (AuditFault fault = folder_.openFile(out->name, O_RDWR | O_APPEND, &out->file, &out->bytes)) return fault;
  size_t got = 0;
  if (AuditFault fault = readAt(out->file.get(), out->name, 0, out->header, &got)) return fault;
  SegmentHeader header;
  if (got != out->header.size() || !decodeSegmentHeader(out->header, &header)) return corrupt(out->name + ": it has no segment's header");
  if (header.storeId != storeId_) return corrupt(out->name + ": it is of another store");
  if (header.firstIndex != firstIndex) return corrupt(out->name + ": it was written to begin at leaf " + std::to_string(header.firstIndex));
  const Code code = SegmentKey::make(*keys_.seal, out->header, &out->key);
  return code == Code::OK ? AuditFault{} : AuditFault{AuditFaultKind::io, std::string("the segment's key: ") + codeMessage(code)};
}

AuditFault AuditWriter::begin() {
  Found found;
  if (AuditFault fault = look(&found)) return fault;
  walked_.reset();
  // A log that was never finished beginning has no checkpoint: nothing was answered with it.
  FileDescriptor file;
  uint64_t bytes = 0;
  const bool noSegment = found.segments.empty() && !found.listThere;
  const bool emptyOne = found.segments.size() == 1 && !folder_.openFile(segmentName(0), O_RDONLY, &file, &bytes) && bytes <= kSegmentHeaderBytes;
  const bool nothing = !found.checkpointThere && (noSegment || emptyOne);
  if (nothing && (!create_ || ring_.isBound())) return {AuditFaultKind::absent, folder_.path() + ": there is no log"};
  if (!nothing) return resume(found);
  if (AuditFault fault = beginSegment({}, {}, {})) return fault;
  checkpointed_.reset();
  cursor_ = durable_.cursor = ring_.taken();
  if (AuditFault fault = checkpoint()) return fault;  // of no leaves: from here on there is a log
  bind(tree_.size() - cursor_.sequence);
  return ready();
}

AuditFault AuditWriter::checkFinished() const {
  for (const FinishedSegment& one : list_.finished) {
    FileDescriptor file;
    uint64_t bytes = 0;
    if (AuditFault fault = folder_.openFile(segmentName(one.firstIndex), O_RDONLY, &file, &bytes)) return fault;
    if (bytes != one.bytes) return {AuditFaultKind::changed, segmentName(one.firstIndex) + ": it has " + std::to_string(bytes) + " bytes, and ended with " + std::to_string(one.bytes)};
  }
  return {};
}

AuditFault AuditWriter::resume(Found& found) {
  std::vector<AuditWalk::Mark> marks;
  if (found.checkpoint) marks.push_back({found.checkpoint->size, found.checkpoint->root, "checkpoint"});
  if (found.frontier) marks.push_back({found.frontier->size(), found.frontier->root(), "frontier"});
  AuditWalk walk(found.list ? found.list->start : AuditTree(), std::move(marks));
  if (ring_.isBound()) walk.keepFrom = ring_.taken().sequence + ring_.delta();
  Segment last;
  AuditFault fault;
  if (found.list) {
    list_ = *found.list;
    fault = walkListed(&walk, &last);
  } else {
    fault = walkAll(found, &walk, &last);
  }
  walked_ = walk.tree;
  if (fault) return fault;
  return settle(found, walk, std::move(last));
}

AuditFault AuditWriter::walkListed(AuditWalk* walk, Segment* last) {
  if (AuditFault fault = checkFinished()) return fault;
  if (AuditFault fault = openSegment(list_.start.size(), last)) return fault;
  return walk->walk(last->file.get(), last->name, last->key, last->bytes);
}

// What a repair knew when it began this segment, and the first leaf that it could not answer for. Nothing: it begins with another leaf.
AuditFault AuditWriter::gapAt(const Segment& segment, uint64_t first, std::optional<AuditTree>* known, uint64_t* from) const {
  Buffer leaf(limits::audit_entry_bytes_max), entry(kEntryBytesMax);
  size_t got = 0, takes = 0;
  if (AuditFault fault = readAt(segment.file.get(), segment.name, kSegmentHeaderBytes, entry, &got)) return fault;
  Bytes sealed;
  const bool whole = nextEntry(Bytes(entry).first(got), &sealed, &takes) == EntryState::whole && segment.key.open(first, sealed, leaf.data());
  scrubStack();
  *known = whole ? decodeGap({leaf.data(), sealed.size() - kEntryTagBytes}, from) : std::nullopt;
  if (*known && (*known)->size() != first) known->reset();
  return {};
}

// Without the list of segments: from the first leaf on; past what was lost only where a repair accepted that.
AuditFault AuditWriter::walkAll(const Found& found, AuditWalk* walk, Segment* last) {
  list_ = {};
  for (const uint64_t first : found.segments) {
    AuditFault lost;
    if (walk->stop != nullptr) lost = corrupt(last->name + ", leaf " + std::to_string(walk->tree.size()) + ": " + walk->stop);
    else if (first != walk->tree.size()) lost = {AuditFaultKind::missing, "leaves " + std::to_string(walk->tree.size()) + " to " + std::to_string(first - 1) + " are in no segment"};
    if (last->file.isOpen()) list_.finished.push_back({list_.start.size(), last->bytes});
    if (AuditFault fault = openSegment(first, last)) return lost ? lost : fault;
    if (lost) {
      std::optional<AuditTree> known;
      uint64_t from = 0;
      if (AuditFault fault = gapAt(*last, first, &known, &from)) return fault;
      if (!known || from > walk->tree.size()) return lost;
      walk->tree = *known;
    }
    list_.start = walk->tree;
    if (AuditFault fault = walk->walk(last->file.get(), last->name, last->key, last->bytes)) return fault;
  }
  return last->file.isOpen() ? AuditFault{} : AuditFault{AuditFaultKind::missing, "there is no segment"};
}

// The segments were walked to their end: whether that is the end that was written.
AuditFault AuditWriter::settle(const Found& found, const AuditWalk& walk, Segment last) {
  if (!found.checkpoint) return {found.checkpointThere ? AuditFaultKind::corrupt : AuditFaultKind::missing, "checkpoint: there is none that this log signed"};
  uint64_t acknowledged = std::max(found.checkpoint->size, found.frontier ? found.frontier->size() : 0);
  if (ring_.isBound()) acknowledged = std::max(acknowledged, ring_.taken().sequence + ring_.delta());
  const uint64_t size = walk.tree.size();
  if (size < acknowledged) {
    const std::string why = walk.stop == nullptr ? "it ends there" : walk.stop;
    return corrupt(last.name + ", leaf " + std::to_string(size) + ": " + why + ", and " + leaves(acknowledged) + " were written");
  }
  if (walk.offset < last.bytes) {  // written when the machine stopped, and never said to be durable
    cutBytes_ += last.bytes - walk.offset;
    if (ftruncate(last.file.get(), static_cast<off_t>(walk.offset)) != 0) return systemFault(last.name);
    last.bytes = walk.offset;
  }
  segment_ = std::move(last);
  tree_ = walk.tree;
  bool freshSegment = false;
  if (AuditFault fault = align(walk, &freshSegment)) return fault;
  if (fdatasync(segment_.file.get()) != 0) return systemFault(segment_.name);
  ring_.release(cursor_);
  durable_ = {tree_, segment_.bytes, cursor_};
  checkpointed_ = found.checkpoint->size;
  if (AuditFault fault = cutCheckpoints()) return fault;
  if (!found.list || freshSegment) {
    const bool empty = segment_.bytes == kSegmentHeaderBytes;
    if (AuditFault fault = empty ? beginSegment(list_.start, list_.finished, {}) : rotate()) return fault;
  }
  return ready();
}

// Where the ring and the log meet: leaves that the ring still holds and the log has already are not written again. A ring that is not
// this log's continuation may give other leaves for indexes that were sealed and lost: they come under another salt.
AuditFault AuditWriter::align(const AuditWalk& walk, bool* freshSegment) {
  cursor_ = ring_.taken();
  uint64_t delta = ring_.delta();
  *freshSegment = !ring_.isBound() || ring_.damaged();
  if (ring_.isBound()) {
    for (const AuditWalk::Kept& kept : walk.kept) {
      if (kept.isGap) {  // a repair's own, which was in no ring
        delta++;
        continue;
      }
      AuditRing::Cursor next = cursor_;
      AuditRing::Entry entry;
      if (!ring_.read(&next, &entry)) {
        *freshSegment = true;
        break;
      }
      if (auditLeafHash(entry.leaf) != kept.hash) return corrupt(segment_.name + ", leaf " + std::to_string(entry.sequence + delta) + ": it is not the one that was given");
      cursor_ = next;
    }
  }
  if (*freshSegment) delta = tree_.size() - cursor_.sequence;
  ring_.bind(delta);
  deltaSince_ = cursor_.sequence;
  return {};
}

// What a kill left of a checkpoint at the end of the file is taken away: the next one would be read as its continuation.
AuditFault AuditWriter::cutCheckpoints() const {
  std::optional<Buffer> content;
  uint64_t bytes = 0;
  if (AuditFault fault = folder_.readEnd("checkpoints.log", kSmallFile, &content, &bytes)) return fault;
  if (!content || content->empty()) return {};
  const std::string text(content->begin(), content->end());
  size_t whole = 0;
  for (size_t at = text.rfind("\n\n"); at != std::string::npos && at > 0 && whole == 0; at = text.rfind("\n\n", at - 1)) {
    const size_t line = text.rfind('\n', at - 1) + 1;  // npos + 1 is 0
    if (text.compare(line, 3, "\xe2\x80\x94") == 0) whole = at + 2;
  }
  if (whole == text.size()) return {};
  FileDescriptor file;
  if (AuditFault fault = folder_.openFile("checkpoints.log", O_RDWR, &file, &bytes)) return fault;
  if (ftruncate(file.get(), static_cast<off_t>(bytes - (text.size() - whole))) != 0 || fdatasync(file.get()) != 0) return systemFault("checkpoints.log");
  return {};
}

AuditFault AuditWriter::reopenOnce() {
  if (AuditFault fault = checkFinished()) return fault;
  Segment again;
  if (AuditFault fault = openSegment(list_.start.size(), &again)) return fault;
  if (again.header != segment_.header) return {AuditFaultKind::replaced, again.name + ": it is another segment"};
  if (again.bytes < durable_.bytes) return {AuditFaultKind::changed, again.name + ": it has " + std::to_string(again.bytes) + " bytes, and " + std::to_string(durable_.bytes) + " were written"};
  AuditWalk walk(list_.start, {});
  if (AuditFault fault = walk.walk(again.file.get(), again.name, again.key, durable_.bytes)) return fault;
  if (walk.offset != durable_.bytes || !(walk.tree == durable_.tree)) return corrupt(again.name + ", leaf " + std::to_string(walk.tree.size()) + ": it is not what was written");
  if (again.bytes > durable_.bytes && ftruncate(again.file.get(), static_cast<off_t>(durable_.bytes)) != 0) return systemFault(again.name);
  again.bytes = durable_.bytes;
  segment_ = std::move(again);
  return ready();
}

// The segment is open and durable_ is what it holds: goes on with what the ring has, and shows that everything can be written.
AuditFault AuditWriter::ready() {
  tree_ = durable_.tree;
  cursor_ = durable_.cursor;
  buffer_.clear();
  started_ = true;
  if (AuditFault fault = checkRoom()) return fault;
  if (AuditFault fault = isFull() ? rotate() : reserve()) return fault;
  if (AuditFault fault = drain(ring_.headSequence())) return fault;
  if (AuditFault fault = sync()) return fault;
  if (AuditFault fault = checkpoint()) return fault;
  return check();
}

}  // namespace quorate
