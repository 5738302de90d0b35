// The data plane: Unix sockets, frames, connections, sessions, grants, prepared keys, the hot methods.
// One thread owns all of its state (epoll); other threads speak to it through a command queue and an eventfd, and it
// speaks to JavaScript through a bounded, fair upcall queue. No Node here.
//
// Order: commands take effect in the order given, so a voidKey() before the reply() to the request that changed the key
// is in force before anyone reads that reply.
#pragma once
#include <functional>
#include <memory>

#include "core/keypair.h"
#include "core/managed.h"
#include "plane/methods.gen.h"

namespace quorate {

class AuditLog;
class CredentialMap;
enum class AuditMode : uint8_t;

enum class PlaneMode : uint8_t { uninitialised, sealed, ready };

enum class UpcallKind : uint8_t {
  call = 0,     // a method that is not hot: answer with reply()
  grant = 1,    // a hot method without a live grant or prepared version: install(), then grant(); or refuse(), or reply() with an error
  reserve = 2,  // the raw AES-GCM key `keyId` version `version` runs out of reserved IVs: addIvs(). token 0: ahead of need; else
                // a request waits: then resume(token), or reply() with an error
  refused = 3,  // a credential was refused (credentials.h): for the daemon's log. token 0. keyRef: the credential's name; status; body: a Failure message
};

// Who is on the other end of a connection, and in whose name it speaks. Interned: connections that agree in all of this share one
// peer, and with it their grants. Users, groups and listener are the kernel's word, as of connect(2).
struct Peer {
  uint64_t number = 0;           // from 1, never used again while the plane runs. Not 32 bits: a client that reconnects could use those up
  uint32_t uid = 0, gid = 0;     // SO_PEERCRED
  std::vector<uint32_t> groups = {};  // SO_PEERGROUPS: the supplementary ones, ascending, at most peer_groups_max
  uint32_t listener = 0;         // which socket (listen()'s number): an application's identity
  std::string domain = {};       // Hello's; well formed, and not known to exist. "": the socket's
  uint64_t identity = 0;         // setIdentity()'s; 0: none
  std::string unit = {};         // of systemd, for which root asks on a socket for credentials; "" on every other one
};
using PeerPtr = std::shared_ptr<const Peer>;

struct Upcall {
  UpcallKind kind;
  uint64_t token = 0;        // answered exactly once (0: no answer)
  PeerPtr peer;              // never null
  uint64_t session = 0;
  int32_t pid = 0;
  uint16_t method = 0;
  Code status = Code::OK;    // refused: why
  Buffer body;               // call: the request, sensitive fields swapped for 8-byte little-endian arena handles (owned by the receiver)
  bool target = false;       // grant: the key that shall leave, wrapped by another: not that it may wrap
  std::string keyRef;        // grant: the name or 32-digit id that the request used; "" for methods without a key
  uint32_t version = 0;      // grant: the version needed, 0: the current one. reserve: the version
  // grant: set when a ciphertext names a key. Without a reference in the request, keyRef is its hexadecimal form. With one, keyRef is the
  // request's: should it name another key than keyId, then grant() that key and install nothing; the plane answers CIPHERTEXT_WRONG_KEY
  // (or, for a raw scheme, whose ciphertexts name nothing, asks again without keyId). reserve: the key.
  KeyId keyId{};
};

// One version of one key, prepared for use. Replaces what was installed for the same key and version; `ivs` are added to
// what is left of those that were given before, also across voidKey().
struct InstalledVersion {
  KeyId keyId{};
  std::string domain;
  KeyType type{};
  KeyScheme scheme{};
  bool exportable = false;
  uint32_t version = 0;
  bool current = false;      // new encryptions and signatures use it
  SecretPtr stored;          // empty for a public-only key
  Buffer spki;               // asymmetric types
  uint64_t ivs = 0;          // AES-GCM, and AES of scheme PKCS11: random IVs reserved durably and not yet used
  bool imported = true;      // the material came from outside. Scheme PKCS11: its sheet says so
  // Scheme PKCS11: its sheets (core/object_rules.h), of the secret or private key (or a lone public one), and of a pair's public half.
  Buffer attributes, publicAttributes;
};

struct PlaneStats {
  uint64_t requests = 0, upcalls = 0, refusedBusy = 0, malformed = 0, grants = 0, keys = 0, sessionKeys = 0, streams = 0;
  uint64_t laneSignatures = 0;  // P-256 signatures that were made together (core/p256_lanes.h)
  uint64_t credentialsGiven = 0, credentialsRefused = 0;
  uint32_t connections = 0, sessions = 0;
  struct Answers {
    uint16_t method = 0;
    uint64_t ok = 0, refused = 0;
  };
  std::vector<Answers> answers;  // of the methods that were called, by number
};

// One session, as `quorate session ls` shows it.
struct SessionInfo {
  uint64_t session = 0;
  PeerPtr peer;
  int32_t pid = 0;
  int64_t openedMs = 0;      // Unix time
  uint64_t idleMs = 0;       // since its last request came
  uint64_t requests = 0;
  uint32_t sessionKeys = 0, streams = 0;
};

// Who may connect to a socket file. -1: the daemon's own uid or gid.
struct SocketAccess {
  unsigned mode = 0600;
  int64_t uid = -1, gid = -1;
  SocketAccess(unsigned m, int64_t u = -1, int64_t g = -1) : mode(m), uid(u), gid(g) {}
};
// A socket file as it was made. An empty path: nobody's to remove, as the service manager's.
struct SocketFile {
  std::string path;
  uint64_t device = 0, inode = 0;
};

// The limits of src/base/limits.ts; tests set lower ones.
struct PlaneTuning {
  uint32_t helloTimeoutMs = limits::hello_timeout_ms, receiveTimeoutMs = limits::receive_timeout_ms;
  size_t connectionsMax = limits::connections_max, connectionsPerUidMax = limits::connections_per_uid_max;
  size_t inFlightMax = limits::in_flight_per_connection_max, sendBufferBytesMax = limits::send_buffer_bytes_max;
  size_t upcallsMax = limits::upcalls_max, upcallsPerUidMax = limits::upcalls_per_uid_max;
  size_t heldBytesMax = limits::held_bytes_max, heldBytesPerUidMax = limits::held_bytes_per_uid_max;
  size_t grantsMax = limits::grants_max, keyContextsMax = limits::key_contexts_max;
  uint64_t sessionIdleMs = limits::session_idle_ms, sessionLifeMs = limits::session_life_ms;
  size_t credentialConnectionsMax = limits::credential_connections_max;
  size_t workerThreads = limits::worker_threads, workerQueueMax = limits::worker_queue_max;
};

struct PlaneOptions {
  std::string release;                  // for Hello
  std::function<void()> onUpcalls;      // called on the plane's thread when the upcall queue turns from empty to non-empty
  PlaneTuning tuning = {};
};

class Plane {
 public:
  static std::unique_ptr<Plane> start(PlaneOptions options);
  ~Plane();  // stop()
  // Takes a bound, listening Unix socket (owned from here on); returns its number. At any time.
  uint32_t listen(int fd, SocketFile file = {});
  // As listen(), of a socket on which systemd asks for credentials: no frames, see credentials.h.
  uint32_t listenForCredentials(int fd, CredentialMap map, SocketFile file = {});
  // Removes the socket file first, if it is still the one that was made, so that the path is free when this returns; then closes the
  // socket and ends the sessions that came by it, as killSession() does.
  void unlisten(uint32_t listener);

