// One connection without a socket: its buffers are fed and emptied here, JavaScript and the workers are played.
#pragma once
#include <map>

#include "plane/dispatch.h"

namespace quorate::fuzz {

// A stored key of fixed material, so that an input does in the next process what it did in this one, and a seed's ciphertexts open.
struct Named {
  const char* name;
  KeyType type;
  KeyScheme scheme;
  size_t bytes;
  std::vector<InstalledVersion> versions;  // version 1 first
};

// CKA_EC_PARAMS of P-256.
inline const std::string kCurveP256("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10);

// By its name or id; nullptr when there is none. The first call opens the arena.
const Named* keyCalled(std::string_view ref, const KeyId& id = {});

std::string frame(Method method, const std::string& body);
[[noreturn]] void giveUp(const std::string& why);

// A connection from its beginning to its end, with what JavaScript and the workers do for it. Bits of `choices`: 1 IVs are reserved,
// 2 calls are answered OK, 4 grants are answered, 8 they live, 16 the daemon is sealed, 32 no Hello comes first, 128 identities
// and slices come and go meanwhile. Of the workers' jobs only
// imports run, of types that are quick to check: no iteration is slow. Aborts when an answer is no whole frame, or a handle is left over.
class Run {
 public:
  explicit Run(uint8_t choices);
  ~Run();
  // A piece arrives. False when the connection reads no more.
  bool take(const void* bytes, size_t n);

  std::vector<std::string> answers;  // bodies

 private:
  void feed(const void* bytes, size_t n);
  void settle();
  void takeAnswers();

  Dispatcher& d_;
  const uint8_t choices_;
  size_t handles_;
  std::unique_ptr<Connection> c_;
};

// The decoders that no frame leads to, or only through a worker: what was stored, typed in, or comes with a key. The first byte
// chooses: three bits a Decoder, five bits the KeyType (or the length of a signature's scalars).
enum class Decoder : uint8_t { shareText, record, signature, containers, importRaw, importPkcs8, importSpki, jsonField };
void decode(Bytes input);
inline const Buffer kFixedKek(32, 0x4b), kFixedAad(8, 0x41);  // of the records that open

void writeSeeds(const std::string& folder);

// seeds_objects.cc: requests by mechanism, and for objects.
using Frames = std::vector<std::string>;  // each arrives after the one before it was answered
using Seeds = std::map<std::string, Frames>;
Seeds objectSeeds();
// What the daemon answers to these frames, as bodies, without Hello's.
std::vector<std::string> answersTo(const Frames& frames);
std::string fieldOf(const std::string& body, uint32_t number);

}  // namespace quorate::fuzz
