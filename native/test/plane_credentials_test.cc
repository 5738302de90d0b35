// The socket on which systemd asks for credentials: what comes out of it, to the end of the stream, and that no end comes unanswered.
#include <sys/stat.h>
#include <sys/syscall.h>

#include "core/mechanism.h"
#include "plane/credentials.h"
#include "plane_fixture.h"

using namespace quorate;
using namespace quorate::test;

namespace {

constexpr size_t kLongest = limits::secret_value_bytes_max;
constexpr size_t kSystemdReads = 1024 * 1024;  // a credential may have; one byte more is an error

// The peer as systemd is one: bound to the abstract address, half closed, and it reads to the end.
class Asker {
 public:
  explicit Asker(const std::string& path, const std::string& address, bool connects = true) : path_(path), fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un own{};
    own.sun_family = AF_UNIX;
    memcpy(own.sun_path, address.data(), address.size());
    if (!address.empty()) REQUIRE(bind(fd_, reinterpret_cast<sockaddr*>(&own), static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + address.size())) == 0);
    if (connects) connectNow();
  }
  ~Asker() { ::close(fd_); }
  Asker(const Asker&) = delete;
  void connectNow() {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    memcpy(to.sun_path, path_.data(), path_.size());
    REQUIRE(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) == 0);
    shutdown(fd_, SHUT_WR);
  }
  // Everything, to the end of the stream.
  std::string all(size_t most = SIZE_MAX) {
    std::string out;
    char chunk[65536];
    for (;;) {
      pollfd p{fd_, POLLIN, 0};
      REQUIRE(poll(&p, 1, Client::kPatienceMs) == 1);
      const ssize_t n = recv(fd_, chunk, sizeof(chunk), 0);
      if (n <= 0 || out.size() >= most) return out;
      out.append(chunk, static_cast<size_t>(n));
    }
  }
  bool hasBytes(int ms) {
    pollfd p{fd_, POLLIN, 0};
    return poll(&p, 1, ms) > 0;
  }

 private:
  std::string path_;
  int fd_;
};

std::string addressOf(const std::string& unit, const std::string& credential) {
  static std::atomic<unsigned> next{static_cast<unsigned>(getpid()) << 12};
  char random[20];
  snprintf(random, sizeof(random), "%x", ++next);
  return '\0' + std::string(random) + "/unit/" + unit + "/" + credential;
}
bool isRefusal(const std::string& all, Code code) {
  return all.size() > kSystemdReads && all.starts_with("quorate refused this credential: " + std::string(codeName(code)) + "\n");
}

class Credentials {
 public:
  explicit Credentials(PlaneTuning tuning = {}, PlaneMode mode = PlaneMode::ready) : plane(tuning, mode), path_(plane.path() + ".cred") {
    plane.onUpcall = [this](Upcall& upcall) {
      log.add(upcall);
      if (upcall.kind != UpcallKind::grant || holds) return true;
      answer(upcall);
      return true;
    };
    CredentialMap map;
    map.domain = "payments";
    map.put("billing.service", "pw", {"app/db", "password"});
    int fd = -1;
    std::string detail;
    REQUIRE(listenUnix(path_, 0600, &fd, &detail) == Code::OK);
    listener = plane->listenForCredentials(fd, std::move(map));
  }
  ~Credentials() { unlink(path_.c_str()); }
  void put(const std::string& path, const std::string& value) {
    const std::lock_guard lock(mutex_);
    TestKey& secret = secrets_[path];
    if (secret.versions.empty()) randomBytes(secret.id);
    secret.versions.assign(1, {Buffer(value.begin(), value.end()), Buffer{}});
  }
  std::string ask(const std::string& unit, const std::string& credential) { return Asker(path_, addressOf(unit, credential)).all(); }
  void answer(const Upcall& upcall) {
    const std::lock_guard lock(mutex_);
    const auto found = secrets_.find(upcall.keyRef);
    if (found == secrets_.end()) return plane->refuse(upcall.token, Code::SECRET_NOT_FOUND, upcall.keyRef, 0);
    plane->install(plane.versionOf(found->second, 1));
    plane->grant(upcall.token, found->second.id, 0);
  }
  const std::string& path() const { return path_; }
  size_t refusals() {
    size_t count = 0;
    for (size_t i = 0; i < log.size(); i++) count += log.at(i).kind == UpcallKind::refused;
    return count;
  }

