#include "plane/worker.h"

#include <pthread.h>
#include <signal.h>

#include <new>

namespace quorate {

void settleThread(const char* name) {
  sigset_t all;
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, nullptr);
  pthread_setname_np(pthread_self(), name);
}

void Job::run() {
  Work work{request, key.get(), target.get()};
  std::vector<const PreparedKey*> each;
  for (const KeyPtr& version : versions) each.push_back(version.get());
  work.versions = each;
  work.plan = plan.get();
  work.step = step;
  try {
    if (makesKey()) {
      code = makeNewKey(work, &made);
    } else {
      Reply reply(answer, id, static_cast<uint16_t>(request.method));
      code = compute(work, reply);
    }
  } catch (const std::bad_alloc&) {
    code = Code::BUSY;
  }
  fault = std::move(work.fault);
}

WorkerPool::WorkerPool(unsigned threads, std::function<void(std::unique_ptr<Job>)> done) : done_(std::move(done)) {
  for (unsigned i = 0; i < threads; i++) threads_.emplace_back([this] { work(); });
}

void WorkerPool::submit(std::unique_ptr<Job> job) {
  const uint32_t uid = job->user->uid;
  {
    const std::lock_guard lock(mutex_);
    queue_.push(uid, std::move(job));
  }
  wake_.notify_one();
}

void WorkerPool::stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
  std::unique_ptr<Job> dropped;
  while (queue_.pop(&dropped)) dropped.reset();
}

void WorkerPool::work() {
  settleThread("quorate-worker");
  for (;;) {
    std::unique_ptr<Job> job;
    {
      std::unique_lock lock(mutex_);
      wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      queue_.pop(&job);
    }
    job->run();
    done_(std::move(job));
  }
}

}  // namespace quorate
