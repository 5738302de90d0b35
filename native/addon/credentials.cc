// The sockets on which systemd asks for credentials; and, for tests, what is read out of a secret that is JSON.
#include "plane/credentials.h"

#include "addon/bindings.h"
#include "addon/running.h"
#include "addon/system.h"
#include "core/json_field.h"

namespace quorate::addon {

namespace {

constexpr size_t kTextBytesMax = 1024;

Plane& runningPlane() {
  Plane* target = planeIfRunning();
  if (target == nullptr) refuse(Code::BAD_REQUEST, "the plane is not running");
  return *target;
}

// Four strings for each entry: unit, credential, path, field.
CredentialMap mapOf(const Arguments& in, size_t domain, size_t entries) {
  CredentialMap map;
  map.domain = in.text(domain, "domain", 0, limits::domain_name_bytes_max);
  bool isArray = false;
  napi_is_array(in.env(), in.value(entries), &isArray);
  if (!isArray) refuse(Code::BAD_REQUEST, "entries must be an array");
  const Napi::Array list(in.env(), in.value(entries));
  const uint32_t count = list.Length();
  if (count % 4 != 0 || count / 4 > limits::credential_entries_max) refuse(Code::BAD_REQUEST, "entries are four strings each, and not too many");
  for (uint32_t i = 0; i < count; i += 4) {
    std::string texts[4];
    for (uint32_t k = 0; k < 4; k++) {
      const Napi::HandleScope scope(in.env());
      texts[k] = readText(in.env(), list.Get(i + k), "entries", k == 3 ? 0 : 1, kTextBytesMax);
    }
    map.put(texts[0], texts[1], {texts[2], texts[3]});
  }
  return map;
}

Napi::Value listenForCredentials(const Arguments& in) {
  Plane& target = runningPlane();
  const std::string path = in.path(0, "path");
  const auto mode = static_cast<unsigned>(in.integer(1, "mode", 0, 0777));
  CredentialMap map = mapOf(in, 2, 3);
  int fd = -1;
  SocketFile file;
  std::string detail;
  require(listenUnix(path, SocketAccess(mode), &fd, &detail, &file), detail);
  return Napi::Number::New(in.env(), target.listenForCredentials(fd, std::move(map), std::move(file)));
}

Napi::Value listenForCredentialsFd(const Arguments& in) {
  Plane& target = runningPlane();
  const int fd = static_cast<int>(in.integer(0, "fd", 0, INT32_MAX));
  CredentialMap map = mapOf(in, 1, 2);
  std::string detail;
  require(checkListening(fd, &detail), detail);
  return Napi::Number::New(in.env(), target.listenForCredentials(fd, std::move(map)));
}

Napi::Value readJsonField(const Arguments& in) {
  static constexpr const char* outcomes[] = {"found", "notJson", "absent", "compound"};
  const std::string field = in.text(1, "field", 1, kTextBytesMax);
  const Bytes json = in.bytes(0, "json", 0, limits::secret_value_bytes_max);
  Buffer out(json.size() + kJsonFieldRoom);
  size_t written = 0;
  const JsonField found = jsonField(json, field, out, &written);
  Napi::Object result = Napi::Object::New(in.env());
  result.Set("outcome", outcomes[static_cast<size_t>(found)]);
  result.Set("value", makeBytes(in.env(), Bytes(out).first(written)));
  return result;
}

constexpr Export kExports[] = {
    {"planeListenForCredentials", entry<listenForCredentials>},
    {"planeListenForCredentialsFd", entry<listenForCredentialsFd>},
};
constexpr Export kPrimitives[] = {{"jsonField", entry<readJsonField>}};

}  // namespace

std::span<const Export> credentialExports() { return kExports; }
std::span<const Export> jsonExports() { return kPrimitives; }

}  // namespace quorate::addon
