#include "core/random.h"

#include <openssl/rand.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstring>

#include "core/require.h"

#ifndef MADV_WIPEONFORK
#define MADV_WIPEONFORK 18
#endif

namespace quorate {
namespace {

constexpr size_t kPoolBytes = 4096;
constexpr size_t kHeaderBytes = 16;

// One page that the kernel zeroes in a child of fork: `left` is then 0 and the child draws its own bytes, where a copied
// pool would repeat the parent's nonces. Where the kernel cannot (before 4.14), the process id is compared instead.
struct NoncePool {
  struct Page {
    uint32_t left;  // unused bytes, at the end
    int32_t owner;
    uint8_t pad[kHeaderBytes - 8];
    uint8_t bytes[kPoolBytes - kHeaderBytes];
  };
  static_assert(sizeof(Page) == kPoolBytes);
  Page* page = nullptr;
  bool wipedOnFork = false;

  NoncePool() {
    void* mapped = mmap(nullptr, kPoolBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    QUORATE_REQUIRE(mapped != MAP_FAILED);
    madvise(mapped, kPoolBytes, MADV_DONTDUMP);
    wipedOnFork = madvise(mapped, kPoolBytes, MADV_WIPEONFORK) == 0;
    page = static_cast<Page*>(mapped);
  }
  ~NoncePool() {
    wipe(page, kPoolBytes);
    munmap(page, kPoolBytes);
  }
  void refill() {
    QUORATE_REQUIRE(RAND_bytes(page->bytes, int(sizeof page->bytes)) == 1);
    page->owner = wipedOnFork ? 0 : int32_t(getpid());
    page->left = sizeof page->bytes;
  }
};

}  // namespace

// libcrypto keeps two generators a thread: this one never yields public values, so that none can tell anything about keys.
void randomBytes(MutBytes out) {
  while (!out.empty()) {
    const size_t n = out.size() < (1u << 30) ? out.size() : 1u << 30;
    QUORATE_REQUIRE(RAND_priv_bytes(out.data(), int(n)) == 1);
    out = out.subspan(n);
  }
}

void randomNonce(MutBytes out) {
  thread_local NoncePool pool;
  NoncePool::Page& page = *pool.page;
  QUORATE_REQUIRE(out.size() <= sizeof page.bytes);
  if (page.left < out.size() || (!pool.wipedOnFork && page.owner != int32_t(getpid()))) pool.refill();
  uint8_t* from = page.bytes + sizeof page.bytes - page.left;
  std::memcpy(out.data(), from, out.size());
  std::memset(from, 0, out.size());  // no elision: the pool outlives the call
  page.left -= uint32_t(out.size());
}

}  // namespace quorate
