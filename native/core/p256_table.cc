// The generator's table, made once by libcrypto. Public.
#include <openssl/obj_mac.h>

#include "core/libcrypto.h"
#include "core/p256_ifma.h"

namespace quorate {
namespace {

using Group = std::unique_ptr<EC_GROUP, Released<EC_GROUP_free>>;

// number 2^260 modulo p, in limbs of 52 bits, each `apart` words after the one before.
bool writeMontgomery(const BIGNUM* number, const BIGNUM* p, BN_CTX* context, uint64_t* out, size_t apart) {
  Bn shifted(BN_new());
  if (!shifted || !BN_lshift(shifted.get(), number, 260) || !BN_mod(shifted.get(), shifted.get(), p, context)) return false;
  uint8_t bytes[40];
  if (BN_bn2lebinpad(shifted.get(), bytes, sizeof bytes) != sizeof bytes) return false;
  for (size_t i = 0; i < 5; i++) {
    uint64_t limb = 0;
    for (size_t bit = 0; bit < 52; bit++) limb |= uint64_t{(bytes[(52 * i + bit) / 8] >> ((52 * i + bit) % 8)) & 1u} << bit;
    out[i * apart] = limb;
  }
  return true;
}

struct Work {
  Group group{EC_GROUP_new_by_curve_name(NID_X9_62_prime256v1)};
  BnContext context{BN_CTX_new()};
  Bn p{BN_new()}, x{BN_new()}, y{BN_new()};
  bool ready() { return group && context && p && x && y && EC_GROUP_get_curve(group.get(), p.get(), nullptr, nullptr, context.get()); }
};

// The odd multiples of *base, which becomes its 2^kBits multiple.
bool fillWindow(Work& work, EC_POINT* base, P256GeneratorTable::Window* window) {
  constexpr size_t kEntries = P256GeneratorTable::kEntries;
  const EC_GROUP* group = work.group.get();
  BN_CTX* context = work.context.get();
  EcPoint odd(EC_POINT_dup(base, group)), second(EC_POINT_new(group));
  if (!odd || !second || !EC_POINT_dbl(group, second.get(), base, context)) return false;
  for (size_t i = 0; i < kEntries; i++) {
    if (i > 0 && !EC_POINT_add(group, odd.get(), odd.get(), second.get(), context)) return false;
    if (!EC_POINT_get_affine_coordinates(group, odd.get(), work.x.get(), work.y.get(), context) ||
        !writeMontgomery(work.x.get(), work.p.get(), context, &window->limb[0][i], kEntries) ||
        !writeMontgomery(work.y.get(), work.p.get(), context, &window->limb[5][i], kEntries)) {
      return false;
    }
  }
  for (size_t i = 0; i < P256GeneratorTable::kBits; i++) {
    if (!EC_POINT_dbl(group, base, base, context)) return false;
  }
  return true;
}

// What the windows arrived at, reached another way: 2^total G by the scalar multiplication.
bool endsRight(Work& work, const EC_POINT* end) {
  Bn scalar(BN_new());
  EcPoint point(EC_POINT_new(work.group.get()));
  return scalar && point && BN_set_bit(scalar.get(), P256GeneratorTable::kBits * P256GeneratorTable::kWindows) &&
         BN_nnmod(scalar.get(), scalar.get(), EC_GROUP_get0_order(work.group.get()), work.context.get()) &&
         EC_POINT_mul(work.group.get(), point.get(), scalar.get(), nullptr, nullptr, work.context.get()) &&
         EC_POINT_cmp(work.group.get(), point.get(), end, work.context.get()) == 0;
}

bool fillTable(P256GeneratorTable* table) {
  const ErrorQueueMark mark;
  Work work;
  if (!work.ready()) return false;
  EcPoint base(EC_POINT_dup(EC_GROUP_get0_generator(work.group.get()), work.group.get()));
  if (!base) return false;
  for (P256GeneratorTable::Window& window : table->windows) {
    if (!fillWindow(work, base.get(), &window)) return false;
  }
  return endsRight(work, base.get());
}

}  // namespace

const P256GeneratorTable* p256GeneratorTable() {
  static P256GeneratorTable table;
  static const bool filled = fillTable(&table);
  return filled ? &table : nullptr;
}

const P256Comb* p256GeneratorComb() {
#if defined(__x86_64__)
  static P256Comb comb;
  static const bool filled = [] {
    P256Numbers x, y;
    std::array<P256Comb*, kP256Lanes> targets;
    const auto others = std::make_unique<P256Comb>();
    targets.fill(others.get());
    targets[0] = &comb;
    const ErrorQueueMark mark;
    Work work;
    if (!work.ready() || !EC_POINT_get_affine_coordinates(work.group.get(), EC_GROUP_get0_generator(work.group.get()), work.x.get(),
                                                          work.y.get(), work.context.get())) {
      return false;
    }
    BN_bn2binpad(work.x.get(), x[0].data(), 32);
    BN_bn2binpad(work.y.get(), y[0].data(), 32);
    x.fill(x[0]);
    y.fill(y[0]);
    return p256IfmaCombs(x, y, targets) == 0xff;
  }();
  return filled ? &comb : nullptr;
#else
  return nullptr;
#endif
}

}  // namespace quorate
