// Operations of many parts (mechanism.h). Between two parts nothing of a key or message is kept but in the arena: libcrypto's ciphers are begun anew for each part.
#include "core/mechanism_parts.h"

#include <cstring>
#include <utility>

#include "core/cmac.h"

namespace quorate {
namespace {

// What all kinds keep: the mechanism without views that are not theirs, the key's views, whether it is over.
class Base : public MechanismOperation {
 public:
  Base(const Mechanism& mechanism, Use use, const MechanismKey& key) : mechanism_(mechanism), key_(key), use_(use) {
    MechanismParams& p = mechanism_.params;
    p.iv = p.aad = p.label = p.peerPublic = p.shared = {};
  }
  virtual Code open(const MechanismParams& params) = 0;

 protected:
  // Once, for finish(): whether it still may.
  bool end() { return !std::exchange(over_, true); }
  bool isOver() const { return over_; }

  Mechanism mechanism_;
  MechanismKey key_;
  Use use_;

 private:
  bool over_ = false;
};

// Digests and signatures with a hash of their own.
class HashedOperation final : public Base {
 public:
  using Base::Base;
  Code open(const MechanismParams&) override {
    const Code code = ArenaBox<HashState>::make(&state_);
    return code != Code::OK ? code : hashBegin(mechanism_.row->hash, state_.get()) ? Code::OK : Code::MECHANISM_INVALID;
  }
  size_t room(size_t) const override { return use_ == kVerify ? 0 : resultBytes(mechanism_, use_, key_.type, 0); }
  Code update(Bytes in, MutBytes, size_t* written) override {
    if (isOver()) return Code::OPERATION_INVALID;
    hashUpdate(state_.get(), in);
    *written = 0;
    return Code::OK;
  }
  Code finish(Bytes signature, MutBytes out, size_t* written, bool* valid) override {
    if (!end()) return Code::OPERATION_INVALID;
    *written = 0;
    uint8_t digest[64];
    const Bytes input(digest, hashBytes(mechanism_.row->hash));
    if (out.size() < room(0)) return Code::INTERNAL;
    hashFinish(state_.get(), digest);
    if (use_ == kVerify) return verifyInput(mechanism_, key_, input, signature, valid);
    Buffer made(input.begin(), input.end());
    const Code code = use_ == kDigest ? Code::OK : signInput(mechanism_, key_, input, &made);
    if (code != Code::OK) return code;
    std::memcpy(out.data(), made.data(), made.size());
    *written = made.size();
    return Code::OK;
  }

 private:
  ArenaBox<HashState> state_;
};

// HMAC and CMAC, whole or truncated.
class MacOperation final : public Base {
 public:
  MacOperation(const Mechanism& mechanism, Use use, const MechanismKey& key)
      : Base(mechanism, use, key), isCmac_(mechanism.row->kind == MechanismKind::aesCmac || mechanism.row->kind == MechanismKind::aesCmacGeneral) {}
  Code open(const MechanismParams&) override {
    if (isCmac_) return ArenaBox<CmacState>::make(&cmac_);
    const Code code = ArenaBox<HmacState>::make(&hmac_);
    if (code != Code::OK) return code;
    return withScrubbedStack([&] { return hmacBegin(mechanism_.row->hash, key_.stored, hmac_.get()); }) ? Code::OK : Code::MECHANISM_INVALID;
  }
  size_t room(size_t) const override { return use_ == kVerify ? 0 : macBytes(); }
  Code update(Bytes in, MutBytes, size_t* written) override {
    if (isOver()) return Code::OPERATION_INVALID;
    *written = 0;
    if (!isCmac_) {
      withScrubbedStack([&] { return hmacUpdate(hmac_.get(), in), true; });
      return Code::OK;
    }
    return withCmac([&](EvpCipher* cbc) { return cmacUpdate(cbc, cmac_.get(), in); });
  }
  Code finish(Bytes signature, MutBytes out, size_t* written, bool* valid) override {
    if (!end()) return Code::OPERATION_INVALID;
    *written = 0;
    if (out.size() < room(0)) return Code::INTERNAL;
    uint8_t mac[64];
    const Code code = isCmac_ ? withCmac([&](EvpCipher* cbc) { return cmacFinish(cbc, cmac_.get(), mac); })
                              : withScrubbedStack([&] { return hmacFinish(hmac_.get(), mac), Code::OK; });
    if (code == Code::OK) {
      if (use_ == kVerify) {
        *valid = equalConstantTime({mac, macBytes()}, signature);
      } else {
        std::memcpy(out.data(), mac, macBytes());
        *written = macBytes();
      }
    }
    wipe(mac, sizeof mac);
    return code;
  }

