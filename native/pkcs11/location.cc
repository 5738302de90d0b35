#include "pkcs11/location.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string_view>
#include <vector>

#include "core/limits.gen.h"

namespace quorate::pkcs11 {

namespace {

constexpr size_t kConfigBytesMax = 1 << 20;
constexpr int kTimeoutMsMax = 600'000;

std::string variable(const char* name) {
  const char* const value = secure_getenv(name);
  return value == nullptr ? "" : value;
}

std::string absoluteVariable(const char* name) {
  std::string value = variable(name);
  return value.starts_with('/') ? value : "";
}

std::string homeFolder() {
  if (std::string home = absoluteVariable("HOME"); !home.empty()) return home;
  passwd entry{}, *found = nullptr;
  char text[4096];
  return getpwuid_r(getuid(), &entry, text, sizeof(text), &found) == 0 && found != nullptr && found->pw_dir != nullptr ? found->pw_dir : "/";
}

enum class FileState { absent, unreadable, read };

FileState readFile(const std::string& path, bool skipsForbidden, std::string* text) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno == ENOENT || errno == ENOTDIR || (skipsForbidden && errno == EACCES) ? FileState::absent : FileState::unreadable;
  std::string read;
  char block[4096];
  ssize_t got = 0;
  while (read.size() <= kConfigBytesMax && (got = ::read(fd, block, sizeof(block))) > 0) read.append(block, static_cast<size_t>(got));
  close(fd);
  if (got < 0 || read.size() > kConfigBytesMax) return FileState::unreadable;
  *text = std::move(read);
  return FileState::read;
}

std::string_view trimmed(std::string_view text) {
  const size_t from = text.find_first_not_of(" \t\r");
  return from == std::string_view::npos ? std::string_view{} : text.substr(from, text.find_last_not_of(" \t\r") - from + 1);
}

// "..." without escapes but \\ and \", or '...'; then nothing, or a comment.
bool readString(std::string_view text, std::string* value) {
  if (text.empty() || (text[0] != '"' && text[0] != '\'')) return false;
  const char quote = text[0];
  size_t at = 1;
  for (value->clear(); at < text.size() && text[at] != quote; at++) {
    if (quote == '"' && text[at] == '\\') {
      at++;
      if (at == text.size() || (text[at] != '\\' && text[at] != '"')) return false;
    }
    value->push_back(text[at]);
  }
  if (at >= text.size()) return false;
  const std::string_view rest = trimmed(text.substr(at + 1));
  return rest.empty() || rest[0] == '#';
}

// False when the file cannot be used; *path stays empty when it names no socket.
bool configuredSocket(std::string* path) {
  std::vector<std::string> candidates;
  const std::string named = variable("QUORATE_CONFIG");
  if (!named.empty()) {
    candidates = {named};
  } else {
    const std::string config = absoluteVariable("XDG_CONFIG_HOME");
    candidates = {(config.empty() ? homeFolder() + "/.config" : config) + "/quorate/quorate.toml", "/etc/quorate/quorate.toml"};
  }
  for (const std::string& file : candidates) {
    std::string text;
    const FileState state = readFile(file, named.empty(), &text);
    if (state == FileState::absent && named.empty()) continue;
    if (state != FileState::read) return false;
    bool found = false;
    return socketIn(text, &found, path) || !found;
  }
  return true;
}

bool isOwnFolder(const std::string& folder, bool closedToOthers, bool missingIsFine) {
  struct stat info {};
  if (lstat(folder.c_str(), &info) != 0) return missingIsFine && errno == ENOENT;
  return S_ISDIR(info.st_mode) && info.st_uid == getuid() && (!closedToOthers || (info.st_mode & 077) == 0);
}

}  // namespace

bool socketIn(const std::string& toml, bool* found, std::string* path) {
  *found = false;
  std::string_view rest = toml;
  while (!rest.empty()) {
    const size_t end = rest.find('\n');
    const std::string_view line = trimmed(rest.substr(0, end));
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    if (line.starts_with('[')) return false;  // tables come after the top level's settings
    const size_t equals = line.find('=');
    if (equals == std::string_view::npos) continue;
    const std::string_view name = trimmed(line.substr(0, equals));
    if (name != "socket" && name != "\"socket\"" && name != "'socket'") continue;
    *found = true;
    return readString(trimmed(line.substr(equals + 1)), path) && path->starts_with('/');
  }
  return false;
}

bool daemonSocket(std::string* path) {
  *path = variable("QUORATE_SOCKET");
  if (!path->empty()) return true;
  if (!configuredSocket(path)) return false;
  if (!path->empty()) return true;
  const std::string runtime = absoluteVariable("XDG_RUNTIME_DIR");
  if (!runtime.empty() && isOwnFolder(runtime, false, false)) {
    *path = runtime + "/quorate.sock";
    return true;
  }
  const std::string folder = "/tmp/quorate-" + std::to_string(getuid());
  *path = folder + "/quorate.sock";
  return isOwnFolder(folder, true, true);
}

int timeoutMs() {
  const std::string text = variable("QUORATE_TIMEOUT_MS");
  char* end = nullptr;
  errno = 0;
  const long value = strtol(text.c_str(), &end, 10);
  const bool isValid = !text.empty() && errno == 0 && *end == '\0' && value >= 1 && value <= kTimeoutMsMax;
  return isValid ? static_cast<int>(value) : static_cast<int>(limits::request_timeout_ms);
}

}  // namespace quorate::pkcs11