  std::atomic<bool> holds{false};
  UpcallLog log;
  TestPlane plane;
  uint32_t listener = 0;

 private:
  std::string path_;
  std::mutex mutex_;
  std::map<std::string, TestKey> secrets_;
};

}  // namespace

#define NEEDS_ROOT() \
  if (getuid() != 0) { \
    MESSAGE("skipped: only root may ask for a unit"); \
    return; \
  }

TEST_CASE("plane credentials: exactly the value, of every length, and its unit is who asks") {
  NEEDS_ROOT();
  Credentials c;
  for (const size_t n : {size_t(0), size_t(1), size_t(4096), kLongest}) {
    std::string value(n, '\0');
    for (size_t i = 0; i < n; i++) value[i] = static_cast<char>(i * 7 + i / 251);
    c.put("systemd/a.service/v" + std::to_string(n), value);
    CHECK(c.ask("a.service", "v" + std::to_string(n)) == value);
    const Upcall asked = c.log.last();
    CHECK((asked.peer->unit == "a.service" && asked.peer->domain == "payments" && asked.peer->uid == 0 && asked.peer->listener == c.listener && asked.pid == getpid()));
  }
  c.put("app/db", R"({"password":"hunter2","deep":{}})");
  CHECK(c.ask("billing.service", "pw") == "hunter2");
  CHECK(c.ask("b.service", "pw").size() > kSystemdReads);
  CHECK((c.plane->stats().credentialsGiven == 5 && c.plane->stats().credentialsRefused == 1));
  CHECK(TestPlane::eventually([&] { return c.plane->stats().connections == 0; }));
}

TEST_CASE("plane credentials: a refusal is longer than a credential may be, and told") {
  NEEDS_ROOT();
  Credentials c;
  CHECK(isRefusal(c.ask("a.service", "none"), Code::SECRET_NOT_FOUND));
  const auto told = [&] { return c.log.last(); };
  REQUIRE(TestPlane::eventually([&] { return c.refusals() == 1; }));
  CHECK((told().status == Code::SECRET_NOT_FOUND && told().token == 0 && told().keyRef == "none" && told().peer->unit == "a.service"));
  c.put("app/db", "no json");
  CHECK(isRefusal(c.ask("billing.service", "pw"), Code::BAD_REQUEST));
  c.put("app/db", R"({"user":"x"})");
  CHECK(isRefusal(c.ask("billing.service", "pw"), Code::SECRET_NOT_FOUND));
  c.put("app/db", R"({"password":[]})");
  CHECK(isRefusal(c.ask("billing.service", "pw"), Code::BAD_REQUEST));
  // Root without a unit's name, or with a file's.
  CHECK(isRefusal(Asker(c.path(), "").all(), Code::BAD_REQUEST));
  const std::string file = c.path() + ".own";
  CHECK(isRefusal(Asker(c.path(), file).all(), Code::BAD_REQUEST));
  unlink(file.c_str());
  c.plane->setMode(PlaneMode::sealed);
  CHECK(isRefusal(c.ask("a.service", "v"), Code::SEALED));
  c.plane->setMode(PlaneMode::uninitialised);
  CHECK(isRefusal(c.ask("a.service", "v"), Code::UNINITIALISED));
}

