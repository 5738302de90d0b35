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
  __m128i firstCounter;  // the tag's mask before AES, after the first AddRoundKey
  __m128i lengths;
  size_t power;  // of H that the next block meets
};

// n vectors, and when kLast what ends the message: the last vector may be partial, the block of lengths, the tag's mask.
template <class V, size_t rounds, bool sealing, size_t at, size_t n, bool last>
QUORATE_INLINE inline __m128i cryptRest(Stream<V>& s, Rest<V>& rest) {
  const typename V::Vec reversal = V::broadcast(byteReversal());
  typename V::Vec c[n + 1];
  startCounters<V, at, n>(s, c);
  __m128i mask = rest.firstCounter;
  unrolled<rounds - 1>([&]<size_t r>() QUORATE_INLINE {
    const typename V::Vec roundKey = V::broadcast(s.key.roundKeys[r + 1]);
    unrolled<n>([&]<size_t i>() QUORATE_INLINE { c[i] = V::aesRound(c[i], roundKey); });
    if constexpr (last) mask = _mm_aesenc_si128(mask, s.key.roundKeys[r + 1]);
  });
  const typename V::Vec lastKey = V::broadcast(s.key.roundKeys[rounds]);
  if constexpr (last) mask = _mm_aesenclast_si128(mask, s.key.roundKeys[rounds]);
  const size_t blocks = (s.left + 15) / 16;
  bool lengthsPlaced = false;
  unrolled<n>([&]<size_t i>() QUORATE_INLINE {
    constexpr bool kPartial = last && i == n - 1;
    const size_t bytes = kPartial ? s.left - i * kVectorBytes<V> : kVectorBytes<V>;
    typename V::Vec text = kPartial ? V::loadPartial(s.in + i * kVectorBytes<V>, bytes) : V::load(s.in + i * kVectorBytes<V>);
    pin(text);
    typename V::Vec result = V::aesLastRound(c[i], V::xor2(lastKey, text));
    if constexpr (kPartial) {
      V::storePartial(s.out + i * kVectorBytes<V>, result, bytes);
    } else {
      V::store(s.out + i * kVectorBytes<V>, result);
    }
    pin(result);
    typename V::Vec x = sealing ? (kPartial ? V::keepBytes(result, bytes) : result) : text;
    x = V::shuffle(x, reversal);
    if constexpr (i == 0) x = V::xor2(x, V::fromBlock(s.hash));
    if (kPartial && blocks % V::lanes != 0) {
      x = V::xor2(x, V::blockInLane(rest.lengths, blocks % V::lanes));
      lengthsPlaced = true;
    }
    addProduct<V>(rest.sum, x, V::loadBlocks(powersFrom(s.key, rest.power)));
    rest.power -= V::lanes;
  });
  if constexpr (!last) {
    s.hash = _mm_setzero_si128();
    s.in += n * kVectorBytes<V>;
    s.out += n * kVectorBytes<V>;
    s.left -= n * kVectorBytes<V>;
    return mask;
  } else {
    if constexpr (n == 0) rest.lengths = _mm_xor_si128(rest.lengths, s.hash);
    if (!lengthsPlaced) addProduct<V>(rest.sum, V::fromBlock(rest.lengths), V::fromBlock(*powersFrom(s.key, 1)));
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

template <class V, size_t rounds, bool sealing>
[[gnu::noinline]] void cryptMessage(const PreparedKey<V>& key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in,
                                    size_t len, uint8_t* out, __m128i* tag) {
  const __m128i ivBlock = loadIv(iv), ivMasked = _mm_xor_si128(ivBlock, key.roundKeys[0]);
  Stream<V> s{key, in, out, len, {}, {}, {}, _mm_setzero_si128()};
  s.base = V::broadcast(ivMasked);
  s.counter = _mm_add_epi32(_mm_shuffle_epi8(ivBlock, byteReversal()), _mm_set_epi32(0, 0, 0, kChunkBlocks<V>));
  s.above = counterBase<V>(s);
  Rest<V> rest;
  rest.sum = noProducts<V>();
  rest.firstCounter = _mm_xor_si128(ivMasked, _mm_set_epi32(0x01000000, 0, 0, 0));
  rest.lengths = _mm_set_epi64x(static_cast<long long>(aadBytes * 8), static_cast<long long>(len * 8));
  const bool chunks = len >= kChunkBytes<V>;
  // Blocks after the AAD that one reduction could cover; with whole chunks to come, the AAD gets its own.
  if (aadBytes > 0) hashAad<V>(s, rest.sum, aad, aadBytes, chunks ? V::powers : (len + 15) / 16 + 1);
  if (chunks) rest.sum = cryptChunks<V, rounds, sealing>(s);
  rest.power = (s.left + 15) / 16 + 1;
  *tag = finishMessage<V, rounds, sealing, 0>(s, rest);
}

template <class V, bool sealing>
QUORATE_INLINE inline __m128i crypt(const GcmKey* key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in,
                                    size_t len, uint8_t* out) {
  const PreparedKey<V>& k = *reinterpret_cast<const PreparedKey<V>*>(key->opaque);
  __m128i tag;
  switch (k.rounds) {
    case 10: cryptMessage<V, 10, sealing>(k, iv, aad, aadBytes, in, len, out, &tag); break;
    case 12: cryptMessage<V, 12, sealing>(k, iv, aad, aadBytes, in, len, out, &tag); break;
    default: cryptMessage<V, 14, sealing>(k, iv, aad, aadBytes, in, len, out, &tag); break;
  }
  return tag;
}

template <class V>
void init(GcmKey* out, const uint8_t* key, size_t keyBytes) {
  prepare<V>(out, key, keyBytes, V::powers, true);
}

template <class V>
void initOnce(GcmKey* out, const uint8_t* key, size_t keyBytes, size_t messageBytes) {
  const bool chunks = messageBytes >= kChunkBytes<V>;
  const size_t blocks = (messageBytes + 15) / 16 + 1;
  prepare<V>(out, key, keyBytes, blocks < V::powers ? blocks : V::powers, chunks);
}

template <class V>
void seal(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out,
          uint8_t tag[16]) {
  storeBlock(tag, crypt<V, true>(key, iv, aad, aadBytes, in, len, out));
}

template <class V>
bool open(const GcmKey* key, const uint8_t iv[12], const uint8_t* aad, size_t aadBytes, const uint8_t* in, size_t len, uint8_t* out,
          const uint8_t* tag, size_t tagBytes) {
  assert(tagBytes >= 12 && tagBytes <= 16);
  const __m128i given = tagBytes == 16 ? loadBlock(tag) : loadPartialBlock(tag, tagBytes);
  const __m128i expected = crypt<V, false>(key, iv, aad, aadBytes, in, len, out);
  const __m128i difference = _mm_and_si128(_mm_xor_si128(given, expected), firstBytes(tagBytes));
  const bool fits = _mm_testz_si128(difference, difference);
  if (!fits) wipe(out, len);
  return fits;
}

}  // namespace
}  // namespace quorate