 private:
  size_t macBytes() const { return resultBytes(mechanism_, kSign, key_.type, 0); }
  template <class Work>
  Code withCmac(Work work) {
    return withScrubbedStack([&] {
      EvpCipher cbc;
      if (!cbc.begin(AesMode::cbc, key_.stored, cmac_.get()->chain, true)) return Code::KEY_INVALID;
      return work(&cbc) ? Code::OK : Code::INTERNAL;
    });
  }

  bool isCmac_;
  ArenaBox<HmacState> hmac_;
  ArenaBox<CmacState> cmac_;
};

// ECB and CBC: whole blocks as they fill. A decryption with padding holds the last block back.
class BlockOperation final : public Base {
 public:
  BlockOperation(const Mechanism& mechanism, Use use, const MechanismKey& key)
      : Base(mechanism, use, key), encrypts_(use == kEncrypt), isEcb_(mechanism.row->kind == MechanismKind::aesEcb), pads_(mechanism.row->kind == MechanismKind::aesCbcPad) {}
  Code open(const MechanismParams& params) override {
    const Code code = ArenaBox<State>::make(&state_);
    if (code == Code::OK && !isEcb_) std::memcpy(state_.get()->chain, params.iv.data(), 16);
    return code;
  }
  size_t room(size_t inputBytes) const override { return (state_.get()->heldBytes + inputBytes) / 16 * 16 + 16; }
  Code update(Bytes in, MutBytes out, size_t* written) override {
    if (isOver()) return Code::OPERATION_INVALID;
    State& s = *state_.get();
    const size_t total = s.heldBytes + in.size();
    size_t whole = total / 16 * 16;
    if (pads_ && !encrypts_ && whole == total && whole > 0) whole -= 16;
    *written = whole;
    if (whole > 0) {
      if (out.size() < whole) return Code::INTERNAL;
      const size_t filled = 16 - s.heldBytes;
      std::memcpy(s.held + s.heldBytes, in.data(), filled);
      in = in.subspan(filled);
      const Code code = withScrubbedStack([&] { return blocks(in.first(whole - 16), out.data()); });
      if (code != Code::OK) return code;
      in = in.subspan(whole - 16);
      s.heldBytes = 0;
    }
    if (!in.empty()) std::memcpy(s.held + s.heldBytes, in.data(), in.size());
    s.heldBytes += in.size();
    return Code::OK;
  }
  Code finish(Bytes, MutBytes out, size_t* written, bool*) override {
    if (!end()) return Code::OPERATION_INVALID;
    State& s = *state_.get();
    *written = 0;
    const Code wrongLength = encrypts_ ? Code::DATA_LENGTH_INVALID : Code::CIPHERTEXT_LENGTH_INVALID;
    if (!pads_) return s.heldBytes == 0 ? Code::OK : wrongLength;
    if (!encrypts_ && s.heldBytes != 16) return wrongLength;
    if (encrypts_) std::memset(s.held + s.heldBytes, int(16 - s.heldBytes), 16 - s.heldBytes);
    const Code code = withScrubbedStack([&] { return blocks({}, s.last); });
    if (code != Code::OK) return code;
    const size_t n = encrypts_ ? 16 : 16 - paddingBytes(s.last);
    if (!encrypts_ && n == 16) return Code::CIPHERTEXT_INVALID;
    if (out.size() < n) return Code::INTERNAL;
    std::memcpy(out.data(), s.last, n);
    *written = n;
    return Code::OK;
  }

 private:
  struct State {
    uint8_t chain[16], held[16], last[16];
    size_t heldBytes;
  };
  // The held block, then `rest`, to out.
  Code blocks(Bytes rest, uint8_t* out) {
    State& s = *state_.get();
    EvpCipher cipher;
    if (!cipher.begin(isEcb_ ? AesMode::ecb : AesMode::cbc, key_.stored, isEcb_ ? nullptr : s.chain, encrypts_)) return Code::KEY_INVALID;
    uint8_t next[16];  // decryption chains by ciphertext, which out may overwrite
    std::memcpy(next, rest.empty() ? s.held : rest.data() + rest.size() - 16, 16);
    if (!cipher.update({s.held, 16}, out) || !cipher.update(rest, out + 16)) return Code::INTERNAL;
    std::memcpy(s.chain, encrypts_ ? out + rest.size() : next, 16);
    wipe(next, sizeof next);
    return Code::OK;
  }

