// A queue of queues, one for each uid, served in turn: who asks much waits behind its own requests, not others'.
#pragma once
#include <cstdint>
#include <deque>
#include <unordered_map>
#include <utility>

namespace quorate {

template <class T>
class FairQueue {
 public:
  void push(uint32_t uid, T&& item) {
    std::deque<T>& lane = lanes_[uid];
    if (lane.empty()) turns_.push_back(uid);
    lane.push_back(std::move(item));
    size_++;
  }
  bool pop(T* out) {
    if (turns_.empty()) return false;
    const uint32_t uid = turns_.front();
    turns_.pop_front();
    const auto lane = lanes_.find(uid);
    *out = std::move(lane->second.front());
    lane->second.pop_front();
    size_--;
    if (lane->second.empty()) lanes_.erase(lane);
    else turns_.push_back(uid);
    return true;
  }
  // Takes the first item of this uid that `wanted` accepts.
  template <class F>
  bool take(uint32_t uid, F wanted, T* out) {
    const auto lane = lanes_.find(uid);
    if (lane == lanes_.end()) return false;
    for (auto at = lane->second.begin(); at != lane->second.end(); ++at) {
      if (!wanted(*at)) continue;
      *out = std::move(*at);
      lane->second.erase(at);
      size_--;
      if (lane->second.empty()) {
        lanes_.erase(lane);
        std::erase(turns_, uid);
      }
      return true;
    }
    return false;
  }
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  std::unordered_map<uint32_t, std::deque<T>> lanes_;
  std::deque<uint32_t> turns_;  // uids with a non-empty lane, each once
  size_t size_ = 0;
};

}  // namespace quorate
