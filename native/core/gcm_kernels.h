// The rows of the AES-GCM table, one a file. Only gcm.cc and the kernels include this; everyone else asks gcm().
#pragma once
#include "core/gcm.h"

namespace quorate {

extern const GcmImplementation kGcmPortable;
#if defined(__x86_64__)
extern const GcmImplementation kGcmAesni;
extern const GcmImplementation kGcmVaes256;
extern const GcmImplementation kGcmVaes512;
#endif

}  // namespace quorate
