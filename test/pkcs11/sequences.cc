// sequences SEED COUNT: random sequences of calls, each from C_Initialize to C_Finalize. A line for each invariant that does not hold, with the seed of its
// sequence; `sequences SEED 1` repeats it (against a daemon in the same state).
#include "sequences.h"

#include <set>

namespace {

uint64_t sequence = 0;
const char* called = "";

// Every value that the module is known to give (cryptoki.h, errors.ts).
const std::set<CK_RV> kKnown = {0x0, 0x1, 0x2, 0x3, 0x5, 0x6, 0x7, 0x8, 0xa, 0x10, 0x11, 0x12, 0x13, 0x1b, 0x20, 0x21, 0x30, 0x31, 0x32, 0x40, 0x41, 0x51, 0x54, 0x60, 0x62, 0x63,
                                0x67, 0x68, 0x69, 0x6a, 0x70, 0x71, 0x82, 0x90, 0x91, 0xa0, 0xa1, 0xa2, 0xa4, 0xb1, 0xb3, 0xb4, 0xb5, 0xb7, 0xb8, 0xc0, 0xc1, 0xd0, 0xd1, 0xe0, 0xe2,
                                0xf0, 0xf2, 0x100, 0x101, 0x103, 0x104, 0x110, 0x112, 0x113, 0x115, 0x120, 0x140, 0x150, 0x180, 0x190, 0x191};
constexpr int kPatienceS = 60;

}  // namespace

void breaks(const char* what) {
  std::printf("sequence %lu: C_%s: %s\n", static_cast<unsigned long>(sequence), called, what);
  std::fflush(stdout);
  failures++;
}

void calling(const char* name) { called = name; }

Place::Place(size_t bytes) : room(bytes), bytes_(new CK_BYTE[bytes + 2 * kGuard]) { std::memset(bytes_.get(), 0xa5, room + 2 * kGuard); }

Place::~Place() {
  for (size_t i = 0; i < kGuard; i++) {
    if (bytes_[i] == 0xa5 && bytes_[kGuard + room + i] == 0xa5) continue;
    breaks("something was written beyond what was given");
    break;
  }
  const std::string_view all(reinterpret_cast<const char*>(at()), room);
  if (all.find(std::string_view(kMarker, 12)) != std::string_view::npos) breaks("a sensitive value was told");
}

CK_SESSION_HANDLE World::session() {
  if (turns > 0 && !dice.oneIn(10)) return lastSession;
  lastSession = sessions.empty() || dice.oneIn(40) ? dice.below(99'999) : sessions[dice.below(sessions.size())];
  return lastSession;
}
CK_OBJECT_HANDLE World::object() { return objects.empty() || dice.oneIn(25) ? dice.of<CK_OBJECT_HANDLE>({0, 1, ~0ul, dice.next(), dice.below(500)}) : objects[dice.below(objects.size())]; }
std::string World::data() { return std::string(dice.of<size_t>({0, 1, 15, 16, 17, 24, 32, 64, 100, 256, 4096, 70'000}), static_cast<char>('a' + dice.below(20))); }
void World::made(CK_OBJECT_HANDLE handle) {
  if (handle == 0) return;
  if (objects.size() < 12) return objects.push_back(handle);
  objects[dice.below(objects.size())] = handle;
}

int main(int argc, char** argv) {
  const uint64_t first = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;
  const uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 100;
  load();
  size_t calls = 0, good = 0;
  CK_ULONG slots = 0;
  for (sequence = first; sequence < first + count && failures < 20; sequence++) {
    World world(sequence);
    alarm(kPatienceS);  // a hang ends the program
    called = "Initialize";
    CK_C_INITIALIZE_ARGS args{};
    args.flags = world.dice.oneIn(2) ? CKF_OS_LOCKING_OK : CK_FLAGS{0};
    if (p11->C_Initialize(world.dice.oneIn(3) ? nullptr : &args) != CKR_OK) breaks("refused");
    for (int i = 0; i < 100 && p11->C_GetSlotList(CK_TRUE, nullptr, &slots) == CKR_OK && slots == 0; i++) usleep(30'000);  // one that was killed comes back
    for (int i = 0; i < 2; i++) {
      CK_SESSION_HANDLE session = 0;
      if (p11->C_OpenSession(0, CKF_SERIAL_SESSION | (i == 0 ? CKF_RW_SESSION : CK_FLAGS{0}), nullptr, nullptr, &session) == CKR_OK) world.sessions.push_back(session);
    }
    makeKeys(world);
    for (size_t i = 15 + world.dice.below(40); i > 0; i--) {
      CK_RV rv = CKR_OK;
      callOnce(world, &rv);
      calls++;
      if (std::getenv("SEQUENCES_TRACE") != nullptr) std::printf("C_%s 0x%lx\n", called, rv);
      good += rv == CKR_OK;
      if (kKnown.contains(rv)) continue;
      char text[40];
      std::snprintf(text, sizeof(text), "gave 0x%lx, which is none", rv);
      breaks(text);
    }
    called = "Finalize";
    if (p11->C_Finalize(nullptr) != CKR_OK) breaks("refused");
  }
  std::printf("%lu sequences from %lu, %zu calls, %zu good, %d broken\n", static_cast<unsigned long>(count), static_cast<unsigned long>(first), calls, good, failures);
  return failures == 0 ? 0 : 1;
}
