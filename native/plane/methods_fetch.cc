// A secret's value, from the arena straight into the connection's buffer, which is wiped as it is sent (connection.h, outSensitive).
#include "core/require.h"
#include "plane/methods.h"

namespace quorate {

// Of a value alone: what is handed out here goes out in the clear.
Code fetchSecret(Work& work, Reply& reply) {
  QUORATE_REQUIRE(work.key->isValue() && !work.key->session);
  const Bytes value = work.key->stored ? Bytes(*work.key->stored) : Bytes{};
  uint8_t* out = reply.begin(fieldBytes(value.size()) + kNumberFieldBytesMax);
  out = putField(out, fields::FetchSecretResponse::value, value);
  reply.end(putNumber(out, fields::FetchSecretResponse::version, work.key->version));
  return Code::OK;
}

}  // namespace quorate
