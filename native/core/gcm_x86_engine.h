// AES-GCM over vectors of one, two or four blocks. V names the vector's instructions; the kernel's file defines it.
// Included inside the kernel's target region, after gcm_x86.h.
//
// Long messages go in chunks of V::inFlight vectors. While a chunk's counters pass through the AES rounds, the ciphertext of the
// chunk before (sealing) or of this one (opening) is hashed between the rounds, so that both units stay busy.

namespace quorate {
namespace {

// Sums of products before the reduction: 256-bit values in three parts for each lane.
template <class V>
struct Products {
  typename V::Vec low, middle, high;
};

template <class V>
QUORATE_INLINE inline Products<V> noProducts() {
  return {V::zero(), V::zero(), V::zero()};
}

template <class V>
QUORATE_INLINE inline void addProduct(Products<V>& sum, typename V::Vec x, typename V::Vec h) {
  sum.low = V::xor2(sum.low, V::template multiply<0x00>(x, h));
  sum.high = V::xor2(sum.high, V::template multiply<0x11>(x, h));
  sum.middle = V::xor3(sum.middle, V::template multiply<0x01>(x, h), V::template multiply<0x10>(x, h));
}

// Two vectors by Karatsuba. `middles` holds, beside each other, the folded halves of both powers.
template <class V>
QUORATE_INLINE inline void addProductPair(Products<V>& sum, typename V::Vec x, typename V::Vec y, typename V::Vec hx, typename V::Vec hy,
                                          typename V::Vec middles) {
  const typename V::Vec folded = V::xor2(V::unpackLow(x, y), V::unpackHigh(x, y));
  sum.low = V::xor3(sum.low, V::template multiply<0x00>(x, hx), V::template multiply<0x00>(y, hy));
  sum.high = V::xor3(sum.high, V::template multiply<0x11>(x, hx), V::template multiply<0x11>(y, hy));
  sum.middle = V::xor3(sum.middle, V::template multiply<0x00>(folded, middles), V::template multiply<0x11>(folded, middles));
}

template <class V>
QUORATE_INLINE inline void finishKaratsuba(Products<V>& sum) {
  sum.middle = V::xor3(sum.middle, sum.low, sum.high);
}

// Reduces each lane modulo the field polynomial and adds the lanes.
template <class V>
QUORATE_INLINE inline __m128i reduce(const Products<V>& sum) {
  const typename V::Vec fold = V::broadcast64(kFold);
  const typename V::Vec middle = V::xor3(sum.middle, V::swapHalves(sum.low), V::template multiply<0x00>(sum.low, fold));
  return V::addLanes(V::xor3(sum.high, V::swapHalves(middle), V::template multiply<0x00>(middle, fold)));
}

// The middles of a run of powers, for addProductPair: vectors 2i and 2i+1 of the run make vector i.
template <class V>
QUORATE_INLINE inline void prepareMiddles(X86Key& out) {
  constexpr size_t kPairBlocks = 2 * V::lanes;
  for (size_t i = 0; i < kPowersMax; i += kPairBlocks) {
    const typename V::Vec x = V::loadBlocks(out.powers + i), y = V::loadBlocks(out.powers + i + V::lanes);
    V::storeAny(out.middles + i, V::xor2(V::unpackLow(x, y), V::unpackHigh(x, y)));
  }
}

template <class V>
QUORATE_INLINE inline void prepare(GcmKey* key, const uint8_t* keyMaterial, size_t keyBytes, size_t powers) {
  X86Key& out = mutableView(key);
  std::memset(static_cast<void*>(&out), 0, sizeof out);
  const __m128i h = expandKey(out, keyMaterial, keyBytes);
  __m128i power = h;
  for (size_t n = 1;; n++) {
    out.powers[kPowersMax - n] = power;
    if (n == powers) break;
    power = multiplyBlock(power, h);
  }
  out.powersReady = static_cast<uint32_t>(powers);
  if (powers == kPowersMax) prepareMiddles<V>(out);
}

// One message under way.
template <class V>
struct Stream {
  const X86Key& key;
  const uint8_t* in;
  uint8_t* out;
  size_t left;
  typename V::Vec counters;  // little-endian; the next V::lanes counter blocks
  __m128i hash;              // to be added to the next block that is hashed
};

template <class V>
constexpr size_t kVectorBytes = 16 * V::lanes;
template <class V>
constexpr size_t kChunkBytes = kVectorBytes<V> * V::inFlight;

template <class V, size_t n>
QUORATE_INLINE inline void startCounters(Stream<V>& s, typename V::Vec (&c)[n]) {
  const typename V::Vec reversal = V::broadcast(byteReversal()), step = V::broadcast(_mm_set_epi32(0, 0, 0, V::lanes));
  const typename V::Vec first = V::broadcast(s.key.roundKeys[0]);
  unrolled<n>([&]<size_t i>() QUORATE_INLINE {
    c[i] = V::xor2(V::shuffle(s.counters, reversal), first);
    s.counters = V::add32(s.counters, step);
  });
}

template <class V, size_t n>
QUORATE_INLINE inline void aesRound(const X86Key& key, size_t round, typename V::Vec (&c)[n]) {
  const typename V::Vec roundKey = V::broadcast(key.roundKeys[round]);
  unrolled<n>([&]<size_t i>() QUORATE_INLINE { c[i] = V::aesRound(c[i], roundKey); });
}

template <class V, size_t n>
QUORATE_INLINE inline void aesLastRound(const X86Key& key, size_t round, typename V::Vec (&c)[n]) {
  const typename V::Vec roundKey = V::broadcast(key.roundKeys[round]);
  unrolled<n>([&]<size_t i>() QUORATE_INLINE { c[i] = V::aesLastRound(c[i], roundKey); });
}

// Hashes pair u of a chunk of byte-reversed ciphertext vectors.
template <class V, size_t u>
QUORATE_INLINE inline void hashPair(const X86Key& key, Products<V>& sum, const typename V::Vec (&x)[V::inFlight]) {
  constexpr size_t kFirst = kPowersMax - V::inFlight * V::lanes, kAt = 2 * u * V::lanes;
  const __m128i* powers = key.powers + kFirst + kAt;
  addProductPair<V>(sum, x[2 * u], x[2 * u + 1], V::loadBlocks(powers), V::loadBlocks(powers + V::lanes),
                    V::loadAny(key.middles + kFirst + kAt));
}

template <class V>
QUORATE_INLINE inline __m128i hashChunk(const X86Key& key, const typename V::Vec (&x)[V::inFlight]) {
  Products<V> sum = noProducts<V>();
  unrolled<V::inFlight / 2>([&]<size_t u>() QUORATE_INLINE { hashPair<V, u>(key, sum, x); });
  finishKaratsuba(sum);
  return reduce(sum);
}

// XORs the key stream onto a chunk. Sealing: `held` takes the ciphertext, reversed, for the hash.
template <class V, bool sealing>
QUORATE_INLINE inline void applyChunk(Stream<V>& s, typename V::Vec (&c)[V::inFlight], typename V::Vec (&held)[V::inFlight],
                                      typename V::Vec (&text)[V::inFlight]) {
  const typename V::Vec reversal = V::broadcast(byteReversal());
  unrolled<V::inFlight>([&]<size_t i>() QUORATE_INLINE {
    if constexpr (sealing) text[i] = V::load(s.in + i * kVectorBytes<V>);
    c[i] = V::xor2(c[i], text[i]);
    V::store(s.out + i * kVectorBytes<V>, c[i]);
    if constexpr (sealing) {
      pin(c[i]);
      held[i] = V::shuffle(c[i], reversal);
    }
  });
  s.in += kChunkBytes<V>;
  s.out += kChunkBytes<V>;
  s.left -= kChunkBytes<V>;
}

// One chunk; hashes `held` in between. Opening: `held` is first filled from this chunk's ciphertext.
template <class V, size_t rounds, bool sealing, bool hashing>
QUORATE_INLINE inline void cryptChunk(Stream<V>& s, typename V::Vec (&held)[V::inFlight]) {
  typename V::Vec c[V::inFlight], text[V::inFlight];
  startCounters<V, V::inFlight>(s, c);
  if constexpr (!sealing) {
    const typename V::Vec reversal = V::broadcast(byteReversal());
    unrolled<V::inFlight>([&]<size_t i>() QUORATE_INLINE {
      text[i] = V::load(s.in + i * kVectorBytes<V>);
      pin(text[i]);
      held[i] = V::shuffle(text[i], reversal);
    });
  }
  Products<V> sum = noProducts<V>();
  if constexpr (hashing) held[0] = V::xor2(held[0], V::fromBlock(s.hash));
  unrolled<rounds - 1>([&]<size_t r>() QUORATE_INLINE {
    aesRound<V, V::inFlight>(s.key, r + 1, c);
    if constexpr (hashing && r % 2 == 1 && r / 2 < V::inFlight / 2) hashPair<V, r / 2>(s.key, sum, held);
  });
  aesLastRound<V, V::inFlight>(s.key, rounds, c);
  if constexpr (hashing) {
    finishKaratsuba(sum);
    s.hash = reduce(sum);
  }
  applyChunk<V, sealing>(s, c, held, text);
}

template <class V, size_t rounds, bool sealing>
QUORATE_INLINE inline void cryptChunks(Stream<V>& s) {
  typename V::Vec held[V::inFlight];
  if constexpr (sealing) {
    if (s.left < kChunkBytes<V>) return;
    cryptChunk<V, rounds, true, false>(s, held);
    while (s.left >= kChunkBytes<V>) cryptChunk<V, rounds, true, true>(s, held);
    held[0] = V::xor2(held[0], V::fromBlock(s.hash));
    s.hash = hashChunk<V>(s.key, held);
  } else {
    while (s.left >= kChunkBytes<V>) cryptChunk<V, rounds, false, true>(s, held);
  }
}

// Adds the products of n bytes, padded with zeros, whose first block is to meet H^power.
template <class V>
QUORATE_INLINE inline void hashBytes(const X86Key& key, Products<V>& sum, const uint8_t* p, size_t n, size_t power, __m128i& hash) {
  const typename V::Vec reversal = V::broadcast(byteReversal());
  for (; n > 0; power -= V::lanes) {
    const size_t take = n < kVectorBytes<V> ? n : kVectorBytes<V>;
    const typename V::Vec x = V::xor2(V::shuffle(V::loadPartial(p, take), reversal), V::fromBlock(hash));
    hash = _mm_setzero_si128();
    addProduct<V>(sum, x, V::loadBlocks(powerPointer(key, power)));
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
    if (blocks + blocksAfter <= reach) return hashBytes<V>(s.key, sum, aad, n, blocks + blocksAfter, s.hash);
    const size_t take = blocks <= reach ? n : 16 * reach;
    Products<V> part = noProducts<V>();
    hashBytes<V>(s.key, part, aad, take, (take + 15) / 16, s.hash);
    s.hash = reduce(part);
    aad += take;
    n -= take;
  }
}

// The last n vectors (0 to V::inFlight, the last one perhaps partial), the block of lengths, and the tag.
template <class V, size_t rounds, bool sealing, size_t n>
[[gnu::noinline]] void finishMessage(Stream<V>& s, Products<V>& sum, __m128i firstCounter, __m128i lengths, __m128i* tag) {
  const typename V::Vec reversal = V::broadcast(byteReversal());
  constexpr size_t kBuffers = n == 0 ? 1 : n;
  typename V::Vec c[kBuffers];
  if constexpr (n > 0) startCounters<V, n>(s, c);
  __m128i mask = _mm_xor_si128(firstCounter, s.key.roundKeys[0]);
  unrolled<rounds - 1>([&]<size_t r>() QUORATE_INLINE {
    if constexpr (n > 0) aesRound<V, n>(s.key, r + 1, c);
    mask = _mm_aesenc_si128(mask, s.key.roundKeys[r + 1]);
  });
  if constexpr (n > 0) aesLastRound<V, n>(s.key, rounds, c);
  mask = _mm_aesenclast_si128(mask, s.key.roundKeys[rounds]);
  const size_t blocks = (s.left + 15) / 16;
  size_t power = blocks + 1;
  bool lengthsPlaced = false;
  unrolled<n>([&]<size_t i>() QUORATE_INLINE {
    const bool last = i == n - 1;
    const size_t bytes = last ? s.left - i * kVectorBytes<V> : kVectorBytes<V>;
    typename V::Vec text = last ? V::loadPartial(s.in + i * kVectorBytes<V>, bytes) : V::load(s.in + i * kVectorBytes<V>);
    pin(text);
    typename V::Vec result = V::xor2(text, c[i]);
    if (last) {
      V::storePartial(s.out + i * kVectorBytes<V>, result, bytes);
    } else {
      V::store(s.out + i * kVectorBytes<V>, result);
    }
    pin(result);
    typename V::Vec x = sealing ? (last ? V::keepBytes(result, bytes) : result) : text;
    x = V::shuffle(x, reversal);
    if constexpr (i == 0) x = V::xor2(x, V::fromBlock(s.hash));
    if (last && blocks % V::lanes != 0) {
      x = V::xor2(x, V::blockInLane(lengths, blocks % V::lanes));
      lengthsPlaced = true;
    }
    addProduct<V>(sum, x, V::loadBlocks(powerPointer(s.key, power)));
    power -= V::lanes;
  });
  if (!lengthsPlaced) {
    if constexpr (n == 0) lengths = _mm_xor_si128(lengths, s.hash);
    addProduct<V>(sum, V::fromBlock(lengths), V::fromBlock(s.key.powers[kPowersMax - 1]));
  }
  *tag = _mm_xor_si128(_mm_shuffle_epi8(reduce(sum), byteReversal()), mask);
}

template <class V, size_t rounds, bool sealing, size_t... n>
QUORATE_INLINE inline void finishDispatch(Stream<V>& s, Products<V>& sum, __m128i firstCounter, __m128i lengths, __m128i* tag,
                                          std::index_sequence<n...>) {
  const size_t vectors = (s.left + kVectorBytes<V> - 1) / kVectorBytes<V>;
  ((vectors == n ? finishMessage<V, rounds, sealing, n>(s, sum, firstCounter, lengths, tag) : void()), ...);
}

template <class V, size_t rounds, bool sealing>
[[gnu::noinline]] void cryptMessage(const X86Key& key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in,
                                    size_t len, uint8_t* out, __m128i* tag) {
  const __m128i firstCounter = _mm_or_si128(loadPartialBlock(iv, 12), _mm_set_epi32(0x01000000, 0, 0, 0));
  const __m128i lengths = _mm_set_epi64x(static_cast<long long>(aadBytes * 8), static_cast<long long>(len * 8));
  const typename V::Vec counters =
      V::add32(V::broadcast(_mm_shuffle_epi8(firstCounter, byteReversal())), V::add32(V::laneNumbers(), V::broadcast(_mm_set_epi32(0, 0, 0, 1))));
  Stream<V> s{key, in, out, len, counters, _mm_setzero_si128()};
  Products<V> sum = noProducts<V>();
  const bool chunks = len >= kChunkBytes<V>;
  // Blocks after the AAD that one reduction could cover; with whole chunks to come, the AAD gets its own.
  hashAad<V>(s, sum, aad, aadBytes, chunks ? kPowersMax : (len + 15) / 16 + 1);
  if (chunks) cryptChunks<V, rounds, sealing>(s);
  finishDispatch<V, rounds, sealing>(s, sum, firstCounter, lengths, tag, std::make_index_sequence<V::inFlight + 1>());
}

template <class V, bool sealing>
QUORATE_INLINE inline __m128i crypt(const GcmKey* key, const uint8_t* iv, const uint8_t* aad, size_t aadBytes, const uint8_t* in,
                                    size_t len, uint8_t* out) {
  const X86Key& k = view(key);
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
  prepare<V>(out, key, keyBytes, kPowersMax);
}

template <class V>
void initOnce(GcmKey* out, const uint8_t* key, size_t keyBytes, size_t messageBytes) {
  const size_t blocks = (messageBytes + 15) / 16 + 1;
  prepare<V>(out, key, keyBytes, messageBytes < kChunkBytes<V> ? blocks : kPowersMax);
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
  __m128i given = tagBytes == 16 ? loadBlock(tag) : loadPartialBlock(tag, tagBytes);
  const __m128i expected = crypt<V, false>(key, iv, aad, aadBytes, in, len, out);
  const __m128i difference = _mm_and_si128(_mm_xor_si128(given, expected), firstBytes(tagBytes));
  const bool fits = _mm_testz_si128(difference, difference);
  if (!fits) wipe(out, len);
  return fits;
}

}  // namespace
}  // namespace quorate
