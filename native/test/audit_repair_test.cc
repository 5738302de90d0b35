// Leaves that are lost for good: the log says so in its next leaf, and goes on from the tree that it knew.
#include "audit_plane_fixture.h"

using namespace quorate;
using namespace quorate::test;
namespace fs = std::filesystem;

namespace {

struct Segment {
  uint64_t firstIndex = 0;
  std::vector<std::string> leaves;
};

Segment readSegment(const fs::path& path) {
  const std::string content = readFile(path);
  const Bytes all = bytesOf(content);
  SegmentHeader header;
  REQUIRE(all.size() >= kSegmentHeaderBytes);
  REQUIRE(decodeSegmentHeader(all.first(kSegmentHeaderBytes), &header));
  std::vector<Buffer> leaves;
  REQUIRE(openEntries(bytesOf(auditKey()), all.first(kSegmentHeaderBytes), header.firstIndex, all.subspan(kSegmentHeaderBytes), &leaves) == Code::OK);
  Segment out{header.firstIndex, {}};
  for (const Buffer& leaf : leaves) out.leaves.emplace_back(leaf.begin(), leaf.end());
  return out;
}

// The last segment begins with a gap that names `known`, holds `leaves` behind it, and its tree is the one that is signed.
void checkGap(const AuditPlaces& places, const AuditTree& known, const std::vector<std::string>& leaves) {
  const Segment segment = readSegment(places.current());
  CHECK(segment.firstIndex == known.size());
  REQUIRE_FALSE(segment.leaves.empty());
  const auto gap = decodeGap(bytesOf(segment.leaves[0]));
  REQUIRE(gap.has_value());
  CHECK(*gap == known);
  CHECK(std::vector<std::string>(segment.leaves.begin() + 1, segment.leaves.end()) == leaves);
  AuditTree tree = known;
  for (const std::string& leaf : segment.leaves) tree.add(auditLeafHash(bytesOf(leaf)));
  const auto checkpoint = auditKeys().signer->open(readFile(places.folder() / "checkpoint"));
  REQUIRE(checkpoint.has_value());
  CHECK(checkpoint->size == tree.size());
  CHECK(checkpoint->root == tree.root());
}

AuditTree treeOf(const std::vector<std::string>& leaves) {
  AuditTree tree;
  for (const std::string& leaf : leaves) tree.add(auditLeafHash(bytesOf(leaf)));
  return tree;
}

size_t asides(const AuditPlaces& places, const std::string& name) {
  size_t n = 0;
  for (const auto& entry : fs::directory_iterator(places.folder()))
    if (entry.path().filename().string().starts_with(name + ".lost-")) n++;
  return n;
}

struct Scene {
  Scene() {
    places.options.tuning.segmentBytes = 24'000;
    log.emplace(places);
    REQUIRE_FALSE(log->unlock());
    write(60);
  }
  void write(size_t n) {
    for (; n > 0; n--) {
      leaves.push_back(leafNumber(leaves.size(), 200));
      REQUIRE(log->waitFor(log->append(leaves.back())));
    }
  }
  void restart() {
    log.emplace(places);
  }
  AuditPlaces places;
  std::optional<TestLog> log;
  std::vector<std::string> leaves;
};

}  // namespace

TEST_CASE("audit repair: a file that was deleted while it was written") {
  Scene scene;
  const AuditTree known = treeOf(scene.leaves);
  fs::remove(scene.places.current());
  std::vector<std::string> waiting{"while it was away"};
  scene.log->append(waiting[0]);
  REQUIRE(TestLog::until([&] { return !(*scene.log)->stats().available; }));
  CHECK(scene.log->repair(false).kind == AuditFaultKind::missing);
  CHECK_FALSE((*scene.log)->stats().available);
  const AuditFault fault = scene.log->repair(true);
  REQUIRE_MESSAGE(!fault, fault.detail);
  CHECK(scene.log->detail().find("leaf 60") != std::string::npos);
  REQUIRE(TestLog::until([&] { return (*scene.log)->stats().available && (*scene.log)->stats().waiting == 0; }));
  waiting.emplace_back("afterwards");
  const uint64_t sequence = scene.log->append(waiting[1]);
  REQUIRE(scene.log->waitFor(sequence));
  CHECK((*scene.log)->indexOf(sequence) == 62);
  CHECK((*scene.log)->indexOf(sequence - 2) == 59);
  scene.log->close();
  checkGap(scene.places, known, waiting);
  // And starts again as it is: without the leaves that are gone, with and without its ring.
  for (int i = 0; i < 2; i++) {
    scene.restart();
    REQUIRE_FALSE(scene.log->unlock(false));
    CHECK((*scene.log)->stats().size == 62 + 1);
    scene.log->close();
    scene.places.loseRing();
  }
  scene.restart();
  REQUIRE_FALSE(scene.log->unlock(false));
}

