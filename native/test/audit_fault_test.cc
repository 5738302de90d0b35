// Whatever happens to the log's files: refused within a second, nothing answered that is not logged, and open again by itself when they are back.
#include <fcntl.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "audit_plane_fixture.h"

using namespace quorate;
using namespace quorate::test;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kClosesWithinMs = 1000, kOpensWithinMs = 2000;

// As the daemon has it.
void realTimes(AuditPlaces& places) {
  places.options.tuning.syncMs = limits::audit_sync_ms;
  places.options.tuning.checkMs = AuditTuning{}.checkMs;
  places.options.tuning.checkpointMs = limits::audit_checkpoint_ms;
  places.options.tuning.segmentBytes = 256 * 1024;
}

// breakIt, then putBack: what was lost is nothing.
template <class Break, class PutBack>
void breakAndPutBack(AuditPlaces& places, AuditFaultKind expected, Break breakIt, PutBack putBack) {
  realTimes(places);
  AuditedPlane audited(places);
  Traffic traffic(audited.plane());
  for (int i = 0; i < 50; i++) REQUIRE(traffic.once() == Code::OK);
  breakIt();
  const int64_t closed = traffic.msUntil(Code::AUDIT_UNAVAILABLE);
  INFO("closed after ", closed, " ms: ", audited.log()->stats().detail);
  CHECK(closed >= 0);
  CHECK(closed <= kClosesWithinMs);
  CHECK_FALSE(audited.log()->stats().available);
  CHECK(traffic.staysRefused(400));
  CHECK(audited.log()->stats().fault == expected);
  putBack();
  const int64_t opened = traffic.msUntil(Code::OK);
  INFO("open again after ", opened, " ms");
  CHECK(opened >= 0);
  CHECK(opened <= kOpensWithinMs);
  for (int i = 0; i < 50; i++) REQUIRE(traffic.once() == Code::OK);
  audited.stop();
  traffic.checkLogged(places);
}

}  // namespace

TEST_CASE("audit fault: the file is renamed") {
  AuditPlaces places;
  fs::path file;
  breakAndPutBack(places, AuditFaultKind::missing,
    [&] { file = places.current(); fs::rename(file, places.root() / "elsewhere"); },
    [&] { fs::rename(places.root() / "elsewhere", file); });
}

TEST_CASE("audit fault: a FIFO, a link, a folder, an empty file or a copy in its place; another name for it") {
  AuditPlaces places;
  fs::path file;
  const auto away = [&] { file = places.current(); fs::rename(file, places.root() / "elsewhere"); };
  const auto back = [&] { fs::remove(file); fs::rename(places.root() / "elsewhere", file); };
  SUBCASE("FIFO") { breakAndPutBack(places, AuditFaultKind::replaced, [&] { away(); REQUIRE(mkfifo(file.c_str(), 0600) == 0); }, back); }
  SUBCASE("symbolic link to it") { breakAndPutBack(places, AuditFaultKind::replaced, [&] { away(); fs::create_symlink(places.root() / "elsewhere", file); }, back); }
  SUBCASE("folder") { breakAndPutBack(places, AuditFaultKind::replaced, [&] { away(); fs::create_directory(file); }, back); }
  SUBCASE("copy") { breakAndPutBack(places, AuditFaultKind::changed, [&] { away(); fs::copy_file(places.root() / "elsewhere", file); fs::resize_file(file, fs::file_size(file) - 1); }, back); }
  SUBCASE("empty file") { breakAndPutBack(places, AuditFaultKind::corrupt, [&] { away(); writeFile(file, ""); }, back); }
  SUBCASE("another name") { breakAndPutBack(places, AuditFaultKind::replaced, [&] { file = places.current(); fs::create_hard_link(file, places.root() / "other"); }, [&] { fs::remove(places.root() / "other"); }); }
}

