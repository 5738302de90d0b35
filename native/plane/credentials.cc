#include "plane/credentials.h"

#include <algorithm>

namespace quorate {

namespace {

constexpr size_t kAddressBytesMax = 108;  // sizeof(sockaddr_un::sun_path)
constexpr size_t kRandomDigitsMax = 16;
constexpr std::string_view kUnit = "/unit/";

bool isLetterOrDigit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

}  // namespace

bool isUnitName(std::string_view name) {
  if (name.size() > limits::unit_name_bytes_max) return false;
  if (!std::all_of(name.begin(), name.end(), [](char c) { return isLetterOrDigit(c) || std::string_view(":_.\\@-").find(c) != std::string_view::npos; })) return false;
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos || dot == 0) return false;
  const std::string_view type = name.substr(dot + 1);
  if (type != "service" && type != "socket" && type != "mount" && type != "swap") return false;
  const size_t at = name.find('@');
  return at == std::string_view::npos || (at > 0 && at + 1 < dot);
}

bool isCredentialName(std::string_view name) {
  if (name.empty() || name == "." || name == "..") return false;
  return std::all_of(name.begin(), name.end(), [](char c) { return c >= ' ' && c < 0x7f && c != ':' && c != '/'; });
}

bool readCredentialAddress(Bytes address, CredentialName* out, const char** fault) {
  *fault = "its socket has no abstract address that names a unit";
  if (address.empty() || address[0] != 0 || address.size() > kAddressBytesMax) return false;
  std::string_view rest(reinterpret_cast<const char*>(address.data()) + 1, address.size() - 1);
  const size_t digits = std::min(rest.find_first_not_of("0123456789abcdef"), rest.size());
  if (digits == 0 || digits > kRandomDigitsMax) return false;
  rest.remove_prefix(digits);
  if (!rest.starts_with(kUnit)) return false;
  rest.remove_prefix(kUnit.size());
  const size_t slash = rest.find('/');
  if (slash == std::string_view::npos) return false;
  const std::string_view unit = rest.substr(0, slash), credential = rest.substr(slash + 1);
  *fault = "its socket's address names what can be no unit";
  if (!isUnitName(unit)) return false;
  *fault = "its socket's address names what can be no credential";
  if (!isCredentialName(credential)) return false;
  *out = {std::string(unit), std::string(credential)};
  return true;
}

CredentialSource CredentialMap::find(const CredentialName& name) const {
  const size_t at = name.unit.find('@');
  if (const auto own = sources_.find(name.unit + '/' + name.credential); own != sources_.end()) return own->second;
  if (at == std::string::npos) return {"systemd/" + name.unit + '/' + name.credential, ""};
  const std::string ofTemplate = name.unit.substr(0, at + 1) + name.unit.substr(name.unit.rfind('.'));
  if (const auto all = sources_.find(ofTemplate + '/' + name.credential); all != sources_.end()) return all->second;
  std::string path = "systemd/" + name.unit + '/' + name.credential;
  path[path.find('@')] = '/';
  return {path, ""};
}

}  // namespace quorate
