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

// The XOR of both halves of each block in x and in y, beside each other: what Karatsuba multiplies for the middle.
template <class V>
QUORATE_INLINE inline typename V::Vec foldPair(typename V::Vec x, typename V::Vec y) {
  return V::xor2(V::unpackLow(x, y), V::unpackHigh(x, y));
}

// Two vectors by Karatsuba: six multiplications instead of eight, and finishKaratsuba at the end.
template <class V>
QUORATE_INLINE inline void addProductPair(Products<V>& sum, typename V::Vec x, typename V::Vec y, typename V::Vec hx, typename V::Vec hy) {
  const typename V::Vec folded = foldPair<V>(x, y), middles = foldPair<V>(hx, hy);
  sum.low = V::xor3(sum.low, V::template multiply<0x00>(x, hx), V::template multiply<0x00>(y, hy));
  sum.high = V::xor3(sum.high, V::template multiply<0x11>(x, hx), V::template multiply<0x11>(y, hy));
  sum.middle = V::xor3(sum.middle, V::template multiply<0x00>(folded, middles), V::template multiply<0x11>(folded, middles));
}

template <class V>
QUORATE_INLINE inline void finishKaratsuba(Products<V>& sum) {
  sum.middle = V::xor3(sum.middle, sum.low, sum.high);
}

// Reduces each lane modulo the field polynomial.
template <class V>
QUORATE_INLINE inline typename V::Vec reduceLanes(const Products<V>& sum) {
  const typename V::Vec fold = V::broadcast64(kFold);
  const typename V::Vec middle = V::xor3(sum.middle, V::swapHalves(sum.low), V::template multiply<0x00>(sum.low, fold));
  return V::xor3(sum.high, V::swapHalves(middle), V::template multiply<0x00>(middle, fold));
}

template <class V>
QUORATE_INLINE inline __m128i reduce(const Products<V>& sum) {
  return V::addLanes(reduceLanes(sum));
}

// a·b in each lane, one of them stored times x.
template <class V>
QUORATE_INLINE inline typename V::Vec multiplyLanes(typename V::Vec a, typename V::Vec b) {
  Products<V> product = noProducts<V>();
  addProduct<V>(product, a, b);
  return reduceLanes(product);
}

// A prepared key: everything is secret but `rounds` and `powersReady`.
template <class V>
struct PreparedKey {
  __m128i roundKeys[15];
  uint32_t rounds;       // 10, 12 or 14
  uint32_t powersReady;  // V::powers, or fewer for a key that sees one short message
  uint64_t unused;
  // powers[V::powers - n] is H^n: in the order in which n blocks meet them. The zeros after H^1 let a vector start at a low power.
  alignas(64) __m128i powers[V::powers];
  __m128i zeros[V::lanes];
  // The XOR of both halves of each power, in the order of addProductPair; and the round keys in every lane. For chunks only.
  alignas(64) uint64_t middles[2 * V::lanes * V::inFlight];
  alignas(64) uint8_t wideKeys[15][16 * V::lanes];
};

template <class V>
QUORATE_INLINE inline const __m128i* powersFrom(const PreparedKey<V>& key, size_t n) {
  return key.powers + (V::powers - n);
}

// The first `powers` powers of H, rounded up to whole vectors, by doubling: those that are there, times the highest.
template <class V>
QUORATE_INLINE inline void preparePowers(PreparedKey<V>& out, __m128i h, size_t powers) {
  for (__m128i& zero : out.zeros) zero = _mm_setzero_si128();
  typename V::Vec first = V::broadcast(h);
  if constexpr (V::lanes > 1) {
    const __m128i square = multiplyBlock(h, h);
    first = V::alternate(square, h);
    if constexpr (V::lanes > 2) first = V::joinHalves(multiplyLanes<V>(first, V::broadcast(square)), first);
  }
  __m128i* const end = out.powers + V::powers;
  V::storeAny(end - V::lanes, first);
  const size_t wanted = (powers + V::lanes - 1) / V::lanes;
  for (size_t done = 1; done < wanted;) {
    const size_t more = wanted - done < done ? wanted - done : done;
    const typename V::Vec highest = V::broadcast(*(end - done * V::lanes));
    for (size_t i = 1; i <= more; i++) {
      V::storeAny(end - (done + i) * V::lanes, multiplyLanes<V>(V::loadAny(end - i * V::lanes), highest));
    }
    done += more;
  }
  out.powersReady = static_cast<uint32_t>(wanted * V::lanes);
}