TEST_CASE("audit repair: nothing to repair, and nothing to repair with") {
  Scene scene;
  REQUIRE_FALSE(scene.log->repair(true));
  CHECK(scene.log->detail() == "the log is whole: nothing was lost");
  scene.log->lock();
  CHECK(scene.log->repair(true).kind == AuditFaultKind::sealed);
  scene.log->close();
  CHECK(readLeaves(scene.places) == scene.leaves);
}

TEST_CASE("audit repair: what stands in the way is put aside") {
  Scene scene;
  const fs::path file = scene.places.current();
  SUBCASE("a FIFO") {
    fs::remove(file);
    REQUIRE(mkfifo(file.c_str(), 0600) == 0);
  }
  SUBCASE("a folder") {
    fs::remove(file);
    fs::create_directory(file);
  }
  SUBCASE("a segment that begins later") {
    fs::copy_file(file, scene.places.file(scene.leaves.size()));
    fs::remove(file);
  }
  REQUIRE(TestLog::until([&] { return !(*scene.log)->stats().available; }));
  REQUIRE_FALSE(scene.log->repair(true));
  scene.write(3);
  scene.log->close();
  checkGap(scene.places, treeOf({scene.leaves.begin(), scene.leaves.begin() + 60}), {scene.leaves.begin() + 60, scene.leaves.end()});
  CHECK(asides(scene.places, file.filename()) + asides(scene.places, segmentName(60)) == 1);
}

TEST_CASE("audit repair: a start that finds its log cut goes on from what was signed") {
  Scene scene;
  scene.log->close();
  const fs::path file = scene.places.current();
  fs::resize_file(file, fs::file_size(file) - 500);
  SUBCASE("with its ring") {}
  SUBCASE("without") { scene.places.loseRing(); }
  scene.restart();
  const std::string early = "before the keys came";
  scene.log->append(early);
  REQUIRE(scene.log->unlock(false).kind == AuditFaultKind::corrupt);
  CHECK(scene.log->repair(false).kind == AuditFaultKind::corrupt);
  REQUIRE_FALSE(scene.log->repair(true));
  REQUIRE(TestLog::until([&] { return (*scene.log)->stats().waiting == 0; }));
  scene.log->close();
  checkGap(scene.places, treeOf(scene.leaves), {early});
  scene.restart();
  REQUIRE_FALSE(scene.log->unlock(false));
}

TEST_CASE("audit repair: when nothing of it is left, it begins again and says so") {
  Scene scene;
  scene.log->close();
  SUBCASE("with its ring") {}
  SUBCASE("without") { scene.places.loseRing(); }
  fs::remove_all(scene.places.folder());
  scene.restart();
  REQUIRE(scene.log->unlock(false).kind == AuditFaultKind::missing);
  REQUIRE_FALSE(scene.log->repair(true));
  scene.write(2);
  scene.log->close();
  checkGap(scene.places, AuditTree(), {scene.leaves.end() - 2, scene.leaves.end()});
}

TEST_CASE("audit repair: the checkpoints are gone, all but the leaves: what they were is not known, so it is a loss") {
  Scene scene;
  scene.log->close();
  for (const char* name : {"checkpoint", "checkpoints.log"}) fs::remove(scene.places.folder() / name);
  scene.restart();
  REQUIRE(scene.log->unlock(false).kind == AuditFaultKind::missing);
  REQUIRE_FALSE(scene.log->repair(true));
  scene.log->close();
  checkGap(scene.places, treeOf(scene.leaves), {});
}

TEST_CASE("audit repair: after one, all segments can be read without their list") {
  Scene scene;
  fs::remove(scene.places.current());
  REQUIRE(TestLog::until([&] { return !(*scene.log)->stats().available; }));
  REQUIRE_FALSE(scene.log->repair(true));
  scene.write(100);
  const uint64_t size = (*scene.log)->stats().size;
  scene.log->close();
  fs::remove(scene.places.folder() / "segments");
  scene.restart();
  // The first segment is whole, so that nothing leads from it to the gap but the gap's own word.
  const AuditFault fault = scene.log->unlock(false);
  REQUIRE_MESSAGE(!fault, fault.detail);
  CHECK((*scene.log)->stats().size == size);
}

// Killed within a repair, at any of its writes, by a folder that refuses after n of them: a later repair finishes it.
TEST_CASE("audit repair: one that could not be finished is done again") {
  Scene scene;
  const AuditTree known = treeOf(scene.leaves);
  scene.log->close();
  fs::remove(scene.places.current());
  // As a kill right behind the new segment's making left it: it is in no list.
  SegmentHeader header{scene.places.options.storeId, {}, known.size()};
  const SegmentHeaderBytes bytes = encodeSegmentHeader(header);
  writeFile(scene.places.file(known.size()), std::string(bytes.begin(), bytes.end()) + std::string(300, 'x'));
  scene.restart();
  REQUIRE(scene.log->unlock(false).kind == AuditFaultKind::missing);
  REQUIRE_FALSE(scene.log->repair(true));
  scene.log->close();
  checkGap(scene.places, known, {});
  CHECK(asides(scene.places, segmentName(known.size())) == 1);
}
