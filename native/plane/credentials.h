// Credentials for systemd (systemd.exec(5), LoadCredential=name:/path/of/socket). Whoever starts a unit connects, sends nothing, and reads until
// the end of the stream: that is the credential. Which unit and which credential it is about stands in the address that its socket is bound to,
// in the abstract namespace:
//
//   NUL  1 to 16 hexadecimal digits  "/unit/"  unit  "/"  credential
//
// Anybody may bind such an address, so the peer's uid must be 0 besides: the kernel's word, and as this process's user namespace has it. An empty
// stream is an empty credential and no error. So a refusal is more than the 1 MiB that a credential may have (1 MiB + 128 KiB where it is to be
// decrypted): systemd then fails, and does not start the unit. No connection is ever closed unanswered while the daemon lives.
#pragma once
#include <map>
#include <memory>
#include <string_view>

#include "core/base.h"

namespace quorate {

// All of a refusal.
inline constexpr size_t kCredentialRefusalBytes = 2 * 1024 * 1024;

struct CredentialName {
  std::string unit, credential;
};

// Letters, digits and : _ . \ @ -, a name before the type, which is service, socket, mount or swap, and after an @, if there is one, an instance.
// At most unit_name_bytes_max bytes.
bool isUnitName(std::string_view name);
// Printable ASCII without : and /, and neither . nor .. .
bool isCredentialName(std::string_view name);
// address: sun_path, as many bytes as the kernel gave. False, with *fault, for any other form.
bool readCredentialAddress(Bytes address, CredentialName* out, const char** fault);

// Which secret a credential is.
struct CredentialSource {
  std::string path, field;  // field "": all of it
};

// What the configuration says of units.
class CredentialMap {
 public:
  std::string domain;  // that all secrets are in; "": the default one

  // unit: as isUnitName(), or a template (worker@.service).
  void put(const std::string& unit, const std::string& credential, CredentialSource source) { sources_[unit + '/' + credential] = std::move(source); }
  // The unit's own entry, else its template's, else systemd/UNIT/CREDENTIAL, where / stands for the @ of an instance, which no path has.
  CredentialSource find(const CredentialName& name) const;

 private:
  std::map<std::string, CredentialSource> sources_;  // no unit's name has a slash
};
using CredentialsPtr = std::shared_ptr<const CredentialMap>;

}  // namespace quorate
