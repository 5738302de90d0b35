#include "pkcs11/wire.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <protozero/pbf_reader.hpp>

#include "pkcs11/errors.gen.h"
#include "pkcs11/location.h"

namespace quorate::pkcs11 {

namespace {

constexpr int64_t kMsNs = 1'000'000;
constexpr int64_t kQueuePauseMs = 20, kBusyPauseMs = 50;

// False when the deadline comes first.
bool pauseFor(int64_t ms, int64_t deadlineNs) {
  if (nowNs() + ms * kMsNs >= deadlineNs) return false;
  timespec left{static_cast<time_t>(ms / 1000), static_cast<long>(ms % 1000 * kMsNs)};
  while (nanosleep(&left, &left) != 0 && errno == EINTR) {
  }
  return true;
}

// Milliseconds until it may be tried again, from a Failure.
int64_t retryAfterMs(std::string_view failure) {
  protozero::pbf_reader reader(failure.data(), failure.size());
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

std::string textField(std::string_view message, uint32_t tag) {
  protozero::pbf_reader reader(message.data(), message.size());
  while (reader.next()) {
    if (reader.tag() == tag && reader.wire_type() == protozero::pbf_wire_type::length_delimited) return reader.get_string();
    reader.skip();
  }
  return "";
}

CK_RV rvOfOutcome(Outcome outcome) { return outcome == Outcome::lost ? CKR_DEVICE_REMOVED : CKR_DEVICE_ERROR; }

// A connected socket, not yet greeted.
CK_RV connectSocket(int patienceMs, int64_t deadlineNs, int* out) {
  std::string path;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (!daemonSocket(&path) || path.size() >= sizeof(address.sun_path)) return CKR_DEVICE_REMOVED;
  std::memcpy(address.sun_path, path.c_str(), path.size() + 1);
  const int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (fd < 0) return CKR_HOST_MEMORY;
  const timeval patience{patienceMs / 1000, patienceMs % 1000 * 1000};
  bool isReady = setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)) == 0 && setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience)) == 0;
  bool isLate = false;
  while (isReady && ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    // The queue of a daemon that is alive is full (EAGAIN).
    isLate = errno == EAGAIN && !pauseFor(kQueuePauseMs, deadlineNs);
    isReady = errno == EINTR || (errno == EAGAIN && !isLate);
  }
  if (isReady) *out = fd;
  if (!isReady) ::close(fd);
  return isReady ? CKR_OK : isLate ? CKR_DEVICE_ERROR : CKR_DEVICE_REMOVED;
}

}  // namespace

Wire::Wire(std::string domain) : domain_(std::move(domain)), patienceMs_(timeoutMs()) {}

CK_RV Wire::ask(Link* link, Method method, Request* request, int64_t deadlineNs, Answer* answer) {
  const Outcome outcome = link->exchange(method, request, deadlineNs, answer);
  return outcome == Outcome::answered ? rvOf(answer->status) : rvOfOutcome(outcome);
}

CK_RV Wire::greet(Link* link, int64_t deadlineNs) {
  Request request;
  Answer answer;
  const char version = limits::protocol_version;
  request.bytes(fields::HelloRequest::versions, {&version, 1});  // packed
  request.bytes(fields::HelloRequest::client, "quorate-pkcs11");
  if (!domain_.empty()) request.bytes(fields::HelloRequest::domain, domain_);
  if (const CK_RV rv = ask(link, Method::Hello, &request, deadlineNs, &answer); rv != CKR_OK) return rv;
  try {
    std::string release = textField(answer.body(), fields::HelloResponse::daemon);
    const std::lock_guard guard(lock_);
    release_ = std::move(release);
  } catch (const protozero::exception&) {
    return CKR_DEVICE_ERROR;
  }
  return CKR_OK;
}

// The credential, if there is one. One that is refused is forgotten: nobody is logged in any more.
CK_RV Wire::present(Link* link, int64_t deadlineNs, std::string* principal) {
  Request request;
  Answer answer;
  Method method = Method::OpenPinSession;
  {
    const std::lock_guard guard(lock_);
    if (!credential_) return CKR_OK;
    if (credential_->isToken) {
      method = Method::OpenSession;
      request.bytes(fields::OpenSessionRequest::chain, credential_->chain);
      request.bytes(fields::OpenSessionRequest::secret, credential_->secret.view());
    } else {
      request.bytes(fields::OpenPinSessionRequest::pin, credential_->secret.view());
    }
  }
  const CK_RV rv = ask(link, method, &request, deadlineNs, &answer);
  if (rv == CKR_OK && principal != nullptr) *principal = textField(answer.body(), fields::OpenSessionResponse::principal);
  if (rv != CKR_OK && rv != CKR_DEVICE_REMOVED && rv != CKR_DEVICE_ERROR) {
    const std::lock_guard guard(lock_);
    credential_.reset();
  }
  return rv;
}

