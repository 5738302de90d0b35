// Answers the frames of all connections of one thread: modes, grants, keys, upcalls. It moves no bytes itself: input lies in a
// connection's `in`, answers go to its `out`. All state of the hot path is here; a second thread would have a second one.
#pragma once
#include <algorithm>
#include <array>
#include <deque>

#include "plane/audit_gate.h"
#include "plane/connection.h"
#include "plane/grants.h"
#include "plane/peers.h"
#include "plane/upcalls.h"
#include "plane/worker.h"

namespace quorate {

inline constexpr size_t kMethodsCounted = 256;
static_assert(std::ranges::all_of(kMethods, [](const MethodRow& row) { return static_cast<size_t>(row.id) < kMethodsCounted; }));

// Read by any thread; written by the plane's alone.
struct PlaneCounters {
  std::atomic<uint64_t> requests{0}, upcalls{0}, refusedBusy{0}, malformed{0}, grants{0}, keys{0}, sessionKeys{0}, streams{0}, laneSignatures{0};
  std::atomic<uint64_t> credentialsGiven{0}, credentialsRefused{0};
  std::atomic<uint32_t> connections{0};
  // By method number: what was answered with OK, and with anything else. Methods that a client made up are not among them.
  std::array<std::array<std::atomic<uint64_t>, 2>, kMethodsCounted> answers{};
  void answered(uint16_t method, Code code) {
    if (method >= kMethodsCounted) return;
    auto& count = answers[method][code == Code::OK ? 0 : 1];
    count.store(count.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);  // one thread writes
  }
};

class Dispatcher {
 public:
  // submit: hands a job to the workers; finished() must get it back on this thread.
  Dispatcher(const PlaneOptions& options, UpcallQueue& upcalls, std::function<void(std::unique_ptr<Job>)> submit);
  ~Dispatcher();

  int64_t nowNs = 0;  // CLOCK_BOOTTIME, set by the owner before it calls anything

  // ---- connections. The owner keeps them, and calls disconnect() before it destroys one.
  UidPtr user(uint32_t uid);
  // who: what the kernel says of the other end, and the listener.
  std::unique_ptr<Connection> connect(int fd, Peer who, int32_t pid);
  void disconnect(Connection& c);
  // Answers the whole frames in c.in, as far as its limits allow. True when its turn ended with frames left.
  bool consume(Connection& c);
  // Whether another frame may be read: there is room for its answer.
  bool accepts(const Connection& c) const;
  // Connections that got an answer or room since: to be written and consumed again. Cleared by the owner.
  std::vector<Connection*>& dirty() { return dirty_; }
  // Hands the upcalls of this round to the queue.
  void publish();
  size_t connectionCount() const { return connections_.size(); }
  // Requests that wait for JavaScript or a worker.
  size_t underWay() const { return pending_.size() + jobs_; }
  const PlaneTuning& tuning() const { return tuning_; }

  // ---- commands (see plane.h)
  void reply(uint64_t token, Code status, Bytes body);
  void grant(uint64_t token, const KeyId& keyId, uint32_t lifeMs, uint32_t slice);
  void refuse(uint64_t token, Code status, const std::string& detail, uint32_t lifeMs, uint32_t slice);
  void resume(uint64_t token);
  void install(InstalledVersion&& version);
  void addIvs(const KeyId& keyId, uint32_t version, uint64_t count) { keys_.addIvs(keyId, version, count); }
  void voidKey(const KeyId& keyId);
  void voidSlice(uint32_t slice);
  void voidGrants();
  void setIdentity(uint64_t session, uint64_t identity, uint64_t lifeMs);
  void endIdentity(uint64_t identity);
  void endSession(uint64_t session, const char* why);
  void setMode(PlaneMode mode);
  void finished(std::unique_ptr<Job> job);

  // ---- credentials (dispatch_credentials.cc)
  // Puts the one request of a connection of a socket for credentials into its `in`: FetchSecret of that path.
  void askForSecret(Connection& c, std::string_view path);
  // Nothing that the connection waits for comes any more.
  void giveUp(Connection& c);
  // Counted; and told to JavaScript, for the log, unless too many were just now.
  void credentialRefused(const Connection& c, Code code, const std::string& detail);
  void credentialGiven() { credentialsGiven_++; }

