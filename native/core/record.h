// Sealed records: AES-256-GCM under a key derived for this record alone from a fresh 128-bit salt (docs/FORMAT.md).
// The aad is the record's whole identity and generation, so a moved, swapped or older row does not open elsewhere.
#pragma once
#include "core/secret.h"

namespace quorate {

inline constexpr size_t kRecordOverheadBytes = 1 + 16 + 16;  // format, salt, tag

// kek: 32 bytes (KEY_INVALID otherwise). out: in + kRecordOverheadBytes, not overlapping in.
Code sealRecord(Bytes kek, Bytes aad, Bytes in, MutBytes out);
// With a salt that the caller owes to be fresh: for docs/FORMAT.md's examples and the self-test.
Code sealRecordWithSalt(Bytes kek, const uint8_t salt[16], Bytes aad, Bytes in, MutBytes out);
// out: in - kRecordOverheadBytes; zeros on failure. STORE_CORRUPT when it does not open.
Code openRecord(Bytes kek, Bytes aad, Bytes in, MutBytes out);

}  // namespace quorate
