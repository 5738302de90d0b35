// A session: what one principal holds between requests. For now each connection has its own; it is an object of its own, so that
// several connections may share one later.
#pragma once
#include <unordered_map>

#include "plane/keys.h"
#include "plane/session_table.h"
#include "plane/wire_buffer.h"

namespace quorate {

// What is counted for one uid over all its connections. The plane's thread only.
struct UidState {
  explicit UidState(uint32_t u, HeldBytes* total) : uid(u) { held.total = total; }
  const uint32_t uid;
  uint32_t connections = 0;
  uint32_t upcalls = 0;      // waiting for JavaScript
  uint32_t jobs = 0;         // on the worker
  uint64_t sessionKeys = 0;  // at most session_keys_per_uid_max
  HeldBytes held;
};
using UidPtr = std::shared_ptr<UidState>;

// Bytes that somebody else keeps on behalf of a uid, counted while this lives. The plane's thread only.
class HeldShare {
 public:
  HeldShare() = default;
  HeldShare(UidPtr user, size_t bytes) : user_(std::move(user)), bytes_(bytes) { user_->held.add(bytes_); }
  ~HeldShare() {
    if (user_) user_->held.remove(bytes_);
  }
  HeldShare(HeldShare&& other) noexcept : user_(std::move(other.user_)), bytes_(other.bytes_) {}
  HeldShare& operator=(HeldShare&& other) noexcept {
    std::swap(user_, other.user_);
    std::swap(bytes_, other.bytes_);
    return *this;
  }

 private:
  UidPtr user_;
  size_t bytes_ = 0;
};

struct Stream {
  std::unique_ptr<StreamSealer> sealer;  // one of the two
  std::unique_ptr<StreamOpener> opener;
  KeyId keyId{};
  uint32_t version = 0;
  uint64_t sessionKey = 0;       // 0: a stored key
  std::string ref;               // the reference it was begun with
  bool mustAuthorize = false;    // its key or grant was voided since: the next chunk needs a live one
};

inline constexpr std::string_view kSessionPrefix = "session:";
// The number of "session:N": decimal, from 1, no leading zero. 0 for anything else.
uint64_t sessionKeyNumber(std::string_view ref);

class Session {
 public:
  Session(uint64_t number, UidPtr user, uint64_t* keysTotal, uint64_t* streamsTotal, size_t* arenaBytes)
      : id(number), user_(std::move(user)), keysTotal_(keysTotal), streamsTotal_(streamsTotal), arenaBytes_(arenaBytes) {
    row.session = number;
  }
  ~Session() { clear(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const uint64_t id;
  SessionRow row;

  PreparedKey* key(uint64_t number);
  // Its number. SESSION_KEY_QUOTA.
  Code addKey(KeyPtr key, uint64_t* number);
  bool destroyKey(uint64_t number);  // and the streams that were begun with it
  bool keyQuotaReached() const { return user_->sessionKeys >= limits::session_keys_per_uid_max; }

  Stream* stream(uint64_t number);
  // LIMIT_EXCEEDED
  Code addStream(Stream&& stream, uint64_t* number);
  bool endStream(uint64_t number);
  // Streams of this key (nullptr: of every key) must be authorized again.
  void challengeStreams(const KeyId* keyId);
  // Wipes every key and stream.
  void clear();

 private:
  void count();
  UidPtr user_;
  // Totals of the plane.
  uint64_t* keysTotal_;
  uint64_t* streamsTotal_;
  size_t* arenaBytes_;
  uint64_t lastKey_ = 0, lastStream_ = 0;
  std::unordered_map<uint64_t, KeyPtr> keys_;
  std::unordered_map<uint64_t, Stream> streams_;
};

}  // namespace quorate
