// A plane on a socket of its own, and in JavaScript's place a thread that drains its upcalls: a small register of keys that grants
// all that it knows. A test takes upcalls over by setting `onUpcall`.
#pragma once
#include <condition_variable>
#include <filesystem>
#include <thread>

#include "core/random.h"
#include "plane/plane.h"
#include "plane_client.h"

namespace quorate::test {

struct TestKey {
  KeyId id{};
  KeyType type{};
  KeyScheme scheme{};
  bool exportable = false;
  uint32_t current = 1;
  Buffer attributes = {}, publicAttributes = {};        // scheme PKCS11
  std::vector<std::pair<Buffer, Buffer>> versions;  // stored, spki; version 1 first. A public-only key's stored is empty
};

// The answering thread's memory of upcalls.
class UpcallLog {
 public:
  void add(const Upcall& upcall) {
    const std::lock_guard lock(mutex_);
    upcalls_.push_back(upcall);
  }
  size_t size() {
    const std::lock_guard lock(mutex_);
    return upcalls_.size();
  }
  Upcall at(size_t i) {
    const std::lock_guard lock(mutex_);
    return upcalls_.at(i);
  }
  Upcall last() {
    const std::lock_guard lock(mutex_);
    return upcalls_.back();
  }

 private:
  std::mutex mutex_;
  std::vector<Upcall> upcalls_;
};

class TestPlane {
 public:
  explicit TestPlane(PlaneTuning tuning = {}, PlaneMode mode = PlaneMode::ready) {
    folder_ = std::filesystem::temp_directory_path() / ("quorate-plane-" + std::to_string(getpid()) + "-" + std::to_string(++count()));
    std::filesystem::create_directories(folder_);
    path_ = folder_ / "socket";
    PlaneOptions options;
    options.release = "0.1.0-test";
    options.tuning = tuning;
    options.onUpcalls = [this] {
      const std::lock_guard lock(mutex_);
      waiting_ = true;
      wake_.notify_one();
    };
    plane_ = Plane::start(options);
    plane_->setMode(mode);
    int fd = -1;
    std::string detail;
    REQUIRE(listenUnix(path_, 0666, &fd, &detail) == Code::OK);
    listener_ = plane_->listen(fd);
    thread_ = std::thread([this] { answerUpcalls(); });
  }
  ~TestPlane() {
    plane_->stop(0);
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
      wake_.notify_one();
    }
    thread_.join();
    plane_.reset();
    std::filesystem::remove_all(folder_);
  }

  Plane& operator*() { return *plane_; }
  Plane* operator->() { return plane_.get(); }
  const std::string& path() const { return path_; }
  uint32_t listener() const { return listener_; }

  // Takes an upcall when it returns true. Runs on the answering thread.
  std::function<bool(Upcall&)> onUpcall;