  // Of all connections by that listener.
  void endSessionsOf(uint32_t listener);
  // Ends the sessions that were idle or open for as long as they may, and the identities whose time is over. To be called now and then.
  void endOldSessions();

  PlaneCounters counters;
  void updateCounters();
  SessionTable sessions;

  // ---- the audit log (dispatch_audit.cc). null: nothing is logged
  void setAudit(std::shared_ptr<AuditLog> log, AuditMode mode);
  // As reply(), refuse() and grant(), with a leaf: it is durable (a grant's: appended) before anybody is answered.
  void replyLogged(uint64_t token, Code status, Buffer body, Bytes leaf, bool isStored);
  void refuseLogged(uint64_t token, Code status, const std::string& detail, uint32_t lifeMs, uint32_t slice, Bytes leaf);
  void grantLogged(uint64_t token, const KeyId& keyId, uint32_t lifeMs, uint32_t slice, Bytes leaf);
  // done gets the leaf's index once it is durable, or AUDIT_UNAVAILABLE.
  void appendLeaf(Bytes leaf, std::function<void(Code, uint64_t)> done);
  // done gets OK once every leaf that is in the ring now is durable, or AUDIT_UNAVAILABLE.
  void flushLog(std::function<void(Code)> done);
  // Makes and answers the signatures that wait for company. Before any command is obeyed, and before a round ends: none waits for longer.
  void signGathered();

  // Around each round of the loop; when the next one is due although nothing happens.
  void beginRound();
  void endRound();
  int64_t auditWakesNs() const;
  // The loop has ended: what was counted is a leaf, and nobody comes to release what waits for one.
  void endAudit();

 private:
  // A key that was granted for one request, whatever the grant's life.
  struct OneGrant {
    uint16_t use = 0;
    uint32_t version = 0;  // as in GrantName
    std::string ref;
    KeyId keyId{};
    uint64_t voids = 0;  // void when anything was voided since
  };
  // A hot request that waits for JavaScript.
  struct Parked {
    uint64_t connection = 0;
    uint32_t id = 0;
    uint16_t method = 0;
    unsigned upcalls = 0;
    std::vector<OneGrant> granted;
    UidPtr user;
    HeldRequest body;
  };
  // An upcall that was not answered yet.
  struct Pending {
    UpcallKind kind{};
    uint64_t connection = 0;  // call
    uint32_t id = 0;          // call
    uint16_t method = 0;
    uint16_t use = 0;         // grant
    uint32_t version = 0;     // grant: as in GrantName
    UidPtr user;
    PeerPtr peer;
    std::string ref, shareName;                   // grant, reserve: shareName finds it for the next request that needs the same
    HeldShare held;                               // call: its body, which JavaScript keeps
    HeldShare longValue;                          // call: PutSecret's value in the arena
    uint64_t object = 0;                          // call: the session object that StoreObject keeps
    uint32_t identityEpoch = 0;                   // call: AuthenticateUse's ticket is for who asked
    std::vector<uint64_t> handles;                // call: of its sensitive fields, the plane's until the upcall is drained
    std::vector<std::unique_ptr<Parked>> parked;  // grant, reserve: in the order they came
  };
  // One request on its way through this file.
  struct Ask {
    Connection& c;
    const uint32_t id;
    const MethodRow& row;
    MutBytes body;
    std::unique_ptr<Parked> parked = nullptr;  // when it runs again
    Fault fault = {};
    // For the audit log: the key that was used, and whether the answer comes later.
    KeyId keyId{};
    uint32_t version = 0;
    bool waits = false;
    bool asTarget = false;  // what is looked for now shall leave, wrapped
  };
  // A hot call that was answered, as the audit log has it.
  struct HotCall {
    uint32_t id = 0;
    Method method{};
    Code code = Code::OK;
    KeyId keyId{};
    uint32_t version = 0;
    std::string resource = {};
  };
  // A signature that may be made: everything was checked and charged, and its answer alone is due (dispatch_lanes.cc).
  struct Gathered {
    uint64_t connection = 0;
    uint32_t id = 0;
    uint32_t identityEpoch = 0;
    Method method{};
    KeyPtr key;
    LaneRequest request;
  };
  // What waits for a leaf to be durable.
  struct Held {
    uint64_t sequence = 0;
    bool untilDurable = false;
    std::function<void(Code)> fn;
  };

