// Hashes and HMAC over libcrypto's one-shot block functions, with contexts on the stack that are wiped: nothing that
// touched a key stays in libcrypto's heap.
#define OPENSSL_SUPPRESS_DEPRECATED
#include <openssl/sha.h>

#include <cstring>

#include "core/symmetric.h"

namespace quorate {
namespace {

struct Sha1 {
  using Context = SHA_CTX;
  static constexpr size_t kBytes = 20, kBlock = 64;
  static void init(Context* c) { SHA1_Init(c); }
  static void update(Context* c, Bytes in) { SHA1_Update(c, in.data(), in.size()); }
  static void final(Context* c, uint8_t* out) { SHA1_Final(out, c); }
};
struct Sha224 {
  using Context = SHA256_CTX;
  static constexpr size_t kBytes = 28, kBlock = 64;
  static void init(Context* c) { SHA224_Init(c); }
  static void update(Context* c, Bytes in) { SHA224_Update(c, in.data(), in.size()); }
  static void final(Context* c, uint8_t* out) { SHA224_Final(out, c); }
};
struct Sha256 {
  using Context = SHA256_CTX;
  static constexpr size_t kBytes = 32, kBlock = 64;
  static void init(Context* c) { SHA256_Init(c); }
  static void update(Context* c, Bytes in) { SHA256_Update(c, in.data(), in.size()); }
  static void final(Context* c, uint8_t* out) { SHA256_Final(out, c); }
};
struct Sha384 {
  using Context = SHA512_CTX;
  static constexpr size_t kBytes = 48, kBlock = 128;
  static void init(Context* c) { SHA384_Init(c); }
  static void update(Context* c, Bytes in) { SHA384_Update(c, in.data(), in.size()); }
  static void final(Context* c, uint8_t* out) { SHA384_Final(out, c); }
};
struct Sha512 {
  using Context = SHA512_CTX;
  static constexpr size_t kBytes = 64, kBlock = 128;
  static void init(Context* c) { SHA512_Init(c); }
  static void update(Context* c, Bytes in) { SHA512_Update(c, in.data(), in.size()); }
  static void final(Context* c, uint8_t* out) { SHA512_Final(out, c); }
};

template <class H>
void digestWith(Bytes in, uint8_t* out) {
  typename H::Context context;
  H::init(&context);
  H::update(&context, in);
  H::final(&context, out);
  wipe(&context, sizeof context);
}

// The key as one block: hashed when longer than a block, zero-padded (FIPS 198-1, steps 1-3), XORed with `pad`.
template <class H>
void paddedKey(Bytes keyMaterial, uint8_t pad, uint8_t block[H::kBlock]) {
  std::memset(block, 0, H::kBlock);
  if (keyMaterial.size() > H::kBlock) digestWith<H>(keyMaterial, block);
  else if (!keyMaterial.empty()) std::memcpy(block, keyMaterial.data(), keyMaterial.size());
  for (size_t i = 0; i < H::kBlock; i++) block[i] ^= pad;
}

template <class H>
void hmacWith(Bytes keyMaterial, std::span<const Bytes> parts, uint8_t* out) {
  uint8_t block[H::kBlock], inner[H::kBytes];
  typename H::Context context;
  paddedKey<H>(keyMaterial, 0x36, block);
  H::init(&context);
  H::update(&context, {block, H::kBlock});
  for (Bytes part : parts) H::update(&context, part);
  H::final(&context, inner);
  paddedKey<H>(keyMaterial, 0x5c, block);
  H::init(&context);
  H::update(&context, {block, H::kBlock});
  H::update(&context, {inner, H::kBytes});
  H::final(&context, out);
  wipe(block, sizeof block);
  wipe(inner, sizeof inner);
  wipe(&context, sizeof context);
}

// Calls f with the hash's type as a value; BAD_REQUEST when there is none.
template <class F>
Code withHash(Hash hash, F f) {
  switch (hash) {
    case Hash::SHA_1: f(Sha1{}); return Code::OK;
    case Hash::SHA_224: f(Sha224{}); return Code::OK;
    case Hash::SHA_256: f(Sha256{}); return Code::OK;
    case Hash::SHA_384: f(Sha384{}); return Code::OK;
    case Hash::SHA_512: f(Sha512{}); return Code::OK;
    case Hash::HASH_UNSPECIFIED: break;
  }
  return Code::BAD_REQUEST;
}

template <class H>
typename H::Context* contextOf(HashState* state) {
  static_assert(sizeof(typename H::Context) <= sizeof state->opaque && alignof(typename H::Context) <= 16);
  return reinterpret_cast<typename H::Context*>(state->opaque);
}

void storeBigEndian(const uint32_t words[8], uint8_t out[32]) {
  for (int i = 0; i < 8; i++) {
    const uint32_t swapped = __builtin_bswap32(words[i]);
    std::memcpy(out + 4 * i, &swapped, 4);
  }
}

void setState(SHA256_CTX* context, const uint32_t state[8]) { std::memcpy(context->h, state, 32); }

}  // namespace

size_t hashBytes(Hash hash) {
  size_t bytes = 0;
  withHash(hash, [&](auto h) { bytes = decltype(h)::kBytes; });
  return bytes;
}

Code digest(Hash hash, Bytes in, uint8_t* out) {
  return withHash(hash, [&](auto h) { digestWith<decltype(h)>(in, out); });
}

Code hmac(Hash hash, Bytes keyMaterial, Bytes in, uint8_t* out) { return hmacParts(hash, keyMaterial, {&in, 1}, out); }

Code hmacParts(Hash hash, Bytes keyMaterial, std::span<const Bytes> parts, uint8_t* out) {
  return withHash(hash, [&](auto h) { hmacWith<decltype(h)>(keyMaterial, parts, out); });
}

bool hashBegin(Hash hash, HashState* out) {
  out->hash = hash;
  return withHash(hash, [&](auto h) { decltype(h)::init(contextOf<decltype(h)>(out)); }) == Code::OK;
}

void hashUpdate(HashState* state, Bytes in) {
  withHash(state->hash, [&](auto h) { decltype(h)::update(contextOf<decltype(h)>(state), in); });
}

void hashFinish(HashState* state, uint8_t* out) {
  withHash(state->hash, [&](auto h) { decltype(h)::final(contextOf<decltype(h)>(state), out); });
  wipe(state, sizeof *state);
}

bool hmacBegin(Hash hash, Bytes keyMaterial, HmacState* out) {
  if (!hashBegin(hash, &out->inner) || !hashBegin(hash, &out->outer)) return false;
  return withHash(hash, [&](auto h) {
           using H = decltype(h);
           uint8_t block[H::kBlock];
           paddedKey<H>(keyMaterial, 0x36, block);
           hashUpdate(&out->inner, block);
           paddedKey<H>(keyMaterial, 0x5c, block);
           hashUpdate(&out->outer, block);
           wipe(block, sizeof block);
         }) == Code::OK;
}

void hmacFinish(HmacState* state, uint8_t* out) {
  uint8_t inner[64];
  const size_t bytes = hashBytes(state->inner.hash);
  hashFinish(&state->inner, inner);
  hashUpdate(&state->outer, {inner, bytes});
  hashFinish(&state->outer, out);
  wipe(inner, sizeof inner);
}

void hmacSha256Prepare(Bytes keyMaterial, HmacSha256State* out) {
  uint8_t block[64];
  SHA256_CTX context;
  paddedKey<Sha256>(keyMaterial, 0x36, block);
  SHA256_Init(&context);
  SHA256_Transform(&context, block);
  std::memcpy(out->inner, context.h, 32);
  paddedKey<Sha256>(keyMaterial, 0x5c, block);
  SHA256_Init(&context);
  SHA256_Transform(&context, block);
  std::memcpy(out->outer, context.h, 32);
  wipe(block, sizeof block);
  wipe(&context, sizeof context);
}

// The last block of each of the two hashes ends with the length in bits, the padded key's block included (FIPS 180-4, 5.1.1).
void hmacSha256(const HmacSha256State& state, Bytes a, Bytes b, uint8_t out[32]) {
  constexpr size_t kShort = 2 * 64 - 9;  // what fits two blocks with its padding
  alignas(16) uint8_t block[128];
  SHA256_CTX context;
  setState(&context, state.inner);
  const size_t n = a.size() + b.size();
  if (n <= kShort) {
    if (!a.empty()) std::memcpy(block, a.data(), a.size());
    if (!b.empty()) std::memcpy(block + a.size(), b.data(), b.size());
    const size_t padded = n + 9 <= 64 ? 64 : 128;
    block[n] = 0x80;
    std::memset(block + n + 1, 0, padded - n - 1);
    const uint64_t bits = __builtin_bswap64((64 + n) * 8);
    std::memcpy(block + padded - 8, &bits, 8);
    SHA256_Transform(&context, block);
    if (padded == 128) SHA256_Transform(&context, block + 64);
    storeBigEndian(context.h, block);
  } else {
    context.Nl = 512, context.Nh = 0, context.num = 0, context.md_len = 32;
    SHA256_Update(&context, a.data(), a.size());
    SHA256_Update(&context, b.data(), b.size());
    SHA256_Final(block, &context);
  }
  block[32] = 0x80;
  std::memset(block + 33, 0, 29);
  block[62] = 0x03;  // 96 bytes: 768 bits
  block[63] = 0x00;
  setState(&context, state.outer);
  SHA256_Transform(&context, block);
  storeBigEndian(context.h, out);
  wipe(block, sizeof block);
  wipe(&context, sizeof context);
}

}  // namespace quorate
