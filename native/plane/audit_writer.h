// The audit log's files, written by one thread: from the ring into sealed segments, with the tree, checkpoints and frontier that belong to them.
//
// What is durable (fdatasynced, and released from the ring) is one state: tree, place in the segment, place in the ring. Every fault goes back
// to it: the file is opened anew, hashed and compared with that tree, cut to that place, and what the ring still holds is written again.
// A leaf that is written twice is the same leaf at the same index: the ring keeps its order, so no IV ever seals two texts.
#pragma once
#include "plane/audit_folder.h"
#include "plane/audit_note.h"
#include "plane/audit_ring.h"
#include "plane/audit_segments.h"

namespace quorate {

// The limits of src/base/limits.ts; tests set lower ones.
struct AuditTuning {
  size_t ringBytes = limits::audit_ring_bytes, segmentBytes = limits::audit_segment_bytes, reserveBytes = limits::audit_reserve_bytes;
  uint32_t syncMs = limits::audit_sync_ms, stallMs = limits::audit_stall_ms, checkpointMs = limits::audit_checkpoint_ms, checkMs = 100;
};

struct AuditKeys {
  SecretPtr seal;  // 32 bytes
  std::shared_ptr<const AuditSigner> signer;
};

class AuditWalk;

class AuditWriter {
 public:
  AuditWriter(std::string folder, AuditRing& ring, const AuditTuning& tuning) : tuning_(tuning), ring_(ring), folder_(std::move(folder)) {}

  // Opens the log and checks it as far back as its last segment. create: a log that is not there yet begins; otherwise it is missing.
  AuditFault start(const StoreId& storeId, AuditKeys keys, bool create);
  // Opens it again after a fault.
  AuditFault reopen();
  // As reopen(); and when leaves are lost for good and that is accepted, a new segment begins whose first leaf says what was there before.
  AuditFault repair(bool acceptLoss, std::string* detail);
  // Wipes the keys and closes the files.
  void forget();

  // Writes what the ring holds below that sequence.
  AuditFault drain(uint64_t untilSequence);
  bool isUnsynced() const { return cursor_.sequence != durable_.cursor.sequence; }
  uint64_t unsyncedBytes() const { return cursor_.position - durable_.cursor.position; }
  AuditFault sync();
  // Room ahead of what is written, so that a disk that fills up is noticed while the log can still be written.
  AuditFault reserve();
  // That folder and file are those that are being written.
  AuditFault check() const;
  AuditFault checkRoom() const { return folder_.checkRoom(); }
  // Signs the durable tree, unless it was.
  AuditFault checkpoint();

  const AuditTree& tree() const { return durable_.tree; }
  // Of the first leaf that is not durable.
  uint64_t durableSequence() const { return durable_.cursor.sequence; }
  // Since when a leaf's index is its sequence and ring.delta().
  uint64_t deltaSince() const { return deltaSince_; }
  const std::string& segment() const { return segment_.name; }
  uint64_t segmentBytes() const { return segment_.bytes; }
  size_t segments() const { return list_.finished.size() + (segment_.file.isOpen() ? 1 : 0); }
  uint64_t cutBytes() const { return cutBytes_; }

 private:
  struct Segment {
    FileDescriptor file;
    std::string name;
    SegmentHeaderBytes header{};
    SegmentKey key;
    uint64_t bytes = 0, reservedTo = 0;
  };
  struct Durable {
    AuditTree tree;
    uint64_t bytes = 0;  // of the segment
    AuditRing::Cursor cursor;
  };
  // What lies in the folder at a start.
  struct Found {
    std::vector<uint64_t> segments;
    bool listThere = false, checkpointThere = false;
    std::optional<SegmentList> list;
    std::optional<Checkpoint> checkpoint;
    std::optional<AuditTree> frontier;
  };

  // audit_writer.cc
  AuditFault flush();
  AuditFault rotate();
  bool isFull() const { return segment_.bytes + buffer_.size() + kEntryBytesMax > tuning_.segmentBytes; }
  AuditFault beginSegment(const AuditTree& start, std::vector<FinishedSegment> finished, Bytes firstLeaf);
  void bind(uint64_t delta);
  // audit_start.cc
  AuditFault begin();
  AuditFault look(Found* found) const;
  AuditFault openSegment(uint64_t firstIndex, Segment* out) const;
  AuditFault resume(Found& found);
  AuditFault walkListed(AuditWalk* walk, Segment* last);
  AuditFault gapAt(const Segment& segment, uint64_t first, std::optional<AuditTree>* known, uint64_t* from) const;
  AuditFault walkAll(const Found& found, AuditWalk* walk, Segment* last);
  AuditFault settle(const Found& found, const AuditWalk& walk, Segment last);
  AuditFault align(const AuditWalk& walk, bool* freshSegment);
  AuditFault ready();
  AuditFault checkFinished() const;
  AuditFault cutCheckpoints() const;
  AuditFault reopenOnce();
  // audit_repair.cc
  AuditFault lastKnown(AuditTree* out) const;
  uint64_t answersFor(const Found& found);
  AuditFault beginAfter(const AuditTree& known, const std::string& reason, std::string* detail);

  const AuditTuning tuning_;
  AuditRing& ring_;
  AuditFolder folder_;
  StoreId storeId_{};
  AuditKeys keys_;
  bool create_ = false;
  bool started_ = false;  // durable_ is what the log must be

  Segment segment_;
  SegmentList list_;
  Durable durable_;
  // Ahead of durable_, by what is written or in buffer_.
  AuditTree tree_;
  AuditRing::Cursor cursor_;
  Buffer buffer_;  // sealed entries that are not in the file yet

  std::optional<uint64_t> checkpointed_;  // size of the latest checkpoint
  std::optional<AuditTree> walked_;       // as far as a start that failed came
  AuditFault failed_;                     // of the last try, and what the folder looked like then
  std::string failedPrint_;
  uint64_t deltaSince_ = 0, cutBytes_ = 0;
};

}  // namespace quorate
