// A load driver for daemons that speak Quorate's frames over a Unix socket, and the raw echo server they are compared with.
//
//   driver --echo PATH                    serve: write back whatever is read
//   driver --answer BYTES --echo PATH     serve: a frame with so long a body for each frame that is read
//   driver --target NAME=PATH ... [--op gcm|managed|sign|fetch] [--size BYTES] [--depth N] [--ms MS] [--rounds N] [--among N] [--prefix TEXT]
//
// fetch: FetchSecret of PREFIX and six digits, at random among the first N.
//
// Targets are measured one after another within a round, all rounds interleaved; prints one JSON object a (target, round).
// A target whose name begins with "echo" gets the same request bytes and counts them when they come back.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <random>
#include <string>
#include <vector>

#include "core/types.gen.h"
#include "plane/methods.gen.h"

namespace {

using namespace quorate;

double nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1e9 + t.tv_nsec;
}

[[noreturn]] void die(const char* what) {
  fprintf(stderr, "driver: %s: %s\n", what, strerror(errno));
  exit(1);
}

sockaddr_un addressOf(const std::string& path) {
  sockaddr_un a{};
  a.sun_family = AF_UNIX;
  if (path.size() >= sizeof(a.sun_path)) die("path too long");
  memcpy(a.sun_path, path.data(), path.size());
  return a;
}

int dial(const std::string& path) {
  int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  sockaddr_un a = addressOf(path);
  if (connect(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0) die(path.c_str());
  return fd;
}

void appendFrame(std::string& out, uint32_t id, Method method, const std::string& body) {
  uint32_t length = 8 + body.size();
  uint16_t m = static_cast<uint16_t>(method), status = 0;
  out.append(reinterpret_cast<char*>(&length), 4).append(reinterpret_cast<char*>(&id), 4);
  out.append(reinterpret_cast<char*>(&m), 2).append(reinterpret_cast<char*>(&status), 2).append(body);
}

// Bytes of one connection: what it has sent of a frame that is not whole.
struct Incoming {
  uint32_t header = 0, headerBytes = 0, left = 0;
};

// One answer for each frame that ends in these bytes.
size_t framesIn(Incoming& in, const char* p, size_t n) {
  size_t frames = 0;
  while (n > 0) {
    if (in.headerBytes < 4) {
      reinterpret_cast<char*>(&in.header)[in.headerBytes++] = *p++;
      n--;
      if (in.headerBytes == 4) in.left = in.header;
      continue;
    }
    const size_t take = std::min<size_t>(n, in.left);
    p += take, n -= take, in.left -= take;
    if (in.left > 0) continue;
    in = {};
    frames++;
  }
  return frames;
}

// answerBytes SIZE_MAX: what was read goes back.
void echoServer(const std::string& path, size_t answerBytes) {
  std::string answer;
  const bool echoes = answerBytes == SIZE_MAX;
  if (!echoes) appendFrame(answer, 0, Method::FetchSecret, std::string(answerBytes, 'x'));
  std::vector<Incoming> incoming(1024);
  std::string answers;
  unlink(path.c_str());
  int listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);
  sockaddr_un a = addressOf(path);
  if (bind(listener, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || listen(listener, 16) != 0) die("listen");
  int ep = epoll_create1(0);
  epoll_event ev{EPOLLIN, {.fd = listener}};
  epoll_ctl(ep, EPOLL_CTL_ADD, listener, &ev);
  static char buffer[4 << 20];
  for (;;) {
    epoll_event events[16];
    int n = epoll_wait(ep, events, 16, -1);
    for (int i = 0; i < n; i++) {
      if (events[i].data.fd == listener) {
        int fd = accept(listener, nullptr, nullptr);
        epoll_event add{EPOLLIN, {.fd = fd}};
        epoll_ctl(ep, EPOLL_CTL_ADD, fd, &add);
        incoming.at(fd) = {};
        continue;
      }
      ssize_t got = read(events[i].data.fd, buffer, sizeof buffer);
      if (got <= 0) {
        close(events[i].data.fd);
        continue;
      }
      const char* out = buffer;
      if (!echoes) {
        const size_t frames = framesIn(incoming.at(events[i].data.fd), buffer, got);
        while (answers.size() < frames * answer.size()) answers += answer;
        out = answers.data();
        got = frames * answer.size();
      }
      for (ssize_t done = 0; done < got;) {
        ssize_t put = write(events[i].data.fd, out + done, got - done);
        if (put <= 0) break;
        done += put;
      }
    }
  }
}

void writeAll(int fd, const char* p, size_t n) {
  while (n > 0) {
    ssize_t put = write(fd, p, n);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) die("write");
    p += put;
    n -= put;
  }
}

