// Disks that are full or hang: real ones. A tmpfs of a few MiB; ext4 in a loop device, frozen (FIFREEZE: what writes waits in the kernel,
// beyond any signal), and one inside the other, where writing goes to the page cache and fdatasync waits. Mounting takes root:
// without it these say that they are skipped.
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/resource.h>

#include <csignal>

#include "audit_plane_fixture.h"

using namespace quorate;
using namespace quorate::test;
namespace fs = std::filesystem;

namespace {

constexpr int64_t kClosesWithinMs = 1000, kOpensWithinMs = 2000;

bool run(const std::string& command) { return std::system((command + " >/dev/null 2>&1").c_str()) == 0; }

class Mount {
 public:
  explicit Mount(fs::path at) : at_(std::move(at)) { fs::create_directories(at_); }
  ~Mount() {
    thaw();
    if (mounted) umount2(at_.c_str(), MNT_DETACH);
  }
  Mount(const Mount&) = delete;
  bool tmpfs(const char* options) { return mounted = mount("quorate-test", at_.c_str(), "tmpfs", 0, options) == 0; }
  bool ext4(const fs::path& image, unsigned mib) {
    return mounted = run("truncate -s " + std::to_string(mib) + "M " + image.string() + " && mkfs.ext4 -q -F " + image.string() + " && mount -o loop " + image.string() + " " + at_.string());
  }
  bool freeze() { return frozen_ = control(FIFREEZE); }
  void thaw() {
    if (frozen_) control(FITHAW);
    frozen_ = false;
  }
  const fs::path& path() const { return at_; }
  bool mounted = false;

 private:
  bool control(unsigned long request) {
    const int fd = open(at_.c_str(), O_RDONLY | O_CLOEXEC);
    const bool done = fd >= 0 && ioctl(fd, request, 0) == 0;
    if (fd >= 0) close(fd);
    return done;
  }
  fs::path at_;
  bool frozen_ = false;
};

bool isSkipped(bool mounted) {
  if (!mounted) MESSAGE("skipped: a file system cannot be mounted here (root, and a loop device)");
  return !mounted;
}

// As the daemon has it.
void realTimes(AuditPlaces& places) {
  const size_t ringBytes = places.options.tuning.ringBytes;
  places.options.tuning = {};
  places.options.tuning.ringBytes = ringBytes;
}

// While the disk hangs: refused within a second, and what was asked is answered; afterwards everything that was answered is logged.
void hangAndGoOn(AuditPlaces& places, Mount& disk) {
  realTimes(places);
  AuditedPlane audited(places);
  Traffic traffic(audited.plane());
  for (int i = 0; i < 50; i++) REQUIRE(traffic.once() == Code::OK);
  for (int round = 0; round < 2; round++) {
    REQUIRE(disk.freeze());
    const int64_t closed = traffic.msUntil(Code::AUDIT_UNAVAILABLE);
    INFO("closed after ", closed, " ms");
    CHECK(closed >= 0);
    CHECK(closed <= kClosesWithinMs);
    CHECK(traffic.staysRefused(700));
    CHECK(audited.log()->stats().fault == AuditFaultKind::stalled);
    disk.thaw();
    const int64_t opened = traffic.msUntil(Code::OK);
    INFO("open again after ", opened, " ms");
    CHECK(opened >= 0);
    CHECK(opened <= kOpensWithinMs);
    for (int i = 0; i < 50; i++) REQUIRE(traffic.once() == Code::OK);
  }
  audited.stop();
  traffic.checkLogged(places);
}

}  // namespace

TEST_CASE("audit disk: full") {
  AuditPlaces places;
  Mount disk(places.root() / "disk");
  if (isSkipped(disk.tmpfs("size=8m"))) return;
  places.options.folder = disk.path() / "audit";
  realTimes(places);
  AuditedPlane audited(places);
  Traffic traffic(audited.plane());
  for (int i = 0; i < 50; i++) REQUIRE(traffic.once() == Code::OK);
  const fs::path filling = disk.path() / "filling";
  for (int round = 0; round < 2; round++) {
    { std::ofstream(filling) << std::string(16 << 20, 'x'); }
    const int64_t closed = traffic.msUntil(Code::AUDIT_UNAVAILABLE);
    INFO("closed after ", closed, " ms: ", audited.log()->stats().detail);
    CHECK(closed >= 0);
    CHECK(closed <= kClosesWithinMs);
    CHECK(traffic.staysRefused(400));
    CHECK(audited.log()->stats().fault == AuditFaultKind::full);
    CHECK(audited.log().repair(true).kind == AuditFaultKind::full);  // nothing is given up for want of room
    fs::remove(filling);
    const int64_t opened = traffic.msUntil(Code::OK);
    INFO("open again after ", opened, " ms");
    CHECK(opened >= 0);
    CHECK(opened <= kOpensWithinMs);
    for (int i = 0; i < 50; i++) REQUIRE(traffic.once() == Code::OK);
  }
  audited.stop();
  traffic.checkLogged(places);
}