CK_RV Wire::open(int64_t deadlineNs, std::shared_ptr<Link>* out) {
  int fd = -1;
  if (const CK_RV rv = connectSocket(patienceMs_, deadlineNs, &fd); rv != CKR_OK) return rv;
  const uint64_t number = ++lastNumber_;
  live_.store(number, std::memory_order_release);
  auto link = std::make_shared<Link>(fd, number, &live_);
  CK_RV rv = greet(link.get(), deadlineNs);
  if (rv == CKR_OK) rv = present(link.get(), deadlineNs, nullptr);
  if (rv != CKR_OK) {
    link->drop();
    return rv;
  }
  const std::lock_guard guard(lock_);
  inherited_ = link.get();
  link_ = link;
  *out = std::move(link);
  return CKR_OK;
}

// The connection that is there, or a new one.
CK_RV Wire::take(int64_t deadlineNs, std::shared_ptr<Link>* link, bool* isFresh) {
  *isFresh = false;
  {
    const std::lock_guard guard(lock_);
    if (link_ && link_->isUsable()) {
      *link = link_;
      return CKR_OK;
    }
  }
  const std::lock_guard opening(opening_);
  {
    const std::lock_guard guard(lock_);
    if (link_ && link_->isUsable()) {
      *link = link_;
      return CKR_OK;
    }
    inherited_ = nullptr;
    link_.reset();
  }
  *isFresh = true;
  return open(deadlineNs, link);
}

CK_RV Wire::connect() {
  std::shared_ptr<Link> link;
  bool isFresh = false;
  const int64_t deadlineNs = nowNs() + patienceMs_ * kMsNs;
  if (const CK_RV rv = take(deadlineNs, &link, &isFresh); rv != CKR_OK) return rv;
  if (isFresh || !link->hasHungUp()) return CKR_OK;
  link->drop();
  return take(deadlineNs, &link, &isFresh);
}

CK_RV Wire::login(Credential credential, std::string* principal) {
  if (const CK_RV rv = connect(); rv != CKR_OK) return rv;
  const int64_t deadlineNs = nowNs() + patienceMs_ * kMsNs;
  const std::lock_guard opening(opening_);
  std::shared_ptr<Link> link;
  {
    const std::lock_guard guard(lock_);
    credential_ = std::make_unique<Credential>(std::move(credential));
    link = link_;
  }
  CK_RV rv = link ? present(link.get(), deadlineNs, principal) : CKR_DEVICE_REMOVED;
  if (rv != CKR_OK) {
    const std::lock_guard guard(lock_);
    credential_.reset();
  }
  return rv;
}

void Wire::logout() {
  const std::lock_guard guard(lock_);
  credential_.reset();
  if (link_) link_->drop();
}

void Wire::replaceSecret(std::string_view secret) {
  const std::lock_guard guard(lock_);
  if (credential_ && !credential_->isToken) credential_->secret = Buffer(secret);
}

bool Wire::hasCredential() {
  const std::lock_guard guard(lock_);
  return credential_ != nullptr;
}

std::string Wire::release() {
  const std::lock_guard guard(lock_);
  return release_;
}

void Wire::closeInherited() {
  if (Link* const link = inherited_.load(); link != nullptr) link->closeInherited();
}

CK_RV Wire::call(Method method, Request* request, Answer* answer, Code* refusal) {
  if (refusal != nullptr) *refusal = Code::OK;
  if (request->size() > limits::frame_bytes_max) return CKR_DATA_LEN_RANGE;
  const int64_t deadlineNs = nowNs() + request->deadlines * (patienceMs_ * kMsNs);
  for (bool again = request->epoch == 0;;) {
    // What the message speaks of went with its connection.
    if (request->epoch != 0 && request->epoch != epoch()) return CKR_DEVICE_REMOVED;
    std::shared_ptr<Link> link;
    bool isFresh = false;
    if (const CK_RV rv = take(deadlineNs, &link, &isFresh); rv != CKR_OK) return rv;
    if (request->epoch != 0 && request->epoch != link->number()) return CKR_DEVICE_REMOVED;
    const Outcome outcome = link->exchange(method, request, deadlineNs, answer);
    if (outcome != Outcome::answered) {
      if (outcome == Outcome::broken || isFresh || !again) return rvOfOutcome(outcome);
      again = false;
      continue;
    }
    const auto code = static_cast<Code>(answer->status);
    if (code == Code::OK) return CKR_OK;
    if (code == Code::BUSY && pauseFor(retryAfterMs(answer->body()), deadlineNs)) continue;
    if (code == Code::OUTCOME_UNKNOWN && request->isIdempotent && pauseFor(kBusyPauseMs, deadlineNs)) continue;
    if (code == Code::SESSION_EXPIRED && again) {  // another connection is another session
      link->drop();
      again = false;
      continue;
    }
    if (refusal != nullptr) *refusal = code;
    return rvOf(answer->status);
  }
}

}  // namespace quorate::pkcs11
