// Slow work off the plane's thread: a bounded, fair queue and a few threads. What was asked and what it needs is owned by the job.
#pragma once
#include <condition_variable>
#include <thread>

#include "plane/fair_queue.h"
#include "plane/methods.h"

namespace quorate {

// What some jobs need beside their keys.
struct JobExtra {
  std::unique_ptr<PlannedObject> plan = nullptr;
  Operation* operation = nullptr;
  uint64_t operationNumber = 0;
  OperationStep step = {};
};

// Made and destroyed on the plane's thread; a worker only runs it.
struct Job {
  uint64_t connection = 0;
  uint32_t id = 0;
  UidPtr user;
  uint64_t readyEpoch = 0;     // the plane was not sealed since
  uint32_t identityEpoch = 0;  // nor did the session end, or pass to another identity
  HeldRequest body;
  HotRequest request;       // views into body
  KeyPtr key, target;
  std::vector<KeyPtr> versions;

  std::unique_ptr<PlannedObject> plan;           // the object that is made
  std::unique_ptr<MechanismOperation> operation;  // one part of it: the session waits for it to come back
  OperationStep step;
  uint64_t operationNumber = 0;

  Code code = Code::OK;
  Fault fault;
  WireBuffer answer;  // a whole frame, when code is OK and nothing was made
  NewKey made;

  bool makesKey() const { return plan || request.method == Method::Unwrap || request.method == Method::CreateSessionKey || request.method == Method::ImportSessionKey; }
  void run();
};

class WorkerPool {
 public:
  // done: called on the worker's thread with each job that ran.
  WorkerPool(unsigned threads, std::function<void(std::unique_ptr<Job>)> done);
  ~WorkerPool() { stop(); }
  void submit(std::unique_ptr<Job> job);
  // Ends the threads after the jobs that run now; drops those that wait. Idempotent.
  void stop();

 private:
  void work();
  std::mutex mutex_;
  std::condition_variable wake_;
  FairQueue<std::unique_ptr<Job>> queue_;
  bool stopping_ = false;
  std::function<void(std::unique_ptr<Job>)> done_;
  std::vector<std::thread> threads_;
};

// Blocks every signal on the calling thread: they are for the process's main thread. Names the thread (at most 15 bytes).
void settleThread(const char* name);

}  // namespace quorate
