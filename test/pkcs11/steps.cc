// Does one call for each line that it reads, and says what came of it: for daemons that go away meanwhile, and for those that are none.
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>

#include <ctime>
#include <iostream>

#include "program.h"

namespace {

std::vector<int> watched;

// Closes every descriptor that a program does not know, and gives each number to a socket of its own.
CK_RV steal() {
  for (int fd = 3; fd < 16; fd++) {
    int pair[2];
    close(fd);
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair) != 0) return CKR_GENERAL_ERROR;
    watched.push_back(fcntl(pair[0] == fd ? pair[1] : pair[0], F_DUPFD, 100));
    close(pair[0] == fd ? pair[1] : pair[0]);
    if (fcntl(fd, F_GETFD) < 0) return CKR_GENERAL_ERROR;
  }
  return CKR_OK;
}

// CKR_OK when nothing was written to them.
CK_RV written() {
  char byte;
  for (const int fd : watched)
    if (recv(fd, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN) return CKR_DATA_INVALID;
  return CKR_OK;
}

}  // namespace

int main() {
  load();
  p11->C_Initialize(nullptr);
  CK_SESSION_HANDLE session = 0;
  CK_OBJECT_HANDLE key = 0;
  CK_BYTE random[16];
  for (std::string word; std::getline(std::cin, word);) {
    CK_RV rv = CKR_GENERAL_ERROR;
    timespec from{}, to{};
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (word == "open") rv = p11->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &session);
    if (word == "random") rv = p11->C_GenerateRandom(session, random, sizeof(random));
    if (word == "slots") {
      CK_ULONG count = 0;
      rv = p11->C_GetSlotList(CK_TRUE, nullptr, &count);
      if (rv == CKR_OK) rv = 100 + count;
    }
    if (word == "token") {
      CK_TOKEN_INFO info;
      rv = p11->C_GetTokenInfo(0, &info);
    }
    if (word == "find") {
      rv = p11->C_FindObjectsInit(session, nullptr, 0);
      if (rv == CKR_OK) p11->C_FindObjectsFinal(session);
    }
    if (word.starts_with("key ")) {
      key = findKey(session, CKO_PRIVATE_KEY, word.c_str() + 4);
      rv = key != 0 ? CKR_OK : CKR_KEY_HANDLE_INVALID;
    }
    if (word == "steal") rv = steal();
    if (word == "stolen") rv = written();
    if (word == "count") {
      RV(CKR_OK, p11->C_FindObjectsInit(session, nullptr, 0));
      CK_OBJECT_HANDLE found[64];
      CK_ULONG count = 0;
      RV(CKR_OK, p11->C_FindObjects(session, found, 64, &count));
      p11->C_FindObjectsFinal(session);
      rv = 0x100 + count;
    }
    if (word == "attribute") {
      CK_OBJECT_CLASS kind = 0;
      CK_ATTRIBUTE attribute{CKA_CLASS, &kind, sizeof(kind)};
      rv = p11->C_GetAttributeValue(session, key, &attribute, 1);
    }
    if (word == "sign") rv = signOnce(session, key);
    clock_gettime(CLOCK_MONOTONIC, &to);
    std::printf("0x%lx %ld\n", rv, (to.tv_sec - from.tv_sec) * 1000 + (to.tv_nsec - from.tv_nsec) / 1'000'000);
    std::fflush(stdout);
  }
  p11->C_Finalize(nullptr);
}
