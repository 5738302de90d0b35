// Work on one of libuv's threads, answered by a promise.
#pragma once
#include <napi.h>

#include <functional>

#include "addon/arguments.h"

namespace quorate::addon {

class Job : public Napi::AsyncWorker {
 public:
  using Run = std::function<Code(std::string* detail)>;
  using Finish = std::function<Napi::Value(Napi::Env)>;

  // `run` on the worker: it touches no JavaScript, and owns (SecretPtr, copies) whatever it reads. `finish` on the event loop,
  // only when `run` answered OK; otherwise the promise is rejected with its code. Both, and so what they hold, die with the job.
  static Napi::Value start(Napi::Env env, Run run, Finish finish) {
    Job* job = new Job(env, std::move(run), std::move(finish));
    job->Queue();
    return job->deferred_.Promise();
  }

 protected:
  void Execute() override { code_ = run_(&detail_); }
  void OnOK() override {
    const Napi::HandleScope scope(Env());
    if (code_ == Code::OK) {
      deferred_.Resolve(finish_(Env()));
    } else {
      deferred_.Reject(makeError(Env(), code_, detail_));
    }
  }
  // Only when `run` threw: out of memory.
  void OnError(const Napi::Error& error) override { deferred_.Reject(makeError(Env(), Code::LIMIT_EXCEEDED, error.Message())); }

 private:
  Job(Napi::Env env, Run run, Finish finish)
      : Napi::AsyncWorker(env, "quorate"), deferred_(Napi::Promise::Deferred::New(env)), run_(std::move(run)), finish_(std::move(finish)) {}

  Napi::Promise::Deferred deferred_;
  Run run_;
  Finish finish_;
  Code code_ = Code::INTERNAL;
  std::string detail_;
};

}  // namespace quorate::addon
