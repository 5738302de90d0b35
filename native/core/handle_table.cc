#include <mutex>
#include <unordered_map>

#include "core/require.h"
#include "core/secret.h"

namespace quorate {
namespace {

struct Table {
  std::mutex mutex;
  std::unordered_map<uint64_t, SecretPtr> secrets;
  uint64_t last = 0;
};

// Never destroyed: other static objects may still drop handles after main.
Table& table() {
  static Table* const instance = new Table;
  return *instance;
}

}  // namespace

uint64_t HandleTable::put(Secret&& secret) {
  auto shared = std::make_shared<const Secret>(std::move(secret));
  Table& t = table();
  std::lock_guard lock(t.mutex);
  QUORATE_REQUIRE(t.last < (1ull << 53) - 1);  // a JavaScript number holds no more
  const uint64_t handle = ++t.last;
  t.secrets.emplace(handle, std::move(shared));
  return handle;
}

SecretPtr HandleTable::get(uint64_t handle) {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  const auto found = t.secrets.find(handle);
  return found == t.secrets.end() ? nullptr : found->second;
}

SecretPtr HandleTable::take(uint64_t handle) {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  const auto found = t.secrets.find(handle);
  if (found == t.secrets.end()) return nullptr;
  SecretPtr secret = std::move(found->second);
  t.secrets.erase(found);
  return secret;
}

bool HandleTable::drop(uint64_t handle) { return take(handle) != nullptr; }

size_t HandleTable::size() {
  Table& t = table();
  std::lock_guard lock(t.mutex);
  return t.secrets.size();
}

}  // namespace quorate