  // dispatch.cc
  void serve(Ask& ask);
  Code answer(Ask& ask);
  void badFrame(Connection& c, const FrameHeader& header, Code code, const char* detail);
  bool refuseLarge(Connection& c, const FrameHeader& header);
  // Whether a copy of n bytes may be kept for this connection's uid.
  bool mayHold(const Connection& c, size_t n) const;
  // Whether another answer may be added to what this connection has not read yet.
  bool hasRoom(const Connection& c) const;
  Code checkMode(const MethodRow& row) const;
  Code ping(Ask& ask);
  Code call(Ask& ask);
  Code holdLongValue(Ask& ask, HeldShare* share);
  Code openUpcall(Ask& ask, Upcall&& upcall, Pending&& pending);
  bool cancelUpcall(uint32_t uid, uint64_t token);
  void markDirty(Connection& c);
  Connection* connection(uint64_t id);

  // dispatch_sessions.cc
  Code hello(Ask& ask);
  void openRow(Connection& c, Peer who);
  Code setDomain(Connection& c, std::string_view domain, Fault* fault);
  void setPeer(Connection& c, Peer who);
  void leaveIdentity(Connection& c);
  void expireIdentity(Connection& c);
  Code identityEnded(Ask& ask);
  void giveUpWaiting(Connection& c, Code code);
  void endSession(Connection& c, const char* why);

  // dispatch_hot.cc. Code::OK with a null key: the request was parked.
  Code hot(Ask& ask);
  Code keyed(Ask& ask);
  Code keyedByCiphertext(Ask& ask);
  Code useKey(Ask& ask, PreparedKey* key);
  Code findTarget(Ask& ask, PreparedKey** out);
  Code findVersions(Ask& ask, PreparedKey* key, std::vector<const PreparedKey*>* out, bool* waits);
  Code makeSessionKey(Ask& ask, Work& work);
  Code begin(Ask& ask, PreparedKey* key);
  Code chunk(Ask& ask);
  Code destroySessionKey(Ask& ask);
  Code computeHere(Ask& ask, Work& work);
  // extra is taken when it is OK.
  Code submit(Ask& ask, PreparedKey* key, PreparedKey* target, std::span<const PreparedKey* const> versions, JobExtra&& extra = {});
  Code adopt(Connection& c, uint32_t id, Method method, NewKey&& made);
  // A void grant of the session itself: a method without a key. *waits: for JavaScript.
  Code grantedToSession(Ask& ask, bool* waits);
  bool arenaIsFull() const;

  // dispatch_lanes.cc
  Code gather(Ask& ask, Work& work);
  void answerGathered(const Gathered& one, Code code, Bytes signature);

  // dispatch_mechanism.cc
  Code mechanisms(Ask& ask);
  Code byMechanism(Ask& ask);
  Code useByMechanism(Ask& ask, PreparedKey* key);
  Code findWrapped(Ask& ask, Work& work, const KeySheets& wrapping, PreparedKey** target);
  Code readyGcm(Ask& ask, PreparedKey* key);
  Code takeTicket(Ask& ask, const PreparedKey& key);
  Code beginOperation(Ask& ask, PreparedKey* key);
  Code updateOperation(Ask& ask);
  Code stepOperation(Ask& ask, uint64_t number, bool begins);
  Code authorizeAgain(Ask& ask, Operation& operation, bool* waits);
  void takeBackOperation(Connection& c, Job& job, Code code);

