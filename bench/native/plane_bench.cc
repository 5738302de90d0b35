// The plane against a raw socket, in one run, interleaved: a ping-pong and an echo of frames of the same size through the same kind
// of epoll loop, then Encrypt of 64 bytes with a granted key. Client and servers are processes of their own; no Node.
//
//   plane_bench [--rounds N] [--ms N] [--size BYTES] [--json] [--audit]
//
// --audit: Encrypt alone, under the same key, by planes that log nothing, count, or write a leaf for each call; the ratios are against
// the one that logs nothing. The logs lie in the temporary folder, their rings in /dev/shm.
//
// For each round, target and depth: operations a second, and p50 and p99 of the time from an operation's write to its answer.
// Raw echo writes back what it reads. A shared machine takes the processor away for whole rounds: short rounds, many of them, and the best
// of each target against the best of raw echo; the medians stand beside. "sign" is P-256; "alone" is a plane that has no lanes for it.
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <condition_variable>
#include <filesystem>
#include <map>
#include <protozero/pbf_writer.hpp>

#include "core/random.h"
#include "plane/frame.h"
#include "plane/plane.h"
#include "plane_bench_audit.h"

namespace {

using namespace quorate;
using namespace quorate::bench;

// ---- servers

[[noreturn]] void serveEcho(int listener) {
  const int epoll = epoll_create1(0);
  epoll_event event{EPOLLIN, {}};
  event.data.fd = listener;
  epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event);
  static char buffer[32 * 1024];
  for (;;) {
    epoll_event events[64];
    const int n = epoll_wait(epoll, events, 64, -1);
    for (int i = 0; i < n; i++) {
      const int fd = events[i].data.fd;
      if (fd == listener) {
        event.data.fd = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
        epoll_ctl(epoll, EPOLL_CTL_ADD, event.data.fd, &event);
        continue;
      }
      const ssize_t got = recv(fd, buffer, sizeof(buffer), MSG_DONTWAIT);
      if (got <= 0) close(fd);
      else if (send(fd, buffer, static_cast<size_t>(got), MSG_NOSIGNAL) != got) die("echo");
    }
  }
}

InstalledVersion keyNamed(const std::string& name) {
  InstalledVersion key;
  key.keyId.fill(static_cast<uint8_t>(name[0]));
  key.domain = "default";
  key.type = KeyType::AES_256;
  key.scheme = name == "gcm" ? KeyScheme::AES_GCM : KeyScheme::MANAGED;
  key.version = 1;
  key.current = true;
  key.ivs = limits::iv_max;
  Secret stored;
  if (name == "sign") {
    key.type = KeyType::EC_P256;
    key.scheme = KeyScheme::ECDSA;
    if (generateKey(key.type, 0, &stored, &key.spki) != Code::OK) die("key pair");
  } else if (Secret::random(32, &stored) != Code::OK) die("arena");
  key.stored = std::make_shared<const Secret>(std::move(stored));
  return key;
}

std::string auditFolder;  // of the bench's own

