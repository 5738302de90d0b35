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
  CK_SLOT_ID slot = 0;
  for (std::string word; std::getline(std::cin, word);) {
    CK_RV rv = CKR_GENERAL_ERROR;
    timespec from{}, to{};
    clock_gettime(CLOCK_MONOTONIC, &from);
    if (word == "open") rv = p11->C_OpenSession(slot, CKF_SERIAL_SESSION | CKF_RW_SESSION, nullptr, nullptr, &session);
    if (word.starts_with("slot ")) rv = (slot = std::stoul(word.substr(5)), CKR_OK);
    if (word.starts_with("login ")) rv = p11->C_Login(session, CKU_USER, bytes(word.c_str() + 6), word.size() - 6);
    if (word.starts_with("officer ")) rv = p11->C_Login(session, CKU_SO, bytes(word.c_str() + 8), word.size() - 8);
    if (word.starts_with("context ")) rv = p11->C_Login(session, CKU_CONTEXT_SPECIFIC, bytes(word.c_str() + 8), word.size() - 8);
    if (word.starts_with("initpin ")) rv = p11->C_InitPIN(session, bytes(word.c_str() + 8), word.size() - 8);
    if (word.starts_with("setpin ")) {  // old, a comma, new
      const size_t at = word.find(',');
      rv = p11->C_SetPIN(session, bytes(word.c_str() + 7), at - 7, bytes(word.c_str() + at + 1), word.size() - at - 1);
    }
    if (word == "logout") rv = p11->C_Logout(session);
    if (word == "state") {
      CK_SESSION_INFO info{};
      p11->C_GetSessionInfo(session, &info);
      rv = 0x100 + info.state;
    }
    if (word == "flags") {
      CK_TOKEN_INFO info{};
      rv = p11->C_GetTokenInfo(slot, &info);
      if (rv == CKR_OK) rv = info.flags;
    }
    if (word == "make") key = makeAes(session), rv = key == 0 ? CKR_GENERAL_ERROR : CKR_OK;
    if (word == "keep" || word == "keep asking") {
      CK_MECHANISM mechanism{CKM_EC_KEY_PAIR_GEN, nullptr, 0};
      Wanted half, main;
      half.add(CKA_EC_PARAMS, std::string("\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07", 10));
      main.flag(CKA_TOKEN, true).add(CKA_LABEL, word == "keep" ? "kept" : "asking");
      if (word != "keep") main.flag(CKA_ALWAYS_AUTHENTICATE, true);
      CK_OBJECT_HANDLE half2 = 0;
      rv = p11->C_GenerateKeyPair(session, &mechanism, half.data(), half.size(), main.data(), main.size(), &half2, &key);
    }
    if (word == "init sign") {
      CK_MECHANISM mechanism{CKM_ECDSA_SHA256, nullptr, 0};
      rv = p11->C_SignInit(session, &mechanism, key);
    }
    if (word == "finish sign") {
      CK_BYTE signature[64];
      CK_ULONG length = 64;
      rv = p11->C_Sign(session, bytes("m"), 1, signature, &length);
    }
    if (word == "cancel") rv = p11->C_SessionCancel(session, ~0ul);
    if (word == "init") {
      CK_BYTE iv[16] = {};
      CK_MECHANISM mechanism{CKM_AES_CBC, iv, 16};
      rv = p11->C_EncryptInit(session, &mechanism, key);
    }
    if (word == "update" || word == "digest") {
      static std::string data(100'000, 'x'), out(100'032, 'x');
      CK_ULONG length = out.size();
      CK_MECHANISM mechanism{CKM_SHA256, nullptr, 0};
      if (word == "digest") p11->C_DigestInit(session, &mechanism);
      rv = word == "update" ? p11->C_EncryptUpdate(session, bytes(data.data()), data.size(), bytes(out.data()), &length) : p11->C_DigestUpdate(session, bytes(data.data()), data.size());
    }
    if (word == "digest final") {
      CK_BYTE out[32];
      CK_ULONG length = 32;
      rv = p11->C_DigestFinal(session, out, &length);
    }
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
