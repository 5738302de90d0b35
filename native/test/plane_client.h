// A client of the plane for its tests: real sockets, one frame at a time or raw bytes; and protobuf as strings.
#pragma once
#include <doctest/doctest.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <protozero/pbf_reader.hpp>
#include <protozero/pbf_writer.hpp>
#include <string>

#include "plane/frame.h"
#include "plane/methods.gen.h"

namespace quorate::test {

inline std::string str(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
inline Bytes bytesView(const std::string& s) { return bytesOf(s); }

// A message under construction: Message().text(1, "a").number(2, 7)
class Message {
 public:
  Message& text(uint32_t field, const std::string& value) {
    protozero::pbf_writer{body_}.add_bytes(field, value);
    return *this;
  }
  Message& number(uint32_t field, uint64_t value) {
    protozero::pbf_writer{body_}.add_uint64(field, value);
    return *this;
  }
  operator const std::string&() const { return body_; }

 private:
  std::string body_;
};

struct Answer {
  FrameHeader header;
  std::string body;
  bool arrived = false;

  static constexpr Code kNone = static_cast<Code>(0xffff);  // no answer came
  Code code() const { return arrived ? static_cast<Code>(header.status) : kNone; }
  // The last value of a field; "" and 0 when it is not there.
  std::string text(uint32_t field) const {
    const auto all = texts(field);
    return all.empty() ? "" : all.back();
  }
  std::vector<std::string> texts(uint32_t field) const {
    std::vector<std::string> out;
    for (protozero::pbf_reader r{body}; r.next();) {
      if (r.tag() == field && r.wire_type() == protozero::pbf_wire_type::length_delimited) out.push_back(r.get_string());
      else r.skip();
    }
    return out;
  }
  uint64_t number(uint32_t field) const {
    uint64_t out = 0;
    for (protozero::pbf_reader r{body}; r.next();) {
      if (r.tag() == field && r.wire_type() == protozero::pbf_wire_type::varint) out = r.get_uint64();
      else r.skip();
    }
    return out;
  }
};

inline std::string frame(uint32_t id, uint16_t method, const std::string& body, uint16_t status = 0) {
  std::string out(kFrameHeaderBytes, '\0');
  writeFrameHeader(reinterpret_cast<uint8_t*>(out.data()), id, method, status, body.size());
  return out + body;
}
inline std::string frame(uint32_t id, Method method, const std::string& body) { return frame(id, static_cast<uint16_t>(method), body); }

inline const std::string& helloBody() {
  static const std::string body = Message().number(fields::HelloRequest::versions, 1).text(fields::HelloRequest::client, "test");
  return body;
}

inline std::string helloBody(const std::string& domain) { return helloBody() + std::string(Message().text(fields::HelloRequest::domain, domain)); }

class Client {
 public:
  static constexpr int kPatienceMs = 10'000;

  explicit Client(const std::string& path, bool greet = true) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    REQUIRE(path.size() < sizeof(address.sun_path));
    memcpy(address.sun_path, path.data(), path.size());
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    if (greet) {
      REQUIRE(connected_);
      REQUIRE(call(Method::Hello, helloBody()).code() == Code::OK);
    }
  }
  // Speaks of that domain.
  Client(const std::string& path, const std::string& domain) : Client(path, false) { REQUIRE(call(Method::Hello, helloBody(domain)).code() == Code::OK); }
  Client(const std::string& path, const char* domain) : Client(path, std::string(domain)) {}
  ~Client() { hangUp(); }
  Client(const Client&) = delete;
  Client& operator=(const Client&) = delete;

  int fd() const { return fd_; }
  bool connected() const { return connected_; }
  void hangUp() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  void finishWriting() { shutdown(fd_, SHUT_WR); }

  // False when the daemon closed the connection.
  bool write(const std::string& bytes) {
    for (size_t at = 0; at < bytes.size();) {
      const ssize_t n = send(fd_, bytes.data() + at, bytes.size() - at, MSG_NOSIGNAL);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return false;
      at += static_cast<size_t>(n);
    }
    return true;
  }
  uint32_t ask(Method method, const std::string& body) {
    const uint32_t id = ++lastId_;
    write(frame(id, method, body));
    return id;
  }
  // The next frame; arrived is false when the connection ended or nothing came in time.
  Answer next(int patienceMs = kPatienceMs) {
    for (;;) {
      FrameHeader header;
      const auto state = peekFrame(reinterpret_cast<const uint8_t*>(in_.data()), in_.size(), &header);
      if (state == FrameState::ready) {
        Answer answer{header, in_.substr(kFrameHeaderBytes, header.bodyBytes()), true};
        in_.erase(0, header.frameBytes());
        return answer;
      }
      REQUIRE(state == FrameState::incomplete);
      if (!more(patienceMs)) return {};
    }
  }
  // Asks and waits for the answer to that; other answers are dropped.
  Answer call(Method method, const std::string& body) {
    const uint32_t id = ask(method, body);
    for (;;) {
      Answer answer = next();
      if (!answer.arrived || answer.header.id == id) return answer;
    }
  }
  // Whether the daemon closes the connection within the time; bytes before that are kept for next().
  bool closes(int patienceMs = kPatienceMs) {
    ended_ = false;
    while (more(patienceMs)) {
    }
    return ended_;
  }
  // Reads without a limit of frames: how many bytes lie there now.
  size_t buffered() const { return in_.size(); }

 private:
  bool more(int patienceMs) {
    pollfd p{fd_, POLLIN, 0};
    if (poll(&p, 1, patienceMs) <= 0) return false;
    char chunk[65536];
    const ssize_t n = recv(fd_, chunk, sizeof(chunk), 0);
    if (n <= 0) {
      ended_ = true;
      return false;
    }
    in_.append(chunk, static_cast<size_t>(n));
    return true;
  }

  int fd_;
  bool connected_ = false, ended_ = false;
  uint32_t lastId_ = 0;
  std::string in_;
};

}  // namespace quorate::test
