#include "core/utf8.h"

#include <cstddef>
#include <cstdint>

namespace quorate {

bool validUtf8(std::string_view text) {
  const auto* p = reinterpret_cast<const uint8_t*>(text.data());
  const auto* end = p + text.size();
  while (p < end) {
    const uint8_t lead = *p++;
    if (lead < 0x80) continue;
    unsigned more;
    uint32_t value;
    if ((lead & 0xe0) == 0xc0) more = 1, value = lead & 0x1f;
    else if ((lead & 0xf0) == 0xe0) more = 2, value = lead & 0x0f;
    else if ((lead & 0xf8) == 0xf0) more = 3, value = lead & 0x07;
    else return false;
    if (static_cast<size_t>(end - p) < more) return false;
    for (unsigned i = 0; i < more; i++) {
      if ((*p & 0xc0) != 0x80) return false;
      value = value << 6 | (*p++ & 0x3f);
    }
    constexpr uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    if (value < least[more] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return false;
  }
  return true;
}

}  // namespace quorate