TEST_CASE("audit fault: a whole copy in its place is as good, and is written to from then on") {
  AuditPlaces places;
  realTimes(places);
  AuditedPlane audited(places);
  Traffic traffic(audited.plane());
  for (int i = 0; i < 20; i++) REQUIRE(traffic.once() == Code::OK);
  std::this_thread::sleep_for(std::chrono::milliseconds(200));  // all is written
  const fs::path file = places.current();
  fs::rename(file, places.root() / "old");
  REQUIRE(traffic.msUntil(Code::AUDIT_UNAVAILABLE) <= kClosesWithinMs);
  fs::copy_file(places.root() / "old", file);
  REQUIRE(traffic.msUntil(Code::OK) >= 0);
  for (int i = 0; i < 20; i++) REQUIRE(traffic.once() == Code::OK);
  audited.stop();
  CHECK(fs::file_size(file) > fs::file_size(places.root() / "old"));
  traffic.checkLogged(places);
}

TEST_CASE("audit fault: truncated, and its end put back; an edited one is not taken") {
  AuditPlaces places;
  std::string content;
  fs::path file;
  const auto cut = [&] {
    std::this_thread::sleep_for(std::chrono::milliseconds(200));
    file = places.current();
    content = readFile(file);
    fs::resize_file(file, content.size() / 2);
  };
  SUBCASE("put back") { breakAndPutBack(places, AuditFaultKind::changed, cut, [&] { writeFile(file, content); }); }
  SUBCASE("an edited one first") {
    breakAndPutBack(places, AuditFaultKind::changed, cut, [&] {
      std::string edited = content;
      edited[edited.size() / 2] ^= 1;
      writeFile(file, edited);
      std::this_thread::sleep_for(std::chrono::milliseconds(500));
      CHECK(readFile(file) == edited);
      writeFile(file, content);
    });
  }
}

TEST_CASE("audit fault: the folder is renamed, or another one stands in its place") {
  AuditPlaces places;
  const auto away = [&] { fs::rename(places.folder(), places.root() / "elsewhere"); };
  const auto back = [&] { fs::remove_all(places.folder()); fs::rename(places.root() / "elsewhere", places.folder()); };
  SUBCASE("gone") { breakAndPutBack(places, AuditFaultKind::missing, away, back); }
  SUBCASE("empty") { breakAndPutBack(places, AuditFaultKind::missing, [&] { away(); fs::create_directory(places.folder()); }, back); }
  SUBCASE("link") { breakAndPutBack(places, AuditFaultKind::replaced, [&] { away(); fs::create_symlink(places.root() / "elsewhere", places.folder()); }, back); }
}

TEST_CASE("audit fault: a finished segment is gone when the log is opened again") {
  AuditPlaces places;
  places.options.tuning.segmentBytes = 20'000;
  {
    TestLog log(places);
    REQUIRE_FALSE(log.unlock());
    for (int i = 0; i < 200; i++) REQUIRE(log.waitFor(log.append(leafNumber(static_cast<uint64_t>(i), 300))));
  }
  const fs::path first = places.file(0);
  const auto fault = [&] { return TestLog(places).unlock(); };
  const std::string content = readFile(first);
  fs::rename(first, places.root() / "elsewhere");
  CHECK(fault().kind == AuditFaultKind::missing);
  writeFile(first, content.substr(0, content.size() - 1));
  CHECK(fault().kind == AuditFaultKind::changed);
  writeFile(first, content);
  CHECK_FALSE(fault());
}

