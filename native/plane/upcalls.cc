#include "plane/upcalls.h"

namespace quorate {

void UpcallQueue::publish(std::vector<Upcall>* fresh) {
  if (fresh->empty()) return;
  bool wasEmpty;
  {
    const std::lock_guard lock(mutex_);
    wasEmpty = queue_.empty();
    for (Upcall& upcall : *fresh) {
      const uint32_t uid = upcall.peer->uid;
      queue_.push(uid, std::move(upcall));
    }
  }
  fresh->clear();
  if (wasEmpty && onUpcalls_) onUpcalls_();
}

std::vector<Upcall> UpcallQueue::drain(size_t max) {
  std::vector<Upcall> out;
  const std::lock_guard lock(mutex_);
  Upcall next;
  while (out.size() < max && queue_.pop(&next)) out.push_back(std::move(next));
  return out;
}

bool UpcallQueue::cancel(uint32_t uid, uint64_t token, Upcall* out) {
  const std::lock_guard lock(mutex_);
  return queue_.take(uid, [token](const Upcall& upcall) { return upcall.token == token; }, out);
}

}  // namespace quorate