template <class V>
QUORATE_INLINE inline void prepareChunks(PreparedKey<V>& out) {
  constexpr size_t kMiddles = 2 * V::lanes * V::inFlight;
  for (size_t i = 0; i < kMiddles; i += 2 * V::lanes) {
    const __m128i* first = powersFrom(out, kMiddles - i);
    V::storeAny(out.middles + i, foldPair<V>(V::loadBlocks(first), V::loadBlocks(first + V::lanes)));
  }
  for (size_t r = 0; r <= out.rounds; r++) V::storeAny(out.wideKeys[r], V::broadcast(out.roundKeys[r]));
}

// Returns how far its frame reached.
template <class V>
[[gnu::noinline]] uintptr_t prepare(GcmKey* key, const uint8_t* keyMaterial, size_t keyBytes, size_t powers, bool chunks) {
  static_assert(sizeof(PreparedKey<V>) <= sizeof(GcmKey) && alignof(PreparedKey<V>) <= alignof(GcmKey));
  PreparedKey<V>& out = *reinterpret_cast<PreparedKey<V>*>(key->opaque);
  preparePowers<V>(out, expandKey(out.roundKeys, out.rounds, keyMaterial, keyBytes), powers);
  if (chunks) prepareChunks<V>(out);
  return lowestStackByte();
}

template <class V>
constexpr size_t kVectorBytes = 16 * V::lanes;
template <class V>
constexpr size_t kChunkBlocks = V::lanes * V::inFlight;
template <class V>
constexpr size_t kChunkBytes = 16 * kChunkBlocks<V>;

// One message under way.
template <class V>
struct Stream {
  const PreparedKey<V>& key;
  const uint8_t* in;
  uint8_t* out;
  size_t left;
  __m128i iv;                   // with a zero counter
  __m128i counter;              // little-endian: the next chunk's, without the low bits
  typename V::Vec base, above;  // counter blocks of this chunk and the next, low bits zero, after the first AddRoundKey
  __m128i hash;                 // to be added to the next block that is hashed
};

// The low bits of counters, in the last byte of a block. A message's blocks have counters from 2 on, so chunks meet
// multiples of kChunkBlocks at a fixed place, and an XOR replaces addition and byte reversal for each vector.
struct alignas(64) CounterLowBits {
  uint8_t blocks[64][16];
};
constexpr CounterLowBits counterLowBits(size_t chunkBlocks) {
  CounterLowBits out{};
  for (size_t i = 0; i < chunkBlocks; i++) out.blocks[i][15] = static_cast<uint8_t>((i + 2) % chunkBlocks);
  return out;
}
template <class V>
constexpr CounterLowBits kCounterLowBits = counterLowBits(kChunkBlocks<V>);

template <class V>
QUORATE_INLINE inline typename V::Vec counterBase(const Stream<V>& s) {
  return V::broadcast(_mm_xor_si128(_mm_shuffle_epi8(s.counter, byteReversal()), s.key.roundKeys[0]));
}

// Vectors at..at+n-1 of a chunk, after the first AddRoundKey.
template <class V, size_t at, size_t n, size_t room>
QUORATE_INLINE inline void startCounters(const Stream<V>& s, typename V::Vec (&c)[room]) {
  static_assert(n <= room);
  const uint8_t (*table)[16] = kCounterLowBits<V>.blocks;
  asm volatile("" : "+r"(table));  // or the compiler copies the table to the stack before the loop, which then has to be wiped
  unrolled<n>([&]<size_t i>() QUORATE_INLINE {
    constexpr size_t kFirst = (at + i) * V::lanes + 2, kLast = kFirst + V::lanes - 1;
    const typename V::Vec lowBits = V::loadAny(table[(at + i) * V::lanes]);
    if constexpr (kLast < kChunkBlocks<V>) {
      c[i] = V::xor2(s.base, lowBits);
    } else if constexpr (kFirst >= kChunkBlocks<V>) {
      c[i] = V::xor2(s.above, lowBits);
    } else {
      c[i] = V::xor2(V::joinHalves(s.base, s.above), lowBits);
    }
  });
}

template <class V>
QUORATE_INLINE inline void advanceCounters(Stream<V>& s) {
  s.base = s.above;
  s.counter = _mm_add_epi32(s.counter, _mm_set_epi32(0, 0, 0, kChunkBlocks<V>));
  s.above = counterBase<V>(s);
}

