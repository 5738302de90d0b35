// libFuzzer: bytes as they come from a socket go through the frame reader, the decoders and the hot methods, with granted keys of
// every quick scheme and session keys at hand (run.h).
//
// Input: 1 byte of choices (run.h), then pieces: 1 byte n, n bytes (0: 256 bytes); each piece arrives by itself. With 64 in the
// choices the rest goes to the other decoders instead (decoders.cc).
// Seeds: written by the same program, `frames_fuzz --seeds FOLDER` (native/Makefile does so at each run).
#include <cstdlib>

#include "fuzz/run.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  if (data[0] & 64) {
    quorate::fuzz::decode({data + 1, size - 1});
    return 0;
  }
  quorate::fuzz::Run run(data[0]);
  for (size_t at = 1; at < size;) {
    const size_t n = std::min<size_t>(data[at] == 0 ? 256 : data[at], size - at - 1);
    if (!run.take(data + at + 1, n)) break;
    at += n + 1;
  }
  return 0;
}

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
  if (*argc == 3 && std::string((*argv)[1]) == "--seeds") {
    quorate::fuzz::writeSeeds((*argv)[2]);
    std::exit(0);
  }
  return 0;
}
