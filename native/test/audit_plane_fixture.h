// A plane with an audit log, a client that asks without pause, and the question that matters: is what it was told in the log?
#pragma once
#include "audit_fixture.h"
#include "plane/audit_gate.h"
#include "plane_fixture.h"

namespace quorate::test {

// What a log says, entry by entry.
struct LogContent {
  std::map<std::tuple<uint64_t, std::string, uint64_t, uint64_t, uint64_t>, uint64_t> counts;  // session, key id, version, method, status
  std::map<std::string, int> details;                                                          // of all other entries
  std::vector<uint64_t> kinds;

  uint64_t countOf(Method method, Code status) const {
    uint64_t sum = 0;
    for (const auto& [call, count] : counts)
      if (std::get<3>(call) == static_cast<uint64_t>(method) && std::get<4>(call) == static_cast<uint64_t>(status)) sum += count;
    return sum;
  }
};

inline LogContent contentOf(const AuditPlaces& places) {
  LogContent out;
  for (const std::string& leaf : readLeaves(places)) {
    std::string detail;
    for (protozero::pbf_reader entry{leaf}; entry.next();) {
      if (entry.tag() == fields::AuditEntry::kind) {
        out.kinds.push_back(entry.get_uint64());
      } else if (entry.tag() == fields::AuditEntry::detail) {
        detail = entry.get_string();
      } else if (entry.tag() == fields::AuditEntry::counts) {
        uint64_t numbers[7] = {};
        std::string id;
        for (protozero::pbf_reader row = entry.get_message(); row.next();) {
          if (row.tag() == fields::AuditCount::key_id) id = row.get_string();
          else numbers[row.tag()] = row.get_uint64();
        }
        out.counts[{numbers[1], id, numbers[3], numbers[4], numbers[5]}] += numbers[6];
      } else {
        entry.skip();
      }
    }
    if (!detail.empty()) out.details[detail]++;
  }
  return out;
}

inline Buffer controlLeaf(const std::string& detail) {
  std::string out;
  protozero::pbf_writer writer{out};
  writer.add_uint32(fields::AuditEntry::kind, 1);
  writer.add_string(fields::AuditEntry::detail, detail);
  return {out.begin(), out.end()};
}

// GetKey is answered with a leaf "control N", and N in the answer. Encrypt under "key" is granted.
class AuditedPlane {
 public:
  explicit AuditedPlane(AuditPlaces& places, AuditMode mode = AuditMode::counts, bool unlock = true) : places_(places), log_(places) {
    if (unlock) REQUIRE_FALSE(log_.unlock());
    plane_.onUpcall = [this](Upcall& upcall) {
      if (upcall.method != static_cast<uint16_t>(Method::GetKey)) return false;
      const std::string name = "control " + std::to_string(++controls_);
      const std::string body = Message().text(1, name);
      plane_->reply(upcall.token, Code::OK, {body.begin(), body.end()}, controlLeaf(name));
      return true;
    };
    plane_.addKey("key", KeyType::AES_256, KeyScheme::MANAGED);
    plane_->setAudit(log_.share(), mode);
  }
  ~AuditedPlane() { stop(); }
  void stop() {
    if (stopped_) return;
    stopped_ = true;
    plane_->stop(100);
    log_.close();
  }
  TestPlane& plane() { return plane_; }
  TestLog& log() { return log_; }
  AuditPlaces& places() { return places_; }

 private:
  AuditPlaces& places_;
  TestLog log_;
  TestPlane plane_;
  std::atomic<uint64_t> controls_{0};
  bool stopped_ = false;
};

inline const std::string& encryptBody() {
  static const std::string body = Message().text(fields::EncryptRequest::key, "key").text(fields::EncryptRequest::plaintext, "something");
  return body;
}

// Asks Encrypt and, now and then, GetKey; remembers what was answered with OK.
class Traffic {
 public:
  explicit Traffic(TestPlane& plane) : client_(plane.path()) {}

  // One call each; the worse of the two codes.
  Code once() {
    const Answer hot = client_.call(Method::Encrypt, encryptBody());
    REQUIRE(hot.arrived);
    if (hot.code() == Code::OK) encrypted++;
    const Answer control = client_.call(Method::GetKey, "");
    REQUIRE(control.arrived);
    if (control.code() == Code::OK) controls.push_back(control.text(1));
    return hot.code() != Code::OK ? hot.code() : control.code();
  }
  // Until that is answered to both; how long it took. -1: not in time.
  int64_t msUntil(Code code, int64_t patienceMs = 20'000) {
    const auto begun = std::chrono::steady_clock::now();
    for (;;) {
      const Code came = once();
      const auto ms = std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() - begun).count();
      if (came == code) return ms;
      if (ms > patienceMs) return -1;
    }
  }
  bool staysRefused(int ms) {
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (std::chrono::steady_clock::now() < end) {
      const Answer hot = client_.call(Method::Encrypt, encryptBody()), control = client_.call(Method::GetKey, "");
      if (hot.code() != Code::AUDIT_UNAVAILABLE || control.code() != Code::AUDIT_UNAVAILABLE) return false;
      if (client_.call(Method::Ping, "").code() != Code::OK) return false;
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
  }
  // After the plane has ended: every answer is in the log, once.
  void checkLogged(const AuditPlaces& places) const {
    const LogContent content = contentOf(places);
    CHECK(content.countOf(Method::Encrypt, Code::OK) == encrypted);
    for (const std::string& name : controls) {
      const auto found = content.details.find(name);
      REQUIRE_MESSAGE(found != content.details.end(), name);
      CHECK(found->second == 1);
    }
    for (const auto& found : content.details) CHECK_MESSAGE(found.second == 1, found.first);
  }

  uint64_t encrypted = 0;
  std::vector<std::string> controls;

 private:
  Client client_;
};

}  // namespace quorate::test
