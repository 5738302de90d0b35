#pragma once
#include <string_view>

namespace quorate {

// Well-formed UTF-8 (RFC 3629): no surrogates, no overlong forms.
bool validUtf8(std::string_view text);

}  // namespace quorate
