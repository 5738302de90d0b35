// Who acts: the principal that the socket says, or the one that a login made of it.
#pragma once
#include "pkcs11/module.h"

namespace quorate::pkcs11 {

// A new connection, and no session object survives.
void logOut(Slot& slot);
// An access token's text: the chain of JWTs, '~', 32 bytes in base64url. False: it is a PIN.
bool readAccessToken(std::string_view text, Credential* out);

}  // namespace quorate::pkcs11