namespace {

// withoutRing: as after a restart of the machine.
void damageAndStart(bool withoutRing) {
  AuditPlaces places;
  uint64_t claimed = 0;
  {
    TestLog log(places);
    REQUIRE_FALSE(log.unlock());
    for (; claimed < 40; claimed++) REQUIRE(log.waitFor(log.append(leafNumber(claimed, 100))));
  }
  const fs::path file = places.current();
  const std::string content = readFile(file);
  const size_t entry = 100 + kEntryOverheadBytes;
  const auto start = [&](bool create = false) {
    if (withoutRing) places.loseRing();
    return TestLog(places).unlock(create);
  };
  SUBCASE("a byte of a leaf") {
    for (const size_t at : {kSegmentHeaderBytes + 30, kSegmentHeaderBytes + 39 * entry + 30}) {
      std::string edited = content;
      edited[at] ^= 1;
      writeFile(file, edited);
      CHECK(start().kind == AuditFaultKind::corrupt);
    }
  }
  SUBCASE("its end is gone") {
    for (const size_t cut : {entry, entry + 5, size_t{1}, content.size() - kSegmentHeaderBytes}) {
      writeFile(file, content.substr(0, content.size() - cut));
      CHECK(start().kind == AuditFaultKind::corrupt);
    }
  }
  SUBCASE("a header of another log") {
    std::string edited = content;
    edited[10] ^= 1;
    writeFile(file, edited);
    CHECK(start().kind == AuditFaultKind::corrupt);
  }
  SUBCASE("the file is gone") {
    fs::remove(file);
    CHECK(start().kind == AuditFaultKind::missing);
  }
  SUBCASE("the checkpoint is gone, or older, or not its own") {
    const std::string note = readFile(places.folder() / "checkpoint");
    fs::remove(places.folder() / "checkpoint");
    CHECK(start().kind == AuditFaultKind::missing);
    writeFile(places.folder() / "checkpoint", note.substr(1));
    CHECK(start().kind == AuditFaultKind::corrupt);
    writeFile(places.folder() / "checkpoint", note);
    CHECK_FALSE(start());
  }
  SUBCASE("the folder is gone") {
    fs::remove_all(places.folder());
    CHECK(start().kind == AuditFaultKind::missing);
  }
  SUBCASE("all files are gone") {
    for (const auto& one : fs::directory_iterator(places.folder())) fs::remove(one.path());
    CHECK(start().kind == AuditFaultKind::absent);
    if (!withoutRing) CHECK(start(true).kind == AuditFaultKind::absent);  // the ring knows that there was one
  }
  SUBCASE("half an entry behind all that was said to be written is cut off") {
    writeFile(file, content + content.substr(kSegmentHeaderBytes, entry / 2));
    if (withoutRing) places.loseRing();
    TestLog log(places);
    REQUIRE_FALSE(log.unlock(false));
    CHECK(log->stats().cutBytes == entry / 2);
    REQUIRE(log.waitFor(log.append("another")));
    log.close();
    CHECK(readLeaves(places).size() == claimed + 1);
  }
  SUBCASE("the list of segments is gone, or not its own: everything is read, and a new list made") {
    if (withoutRing) fs::remove(places.folder() / "segments");
    else writeFile(places.folder() / "segments", "QALS");
    REQUIRE_FALSE(start());
    REQUIRE_FALSE(start());
    CHECK(readLeaves(places).size() == claimed);
  }
  SUBCASE("a frontier that is not the tree's") {
    std::string frontier = readFile(places.folder() / "frontier");
    frontier.back() = static_cast<char>(frontier.back() ^ 1);
    writeFile(places.folder() / "frontier", frontier);
    CHECK(start().kind == AuditFaultKind::corrupt);
  }
  SUBCASE("half a checkpoint at the end of all of them is cut off") {
    const std::string all = readFile(places.folder() / "checkpoints.log");
    for (const size_t n : {size_t{1}, size_t{60}, size_t{130}}) {
      writeFile(places.folder() / "checkpoints.log", all + all.substr(0, n));
      REQUIRE_FALSE(start());
      CHECK(readFile(places.folder() / "checkpoints.log") == all);
    }
  }
}

}  // namespace

TEST_CASE("audit fault: what a start finds damaged, and what is cut off, after a restart of the process") { damageAndStart(false); }
TEST_CASE("audit fault: the same after a restart of the machine") { damageAndStart(true); }
