// Making the listening socket: the file and the one who answers on it come together.
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <atomic>
#include <cstring>
#include <string>
#include <thread>

#include <doctest/doctest.h>

#include "plane/plane.h"

using namespace quorate;

// Who waits for the file and then connects, as scripts do, must not be refused by a daemon that is only just starting.
TEST_CASE("listen: a socket file that is there is listened on") {
  const std::string path = "/tmp/quorate-listen-" + std::to_string(getpid());
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  std::atomic<int> round{0}, ready{0};
  std::atomic<int> refused{0};
  constexpr int kRounds = 400;
  std::thread impatient([&] {
    for (int i = 1; i <= kRounds; i++) {
      ready = i;
      while (round < i) std::this_thread::yield();
      for (int error = ENOENT; error == ENOENT;) {
        const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        error = connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0 ? 0 : errno;
        if (error == ECONNREFUSED) refused++;
        ::close(fd);
      }
    }
    ready = kRounds + 1;
  });
  std::string detail;
  for (int i = 1; i <= kRounds; i++) {
    while (ready < i) std::this_thread::yield();
    unlink(path.c_str());
    round = i;
    int fd = -1;
    REQUIRE(listenUnix(path, 0600, &fd, &detail) == Code::OK);
    while (ready <= i) std::this_thread::yield();
    ::close(fd);
  }
  impatient.join();
  CHECK(refused.load() == 0);
  CHECK(access((path + ".new").c_str(), F_OK) != 0);
  unlink(path.c_str());
}

TEST_CASE("listen: what an earlier start left beside the socket is replaced, a file that is no socket is not") {
  const std::string path = "/tmp/quorate-beside-" + std::to_string(getpid()), beside = path + ".new";
  std::string detail;
  int left = -1, fd = -1;
  REQUIRE(listenUnix(beside, 0600, &left, &detail) == Code::OK);
  ::close(left);
  REQUIRE(listenUnix(path, 0600, &fd, &detail) == Code::OK);
  ::close(fd);
  CHECK(access(beside.c_str(), F_OK) != 0);
  ::close(open(beside.c_str(), O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
  CHECK(listenUnix(path, 0600, &fd, &detail) == Code::SOCKET_UNUSABLE);
  CHECK(detail.find(beside) != std::string::npos);
  CHECK(access(beside.c_str(), F_OK) == 0);
  unlink(beside.c_str());
  unlink(path.c_str());
}