  KeyId addKey(const std::string& name, KeyType type, KeyScheme scheme, bool exportable = false, unsigned versions = 1) {
    TestKey key;
    randomBytes(key.id);
    key.type = type;
    key.scheme = scheme;
    key.exportable = exportable;
    key.current = versions;
    for (unsigned i = 0; i < versions; i++) {
      Secret stored;
      Buffer spki;
      REQUIRE(generateKey(type, 0, &stored, &spki) == Code::OK);
      key.versions.emplace_back(Buffer(stored.data(), stored.data() + stored.size()), spki);
    }
    return putKey(name, std::move(key));
  }
  KeyId putKey(const std::string& name, TestKey key) {
    const std::lock_guard lock(keysMutex_);
    keys_[name] = std::move(key);
    return keys_[name].id;
  }
  TestKey keyOf(const std::string& name) {
    const std::lock_guard lock(keysMutex_);
    return keys_.at(name);
  }
  InstalledVersion versionOf(const TestKey& key, uint32_t version, uint64_t ivs = 0) {
    InstalledVersion out;
    out.keyId = key.id;
    out.domain = "default";
    out.type = key.type;
    out.scheme = key.scheme;
    out.exportable = key.exportable;
    out.version = version;
    out.current = version == key.current;
    out.ivs = ivs;
    out.imported = false;
    out.attributes = key.attributes;
    out.publicAttributes = key.publicAttributes;
    const auto& [stored, spki] = key.versions[version - 1];
    if (!stored.empty()) {
      Secret secret;
      if (Secret::copy(stored, &secret) == Code::OK) out.stored = std::make_shared<const Secret>(std::move(secret));
    }
    out.spki = spki;
    return out;
  }
  // What the daemon does with a grant upcall.
  void answerGrant(const Upcall& upcall, uint32_t lifeMs = 60'000, uint32_t slice = 0) {
    if (upcall.keyRef.empty()) return plane_->grant(upcall.token, KeyId{}, lifeMs, slice);
    const std::lock_guard lock(keysMutex_);
    const TestKey* key = nullptr;
    for (const auto& [name, known] : keys_)
      if (name == upcall.keyRef || hexOf(known.id) == upcall.keyRef) key = &known;
    if (key == nullptr) return plane_->refuse(upcall.token, Code::KEY_NOT_FOUND, "no key " + upcall.keyRef, 1000, slice);
    const bool named = upcall.keyId != KeyId{};
    if (!named || upcall.keyId == key->id) {
      const uint32_t version = upcall.version == 0 ? key->current : upcall.version;
      if (version > key->versions.size()) return plane_->refuse(upcall.token, Code::KEY_VERSION_NOT_FOUND, "", 0);
      plane_->install(versionOf(*key, version));
    }
    plane_->grant(upcall.token, key->id, lifeMs, slice);
  }
  // Upcalls are remembered, and answered as without it.
  void remember(UpcallLog* log) {
    onUpcall = [log](Upcall& upcall) {
      log->add(upcall);
      return false;
    };
  }
  // Upcalls are remembered, and the test answers them.
  void hold(UpcallLog* log) {
    onUpcall = [log](Upcall& upcall) {
      log->add(upcall);
      return true;
    };
  }
  static std::string hexOf(const KeyId& id) {
    std::string out;
    for (const uint8_t b : id) {
      char two[3];
      snprintf(two, sizeof(two), "%02x", b);
      out += two;
    }
    return out;
  }
  // Upcalls answered so far, by kind.
  size_t seen(UpcallKind kind) {
    const std::lock_guard lock(mutex_);
    return seen_[static_cast<size_t>(kind)];
  }
  template <class F>
  static bool eventually(F condition, int patienceMs = 10'000) {
    for (int waited = 0; waited < patienceMs; waited += 2) {
      if (condition()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    return condition();
  }

 private:
  static int& count() {
    static int n = 0;
    return n;
  }
  void answerUpcalls() {
    for (;;) {
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return waiting_ || ending_; });
        if (ending_) return;
        waiting_ = false;
      }
      for (std::vector<Upcall> batch = plane_->drain(64); !batch.empty(); batch = plane_->drain(64))
        for (Upcall& upcall : batch) {
          {
            const std::lock_guard lock(mutex_);
            seen_[static_cast<size_t>(upcall.kind)]++;
          }
          if (onUpcall && onUpcall(upcall)) continue;
          if (upcall.kind == UpcallKind::refused) continue;
          if (upcall.kind == UpcallKind::grant) answerGrant(upcall);
          else if (upcall.kind == UpcallKind::call) plane_->reply(upcall.token, Code::OK, {});
          else {
            plane_->addIvs(upcall.keyId, upcall.version, limits::iv_block);
            if (upcall.token != 0) plane_->resume(upcall.token);
          }
        }
    }
  }

  std::filesystem::path folder_;
  std::string path_;
  uint32_t listener_ = 0;
  std::unique_ptr<Plane> plane_;
  std::thread thread_;
  std::mutex mutex_, keysMutex_;
  std::condition_variable wake_;
  bool waiting_ = false, ending_ = false;
  size_t seen_[4] = {};
  std::map<std::string, TestKey> keys_;
};

}  // namespace quorate::test