// audit: an AuditMode, or -1 for none.
template <int audit>
[[noreturn]] void servePlane(int listener) {
  std::string detail;
  if (Arena::open(limits::arena_bytes_default, &detail) != Code::OK) die(detail.c_str());
  std::mutex mutex;
  std::condition_variable wake;
  bool waiting = false;
  PlaneOptions options;
  options.release = "bench";
  options.onUpcalls = [&] {
    const std::lock_guard lock(mutex);
    waiting = true;
    wake.notify_one();
  };
  const auto plane = Plane::start(options);
  if (audit >= 0) addAudit(*plane, auditFolder, static_cast<AuditMode>(audit));
  plane->setMode(PlaneMode::ready);
  plane->listen(listener);
  for (;;) {
    {
      std::unique_lock lock(mutex);
      wake.wait(lock, [&] { return waiting; });
      waiting = false;
    }
    for (const Upcall& upcall : plane->drain(64)) {
      if (upcall.kind != UpcallKind::grant) continue;
      InstalledVersion key = keyNamed(upcall.keyRef);
      const KeyId id = key.keyId;
      plane->install(std::move(key));
      plane->grant(upcall.token, id, 60'000);
    }
  }
}

// Signs with libcrypto, one at a time.
[[noreturn]] void serveAlone(int listener) {
  setenv("QUORATE_CPU", "vaes256", 1);
  servePlane<-1>(listener);
}

sockaddr_un addressOf(const std::string& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

pid_t startServer(const std::string& path, void (*serve)(int)) {
  int fd = -1;
  std::string detail;
  if (listenUnix(path, 0600, &fd, &detail) != Code::OK) die(detail.c_str());
  const pid_t child = fork();
  if (child == 0) serve(fd);
  close(fd);
  return child;
}

// ---- client

struct Target {
  std::string name;
  int fd = -1;
  std::string request;      // one frame
  size_t answerBytes = 0;   // of one frame
};

void writeAll(int fd, const char* p, size_t n) {
  while (n > 0) {
    const ssize_t sent = send(fd, p, n, MSG_NOSIGNAL);
    if (sent <= 0) die("send");
    p += sent;
    n -= static_cast<size_t>(sent);
  }
}

std::string frameOf(Method method, const std::string& body) {
  std::string out(kFrameHeaderBytes, '\0');
  writeFrameHeader(reinterpret_cast<uint8_t*>(out.data()), 1, static_cast<uint16_t>(method), 0, body.size());
  return out + body;
}

// The whole answer to one request.
std::string ask(int fd, const std::string& request) {
  writeAll(fd, request.data(), request.size());
  std::string in;
  for (;;) {
    char chunk[65536];
    const ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
    if (n <= 0) die("recv");
    in.append(chunk, static_cast<size_t>(n));
    FrameHeader header;
    if (peekFrame(reinterpret_cast<const uint8_t*>(in.data()), in.size(), &header) != FrameState::ready) continue;
    if (header.status != 0) die(codeName(static_cast<Code>(header.status)));
    return in;
  }
}

int dial(const std::string& path) {
  const int fd = socket(AF_UNIX, SOCK_STREAM, 0);
  const sockaddr_un address = addressOf(path);
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) die("connect");
  return fd;
}

// `what`: "ping", or the key that encrypts.
Target planeTarget(const std::string& path, const std::string& what, size_t size, const std::string& name = "plane") {
  Target target{name + " " + what, dial(path), {}, 0};
  std::string hello, body;
  protozero::pbf_writer{hello}.add_uint32(fields::HelloRequest::versions, 1);
  ask(target.fd, frameOf(Method::Hello, hello));
  protozero::pbf_writer writer{body};
  if (what == "ping") {
    writer.add_string(fields::PingRequest::payload, std::string(size, 'p'));
  } else if (what == "sign") {
    writer.add_string(fields::SignRequest::key, what);
    writer.add_string(fields::SignRequest::digest, std::string(32, 'd'));
    writer.add_enum(fields::SignRequest::format, static_cast<int>(SignatureFormat::P1363));  // of one length
  } else {
    writer.add_string(fields::EncryptRequest::key, what);
    writer.add_string(fields::EncryptRequest::plaintext, std::string(size, 'p'));
  }
  target.request = frameOf(what == "ping" ? Method::Ping : what == "sign" ? Method::Sign : Method::Encrypt, body);
  target.answerBytes = ask(target.fd, target.request).size();
  return target;
}

// Keeps `depth` operations under way for `ms`. Answers come in order: every method here is done on the plane's thread.
Result measure(const Target& target, size_t depth, double ms) {
  std::string burst;
  for (size_t i = 0; i < depth; i++) burst += target.request;
  std::vector<float> times;
  times.reserve(1 << 20);
  std::vector<double> sent(depth);
  std::vector<char> in(256 * 1024);
  size_t oldest = 0, half = 0, done = 0;
  const double begun = nowNs(), until = begun + ms * 1e6;
  std::fill(sent.begin(), sent.end(), begun);
  writeAll(target.fd, burst.data(), burst.size());
  size_t under = depth;
  double now = begun;
  while (under > 0) {
    const ssize_t n = recv(target.fd, in.data(), in.size(), 0);
    if (n <= 0) die("recv");
    now = nowNs();
    // Every answer has the same length but a refusal.
    for (size_t at = (target.answerBytes - half) % target.answerBytes; at + 4 <= static_cast<size_t>(n); at += target.answerBytes) {
      uint32_t length;
      memcpy(&length, in.data() + at, sizeof(length));
      if (length != target.answerBytes - 4) die((target.name + " was refused").c_str());
    }
    half += static_cast<size_t>(n);
    const size_t whole = half / target.answerBytes;
    half %= target.answerBytes;
    done += whole;
    const bool goOn = now < until;
    for (size_t i = 0; i < whole; i++) {
      if (times.size() < times.capacity()) times.push_back(static_cast<float>(now - sent[oldest]));
      sent[oldest] = now;
      oldest = (oldest + 1) % depth;
    }
    if (goOn) writeAll(target.fd, burst.data(), whole * target.request.size());
    else under -= whole;
  }
  const auto at = [&](double share) {
    const auto place = times.begin() + static_cast<ptrdiff_t>(share * static_cast<double>(times.size() - 1));
    std::nth_element(times.begin(), place, times.end());
    return static_cast<double>(*place) / 1000;
  };
  return {static_cast<double>(done) / ((now - begun) / 1e9), at(0.5), at(0.99)};
}

void print(const Options& options, const std::vector<Target>& targets, const std::vector<size_t>& depths, const Results& results) {
  const auto column = [&](const std::string& name, size_t depth, double Result::* field) {
    std::vector<double> out;
    for (const Result& r : results.at({name, depth})) out.push_back(r.*field);
    return out;
  };
  if (options.json) printf("{\"size\":%zu,\"rounds\":%d,\"ms\":%.0f,\"rows\":[", options.size, options.rounds, options.ms);
  else printf("%-14s %5s | %10s %8s %8s | %10s %8s %8s | %s\n", "target", "depth", "best ops/s", "p50 us", "p99 us", "median", "p50 us", "p99 us", "best against raw echo: p50, rate");
  bool first = true;
  for (const size_t depth : depths) {
    for (const Target& target : targets) {
      const auto ops = column(target.name, depth, &Result::opsPerSecond), p50 = column(target.name, depth, &Result::p50Us), p99 = column(target.name, depth, &Result::p99Us);
      const double p50Ratio = least(p50) / least(column("raw echo", depth, &Result::p50Us)), rate = most(ops) / most(column("raw echo", depth, &Result::opsPerSecond));
      if (options.json)
        printf("%s{\"target\":\"%s\",\"depth\":%zu,\"ops_best\":%.0f,\"p50_us_best\":%.2f,\"p99_us_best\":%.2f,\"ops_median\":%.0f,\"p50_us_median\":%.2f,\"p99_us_median\":%.2f,\"p50_ratio\":%.3f,\"rate_ratio\":%.3f}",
               first ? "" : ",", target.name.c_str(), depth, most(ops), least(p50), least(p99), median(ops), median(p50), median(p99), p50Ratio, rate);
      else
        printf("%-14s %5zu | %10.0f %8.2f %8.2f | %10.0f %8.2f %8.2f | %.2f %.2f\n", target.name.c_str(), depth, most(ops), least(p50), least(p99), median(ops), median(p50), median(p99), p50Ratio, rate);
      first = false;
    }
  }
  if (options.json) printf("]}\n");
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; i++) {
    const std::string word = argv[i];
    const auto value = [&] { return i + 1 < argc ? atof(argv[++i]) : 0; };
    if (word == "--rounds") options.rounds = std::max(1, static_cast<int>(value()));
    else if (word == "--ms") options.ms = value();
    else if (word == "--size") options.size = static_cast<size_t>(value());
    else if (word == "--json") options.json = true;
    else if (word == "--audit") options.audit = true;
    else {
      fprintf(stderr, "plane_bench [--rounds N] [--ms N] [--size BYTES] [--json] [--audit]\n");
      exit(64);
    }
  }
  return options;
}

