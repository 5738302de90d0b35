// libFuzzer: bytes as they come from a socket go through the frame reader, the decoders and the hot methods, with granted keys of
// every scheme and session keys at hand. No sockets: the connection's buffers are fed and emptied here. JavaScript's part grants,
// refuses, replies or stays silent, as the input's first byte says; the worker refuses everything, so that no iteration is slow.
//
// Input: 1 byte of choices, then pieces: 1 byte n, n bytes (0: 256 bytes); each piece arrives by itself.
// Seeds (native/fuzz/seeds): written by the same program, `frames_fuzz --seeds FOLDER`.
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <protozero/pbf_writer.hpp>

#include "core/random.h"
#include "plane/dispatch.h"
#include "plane/reactor.h"

namespace {

using namespace quorate;

struct Named {
  const char* name;
  KeyType type;
  KeyScheme scheme;
  InstalledVersion version;
};

std::vector<Named>& keys() {
  static std::vector<Named> all = [] {
    std::string detail;
    if (Arena::open(limits::arena_bytes_default, &detail) != Code::OK) {
      std::fprintf(stderr, "%s\n", detail.c_str());
      std::exit(2);
    }
    std::vector<Named> out{{"m", KeyType::AES_256, KeyScheme::MANAGED, {}},     {"g", KeyType::AES_256, KeyScheme::AES_GCM, {}},  {"c", KeyType::AES_128, KeyScheme::AES_CBC, {}},
                           {"t", KeyType::AES_192, KeyScheme::AES_CTR, {}},     {"w", KeyType::AES_256, KeyScheme::AES_KW, {}},   {"a", KeyType::AES_128, KeyScheme::AES_CMAC, {}},
                           {"h", KeyType::HMAC, KeyScheme::HMAC_SHA256, {}},    {"s", KeyType::EC_P256, KeyScheme::ECDSA, {}},    {"e", KeyType::ED25519, KeyScheme::EDDSA, {}},
                           {"d", KeyType::X25519, KeyScheme::ECDH, {}}};
    for (Named& key : out) {
      Secret stored;
      if (generateKey(key.type, 0, &stored, &key.version.spki) != Code::OK) std::exit(2);
      key.version.keyId.fill(static_cast<uint8_t>(key.name[0]));
      key.version.domain = "default";
      key.version.type = key.type;
      key.version.scheme = key.scheme;
      key.version.exportable = key.name[0] == 'h';
      key.version.version = 1;
      key.version.current = true;
      key.version.ivs = 1;
      key.version.stored = std::make_shared<const Secret>(std::move(stored));
    }
    return out;
  }();
  return all;
}

void dropHandles(const Upcall& upcall) {
  // Field numbers are JavaScript's to know; here every 8-byte field is tried.
  try {
    for (protozero::pbf_reader r{reinterpret_cast<const char*>(upcall.body.data()), upcall.body.size()}; r.next();) {
      if (r.wire_type() != protozero::pbf_wire_type::length_delimited) {
        r.skip();
        continue;
      }
      const auto view = r.get_view();
      uint64_t handle = 0;
      if (view.size() == 8) std::memcpy(&handle, view.data(), 8);
      HandleTable::drop(handle);
    }
  } catch (const protozero::exception&) {
    std::abort();  // what the plane hands up is well formed
  }
}

void answer(Dispatcher& d, const Upcall& upcall, uint8_t choices) {
  if (upcall.kind == UpcallKind::reserve) {
    if (choices & 1) d.addIvs(upcall.keyId, upcall.version, 2);
    if (upcall.token != 0) (choices & 1) ? d.resume(upcall.token) : d.reply(upcall.token, Code::KEY_EXHAUSTED, {});
  } else if (upcall.kind == UpcallKind::call) {
    dropHandles(upcall);
    if (choices & 2) d.reply(upcall.token, Code::OK, upcall.body);  // whatever handles it names are consumed by now
    else d.reply(upcall.token, Code::DENIED, {});
  } else if (choices & 4) {
    const Named* found = nullptr;
    for (const Named& key : keys())
      if (upcall.keyRef == key.name || upcall.keyId == key.version.keyId) found = &key;
    if (found != nullptr && upcall.version <= 1) d.install(InstalledVersion(found->version));
    if (found != nullptr || upcall.keyRef.empty()) d.grant(upcall.token, found != nullptr ? found->version.keyId : KeyId{}, (choices & 8) ? 60'000 : 0, 1);
    else d.refuse(upcall.token, Code::KEY_NOT_FOUND, "", (choices & 8) ? 1000 : 0, 1);
  }
}

// What JavaScript does of itself while requests wait.
void meddle(Dispatcher& d, const Connection& c, int round) {
  switch (round % 4) {
    case 0: return d.setIdentity(c.id, 1 + static_cast<uint64_t>(round) / 4, 1000);
    case 1: return d.voidSlice(1);
    case 2: return d.endIdentity(1);
    default: return d.voidGrants();
  }
}

void settle(Dispatcher& d, UpcallQueue& queue, Connection& c, uint8_t choices) {
  for (int round = 0; round < 16; round++) {
    const bool more = d.consume(c);
    d.publish();
    const std::vector<Upcall> upcalls = queue.drain(64);
    if (choices & 64) meddle(d, c, round);
    for (const Upcall& upcall : upcalls) answer(d, upcall, choices);
    for (Connection* dirty : d.dirty()) dirty->dirty = false;
    d.dirty().clear();
    // Every answer is a whole frame of a length that the rule allows.
    FrameHeader header;
    while (!c.out.empty()) {
      if (peekFrame(c.out.data(), c.out.size(), &header) != FrameState::ready) std::abort();
      c.out.consume(header.frameBytes(), c.outSensitive);
    }
    if (!more && upcalls.empty()) return;
  }
}

Dispatcher& dispatcher(UpcallQueue** queue) {
  static UpcallQueue* const upcalls = new UpcallQueue(nullptr);
  static Dispatcher* const made = [] {
    keys();
    PlaneOptions options;
    options.release = "fuzz";
    options.tuning.workerQueueMax = 0;
    auto* d = new Dispatcher(options, *upcalls, [](std::unique_ptr<Job>) { std::abort(); });
    d->nowNs = 1;
    return d;
  }();
  *queue = upcalls;
  return *made;
}

std::string frame(Method method, const std::string& body) {
  std::string out(kFrameHeaderBytes, '\0');
  writeFrameHeader(reinterpret_cast<uint8_t*>(out.data()), 1, static_cast<uint16_t>(method), 0, body.size());
  return out + body;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  UpcallQueue* queue;
  Dispatcher& d = dispatcher(&queue);
  const uint8_t choices = data[0];
  d.setMode((choices & 16) ? PlaneMode::sealed : PlaneMode::ready);
  const size_t handles = HandleTable::size();
  const std::unique_ptr<Connection> c = d.connect(-1, Peer{.uid = 1000, .gid = 1000, .groups = {1000}, .listener = 1}, 1);
  if (!(choices & 32)) {
    const std::string hello = frame(Method::Hello, std::string("\x08\x01", 2));
    std::memcpy(c->in.room(hello.size()), hello.data(), hello.size());
    c->in.extend(hello.size());
  }
  for (size_t at = 1; at < size && !c->finishing;) {
    const size_t n = std::min<size_t>(data[at] == 0 ? 256 : data[at], size - at - 1);
    std::memcpy(c->in.room(n + 1), data + at + 1, n);
    c->in.extend(n);
    at += n + 1;
    settle(d, *queue, *c, choices);
  }
  if (choices & 128) d.endSession(c->id, "fuzz");
  d.disconnect(*c);
  d.publish();
  for (const Upcall& late : queue->drain(1000)) {  // drained before the connection went, and never answered
    dropHandles(late);
    d.reply(late.token, Code::DENIED, {});
  }
  d.setMode(PlaneMode::sealed);
  if (HandleTable::size() != handles || d.connectionCount() != 0) std::abort();
  return 0;
}

// Seeds: each hot method's request with a key that does it, in one piece and torn.
static void writeSeeds(const std::filesystem::path& folder) {
  using W = protozero::pbf_writer;
  const auto body = [](auto fill) {
    std::string out;
    W writer{out};
    fill(writer);
    return out;
  };
  const std::map<std::string, std::string> seeds{
      {"encrypt_managed", frame(Method::Encrypt, body([](W& w) { w.add_string(1, "m"), w.add_string(2, "plaintext"), w.add_string(3, "context"); }))},
      {"encrypt_gcm", frame(Method::Encrypt, body([](W& w) { w.add_string(1, "g"), w.add_string(2, "plaintext"), w.add_uint32(5, 12); }))},
      {"encrypt_cbc", frame(Method::Encrypt, body([](W& w) { w.add_string(1, "c"), w.add_string(2, "plaintext"), w.add_string(4, "0123456789abcdef"); }))},
      {"decrypt_ctr", frame(Method::Decrypt, body([](W& w) { w.add_string(1, "t"), w.add_string(2, "ciphertext"), w.add_string(4, "0123456789abcdef"); }))},
      {"decrypt_managed", frame(Method::Decrypt, body([](W& w) { w.add_string(2, std::string("\x51\xa1\x01\x01", 4) + std::string(16, 'm') + std::string("\x01\0\0\0", 4) + std::string(80, 'x')); }))},
      {"sign", frame(Method::Sign, body([](W& w) { w.add_string(1, "s"), w.add_string(2, "message"), w.add_enum(5, 2); }))},
      {"verify", frame(Method::Verify, body([](W& w) { w.add_string(1, "e"), w.add_string(2, "message"), w.add_string(7, std::string(64, 's')); }))},
      {"mac", frame(Method::Mac, body([](W& w) { w.add_string(1, "h"), w.add_string(2, "message"), w.add_uint32(3, 16); }))},
      {"verify_mac", frame(Method::VerifyMac, body([](W& w) { w.add_string(1, "a"), w.add_string(2, "message"), w.add_string(3, std::string(16, 'm')); }))},
      {"random", frame(Method::Random, body([](W& w) { w.add_uint32(1, 32); }))},
      {"data_key", frame(Method::GenerateDataKey, body([](W& w) { w.add_string(1, "m"), w.add_uint32(2, 16); }))},
      {"wrap", frame(Method::Wrap, body([](W& w) { w.add_string(1, "w"), w.add_string(2, "h"); }))},
      {"unwrap", frame(Method::Unwrap, body([](W& w) { w.add_string(1, "w"), w.add_string(2, std::string(40, 'w')), w.add_enum(6, 4); }))},
      {"derive", frame(Method::Derive, body([](W& w) { w.add_string(1, "d"), w.add_string(2, std::string(32, '\x09')), w.add_uint32(6, 48); }))},
      {"rewrap", frame(Method::Rewrap, body([](W& w) { w.add_string(1, "m"), w.add_string(2, std::string(100, 'c')), w.add_string(2, ""), w.add_bool(5, true); }))},
      {"stream", frame(Method::EncryptStream, body([](W& w) { w.add_string(1, "m"); })) + frame(Method::StreamChunk, body([](W& w) { w.add_uint64(1, 1), w.add_string(2, "data"), w.add_bool(3, true); })) +
                     frame(Method::StreamClose, body([](W& w) { w.add_uint64(1, 1); }))},
      {"session", frame(Method::CreateSessionKey, body([](W& w) { w.add_enum(1, 3), w.add_enum(2, 2); })) + frame(Method::ImportSessionKey, body([](W& w) { w.add_enum(1, 4), w.add_string(5, std::string(32, 'k')); })) +
                      frame(Method::Encrypt, body([](W& w) { w.add_string(1, "session:1"), w.add_string(2, "p"); })) + frame(Method::DestroySessionKey, body([](W& w) { w.add_string(1, "session:1"); }))},
      {"import", frame(Method::ImportKey, body([](W& w) { w.add_string(1, "n"), w.add_enum(2, 3), w.add_string(8, std::string(32, 'k')), w.add_string(15, std::string(16, 'i')); }))},
      {"hello_domain", frame(Method::Hello, body([](W& w) { w.add_uint32(1, 1), w.add_string(2, "fuzz"), w.add_string(3, "billing-2"); }))},
      {"too_large", std::string("\xff\xff\xff\x7f\x01\0\0\0\x02\0\0\0", 12)},
  };
  for (const auto& [name, bytes] : seeds)
    for (const size_t piece : {size_t{255}, size_t{7}}) {
      std::ofstream file(folder / (name + (piece == 7 ? "_torn" : "")), std::ios::binary);
      file.put(static_cast<char>(piece == 7 ? 0x07 : 0x0f));
      for (size_t at = 0; at < bytes.size(); at += piece) {
        const std::string part = bytes.substr(at, piece);
        file.put(static_cast<char>(part.size()));
        file.write(part.data(), static_cast<std::streamsize>(part.size()));
      }
    }
}

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc == 3 && std::string((*argv)[1]) == "--seeds") {
    writeSeeds((*argv)[2]);
    std::exit(0);
  }
  return 0;
}