// What hashing carries from one step to the next.
template <class V>
struct HashSteps {
  Products<V> sum;
  typename V::Vec x, y, folded, middles, product;
  const __m128i* powers;  // those that the chunk meets
};

// Where in a sum a chunk stands. Two chunks are hashed before one reduction: the earlier meets the higher powers, and one without
// a partner is a later one. The last chunk of a message shares its reduction with what follows it.
enum class Place { kNone, kEarlier, kLater, kLast };

// Hashing a chunk of ciphertext goes in steps small enough that no two need the multiplier at once: seven for a pair of
// vectors, the pair with the first blocks last, since it waits for the hash so far; then the reduction.
constexpr size_t kPairSteps = 7, kReductionSteps = 4;
template <class V, Place place>
constexpr size_t kHashSteps = kPairSteps * V::inFlight / 2 + (place == Place::kLater ? kReductionSteps : 0);

template <class V, Place place, size_t step>
QUORATE_INLINE inline void hashPairStep(Stream<V>& s, HashSteps<V>& h, const typename V::Vec (&held)[V::inFlight]) {
  constexpr size_t kPair = (step / kPairSteps + 1) % (V::inFlight / 2), kAt = 2 * kPair * V::lanes, kPart = step % kPairSteps;
  const __m128i* powers = h.powers + kAt;
  if constexpr (kPart == 0) {
    const typename V::Vec reversal = V::broadcast(byteReversal());
    h.x = V::shuffle(held[2 * kPair], reversal);
    h.y = V::shuffle(held[2 * kPair + 1], reversal);
    if constexpr (kPair == 0) {
      h.x = V::xor2(h.x, V::fromBlock(s.hash));
      s.hash = _mm_setzero_si128();
    }
    h.folded = foldPair<V>(h.x, h.y);
    h.middles = place == Place::kLast ? foldPair<V>(V::loadBlocks(powers), V::loadBlocks(powers + V::lanes))
                                      : V::loadAny(s.key.middles + (place == Place::kLater ? kChunkBlocks<V> : 0) + kAt);
    inOrder(h.folded);
  } else if constexpr (kPart % 2 == 1) {
    if constexpr (kPart == 1) h.product = V::template multiply<0x00>(h.x, V::loadBlocks(powers));
    if constexpr (kPart == 3) h.product = V::template multiply<0x11>(h.x, V::loadBlocks(powers));
    if constexpr (kPart == 5) h.product = V::template multiply<0x00>(h.folded, h.middles);
    inOrder(h.product);
  } else if constexpr (kPart == 2) {
    h.sum.low = V::xor3(h.sum.low, h.product, V::template multiply<0x00>(h.y, V::loadBlocks(powers + V::lanes)));
    inOrder(h.sum.low);
  } else if constexpr (kPart == 4) {
    h.sum.high = V::xor3(h.sum.high, h.product, V::template multiply<0x11>(h.y, V::loadBlocks(powers + V::lanes)));
    inOrder(h.sum.high);
  } else {
    h.sum.middle = V::xor3(h.sum.middle, h.product, V::template multiply<0x11>(h.folded, h.middles));
    inOrder(h.sum.middle);
  }
}

template <class V, Place place, size_t step>
QUORATE_INLINE inline void hashStep(Stream<V>& s, HashSteps<V>& h, const typename V::Vec (&held)[V::inFlight]) {
  constexpr size_t kReduction = kPairSteps * V::inFlight / 2;
  const typename V::Vec fold = V::broadcast64(kFold);
  if constexpr (step < kReduction) {
    hashPairStep<V, place, step>(s, h, held);
  } else if constexpr (step == kReduction) {
    finishKaratsuba(h.sum);
    h.product = V::template multiply<0x00>(h.sum.low, fold);
    inOrder(h.product);
  } else if constexpr (step == kReduction + 1) {
    h.sum.middle = V::xor3(h.sum.middle, V::swapHalves(h.sum.low), h.product);
    h.product = V::template multiply<0x00>(h.sum.middle, fold);
    inOrder(h.product);
  } else if constexpr (step == kReduction + 2) {
    h.x = V::xor3(h.sum.high, V::swapHalves(h.sum.middle), h.product);
    inOrder(h.x);
  } else {
    s.hash = V::addLanes(h.x);
    h.sum = noProducts<V>();
    inOrder(s.hash);
  }
}

