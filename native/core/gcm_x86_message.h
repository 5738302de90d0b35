// A whole AES-GCM message on top of gcm_x86_engine.h: the AAD, what is left after the chunks, the tag, and the table's functions.
// Included inside the kernel's target region, after gcm_x86_engine.h.

namespace quorate {
namespace {

// Adds the products of n bytes, padded with zeros, whose first block is to meet H^power.
template <class V>
QUORATE_INLINE inline void hashBytes(Stream<V>& s, Products<V>& sum, const uint8_t* p, size_t n, size_t power) {
  const typename V::Vec reversal = V::broadcast(byteReversal());
  for (; n > 0; power -= V::lanes) {
    const size_t take = n < kVectorBytes<V> ? n : kVectorBytes<V>;
    const typename V::Vec x = V::xor2(V::shuffle(V::loadPartial(p, take), reversal), V::fromBlock(s.hash));
    s.hash = _mm_setzero_si128();
    addProduct<V>(sum, x, V::loadBlocks(powersFrom(s.key, power)));
    p += take;
    n -= take;
  }
}

// Leaves in `sum` what can be added to the rest of the message without a reduction; in the hash, what came before.
template <class V>
QUORATE_INLINE inline void hashAad(Stream<V>& s, Products<V>& sum, const uint8_t* aad, size_t n, size_t blocksAfter) {
  const size_t reach = s.key.powersReady;
  while (n > 0) {
    const size_t blocks = (n + 15) / 16;
    if (blocks + blocksAfter <= s.key.powersReady) return hashBytes<V>(s, sum, aad, n, blocks + blocksAfter);
    const size_t take = blocks <= reach ? n : 16 * reach;
    Products<V> part = noProducts<V>();
    hashBytes<V>(s, part, aad, take, (take + 15) / 16);
    s.hash = reduce(part);
    aad += take;
    n -= take;
  }
}

// What comes after the chunks.
template <class V>
struct Rest {
  Products<V> sum;
  __m128i lengths;
  size_t power;  // of H that the next block meets
};

// Adds the products of n vectors whose first block meets H^power: pairs by Karatsuba, and what is left over.
template <class V, size_t n, size_t room>
QUORATE_INLINE inline void addProducts(Products<V>& sum, const PreparedKey<V>& key, size_t power, const typename V::Vec (&x)[room]) {
  const __m128i* powers = powersFrom(key, power);
  if constexpr (n >= 2) {
    Products<V> pairs = noProducts<V>();
    unrolled<n / 2>([&]<size_t i>() QUORATE_INLINE {
      const __m128i* at = powers + 2 * i * V::lanes;
      addProductPair<V>(pairs, x[2 * i], x[2 * i + 1], V::loadBlocks(at), V::loadBlocks(at + V::lanes));
    });
    finishKaratsuba(pairs);
    sum = {V::xor2(sum.low, pairs.low), V::xor2(sum.middle, pairs.middle), V::xor2(sum.high, pairs.high)};
  }
  if constexpr (n % 2 == 1) addProduct<V>(sum, x[n - 1], V::loadBlocks(powers + (n - 1) * V::lanes));
}

// AES of n counters; when `last` also of the tag's mask.
template <class V, size_t rounds, size_t at, size_t n, bool last>
QUORATE_INLINE inline __m128i encryptCounters(Stream<V>& s, typename V::Vec (&c)[n + 1]) {
  startCounters<V, at, n>(s, c);
  __m128i mask = s.iv;
  pin(mask);  // or the compiler keeps the sum below, from which the key follows, in memory since the message's start
  mask = _mm_xor_si128(mask, _mm_xor_si128(s.key.roundKeys[0], _mm_set_epi32(0x01000000, 0, 0, 0)));
  unrolled<rounds - 1>([&]<size_t r>() QUORATE_INLINE {
    const typename V::Vec roundKey = V::broadcast(s.key.roundKeys[r + 1]);
    unrolled<n>([&]<size_t i>() QUORATE_INLINE { c[i] = V::aesRound(c[i], roundKey); });
    if constexpr (last) mask = _mm_aesenc_si128(mask, s.key.roundKeys[r + 1]);
  });
  const typename V::Vec lastKey = V::broadcast(s.key.roundKeys[rounds]);
  unrolled<n>([&]<size_t i>() QUORATE_INLINE { c[i] = V::aesLastRound(c[i], lastKey); });
  return _mm_aesenclast_si128(mask, s.key.roundKeys[rounds]);
}

// n vectors, and when `last` what ends the message: the last vector may be partial, the block of lengths, the tag.
template <class V, size_t rounds, bool sealing, size_t at, size_t n, bool last>
QUORATE_INLINE inline __m128i cryptRest(Stream<V>& s, Rest<V>& rest) {
  const typename V::Vec reversal = V::broadcast(byteReversal());
  typename V::Vec c[n + 1], x[n + 1];
  const __m128i mask = encryptCounters<V, rounds, at, n, last>(s, c);
  unrolled<n>([&]<size_t i>() QUORATE_INLINE {
    constexpr bool kPartial = last && i == n - 1;
    const uint8_t* in = s.in + i * kVectorBytes<V>;
    uint8_t* out = s.out + i * kVectorBytes<V>;
    const size_t bytes = kPartial ? s.left - i * kVectorBytes<V> : kVectorBytes<V>;
    typename V::Vec text = kPartial ? V::loadPartial(in, bytes) : V::load(in);
    pin(text);
    typename V::Vec result = V::xor2(c[i], text);
    kPartial ? V::storePartial(out, result, bytes) : V::store(out, result);
    pin(result);
    x[i] = V::shuffle(sealing ? (kPartial ? V::keepBytes(result, bytes) : result) : text, reversal);
    if constexpr (i == 0) x[i] = V::xor2(x[i], V::fromBlock(s.hash));
  });
  if constexpr (!last) {
    addProducts<V, n>(rest.sum, s.key, rest.power, x);
    rest.power -= n * V::lanes;
    s.hash = _mm_setzero_si128();
    s.in += n * kVectorBytes<V>;
    s.out += n * kVectorBytes<V>;
    s.left -= n * kVectorBytes<V>;
    return mask;
  } else {
    // The block of lengths goes into the last vector's next lane; into a vector of its own when that one is full.
    const size_t lane = (s.left + 15) / 16 % V::lanes;
    if (n > 0 && lane != 0) {
      x[n == 0 ? 0 : n - 1] = V::xor2(x[n == 0 ? 0 : n - 1], V::blockInLane(rest.lengths, lane));
      addProducts<V, n>(rest.sum, s.key, rest.power, x);
    } else {
      x[n] = V::fromBlock(n == 0 ? _mm_xor_si128(rest.lengths, s.hash) : rest.lengths);
      addProducts<V, n + 1>(rest.sum, s.key, rest.power, x);
    }
    return _mm_xor_si128(_mm_shuffle_epi8(reduce(rest.sum), byteReversal()), mask);
  }
}

// The rest in steps of V::together vectors. `at` is where in a chunk's counters a step begins.
template <class V, size_t rounds, bool sealing, size_t at>
QUORATE_INLINE inline __m128i finishMessage(Stream<V>& s, Rest<V>& rest) {
  if constexpr (at + V::together < V::inFlight) {
    if (s.left > V::together * kVectorBytes<V>) {
      cryptRest<V, rounds, sealing, at, V::together, false>(s, rest);
      return finishMessage<V, rounds, sealing, at + V::together>(s, rest);
    }
  }
  const size_t vectors = (s.left + kVectorBytes<V> - 1) / kVectorBytes<V>;
  __m128i tag{};
  unrolled<V::together + 1>([&]<size_t n>() QUORATE_INLINE {
    if (vectors == n) tag = cryptRest<V, rounds, sealing, at, n, true>(s, rest);
  });
  return tag;
}

template <bool sealing>
using TagPointer = std::conditional_t<sealing, uint8_t*, const uint8_t*>;

// What a function that has spilled secrets hands to whoever wipes its frame.
struct Spilled {
  uint64_t fits;     // 1 or 0; whole, so that nothing else is left in the register
  uintptr_t lowest;  // lowestStackByte() of that function
};

// A message from the first byte to the tag. All secrets of a message are in this function's frame: it calls nothing, and nothing of
// them is handed on. tag: written when sealing, 16 bytes; compared when opening, the first tagBytes.
template <class V, size_t rounds, bool sealing>
[[gnu::noinline]] Spilled cryptMessage(const PreparedKey<V>& key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in,
                                       size_t len, uint8_t* out, TagPointer<sealing> tag, size_t tagBytes) {
  Stream<V> s{key, in, out, len, loadIv(iv), {}, {}, {}, _mm_setzero_si128()};
  pin(s.iv);
  s.base = V::broadcast(_mm_xor_si128(s.iv, key.roundKeys[0]));
  s.counter = _mm_add_epi32(_mm_shuffle_epi8(s.iv, byteReversal()), _mm_set_epi32(0, 0, 0, kChunkBlocks<V>));
  s.above = counterBase<V>(s);
  const __m128i lengths = _mm_set_epi64x(static_cast<long long>(aadBytes * 8), static_cast<long long>(len * 8));
  Rest<V> rest{noProducts<V>(), lengths, 0};
  const bool chunks = len >= kChunkBytes<V>;
  // Blocks after the AAD that one reduction could cover; with whole chunks to come, the AAD gets its own.
  if (aadBytes > 0) hashAad<V>(s, rest.sum, aad, aadBytes, chunks ? V::powers : (len + 15) / 16 + 1);
  if (chunks) rest.sum = cryptChunks<V, rounds, sealing>(s);
  rest.power = (s.left + 15) / 16 + 1;
  __m128i result = finishMessage<V, rounds, sealing, 0>(s, rest);
  uint64_t fits = 1;
  if constexpr (sealing) {
    storeBlock(tag, result);
  } else {
    const __m128i given = tagBytes == 16 ? loadBlock(tag) : loadPartialBlock(tag, tagBytes);
    result = _mm_and_si128(_mm_xor_si128(given, result), firstBytes(tagBytes));
    fits = static_cast<uint64_t>(_mm_testz_si128(result, result));
  }
  return {fits, lowestStackByte(fits)};
}

// The table's functions wipe what those that they call have spilled, and every register that is not the caller's.
template <class V, bool sealing>
QUORATE_INLINE inline bool crypt(const GcmKey* key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len,
                                 uint8_t* out, TagPointer<sealing> tag, size_t tagBytes) {
  const PreparedKey<V>& k = *reinterpret_cast<const PreparedKey<V>*>(key->opaque);
  Spilled spilled;
  switch (k.rounds) {
    case 10: spilled = cryptMessage<V, 10, sealing>(k, iv, aad, aadBytes, in, len, out, tag, tagBytes); break;
    case 12: spilled = cryptMessage<V, 12, sealing>(k, iv, aad, aadBytes, in, len, out, tag, tagBytes); break;
    default: spilled = cryptMessage<V, 14, sealing>(k, iv, aad, aadBytes, in, len, out, tag, tagBytes); break;
  }
  V::wipeFrame(spilled.lowest);
  return spilled.fits != 0;
}

template <class V>
void init(GcmKey* out, const uint8_t* key, size_t keyBytes) {
  V::wipeFrame(prepare<V>(out, key, keyBytes, V::powers, true));
}

template <class V>
void initOnce(GcmKey* out, const uint8_t* key, size_t keyBytes, size_t messageBytes) {
  const bool chunks = messageBytes >= kChunkBytes<V>;
  const size_t blocks = (messageBytes + 15) / 16 + 1;
  V::wipeFrame(prepare<V>(out, key, keyBytes, blocks < V::powers ? blocks : V::powers, chunks));
}

template <class V>
void seal(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out,
          uint8_t tag[16]) {
  crypt<V, true>(key, iv, aad, aadBytes, in, len, out, tag, 16);
}

template <class V>
bool open(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out,
          const uint8_t* tag, size_t tagBytes) {
  assert(tagBytes >= 12 && tagBytes <= 16);
  const bool fits = crypt<V, false>(key, iv, aad, aadBytes, in, len, out, tag, tagBytes);
  if (!fits) wipe(out, len);
  return fits;
}

}  // namespace
}  // namespace quorate