  // Up to `max` upcalls, round-robin over uids. Any thread.
  std::vector<Upcall> drain(size_t max);
  // status OK: body is the response message, sensitive fields holding 8-byte handles that are consumed; else a Failure message.
  // leaf, here and below: an AuditEntry that is appended to the audit log, if there is one; the answer waits until it is durable, and then comes
  // in the order of leaves. When the log cannot be written, OUTCOME_UNKNOWN for what has changed something, else AUDIT_UNAVAILABLE.
  // isStored: the entry is durable elsewhere, from where the next start appends it: that the leaf is in the log's ring is enough then.
  void reply(uint64_t token, Code status, Buffer body, Buffer leaf = {}, bool isStored = false);
  // For a grant upcall: this peer may call this method on `keyId` (all zero for methods without a key) under the reference it
  // used, for lifeMs (at most grant_life_ms; 0: this request only); the parked request runs. `slice`: what voidSlice() ends, 0: nothing.
  //
  // The caller's duty: what it decided on must still hold in the turn in which it calls this. Commands take effect in order, so a
  // voidSlice() or voidKey() that comes later ends the grant; one that came earlier does not, since the plane cannot know on which
  // state of policies and keys an answer was decided. Hence: remember the generations of policies and key before deciding, compare them
  // and call grant() in one turn of the event loop, and decide anew when they differ.
  void grant(uint64_t token, const KeyId& keyId, uint32_t lifeMs, uint32_t slice = 0, Buffer leaf = {});
  // A short negative grant: the same call gets `status` without an upcall for lifeMs; the parked request gets it now.
  void refuse(uint64_t token, Code status, std::string detail, uint32_t lifeMs, uint32_t slice = 0, Buffer leaf = {});
  void resume(uint64_t token);
  void install(InstalledVersion version);
  void addIvs(const KeyId& keyId, uint32_t version, uint64_t count);

