// The runner of the native tests. The arena is opened once, for all of them, as the daemon does.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include <cstdio>

#include "arena_child.h"
#include "core/secret.h"

int main(int argc, char** argv) {
  if (quorate::test::isArenaChild()) return quorate::test::runArenaChild();
  std::string detail;
  if (quorate::Arena::open(quorate::limits::arena_bytes_default, &detail) != quorate::Code::OK) {
    std::fprintf(stderr, "%s\n", detail.c_str());
    return 2;
  }
  return doctest::Context(argc, argv).run();
}
