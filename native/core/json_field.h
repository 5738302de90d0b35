// One field of a secret whose value is a JSON object (RFC 8259): what `PATH#field` means, for answers that no client looks at.
#pragma once
#include <string_view>

#include "core/base.h"

namespace quorate {

enum class JsonField : uint8_t {
  found,
  notJson,   // not UTF-8, or not one JSON text
  absent,    // there is no such member
  compound,  // it is an object or an array
};

// What a number may take beyond its own digits.
inline constexpr size_t kJsonFieldRoom = 32;

// The member of that name; where there is none, each dot leads into an object (or array, by decimal index) inside: exactly what JSON.parse() and the
// client's fieldOf() find, of a member that comes twice the last. A string is written as it is, a surrogate without its partner as U+FFFD; a number
// as JavaScript writes it; true, false, null as these words. json: at most secret_value_bytes_max. out: at least json.size() + kJsonFieldRoom
// bytes; *written of them are the result, and nothing else of it or of json is left in memory. Not found: *written is 0.
JsonField jsonField(Bytes json, std::string_view field, MutBytes out, size_t* written);

}  // namespace quorate
