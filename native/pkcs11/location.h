// Where the daemon listens: the rules of src/base/settings.ts and src/base/paths.ts for a client.
#pragma once
#include <string>

namespace quorate::pkcs11 {

// QUORATE_SOCKET, else the configuration file's `socket`, else this user's daemon. False when the configuration names none that can be used,
// or when the folder of last resort belongs to somebody else: the socket in it would be an impostor's.
// In a program that runs with more rights than its caller the environment says nothing.
bool daemonSocket(std::string* path);

// The value of the top level's `socket` in the text of a configuration. A basic or literal string on one line; `found` says whether there
// is one, the result whether it is usable: an absolute path.
bool socketIn(const std::string& toml, bool* found, std::string* path);

// QUORATE_TIMEOUT_MS, from 1 to 600,000; else 10,000.
int timeoutMs();

}  // namespace quorate::pkcs11