// One that claims all that systemd does. euid is what the kernel tells of who connects.
TEST_CASE("plane credentials: nobody but root, however well it is named, and however many there are") {
  NEEDS_ROOT();
  Credentials c;
  c.put("systemd/a.service/v", "value");
  REQUIRE(chmod(c.path().c_str(), 0666) == 0);
  std::vector<std::unique_ptr<Asker>> all;
  for (int i = 0; i < 100; i++) {
    all.push_back(std::make_unique<Asker>(c.path(), addressOf("a.service", "v"), false));
    REQUIRE(syscall(SYS_setresuid, -1, 65534, -1) == 0);  // of this thread alone
    all.back()->connectNow();
    REQUIRE(syscall(SYS_setresuid, -1, 0, -1) == 0);
  }
  CHECK(c.ask("a.service", "v") == "value");  // they read nothing, and have a few places only
  CHECK(c.log.size() > 0);
  size_t asked = 0;
  for (size_t i = 0; i < c.log.size(); i++) asked += c.log.at(i).kind == UpcallKind::grant;
  CHECK(asked == 1);
  REQUIRE(TestPlane::eventually([&] { return c.refusals() > 0; }));
  for (size_t i = 0; i < c.log.size(); i++) CHECK(c.log.at(i).peer->unit == (c.log.at(i).peer->uid == 0 ? "a.service" : ""));
  CHECK(isRefusal(all.back()->all(), Code::DENIED));
  for (const auto& one : all) CHECK(one->all().find("value") == std::string::npos);
}

TEST_CASE("plane credentials: whatever ends while it is decided ends in a refusal") {
  NEEDS_ROOT();
  Credentials c;
  c.put("systemd/a.service/v", "value");
  c.holds = true;
  const auto waits = [&](size_t n) { REQUIRE(TestPlane::eventually([&] { return c.log.size() == n; })); };
  SUBCASE("sealed") {
    Asker asker(c.path(), addressOf("a.service", "v"));
    waits(1);
    c.plane->setMode(PlaneMode::sealed);
    CHECK(isRefusal(asker.all(), Code::SEALED));
  }
  SUBCASE("killed") {
    Asker asker(c.path(), addressOf("a.service", "v"));
    waits(1);
    CHECK(c.plane->killSession(c.log.last().session));
    CHECK(isRefusal(asker.all(), Code::SESSION_EXPIRED));
  }
  SUBCASE("the socket is given up") {
    Asker asker(c.path(), addressOf("a.service", "v"));
    waits(1);
    c.plane->unlisten(c.listener);
    CHECK(isRefusal(asker.all(), Code::SESSION_EXPIRED));
  }
  SUBCASE("the daemon stops, and a late answer reaches nobody") {
    Asker asker(c.path(), addressOf("a.service", "v"));
    waits(1);
    std::thread reader([&] { CHECK(isRefusal(asker.all(), Code::BUSY)); });
    c.plane->stop(5000);
    c.answer(c.log.at(0));
    reader.join();
  }
}

TEST_CASE("plane credentials: hundreds at once, those who never read, and those who hang up") {
  NEEDS_ROOT();
  PlaneTuning tuning;
  tuning.credentialConnectionsMax = 8;
  tuning.receiveTimeoutMs = 100;
  Credentials c(tuning);
  c.put("systemd/a.service/v", "value");
  std::vector<std::unique_ptr<Asker>> still;
  for (int i = 0; i < 40; i++) still.push_back(std::make_unique<Asker>(c.path(), addressOf("none.service", "v")));
  // They are refused, and read nothing: each gives its place to one who comes when it was still for long enough.
  for (int i = 0; i < 20; i++) CHECK(c.ask("a.service", "v") == "value");
  still.clear();
  for (int i = 0; i < 200; i++) Asker(c.path(), addressOf("a.service", "v"));
  CHECK(c.ask("a.service", "v") == "value");
  CHECK(TestPlane::eventually([&] { return c.plane->stats().connections == 0; }));
}

TEST_CASE("plane credentials: who is refused and reads slowly is not cut short while others wait for its place") {
  NEEDS_ROOT();
  PlaneTuning tuning;
  tuning.credentialConnectionsMax = 1;
  Credentials c(tuning);
  c.put("systemd/a.service/v", "value");
  Asker slow(c.path(), addressOf("none.service", "v"));
  REQUIRE(TestPlane::eventually([&] { return c.plane->stats().credentialsRefused == 1; }));
  Asker waiting(c.path(), addressOf("a.service", "v"));
  CHECK(!waiting.hasBytes(300));
  CHECK(isRefusal(slow.all(), Code::SECRET_NOT_FOUND));
  CHECK(waiting.all() == "value");
}
