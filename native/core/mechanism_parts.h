// Between the files of mechanism.h.
#pragma once
#include "core/key_row.h"
#include "core/libcrypto.h"
#include "core/mechanism.h"
#include "core/stack_scrub.h"

namespace quorate {

// A counter block of AES-CTR whose lowest `bits` count (CK_AES_CTR_PARAMS): how many blocks are left before they would wrap. ~0: more than any input has.
uint64_t counterBlocksLeft(const uint8_t counter[16], unsigned bits);

// Signatures and MACs once the mechanism's own hash, if any, has been taken: `input` is the digest, or all of the input.
Code signInput(const Mechanism& mechanism, const MechanismKey& key, Bytes input, Buffer* signature);
Code verifyInput(const Mechanism& mechanism, const MechanismKey& key, Bytes input, Bytes signature, bool* valid);

// For private operations: what libcrypto leaves on the stack and in the error queue goes with them.
template <class Work>
Code privately(Work&& work) {
  return withScrubbedStack([&] {
    const ErrorQueueMark mark;
    return work();
  });
}

}  // namespace quorate
