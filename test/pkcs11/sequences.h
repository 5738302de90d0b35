// Random sequences of calls: what each call may use, and what must hold after each.
#pragma once
#include <memory>
#include <string_view>

#include "program.h"

// A value that is put into sensitive keys alone: nothing that the module gives may have it.
inline constexpr char kMarker[] = "\x9c\x41marker-of-a-sensitive-value!\x07";

class Dice {
 public:
  explicit Dice(uint64_t seed) : state_(seed) {}
  uint64_t next() {  // splitmix64
    uint64_t z = state_ += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  size_t below(size_t end) { return static_cast<size_t>(next() % end); }
  bool oneIn(size_t n) { return below(n) == 0; }
  template <class T>
  T of(std::initializer_list<T> all) {
    return all.begin()[below(all.size())];
  }

 private:
  uint64_t state_;
};

// A place for an answer, of exactly `room` bytes between guards.
class Place {
 public:
  explicit Place(size_t room);
  ~Place();  // what was written beyond the room, or has the marker, is a failure
  CK_BYTE* at() { return bytes_.get() + kGuard; }
  const size_t room;

 private:
  static constexpr size_t kGuard = 32;
  std::unique_ptr<CK_BYTE[]> bytes_;
};

struct World {
  explicit World(uint64_t seed) : dice(seed) {}
  Dice dice;
  std::vector<CK_SESSION_HANDLE> sessions;
  std::vector<CK_OBJECT_HANDLE> objects;

  CK_SESSION_HANDLE session();
  CK_OBJECT_HANDLE object();
  std::string data();
  // Lives as long as the world; some parameters are wrong.
  CK_MECHANISM* mechanism();
  Wanted& wanted();
  void made(CK_OBJECT_HANDLE handle);

  std::vector<std::unique_ptr<std::string>> kept;
  std::vector<std::unique_ptr<Wanted>> templates;
  CK_MECHANISM last{};
  // After an Init that went well, calls of its kind in its session come more often.
  std::string_view family;
  size_t turns = 0;
  CK_SESSION_HANDLE lastSession = 0;
  std::string_view use;   // of the call that is made: what its mechanism should be for
  bool isRight = false;  // mechanisms and templates have nothing wrong in them
};

// Keys to begin with.
void makeKeys(World& world);

// One call of some function.
void callOnce(World& world, CK_RV* rv);
void breaks(const char* what);
void calling(const char* name);
