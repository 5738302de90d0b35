#include "pkcs11/wire.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>

#include "core/limits.gen.h"
#include "pkcs11/errors.gen.h"
#include "pkcs11/location.h"

namespace quorate::pkcs11 {

namespace {

constexpr int64_t kMsNs = 1'000'000;
constexpr int64_t kQueuePauseMs = 20, kBusyPauseMs = 50;
constexpr size_t kHeaderBytes = limits::frame_header_bytes;
constexpr size_t kLengthBytes = 4, kRestBytes = kHeaderBytes - kLengthBytes;

int64_t nowNs() {
  timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec * 1'000'000'000ll + t.tv_nsec;
}

// False when the deadline comes first.
bool pauseFor(int64_t ms, int64_t deadlineNs) {
  if (nowNs() + ms * kMsNs >= deadlineNs) return false;
  timespec left{static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000 * kMsNs)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
  return true;
}

// Milliseconds until it may be tried again, from a Failure.
int64_t retryAfterMs(const std::string& failure) {
  protozero::pbf_reader reader(failure);
  int64_t ms = 0;
  while (reader.next()) {
    if (reader.tag() == fields::Failure::retry_after_ms && reader.wire_type() == protozero::pbf_wire_type::varint) {
      ms = reader.get_uint32();
    } else {
      reader.skip();
    }
  }
  return ms == 0 ? kBusyPauseMs : ms;
}

}  // namespace

int64_t Wire::nowMs() { return nowNs() / kMsNs; }

void Wire::close() {
  forgetStolen();
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

void Wire::forgetStolen() {
  struct stat info {};
  if (fd_ >= 0 && (fstat(fd_, &info) != 0 || info.st_dev != device_ || info.st_ino != inode_)) fd_ = -1;
}

// The daemon says nothing unasked but before it closes.
bool Wire::isGone() const {
  pollfd waiting{fd_, POLLIN, 0};
  return poll(&waiting, 1, 0) != 0;
}

Wire::Outcome Wire::await(short events, int64_t deadlineNs) {
  for (;;) {
    const int64_t left = deadlineNs - nowNs();
    if (left <= 0) return Outcome::broken;
    pollfd waiting{fd_, events, 0};
    const int ready = poll(&waiting, 1, static_cast<int>(left / kMsNs) + 1);
    if (ready > 0) return Outcome::answered;
    if (ready < 0 && errno != EINTR) return Outcome::lost;
  }
}

Wire::Outcome Wire::send(const std::string& frame, int64_t deadlineNs) {
  for (size_t sent = 0; sent < frame.size();) {
    const ssize_t n = ::send(fd_, frame.data() + sent, frame.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n > 0) {
      sent += static_cast<size_t>(n);
    } else if (n < 0 && errno == EAGAIN) {
      if (const Outcome o = await(POLLOUT, deadlineNs); o != Outcome::answered) return o;
    } else if (n == 0 || errno != EINTR) {
      return Outcome::lost;
    }
  }
  return Outcome::answered;
}

Wire::Outcome Wire::receive(uint8_t* out, size_t bytes, int64_t deadlineNs) {
  while (bytes > 0) {
    // Looked at before each read: a peer that sends a byte now and then gains no time.
    if (const Outcome o = await(POLLIN, deadlineNs); o != Outcome::answered) return o;
    const ssize_t n = recv(fd_, out, bytes, MSG_DONTWAIT);
    if (n > 0) {
      out += n;
      bytes -= static_cast<size_t>(n);
    } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
      return Outcome::lost;
    }
  }
  return Outcome::answered;
}

Wire::Outcome Wire::exchange(Method method, const std::string& body, int64_t deadlineNs, uint16_t* status, std::string* answer) {
  const uint32_t id = nextId_;
  nextId_ = nextId_ == UINT32_MAX ? 1 : nextId_ + 1;
  const auto number = static_cast<uint16_t>(method);
  const auto length = static_cast<uint32_t>(kRestBytes + body.size());
  std::string frame(kHeaderBytes, '\0');
  std::memcpy(frame.data(), &length, 4);
  std::memcpy(frame.data() + 4, &id, 4);
  std::memcpy(frame.data() + 8, &number, 2);
  frame += body;
  if (const Outcome o = send(frame, deadlineNs); o != Outcome::answered) return o;
  uint8_t header[kHeaderBytes];
  if (const Outcome o = receive(header, kHeaderBytes, deadlineNs); o != Outcome::answered) return o;
  uint32_t answerLength, answerId;
  uint16_t answerMethod;
  std::memcpy(&answerLength, header, 4);
  std::memcpy(&answerId, header + 4, 4);
  std::memcpy(&answerMethod, header + 8, 2);
  std::memcpy(status, header + 10, 2);
  // An answer with another number is not to this question; what the daemon says of the connection itself (id 0) ends it.
  if (answerLength < kRestBytes || answerLength > limits::frame_bytes_max - kLengthBytes || answerId != id || answerMethod != number) return Outcome::broken;
  answer->assign(answerLength - kRestBytes, '\0');
  return receive(reinterpret_cast<uint8_t*>(answer->data()), answer->size(), deadlineNs);
}

CK_RV Wire::open(int64_t deadlineNs) {
  std::string path;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!daemonSocket(&path) || path.size() >= sizeof(address.sun_path)) return CKR_DEVICE_REMOVED;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  fd_ = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (fd_ < 0) return CKR_HOST_MEMORY;
  while (::connect(fd_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    if (errno == EINTR) continue;
    // The queue of a daemon that is alive is full.
    if (errno == EAGAIN && pauseFor(kQueuePauseMs, deadlineNs)) continue;
    const bool late = errno == EAGAIN;
    ::close(fd_);
    fd_ = -1;
    return late ? CKR_DEVICE_ERROR : CKR_DEVICE_REMOVED;
  }
  struct stat info {};
  if (fstat(fd_, &info) != 0) return CKR_GENERAL_ERROR;
  device_ = info.st_dev;
  inode_ = info.st_ino;
  epoch_++;
  const CK_RV rv = greet(deadlineNs);
  if (rv != CKR_OK) close();
  return rv;
}

CK_RV Wire::greet(int64_t deadlineNs) {
  std::string hello, answer;
  protozero::pbf_writer writer(hello);
  const uint32_t version = limits::protocol_version;
  writer.add_packed_uint32(fields::HelloRequest::versions, &version, &version + 1);
  writer.add_string(fields::HelloRequest::client, "quorate-pkcs11");
  uint16_t status = 0;
  const Outcome outcome = exchange(Method::Hello, hello, deadlineNs, &status, &answer);
  if (outcome != Outcome::answered) return outcome == Outcome::lost ? CKR_DEVICE_REMOVED : CKR_DEVICE_ERROR;
  if (status != 0) return rvOf(status);
  try {
    protozero::pbf_reader reader(answer);
    while (reader.next()) {
      if (reader.tag() == fields::HelloResponse::daemon && reader.wire_type() == protozero::pbf_wire_type::length_delimited) {
        release_ = reader.get_string();
      } else {
        reader.skip();
      }
    }
  } catch (const protozero::exception&) {
    return CKR_DEVICE_ERROR;  // and open() closes what has not greeted
  }
  return CKR_OK;
}

CK_RV Wire::connect() {
  forgetStolen();
  if (fd_ >= 0 && isGone()) close();
  return fd_ >= 0 ? CKR_OK : open(nowNs() + timeoutMs() * kMsNs);
}

CK_RV Wire::call(Method method, const std::string& body, std::string* answer, Code* refusal) {
  if (refusal != nullptr) *refusal = Code::OK;
  if (body.size() > limits::frame_bytes_max - kHeaderBytes) return CKR_DATA_LEN_RANGE;
  const int64_t deadlineNs = nowNs() + timeoutMs() * kMsNs;
  forgetStolen();
  for (bool again = true;;) {
    const bool isFresh = fd_ < 0;
    if (isFresh) {
      if (const CK_RV rv = open(deadlineNs); rv != CKR_OK) return rv;
    }
    uint16_t status = 0;
    const Outcome outcome = exchange(method, body, deadlineNs, &status, answer);
    if (outcome != Outcome::answered) {
      close();
      if (outcome == Outcome::broken) return CKR_DEVICE_ERROR;
      if (isFresh || !again) return CKR_DEVICE_REMOVED;
      again = false;
      continue;
    }
    const auto code = static_cast<Code>(status);
    if (code == Code::OK) return CKR_OK;
    if (code == Code::BUSY && pauseFor(retryAfterMs(*answer), deadlineNs)) continue;
    if (code == Code::SESSION_EXPIRED && again) {  // another connection is another session
      close();
      again = false;
      continue;
    }
    if (refusal != nullptr) *refusal = code;
    return rvOf(status);
  }
}

}  // namespace quorate::pkcs11
