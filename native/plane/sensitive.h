// Swaps the sensitive fields of a message that JavaScript sees for arena handles (8 bytes, little endian), and back.
#pragma once
#include "plane/encode.h"
#include "plane/methods.gen.h"

namespace quorate {

// The longest content of a request's sensitive field: the value of a secret is longer than any key, passphrase or share.
constexpr size_t sensitiveBytesMax(Method method) { return method == Method::PutSecret ? limits::secret_value_bytes_max : limits::secret_bytes_max; }

// Copies a request, field by field in canonical form (so that JavaScript's decoder sees exactly the fields that this one saw),
// with the content of each non-empty sensitive field moved to the arena. A sensitive field that occurs twice, or is not
// length-delimited, is BadField. INPUT_TOO_LONG beyond sensitiveBytesMax(), ARENA_FULL. Throws protozero::exception.
// *handles: what was put, also on failure: the caller drops them then.
Code swapIn(const MethodRow& row, Bytes body, Buffer* out, std::vector<uint64_t>* handles, Fault* fault);

// Writes the reply to a request, with the secrets of its handles, which are consumed. INTERNAL for an unknown handle, a field
// of the wrong length, or an answer longer than a frame.
Code swapOut(const MethodRow& row, Bytes body, Reply& reply);
// For a reply that nobody waits for: its handles are dropped.
void dropHandles(const MethodRow& row, Bytes body);

inline bool isSensitive(const uint32_t (&fields)[3], uint32_t number) { return number != 0 && (fields[0] == number || fields[1] == number || fields[2] == number); }

}  // namespace quorate