  bool encrypts_, isEcb_, pads_;
  ArenaBox<State> state_;
};

class CounterOperation final : public Base {
 public:
  using Base::Base;
  Code open(const MechanismParams& params) override {
    const Code code = ArenaBox<State>::make(&state_);
    if (code != Code::OK) return code;
    std::memcpy(state_.get()->counter, params.iv.data(), 16);
    left_ = counterBlocksLeft(params.iv.data(), params.counterBits);
    return Code::OK;
  }
  size_t room(size_t inputBytes) const override { return inputBytes; }
  Code update(Bytes in, MutBytes out, size_t* written) override {
    if (isOver()) return Code::OPERATION_INVALID;
    *written = 0;
    if (in.empty()) return Code::OK;
    if (out.size() < in.size()) return Code::INTERNAL;
    const size_t end = used_ + in.size(), begun = end / 16 + (end % 16 != 0);
    if (begun > left_) return use_ == kEncrypt ? Code::DATA_LENGTH_INVALID : Code::CIPHERTEXT_LENGTH_INVALID;
    State& s = *state_.get();
    const Code code = withScrubbedStack([&] {
      EvpCipher cipher;
      if (!cipher.begin(AesMode::ctr, key_.stored, s.counter, true)) return Code::KEY_INVALID;
      // The key stream that the part before used up is made again.
      return cipher.update({s.skipped, used_}, s.skipped) && cipher.update(in, out.data()) ? Code::OK : Code::INTERNAL;
    });
    if (code != Code::OK) return code;
    advance(end / 16);
    used_ = end % 16;
    *written = in.size();
    return Code::OK;
  }
  Code finish(Bytes, MutBytes, size_t* written, bool*) override {
    *written = 0;
    return end() ? Code::OK : Code::OPERATION_INVALID;
  }

 private:
  struct State {
    uint8_t counter[16], skipped[16];
  };
  void advance(uint64_t blocks) {
    if (left_ != ~uint64_t(0)) left_ -= blocks;
    uint8_t* const counter = state_.get()->counter;
    unsigned __int128 carry = blocks;
    for (int i = 15; i >= 0 && carry != 0; i--) {
      carry += counter[i];
      counter[i] = uint8_t(carry);
      carry >>= 8;
    }
  }

  ArenaBox<State> state_;
  uint64_t left_ = 0;  // blocks from `counter` on
  size_t used_ = 0;    // bytes of the block at `counter`
};

std::unique_ptr<Base> operationFor(const Mechanism& mechanism, Use use, const MechanismKey& key) {
  switch (mechanism.row->kind) {
    case MechanismKind::hmac:
    case MechanismKind::hmacGeneral:
    case MechanismKind::aesCmac:
    case MechanismKind::aesCmacGeneral: return std::make_unique<MacOperation>(mechanism, use, key);
    case MechanismKind::aesEcb:
    case MechanismKind::aesCbc:
    case MechanismKind::aesCbcPad: return std::make_unique<BlockOperation>(mechanism, use, key);
    case MechanismKind::aesCtr: return std::make_unique<CounterOperation>(mechanism, use, key);
    case MechanismKind::digest:
    case MechanismKind::rsaPkcs:
    case MechanismKind::rsaPss:
    case MechanismKind::ecdsa:
      if (mechanism.row->hash != Hash::HASH_UNSPECIFIED) return std::make_unique<HashedOperation>(mechanism, use, key);
      return nullptr;
    default: return nullptr;
  }
}

}  // namespace

Code MechanismOperation::begin(const Mechanism& mechanism, Use use, const MechanismKey& key, std::unique_ptr<MechanismOperation>* out) {
  Code code = checkMechanism(mechanism, use, key.type, nullptr);
  if (code != Code::OK) return code;
  std::unique_ptr<Base> made = operationFor(mechanism, use, key);
  if (made == nullptr) return Code::MECHANISM_INVALID;
  code = made->open(mechanism.params);
  if (code == Code::OK) *out = std::move(made);
  return code;
}

}  // namespace quorate
