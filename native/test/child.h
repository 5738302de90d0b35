// What happens in a forked child: the death that a guard page or a failed requirement is meant to bring.
#pragma once
#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

namespace quorate::test {

// The signal that ended the child, or minus its exit status.
template <class F>
int endOfChild(F f) {
  const pid_t pid = fork();
  if (pid == 0) {
    signal(SIGSEGV, SIG_DFL);  // the sanitizers have handlers
    signal(SIGABRT, SIG_DFL);
    dup2(open("/dev/null", O_WRONLY), 2);
    _exit(f());
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : -WEXITSTATUS(status);
}

}  // namespace quorate::test