std::string readFrame(int fd, uint16_t* status) {
  std::string in;
  while (in.size() < 12 || in.size() < 4 + *reinterpret_cast<uint32_t*>(in.data())) {
    char chunk[65536];
    ssize_t got = read(fd, chunk, sizeof chunk);
    if (got <= 0) die("read");
    in.append(chunk, got);
  }
  memcpy(status, in.data() + 10, 2);
  return in.substr(12);
}

std::string call(int fd, Method method, const std::string& body) {
  std::string out;
  appendFrame(out, 1, method, body);
  writeAll(fd, out.data(), out.size());
  uint16_t status;
  std::string answer = readFrame(fd, &status);
  if (status != 0) {
    fprintf(stderr, "driver: method %u: status %u\n", static_cast<unsigned>(method), status);
    exit(1);
  }
  return answer;
}

struct Target {
  std::string name, path, request;  // request: one whole frame
  std::string requests;             // whole frames of that size, sent in turns; by default that one alone
  size_t startAt = 0;  // in `requests`
  int fd = -1;
  bool echo = false;
};

constexpr size_t kFetches = 131'072;  // in which order; more than what is prepared at a time

void hello(int fd) {
  std::string hello;
  protozero::pbf_writer h(hello);
  h.add_uint32(fields::HelloRequest::versions, 1);
  call(fd, Method::Hello, hello);
}

void prepareFetch(Target& t, const std::string& prefix, size_t among) {
  t.fd = dial(t.path);
  t.echo = t.name.rfind("echo", 0) == 0;
  if (!t.echo) hello(t.fd);
  std::mt19937 random(1);
  for (size_t i = 0; i < (among == 1 ? 1 : kFetches); i++) {
    const std::string number = std::to_string(random() % among);
    std::string body;
    protozero::pbf_writer(body).add_string(fields::FetchSecretRequest::key, prefix + std::string(6 - number.size(), '0') + number);
    appendFrame(t.requests, 7, Method::FetchSecret, body);
    if (i == 0) t.request = t.requests;
  }
}

// Hello and a session key; then the one frame that is sent over and over.
void prepare(Target& t, const std::string& op, size_t size) {
  t.fd = dial(t.path);
  t.echo = t.name.rfind("echo", 0) == 0;
  std::string key = "session:1";
  if (!t.echo) {
    hello(t.fd);
    std::string create;
    protozero::pbf_writer c(create);
    c.add_enum(fields::CreateSessionKeyRequest::type, static_cast<int>(op == "sign" ? KeyType::EC_P256 : KeyType::AES_256));
    KeyScheme scheme = op == "sign" ? KeyScheme::ECDSA : op == "managed" ? KeyScheme::MANAGED : KeyScheme::AES_GCM;
    c.add_enum(fields::CreateSessionKeyRequest::scheme, static_cast<int>(scheme));
    std::string made = call(t.fd, Method::CreateSessionKey, create);
    protozero::pbf_reader r(made);
    while (r.next()) {
      if (r.tag() == fields::SessionKeyResponse::key) key = r.get_string();
      else r.skip();
    }
  }
  std::string body;
  protozero::pbf_writer w(body);
  w.add_string(fields::EncryptRequest::key, key);
  w.add_bytes(fields::EncryptRequest::plaintext, std::string(size, 'x'));  // SignRequest.message has the same number
  appendFrame(t.request, 7, op == "sign" ? Method::Sign : Method::Encrypt, body);
  t.requests = t.request;
}

struct Result {
  double opsPerS, p50us, p99us;
};

// What is still to be written of whole requests: `left` bytes, the first of them `at` bytes into all of them.
struct Outgoing {
  size_t left = 0, at = 0;
};

// Writes what the socket takes now; never blocks, so that both sides cannot wait for each other to read.
void writeSome(Target& t, const std::string& batch, Outgoing& out) {
  while (out.left > 0) {
    ssize_t put = write(t.fd, batch.data() + out.at, std::min(out.left, batch.size() - out.at));
    if (put < 0 && (errno == EAGAIN || errno == EINTR)) return;
    if (put <= 0) die("write");
    out.left -= put;
    out.at = (out.at + put) % t.requests.size();
  }
}

