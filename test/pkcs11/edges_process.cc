// Forks and threads.
#include <sys/wait.h>

#include <atomic>
#include <thread>

#include "program.h"

namespace {

int inChild(void (*run)(CK_SESSION_HANDLE), CK_SESSION_HANDLE session) {
  std::fflush(stdout);
  const pid_t child = fork();
  if (child == 0) {
    failures = 0;
    alarm(20);  // a lock that is held for ever
    run(session);
    std::fflush(stdout);
    _exit(failures == 0 ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  return status;
}

void childUses(CK_SESSION_HANDLE session) {
  CK_INFO info;
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_GetInfo(&info));
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_CloseSession(session));
  RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_Finalize(nullptr));
  for (int i = 0; i < 2; i++) {
    RV(CKR_OK, p11->C_Initialize(nullptr));
    RV(CKR_SESSION_HANDLE_INVALID, p11->C_CloseSession(session));
    const CK_SESSION_HANDLE own = openSession();
    RV(CKR_OK, signOnce(own, findKey(own, CKO_PRIVATE_KEY, "ec")));
    RV(CKR_OK, p11->C_Finalize(nullptr));
    RV(CKR_CRYPTOKI_NOT_INITIALIZED, p11->C_GetInfo(&info));
  }
}

}  // namespace

void forks() {
  RV(CKR_OK, p11->C_Initialize(nullptr));
  const CK_SESSION_HANDLE session = openSession();
  const CK_OBJECT_HANDLE ec = findKey(session, CKO_PRIVATE_KEY, "ec");
  RV(CKR_OK, signOnce(session, ec));
  IS(inChild(childUses, session) == 0);
  RV(CKR_OK, signOnce(session, ec));  // on the connection that it had
  // Forked while another thread is in the middle of a call, again and again.
  std::atomic<bool> over = false;
  std::thread busy([&] {
    const CK_SESSION_HANDLE own = openSession();
    while (!over) RV(CKR_OK, signOnce(own, ec));
  });
  for (int i = 0; i < 8; i++) IS(inChild(childUses, session) == 0);
  over = true;
  busy.join();
  RV(CKR_OK, signOnce(session, ec));
  RV(CKR_OK, p11->C_Finalize(nullptr));
}

void threads() {
  CK_C_INITIALIZE_ARGS args{};
  args.flags = CKF_OS_LOCKING_OK;
  RV(CKR_OK, p11->C_Initialize(&args));
  std::vector<std::thread> all;
  std::atomic<int> wrong = 0;
  for (int t = 0; t < 4; t++) {
    all.emplace_back([&] {
      CK_SESSION_HANDLE session = 0;
      for (int i = 0; i < 50; i++) {
        wrong += p11->C_OpenSession(0, CKF_SERIAL_SESSION, nullptr, nullptr, &session) != CKR_OK;
        wrong += signOnce(session, findKey(session, CKO_PRIVATE_KEY, "ec")) != CKR_OK;
        wrong += p11->C_CloseSession(session) != CKR_OK;
      }
    });
  }
  for (std::thread& thread : all) thread.join();
  IS(wrong == 0);
  // Threads that call while another one finalises: refused, at worst.
  std::atomic<bool> over = false;
  std::thread caller([&] {
    CK_INFO info;
    while (!over) {
      const CK_RV rv = p11->C_GetInfo(&info);
      wrong += rv != CKR_OK && rv != CKR_CRYPTOKI_NOT_INITIALIZED;
    }
  });
  for (int i = 0; i < 200; i++) {
    RV(CKR_OK, p11->C_Finalize(nullptr));
    RV(CKR_OK, p11->C_Initialize(&args));
  }
  over = true;
  caller.join();
  IS(wrong == 0);
  RV(CKR_OK, p11->C_Finalize(nullptr));
}