// Every size at which the disk may become full, from the first file on: the log ends in a state from which it goes on.
TEST_CASE("audit disk: full from the beginning, and less and less so") {
  AuditPlaces places;
  Mount disk(places.root() / "disk");
  if (isSkipped(disk.tmpfs("size=3m"))) return;
  places.options.folder = disk.path() / "audit";
  const fs::path filling = disk.path() / "filling";
  { std::ofstream(filling) << std::string(4 << 20, 'x'); }
  TestLog log(places);
  CHECK(log.unlock().kind == AuditFaultKind::full);
  std::vector<std::string> given;
  for (uint64_t left = 3 << 20; left > 1 << 20; left -= 128 * 1024) {
    fs::resize_file(filling, left);
    std::this_thread::sleep_for(std::chrono::milliseconds(15));
    given.push_back(leafNumber(given.size()));
    log.append(given.back());
  }
  REQUIRE(TestLog::until([&] { return log->stats().available; }));
  REQUIRE(TestLog::until([&] { return log->stats().waiting == 0; }));
  log.close();
  CHECK(readLeaves(places) == given);
}

TEST_CASE("audit disk: a file that may not grow (RLIMIT_FSIZE)") {
  AuditPlaces places;
  AuditedPlane audited(places);
  Traffic traffic(audited.plane());
  for (int i = 0; i < 50; i++) REQUIRE(traffic.once() == Code::OK);
  rlimit old{};
  REQUIRE(getrlimit(RLIMIT_FSIZE, &old) == 0);
  const rlimit small{fs::file_size(places.current()) + 1000, old.rlim_max};
  const auto former = signal(SIGXFSZ, SIG_IGN);  // this program's own output may be a file
  REQUIRE(setrlimit(RLIMIT_FSIZE, &small) == 0);
  const int64_t closed = traffic.msUntil(Code::AUDIT_UNAVAILABLE);
  const bool refused = traffic.staysRefused(300);
  REQUIRE(setrlimit(RLIMIT_FSIZE, &old) == 0);
  signal(SIGXFSZ, former);
  CHECK(closed >= 0);
  CHECK(refused);
  REQUIRE(traffic.msUntil(Code::OK) >= 0);
  for (int i = 0; i < 50; i++) REQUIRE(traffic.once() == Code::OK);
  audited.stop();
  traffic.checkLogged(places);
}

TEST_CASE("audit disk: writing hangs") {
  AuditPlaces places;
  Mount disk(places.root() / "disk");
  if (isSkipped(disk.ext4(places.root() / "image", 32))) return;
  places.options.folder = disk.path() / "audit";
  hangAndGoOn(places, disk);
}

TEST_CASE("audit disk: fdatasync hangs") {
  AuditPlaces places;
  Mount outer(places.root() / "outer"), inner(places.root() / "inner");
  if (isSkipped(outer.ext4(places.root() / "image", 64) && inner.ext4(outer.path() / "image", 32))) return;
  places.options.folder = inner.path() / "audit";
  hangAndGoOn(places, outer);
}

TEST_CASE("audit disk: an end is not waited for longer than it may take, and nothing is lost by that") {
  AuditPlaces places;
  Mount disk(places.root() / "disk");
  if (isSkipped(disk.ext4(places.root() / "image", 32))) return;
  places.options.folder = disk.path() / "audit";
  std::string detail;
  std::shared_ptr<AuditLog> log;
  REQUIRE(AuditLog::open(places.options, &log, &detail) == Code::OK);
  Outcome outcome;
  log->unlock(places.options.storeId, auditKeys(), true, outcome.callback());
  REQUIRE_FALSE(outcome.wait());
  REQUIRE(disk.freeze());
  uint8_t* place = log->ring().room(6);
  std::copy_n("a leaf", 6, place);
  log->want(log->ring().commit(6));
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  const auto begun = std::chrono::steady_clock::now();
  CHECK_FALSE(log->close(200));
  CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(2));
  const std::weak_ptr<AuditLog> left = log;
  log.reset();
  CHECK_FALSE(left.expired());
  disk.thaw();
  REQUIRE(TestLog::until([&] { return left.expired(); }));
  CHECK(readLeaves(places) == std::vector<std::string>{"a leaf"});
}
