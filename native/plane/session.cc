#include "plane/session.h"

#include <charconv>

namespace quorate {

uint64_t sessionKeyNumber(std::string_view ref) {
  if (!ref.starts_with(kSessionPrefix)) return 0;
  const std::string_view digits = ref.substr(kSessionPrefix.size());
  if (digits.empty() || digits[0] < '1' || digits[0] > '9') return 0;
  uint64_t number = 0;
  const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  return error == std::errc() && end == digits.data() + digits.size() ? number : 0;
}

void Session::count() {
  row.sessionKeys.store(static_cast<uint32_t>(keys_.size()), std::memory_order_relaxed);
  row.streams.store(static_cast<uint32_t>(streams_.size()), std::memory_order_relaxed);
}

PreparedKey* Session::key(uint64_t number) {
  const auto found = keys_.find(number);
  return found == keys_.end() ? nullptr : found->second.get();
}

Code Session::addKey(KeyPtr key, uint64_t* number) {
  if (keyQuotaReached()) return Code::SESSION_KEY_QUOTA;
  *number = ++lastKey_;
  user_->sessionKeys++;
  ++*keysTotal_;
  *arenaBytes_ += arenaBytesOf(*key);
  keys_.emplace(*number, std::move(key));
  count();
  return Code::OK;
}

bool Session::destroyKey(uint64_t number) {
  const auto found = keys_.find(number);
  if (found == keys_.end()) return false;
  std::erase_if(streams_, [&](const auto& entry) {
    if (entry.second.sessionKey != number) return false;
    --*streamsTotal_;
    return true;
  });
  *arenaBytes_ -= arenaBytesOf(*found->second);
  keys_.erase(found);
  user_->sessionKeys--;
  --*keysTotal_;
  count();
  return true;
}

Stream* Session::stream(uint64_t number) {
  const auto found = streams_.find(number);
  return found == streams_.end() ? nullptr : &found->second;
}

Code Session::addStream(Stream&& stream, uint64_t* number) {
  if (streams_.size() >= limits::streams_per_connection_max) return Code::LIMIT_EXCEEDED;
  *number = ++lastStream_;
  streams_.emplace(*number, std::move(stream));
  ++*streamsTotal_;
  count();
  return Code::OK;
}

bool Session::endStream(uint64_t number) {
  if (streams_.erase(number) == 0) return false;
  --*streamsTotal_;
  count();
  return true;
}

void Session::challengeStreams(const KeyId* keyId) {
  for (auto& [number, stream] : streams_)
    if (stream.sessionKey == 0 && (keyId == nullptr || stream.keyId == *keyId)) stream.mustAuthorize = true;
}

void Session::clear() {
  for (const auto& [number, key] : keys_) *arenaBytes_ -= arenaBytesOf(*key);
  user_->sessionKeys -= keys_.size();
  *keysTotal_ -= keys_.size();
  *streamsTotal_ -= streams_.size();
  keys_.clear();
  streams_.clear();
  count();
}

}  // namespace quorate