// Where the hash of a chunk stands for cryptChunk: sealing, `held` is the ciphertext of the chunk before; opening, of this one.
template <class V, Place hashed>
QUORATE_INLINE inline const __m128i* chunkPowers(const Stream<V>& s, size_t leftAfter) {
  if constexpr (hashed == Place::kLast) return powersFrom(s.key, kChunkBlocks<V> + (leftAfter + 15) / 16 + 1);
  return powersFrom(s.key, (hashed == Place::kEarlier ? 2 : 1) * kChunkBlocks<V>);
}

// One chunk. Between the AES rounds it hashes `held`: sealing, the ciphertext of the chunk before, and leaves its own there;
// opening, its own. Which instruction stands where is most of the speed: the multiplier takes a new pair of vectors every other
// cycle only, so its work is spread evenly over the rounds.
template <class V, size_t rounds, bool sealing, Place hashed>
QUORATE_INLINE inline void cryptChunk(Stream<V>& s, HashSteps<V>& h, typename V::Vec (&held)[V::inFlight]) {
  constexpr size_t kVectors = V::inFlight, kAesSteps = kVectors * (rounds - 1);
  h.powers = chunkPowers<V, hashed>(s, s.left - kChunkBytes<V>);
  typename V::Vec c[kVectors];
  startCounters<V, 0, kVectors>(s, c);
  advanceCounters<V>(s);
  const auto loadText = [&](size_t i) QUORATE_INLINE {
    typename V::Vec text = V::load(s.in + i * kVectorBytes<V>);
    pin(text);
    return text;
  };
  if constexpr (!sealing) unrolled<kVectors>([&]<size_t i>() QUORATE_INLINE { held[i] = loadText(i); });
  unrolled<rounds - 1>([&]<size_t r>() QUORATE_INLINE {
    const typename V::Vec roundKey = V::loadAny(s.key.wideKeys[r + 1]);
    unrolled<kVectors>([&]<size_t i>() QUORATE_INLINE {
      c[i] = V::aesRound(c[i], roundKey);
      inOrder(c[i]);
      if constexpr (hashed != Place::kNone) {
        constexpr size_t kAt = r * kVectors + i, kSteps = kHashSteps<V, hashed>;
        constexpr size_t kFirst = kAt * kSteps / kAesSteps, kEnd = (kAt + 1) * kSteps / kAesSteps;
        unrolled<kEnd - kFirst>([&]<size_t k>() QUORATE_INLINE { hashStep<V, hashed, kFirst + k>(s, h, held); });
      }
    });
  });
  const typename V::Vec lastKey = V::loadAny(s.key.wideKeys[rounds]);
  unrolled<kVectors>([&]<size_t i>() QUORATE_INLINE {
    c[i] = V::aesLastRound(c[i], V::xor2(sealing ? loadText(i) : held[i], lastKey));
    inOrder(c[i]);
    V::store(s.out + i * kVectorBytes<V>, c[i]);
    if constexpr (sealing) {
      held[i] = c[i];
      pin(held[i]);
    }
  });
  s.in += kChunkBytes<V>;
  s.out += kChunkBytes<V>;
  s.left -= kChunkBytes<V>;
}

// All whole chunks. Returns the sum that the rest of the message adds to.
template <class V, size_t rounds, bool sealing>
QUORATE_INLINE inline Products<V> cryptChunks(Stream<V>& s) {
  typename V::Vec held[V::inFlight];
  HashSteps<V> h;
  h.sum = noProducts<V>();
  const bool even = s.left / kChunkBytes<V> % 2 == 0;
  if constexpr (sealing) cryptChunk<V, rounds, true, Place::kNone>(s, h, held);
  if (even) cryptChunk<V, rounds, sealing, Place::kLater>(s, h, held);
  while (s.left >= (sealing ? 2 : 3) * kChunkBytes<V>) {
    cryptChunk<V, rounds, sealing, Place::kEarlier>(s, h, held);
    cryptChunk<V, rounds, sealing, Place::kLater>(s, h, held);
  }
  if constexpr (sealing) {
    h.powers = chunkPowers<V, Place::kLast>(s, s.left);
    unrolled<kHashSteps<V, Place::kLast>>([&]<size_t step>() QUORATE_INLINE { hashStep<V, Place::kLast, step>(s, h, held); });
  } else {
    cryptChunk<V, rounds, false, Place::kLast>(s, h, held);
  }
  finishKaratsuba(h.sum);
  return h.sum;
}

}  // namespace
}  // namespace quorate