int benchAudit(const Options& options) {
  struct Server {
    const char* name;
    void (*serve)(int);
  };
  const Server servers[] = {{"none", servePlane<-1>}, {"off", servePlane<0>}, {"counts", servePlane<1>}, {"each", servePlane<2>}};
  const std::vector<std::string> keys{"gcm", "managed"};
  const std::vector<size_t> depths{1, 32};
  std::vector<pid_t> children;
  std::vector<Target> targets;
  for (const Server& server : servers) {
    const std::string path = auditFolder + "/" + server.name;
    children.push_back(startServer(path, server.serve));
    for (const std::string& key : keys) targets.push_back(planeTarget(path, key, options.size, server.name));
  }
  Results results;
  for (int round = 0; round < options.rounds; round++)
    for (const size_t depth : depths)
      for (size_t i = 0; i < targets.size(); i++) {
        const Target& target = targets[(i + static_cast<size_t>(round)) % targets.size()];  // none is always behind the same one
        results[{target.name, depth}].push_back(measure(target, depth, options.ms));
      }
  printAudit(options, depths, keys, results);
  for (const pid_t child : children) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  std::error_code ignored;
  std::filesystem::remove_all(auditFolder, ignored);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const Options options = parse(argc, argv);
  signal(SIGPIPE, SIG_IGN);
  char folder[] = "/tmp/plane-bench-XXXXXX";
  if (mkdtemp(folder) == nullptr) die("mkdtemp");
  auditFolder = folder;
  if (options.audit) return benchAudit(options);
  const std::string echoPath = std::string(folder) + "/echo", planePath = std::string(folder) + "/plane", alonePath = std::string(folder) + "/alone";
  const pid_t echo = startServer(echoPath, serveEcho), plane = startServer(planePath, servePlane<-1>), alone = startServer(alonePath, serveAlone);
  std::vector<Target> targets{{"raw echo", dial(echoPath), {}, 0}, planeTarget(planePath, "gcm", options.size), planeTarget(planePath, "ping", options.size), planeTarget(planePath, "managed", options.size),
                              planeTarget(planePath, "sign", options.size), planeTarget(alonePath, "sign", options.size, "alone")};
  targets[0].request = targets[1].request;
  targets[0].answerBytes = targets[0].request.size();
  const std::vector<size_t> depths{1, 32, 128};
  Results results;
  for (int round = 0; round < options.rounds; round++)
    for (const size_t depth : depths)
      for (const Target& target : targets) results[{target.name, depth}].push_back(measure(target, depth, options.ms));
  print(options, targets, depths, results);
  for (const pid_t child : {echo, plane, alone}) {
    kill(child, SIGKILL);
    waitpid(child, nullptr, 0);
  }
  unlink(echoPath.c_str());
  unlink(planePath.c_str());
  unlink(alonePath.c_str());
  rmdir(folder);
  return 0;
}