  // Grants and prepared versions, wiped; streams begun with the key need a new grant for their next chunk. And every refusal, of any key:
  // call it for a key that was just made too, so that no KEY_NOT_FOUND outlives its making. The all-zero id: grants of methods without a key.
  void voidKey(const KeyId& keyId);
  // Grants and refusals that were given for this slice. Every stream of a stored key is authorized again at its next chunk: one whose
  // grant is of another slice finds it alive. 0: nothing.
  void voidSlice(uint32_t slice);
  // Every grant and refusal; prepared versions stay. Streams as above.
  void voidGrants();

  // The connection of that session acts under `identity` (not 0) from now on; session keys and streams that it had under another one are
  // wiped, and requests that wait for a grant get SESSION_EXPIRED. After lifeMs (CLOCK_BOOTTIME, so no clock that is set back
  // lengthens it), or endIdentity(), its requests get SESSION_EXPIRED until another identity is set: Hello, Ping, Status, Health and OpenSession
  // aside, which then come from the peer without an identity. Nothing happens when the session is gone.
  void setIdentity(uint64_t session, uint64_t identity, uint64_t lifeMs);
  // At once: no connection acts under it from here on, its session objects are wiped, and whatever it was granted reaches nobody.
  void endIdentity(uint64_t identity);
  // Every open session, in the order in which they were opened. Any thread; does not wait for the plane's.
  std::vector<SessionInfo> sessions();
  // Wipes its keys and streams, answers SESSION_EXPIRED to what waits for a grant and what nobody has begun, lets what was begun be
  // answered, says SESSION_EXPIRED about the connection itself (request id 0), closes. False when there is no such session.
  bool killSession(uint64_t session);
  void setMode(PlaneMode mode);             // leaving `ready` wipes every grant, prepared key, session key and stream, and ends every identity
  // Everything that is answered from here on is in that log first. null: nothing is logged. See audit_gate.h.
  void setAudit(std::shared_ptr<AuditLog> log, AuditMode mode);
  // A leaf of its own. done, on the plane's thread: the leaf's index once it is durable, or AUDIT_UNAVAILABLE (it may be in the log nonetheless).
  void appendLeaf(Buffer leaf, std::function<void(Code, uint64_t)> done);
  // done, on the plane's thread: OK once every leaf that the ring has when this is obeyed is durable, or AUDIT_UNAVAILABLE.
  void flushLog(std::function<void(Code)> done);
  PlaneStats stats();
  // Stops accepting, answers what is under way for at most graceMs, closes, joins the thread. Idempotent.
  void stop(uint32_t graceMs);

 private:
  struct Impl;
  explicit Plane(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A listening Unix socket whose file has the given access; it is there no sooner than it is listened on. Replaces a stale one that nobody
// answers on. The path has 1 to 103 bytes. What the kernel shows as its address (ss -xl, /proc/net/unix) is `path`.new. *made: the file, for
// listen(). ALREADY_RUNNING when somebody answers, SOCKET_UNUSABLE (detail says why; no file is left behind) otherwise.
Code listenUnix(const std::string& path, const SocketAccess& access, int* fd, std::string* detail, SocketFile* made = nullptr);
// False: the file is gone, or another one.
bool removeSocketFile(const SocketFile& file);

}  // namespace quorate