  // dispatch_objects.cc
  Code newObject(Ask& ask);
  Code makeObject(Ask& ask, PreparedKey* key, const Sheet* base);
  Code copyObject(Ask& ask, PreparedKey* key, const KeySheets& sheets);
  Code setSessionObject(Ask& ask);
  Code objectValue(Ask& ask, PreparedKey* key, const KeySheets& sheets);
  Code objectsEpoch(Ask& ask);
  Code adoptObject(Connection& c, uint32_t id, Method method, ObjectParts&& parts);
  void answerObject(Connection& c, uint32_t id, Method method, uint64_t number, const PreparedKey& key);

  // dispatch_store.cc
  Code fillStoreObject(Ask& ask, Buffer* body, uint64_t* object, std::vector<uint64_t>* handles);
  void readUse(Ask& ask, Pending* pending);
  Code makeTicket(Connection& c, const Pending& pending, Bytes body, Buffer* out);

  // dispatch_find.cc
  Code find(Ask& ask, std::string_view ref, uint32_t version, const KeyId* named, const char* field, PreparedKey** out);
  Code findSessionKey(Ask& ask, std::string_view ref, FoundKey* slot, PreparedKey** out);
  Code findGranted(Ask& ask, std::string_view ref, uint32_t version, const KeyId* named, FoundKey* slot, PreparedKey** out);
  // A live grant's key, OneGrants first. nullptr with OK: none.
  Code granted(Ask& ask, const GrantName& name, const KeyId** keyId, int64_t* expiresNs);
  Code takeIv(Ask& ask, PreparedKey* key, bool* waits);
  void reserveAhead(const Connection& c, PreparedKey* key);
  Code wait(Ask& ask, UpcallKind kind, std::string_view ref, uint16_t use, uint32_t version, const KeyId* keyId);

  // dispatch_commands.cc
  bool takePending(uint64_t token, Pending* out);
  void runParked(std::vector<std::unique_ptr<Parked>>&& parked);
  void failParked(std::vector<std::unique_ptr<Parked>>&& parked, Code status, Bytes failure);
  void challenge(const KeyId* keyId);
  void keepRefusal(const Pending& pending, Code status, const std::string& detail, uint32_t lifeMs, uint32_t slice);

  // dispatch_audit.cc
  void hold(uint64_t sequence, bool untilDurable, std::function<void(Code)> fn);
  void releaseHeld();
  void failHeld();
  void replyUnlogged(uint64_t token, Code status, Bytes body);
  void logHot(Ask& ask, Code code, size_t before);
  void logHot(Connection& c, const HotCall& call, size_t before);
  void takeBack(Connection& c, const HotCall& call, size_t before);
  void beCrowded();

  const PlaneTuning tuning_;
  const std::string release_;
  UpcallQueue& upcalls_;
  std::function<void(std::unique_ptr<Job>)> submit_;
  HeldBytes held_;
  PlaneMode mode_ = PlaneMode::uninitialised;
  uint64_t readyEpoch_ = 0;  // changes whenever `ready` is left
  uint64_t voids_ = 0;       // counts every void
  uint64_t epochStart_ = 0;  // random: what ObjectsEpoch tells is another number after a restart
  Grants grants_;
  KeyCache keys_;
  Peers peers_;
  HotRequest request_;
  uint64_t lastConnection_ = 0, lastToken_ = 0;
  size_t jobs_ = 0;
  uint64_t credentialsGiven_ = 0, credentialsRefused_ = 0, refusalsTold_ = 0;
  int64_t tellingSinceNs_ = 0;
  uint64_t requests_ = 0, upcallCount_ = 0, refusedBusy_ = 0, malformed_ = 0, laneSignatures_ = 0;
  SessionTotals totals_;
  std::unordered_map<uint32_t, std::weak_ptr<UidState>> users_;
  std::unordered_map<uint64_t, Connection*> connections_;
  std::unordered_map<uint64_t, Pending> pending_;
  std::unordered_map<std::string, uint64_t> shared_;  // shareName -> token
  std::vector<Upcall> fresh_;
  std::vector<Connection*> dirty_;
  std::vector<Gathered> gathered_;
  std::unique_ptr<AuditGate> audit_;
  std::deque<Held> unsaid_;
  bool crowded_ = false;  // no request is read until the audit log has room
};

}  // namespace quorate
