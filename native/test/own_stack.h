// Calls a function on a stack that the test owns, and keeps what it leaves there and in the registers: every byte that it could have
// written below its caller, at an alignment that the test chooses and the process's layout does not.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace quorate::test {

class OwnStack {
 public:
  // Up to nine words, as integers and pointers are passed: six in registers, three on the stack.
  using Arguments = uint64_t[9];
  // An alignment beyond 16 bytes, which calls guarantee (System V ABI, AMD64, 3.2.2), is by chance: `offset` moves it.
  static constexpr size_t kOffsetStep = 16, kOffsetMax = 128;

  // `bytes`: a multiple of the page. A function that needs more dies on the unreadable page below.
  explicit OwnStack(size_t bytes);
  ~OwnStack();
  OwnStack(const OwnStack&) = delete;
  OwnStack& operator=(const OwnStack&) = delete;

  // Fills the stack with one byte, clears the vector registers and calls `function`, whose arguments lie `offset` bytes (a multiple of
  // kOffsetStep) below the stack's end. Returns what it returned.
  uint64_t call(size_t offset, const void* function, const Arguments& arguments);

  // What the last call left: the whole stack, the vector registers that this CPU has, then
  // rax, rcx, rdx, rsi, rdi, r8 to r11. What calls preserve is not looked at.
  std::vector<uint8_t> left() const;
  // Where in left() something lies, in words.
  std::string place(size_t at) const;

 private:
  struct alignas(64) Registers {
    uint8_t vectors[32][64];
    uint64_t general[9];
  };

  size_t bytes_;
  uint8_t* mapped_;
  Registers registers_;
};

// False where a function's frame is not where its stack pointer is (AddressSanitizer), and on other CPUs than x86-64.
bool ownStackShowsAll();

}  // namespace quorate::test
