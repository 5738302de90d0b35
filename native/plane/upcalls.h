// What the plane asks of JavaScript, on its way: filled by the plane's thread, drained by any other, fair per uid.
#pragma once
#include <mutex>

#include "plane/fair_queue.h"
#include "plane/plane.h"

namespace quorate {

class UpcallQueue {
 public:
  explicit UpcallQueue(std::function<void()> onUpcalls) : onUpcalls_(std::move(onUpcalls)) {}
  // Moves all of `fresh` in; tells when the queue was empty.
  void publish(std::vector<Upcall>* fresh);
  std::vector<Upcall> drain(size_t max);
  // Takes back an upcall that nobody has drained yet.
  bool cancel(uint32_t uid, uint64_t token, Upcall* out);

 private:
  std::mutex mutex_;
  FairQueue<Upcall> queue_;
  std::function<void()> onUpcalls_;
};

}  // namespace quorate
