// DER (X.690), as much as keys and certificates need: definite lengths of up to four bytes.
#pragma once
#include <string>
#include <string_view>

#include "pkcs11/buffer.h"

namespace quorate::pkcs11::der {

inline constexpr char kInteger = 0x02, kBitString = 0x03, kOctetString = 0x04, kObjectId = 0x06, kSequence = 0x30, kContext0 = static_cast<char>(0xa0);

// Takes one element off the front of *in. False when it is not whole, or another one.
bool take(std::string_view* in, char tag, std::string_view* content);
// The same, with tag and length.
bool takeWhole(std::string_view* in, char tag, std::string_view* whole);
bool skip(std::string_view* in);
// An INTEGER that is not negative, without its leading zeroes.
bool takeNumber(std::string_view* in, std::string_view* magnitude);

void put(Buffer* out, char tag, std::string_view content);
// INTEGER of big endian bytes with or without leading zeroes.
void putNumber(Buffer* out, std::string_view magnitude);

std::string octetString(std::string_view content);

}  // namespace quorate::pkcs11::der
