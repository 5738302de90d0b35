// Prepared keys by number, for `primitives`. Touched on the event loop only; numbers are never reused.
#pragma once
#include <memory>
#include <vector>

#include "addon/arguments.h"

namespace quorate::addon {

template <class T>
class PreparedTable {
 public:
  double put(T&& prepared) {
    slots_->push_back(std::make_unique<T>(std::move(prepared)));
    return static_cast<double>(slots_->size());
  }
  void drop(uint64_t number) {
    if (number <= slots_->size()) (*slots_)[number - 1].reset();
  }
  // nullptr when `value` is not a number that put() gave, or was dropped.
  const T* get(napi_env env, napi_value value) const {
    double number = 0;
    if (napi_get_value_double(env, value, &number) != napi_ok || !(number >= 1 && number <= static_cast<double>(slots_->size()))) return nullptr;
    const size_t index = static_cast<size_t>(number);
    return number == static_cast<double>(index) ? (*slots_)[index - 1].get() : nullptr;
  }

 private:
  // Never destroyed: at exit the arena may be gone before it.
  std::vector<std::unique_ptr<T>>* slots_ = new std::vector<std::unique_ptr<T>>;
};

}  // namespace quorate::addon
