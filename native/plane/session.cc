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
  totals_->keys++;
  recount(key.get());
  if (key->sheets) user_->sheetBytes += key->sheets->bytes();
  key->sheetsCounted = key->sheets != nullptr;
  keys_.emplace(*number, std::move(key));
  count();
  return Code::OK;
}

void Session::recount(PreparedKey* key) {
  totals_->arenaBytes -= key->arenaBytes;
  key->arenaBytes = arenaBytesOf(*key);
  totals_->arenaBytes += key->arenaBytes;
}

void Session::setSheets(PreparedKey* key, SheetsPtr sheets) {
  user_->sheetBytes += sheets->bytes() - key->sheets->bytes();
  key->sheets = std::move(sheets);
}

void Session::discount(const PreparedKey& key) {
  totals_->arenaBytes -= key.arenaBytes;
  totals_->keys--;
  user_->sessionKeys--;
  if (key.sheetsCounted) user_->sheetBytes -= key.sheets->bytes();
}

bool Session::destroyKey(uint64_t number) {
  const auto found = keys_.find(number);
  if (found == keys_.end()) return false;
  totals_->streams -= std::erase_if(streams_, [&](const auto& entry) { return entry.second.sessionKey == number; });
  const size_t ended = std::erase_if(operations_, [&](const auto& entry) { return entry.second.sessionKey == number; });
  totals_->operations -= ended;
  totals_->arenaBytes -= ended * kOperationBytes;
  discount(*found->second);
  keys_.erase(found);
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
  totals_->streams++;
  count();
  return Code::OK;
}

bool Session::endStream(uint64_t number) {
  if (streams_.erase(number) == 0) return false;
  totals_->streams--;
  count();
  return true;
}

void Session::challenge(const KeyId* keyId) {
  for (auto& [number, stream] : streams_)
    if (stream.sessionKey == 0 && (keyId == nullptr || stream.keyId == *keyId)) stream.mustAuthorize = true;
  for (auto& [number, operation] : operations_)
    if (operation.isOfStoredKey() && (keyId == nullptr || operation.keyId == *keyId)) operation.mustAuthorize = true;
}

Operation* Session::operation(uint64_t number) {
  const auto found = operations_.find(number);
  return found == operations_.end() ? nullptr : &found->second;
}

Code Session::addOperation(Operation&& operation, uint64_t* number) {
  if (operations_.size() >= limits::operations_per_session_max) return Code::LIMIT_EXCEEDED;
  *number = ++lastOperation_;
  operations_.emplace(*number, std::move(operation));
  totals_->operations++;
  totals_->arenaBytes += kOperationBytes;
  return Code::OK;
}

bool Session::endOperation(uint64_t number) {
  if (operations_.erase(number) == 0) return false;
  totals_->operations--;
  totals_->arenaBytes -= kOperationBytes;
  return true;
}

void Session::addTicket(const UseTicket& ticket) {
  if (tickets_.size() >= kTicketsMax) tickets_.erase(tickets_.begin());
  tickets_.push_back(ticket);
}

bool Session::takeTicket(Bytes given, const KeyId& keyId, uint64_t sessionKey, int64_t nowNs) {
  std::erase_if(tickets_, [nowNs](const UseTicket& ticket) { return nowNs >= ticket.expiresNs; });
  return std::erase_if(tickets_, [&](const UseTicket& ticket) { return equalConstantTime(ticket.bytes, given) && ticket.keyId == keyId && ticket.sessionKey == sessionKey; }) > 0;
}

void Session::clear() {
  for (const auto& [number, key] : keys_) discount(*key);
  totals_->streams -= streams_.size();
  totals_->operations -= operations_.size();
  totals_->arenaBytes -= operations_.size() * kOperationBytes;
  keys_.clear();
  streams_.clear();
  operations_.clear();
  tickets_.clear();
  count();
}

}  // namespace quorate