// Whole frames in `in`; counts and removes them.
unsigned takeFrames(Target& t, std::vector<char>& in, size_t& have) {
  size_t at = 0;
  unsigned answered = 0;
  while (have - at >= 12) {
    uint32_t length;
    memcpy(&length, in.data() + at, 4);
    if (have - at < 4 + static_cast<size_t>(length)) break;
    uint16_t status;
    memcpy(&status, in.data() + at + 10, 2);
    if (status != 0 && !t.echo) {
      fprintf(stderr, "driver: %s: status %u\n", t.name.c_str(), status);
      exit(1);
    }
    at += 4 + length;
    answered++;
  }
  memmove(in.data(), in.data() + at, have - at);
  have -= at;
  return answered;
}

// Keeps `depth` requests in flight for `ms`; depth 1 also records every round trip.
Result measure(Target& t, unsigned depth, double ms) {
  std::string batch = t.requests;  // with what follows its end, so that no write is cut there
  while (batch.size() < t.requests.size() + depth * t.request.size()) batch += batch.substr(0, std::min(t.requests.size(), t.requests.size() + depth * t.request.size() - batch.size()));
  static std::vector<char> in(16 << 20);
  std::vector<double> latencies;
  size_t have = 0, done = 0;
  const double begin = nowNs(), end = begin + ms * 1e6;
  double sent = begin;
  unsigned inFlight = depth;
  Outgoing out{depth * t.request.size(), t.startAt};
  writeSome(t, batch, out);
  while (inFlight > 0) {
    ssize_t got = read(t.fd, in.data() + have, in.size() - have);
    if (got < 0 && errno == EAGAIN) {
      pollfd p{t.fd, static_cast<short>(POLLIN | (out.left > 0 ? POLLOUT : 0)), 0};
      poll(&p, 1, -1);
      writeSome(t, batch, out);
      continue;
    }
    if (got <= 0) die("read");
    have += got;
    const unsigned answered = takeFrames(t, in, have);
    inFlight -= answered;
    const double now = nowNs();
    if (now < end) done += answered;
    if (depth == 1 && answered == 1) latencies.push_back(now - sent);
    if (now < end && answered > 0) {
      sent = now;
      out.left += t.request.size() * answered;
      inFlight += answered;
    }
    writeSome(t, batch, out);
  }
  t.startAt = out.at;
  Result r{done / (ms / 1e3), 0, 0};
  if (!latencies.empty()) {
    std::sort(latencies.begin(), latencies.end());
    r.p50us = latencies[latencies.size() / 2] / 1e3;
    r.p99us = latencies[latencies.size() * 99 / 100] / 1e3;
  }
  return r;
}

}  // namespace

int main(int argc, char** argv) {
  signal(SIGPIPE, SIG_IGN);
  std::vector<Target> targets;
  std::string op = "gcm";
  size_t size = 64, among = 1, answer = SIZE_MAX;
  std::string prefix;
  unsigned depth = 1, rounds = 5;
  double ms = 300;
  for (int i = 1; i + 1 < argc; i += 2) {
    std::string flag = argv[i], value = argv[i + 1];
    if (flag == "--answer") answer = strtoul(value.c_str(), nullptr, 10);
    else if (flag == "--among") among = strtoul(value.c_str(), nullptr, 10);
    else if (flag == "--prefix") prefix = value;
    else if (flag == "--echo") echoServer(value, answer);
    else if (flag == "--target") {
      size_t eq = value.find('=');
      targets.push_back({.name = value.substr(0, eq), .path = value.substr(eq + 1), .request = {}, .requests = {}});
    } else if (flag == "--op") op = value;
    else if (flag == "--size") size = strtoul(value.c_str(), nullptr, 10);
    else if (flag == "--depth") depth = strtoul(value.c_str(), nullptr, 10);
    else if (flag == "--ms") ms = strtod(value.c_str(), nullptr);
    else if (flag == "--rounds") rounds = strtoul(value.c_str(), nullptr, 10);
    else die(("unknown flag " + flag).c_str());
  }
  for (Target& t : targets) {
    if (op == "fetch") prepareFetch(t, prefix, among);
    else prepare(t, op, size);
    fcntl(t.fd, F_SETFL, O_NONBLOCK);
    measure(t, depth, ms / 4);
  }
  for (unsigned round = 0; round < rounds; round++) {
    for (Target& t : targets) {
      Result r = measure(t, depth, ms);
      printf("{\"target\":\"%s\",\"op\":\"%s\",\"size\":%zu,\"depth\":%u,\"round\":%u,\"opsPerS\":%.0f,\"p50us\":%.2f,\"p99us\":%.2f}\n", t.name.c_str(),
             op.c_str(), size, depth, round, r.opsPerS, r.p50us, r.p99us);
    }
  }
  return 0;
}
