// Random bytes: libcrypto's CTR-DRBG (SP 800-90A), reseeded from the kernel.
#pragma once
#include "core/base.h"

namespace quorate {

// Fills `out`. Aborts the process when the generator fails: nothing safe can be done without it.
void randomBytes(MutBytes out);
// The same through a per-thread pool refilled 4 KiB at a time and wiped as it is used: for nonces and IVs (public
// values) on the hot path, where a DRBG call for 12 or 24 bytes would cost more than the encryption. Fork-safe.
void randomNonce(MutBytes out);

}  // namespace quorate
