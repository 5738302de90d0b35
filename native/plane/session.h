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
  size_t sheetBytes = 0;     // heap that the attributes of its session objects take
  HeldBytes held;
  HeldBytes longValues;      // in the arena, of requests that wait for JavaScript
};
using UidPtr = std::shared_ptr<UidState>;

// Bytes that somebody else keeps on behalf of a uid, counted while this lives. The plane's thread only.
class HeldShare {
 public:
  HeldShare() = default;
  HeldShare(UidPtr user, size_t bytes, HeldBytes UidState::* of = &UidState::held) : user_(std::move(user)), bytes_(bytes), of_(of) { (*user_.*of_).add(bytes_); }
  ~HeldShare() {
    if (user_) (*user_.*of_).remove(bytes_);
  }
  HeldShare(HeldShare&& other) noexcept : user_(std::move(other.user_)), bytes_(other.bytes_), of_(other.of_) {}
  HeldShare& operator=(HeldShare&& other) noexcept {
    std::swap(user_, other.user_);
    std::swap(bytes_, other.bytes_);
    std::swap(of_, other.of_);
    return *this;
  }

 private:
  UidPtr user_;
  size_t bytes_ = 0;
  HeldBytes UidState::* of_ = &UidState::held;
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

// Cryptography by mechanism in many parts.
struct Operation {
  std::unique_ptr<MechanismOperation> state;  // null while a worker has it
  KeyPtr key;                                 // holds the material; null: a digest
  Method method{};                            // that began it
  Use use{};
  uint32_t mechanism = 0, version = 0;
  // As of a stream.
  KeyId keyId{};
  uint64_t sessionKey = 0;
  std::string ref;
  bool mustAuthorize = false;

  bool isOfStoredKey() const { return key != nullptr && sessionKey == 0; }
};

// What AuthenticateUse gave: the next use of one key, in this session.
struct UseTicket {
  static constexpr size_t kBytes = 16;
  uint8_t bytes[kBytes];
  KeyId keyId{};
  uint64_t sessionKey = 0;  // 0: a stored key
  int64_t expiresNs = 0;    // CLOCK_BOOTTIME
};

// What all sessions hold.
struct SessionTotals {
  uint64_t keys = 0, streams = 0, operations = 0;
  size_t arenaBytes = 0;
};

inline constexpr std::string_view kSessionPrefix = "session:";
// The number of "session:N": decimal, from 1, no leading zero. 0 for anything else.
uint64_t sessionKeyNumber(std::string_view ref);

class Session {
 public:
  Session(uint64_t number, UidPtr user, SessionTotals* totals) : id(number), user_(std::move(user)), totals_(totals) { row.session = number; }
  ~Session() { clear(); }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  const uint64_t id;
  SessionRow row;

  PreparedKey* key(uint64_t number);
  // Its number. SESSION_KEY_QUOTA.
  Code addKey(KeyPtr key, uint64_t* number);
  bool destroyKey(uint64_t number);  // and the streams and operations that were begun with it
  bool keyQuotaReached() const { return user_->sessionKeys >= limits::session_keys_per_uid_max || user_->sheetBytes >= kSheetBytesPerUidMax; }
  // More of the key was prepared since it was added.
  void recount(PreparedKey* key);
  void setSheets(PreparedKey* key, SheetsPtr sheets);

  Stream* stream(uint64_t number);
  // LIMIT_EXCEEDED
  Code addStream(Stream&& stream, uint64_t* number);
  bool endStream(uint64_t number);
  // Streams and operations of this key (nullptr: of every key) must be authorized again.
  void challenge(const KeyId* keyId);

  Operation* operation(uint64_t number);
  // LIMIT_EXCEEDED
  Code addOperation(Operation&& operation, uint64_t* number);
  bool endOperation(uint64_t number);

  // The oldest goes when there are many.
  void addTicket(const UseTicket& ticket);
  // True once for each ticket, before its end and for its key.
  bool takeTicket(Bytes given, const KeyId& keyId, uint64_t sessionKey, int64_t nowNs);

  // Wipes every key, stream, operation and ticket.
  void clear();

 private:
  static constexpr size_t kSheetBytesPerUidMax = 16 * 1024 * 1024;
  static constexpr size_t kTicketsMax = 64;
  // What an operation's state takes of the arena, at most.
  static constexpr size_t kOperationBytes = 1024;

  void count();
  void discount(const PreparedKey& key);
  UidPtr user_;
  SessionTotals* totals_;
  uint64_t lastKey_ = 0, lastStream_ = 0, lastOperation_ = 0;
  std::unordered_map<uint64_t, KeyPtr> keys_;
  std::unordered_map<uint64_t, Stream> streams_;
  std::unordered_map<uint64_t, Operation> operations_;
  std::vector<UseTicket> tickets_;  // in the order in which they were given
};

}  // namespace quorate
