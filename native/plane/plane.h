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

enum class PlaneMode : uint8_t { uninitialised, sealed, ready };

enum class UpcallKind : uint8_t {
  call = 0,     // a method that is not hot: answer with reply()
  grant = 1,    // a hot method without a live grant or prepared version: install(), then grant(); or refuse(), or reply() with an error
  reserve = 2,  // the raw AES-GCM key `keyId` version `version` runs out of reserved IVs: addIvs(). token 0: ahead of need; else
                // a request waits: then resume(token), or reply() with an error
};

struct Upcall {
  UpcallKind kind;
  uint64_t token = 0;        // answered exactly once (0: no answer)
  uint32_t listener = 0;     // which socket (listen()'s number): later an application's identity
  uint64_t session = 0;
  uint32_t uid = 0, gid = 0;
  int32_t pid = 0;
  uint16_t method = 0;
  Buffer body;               // call: the request, sensitive fields swapped for 8-byte little-endian arena handles (owned by the receiver)
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
  uint64_t ivs = 0;          // AES-GCM: random IVs reserved durably and not yet used
};

struct PlaneStats {
  uint64_t requests = 0, upcalls = 0, refusedBusy = 0, malformed = 0, grants = 0, keys = 0, sessionKeys = 0, streams = 0;
  uint32_t connections = 0, sessions = 0;
};

// The limits of src/base/limits.ts; tests set lower ones.
struct PlaneTuning {
  uint32_t helloTimeoutMs = limits::hello_timeout_ms, receiveTimeoutMs = limits::receive_timeout_ms;
  size_t connectionsMax = limits::connections_max, connectionsPerUidMax = limits::connections_per_uid_max;
  size_t inFlightMax = limits::in_flight_per_connection_max, sendBufferBytesMax = limits::send_buffer_bytes_max;
  size_t upcallsMax = limits::upcalls_max, upcallsPerUidMax = limits::upcalls_per_uid_max;
  size_t heldBytesMax = limits::held_bytes_max, heldBytesPerUidMax = limits::held_bytes_per_uid_max;
  size_t grantsMax = limits::grants_max, keyContextsMax = limits::key_contexts_max;
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
  // Takes a bound, listening Unix socket (owned from here on); returns its number.
  uint32_t listen(int fd);
  void unlisten(uint32_t listener);

  // Up to `max` upcalls, round-robin over uids. Any thread.
  std::vector<Upcall> drain(size_t max);
  // status OK: body is the response message, sensitive fields holding 8-byte handles that are consumed; else a Failure message.
  void reply(uint64_t token, Code status, Buffer body);
  // For a grant upcall: this session's uid may call this method on `keyId` (all zero for methods without a key) under the
  // reference it used, for lifeMs (at most grant_life_ms; 0: this request only); the parked request runs.
  void grant(uint64_t token, const KeyId& keyId, uint32_t lifeMs);
  // A short negative grant: the same call gets `status` without an upcall for lifeMs; the parked request gets it now.
  void refuse(uint64_t token, Code status, std::string detail, uint32_t lifeMs);
  void resume(uint64_t token);
  void install(InstalledVersion version);
  void addIvs(const KeyId& keyId, uint32_t version, uint64_t count);

  // Grants and prepared versions, wiped; streams begun with the key need a new grant for their next chunk. And every refusal, of any key:
  // call it for a key that was just made too, so that no KEY_NOT_FOUND outlives its making. The all-zero id: grants of methods without a key.
  void voidKey(const KeyId& keyId);
  void voidPrincipal(uint32_t uid);         // grants, and its streams as above
  void setMode(PlaneMode mode);             // leaving `ready` wipes every grant, prepared key, session key and stream
  PlaneStats stats();
  // Stops accepting, answers what is under way for at most graceMs, closes, joins the thread. Idempotent.
  void stop(uint32_t graceMs);

 private:
  struct Impl;
  explicit Plane(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// A listening socket whose file has the given mode; it is there no sooner than it is listened on. Replaces a stale one that nobody answers on.
// The path has 1 to 103 bytes. What the kernel shows as its address (ss -xl, /proc/net/unix) is `path`.new.
// ALREADY_RUNNING when somebody answers, SOCKET_UNUSABLE (detail says why) otherwise.
Code listenUnix(const std::string& path, unsigned mode, int* fd, std::string* detail);

}  // namespace quorate
