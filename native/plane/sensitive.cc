#include "plane/sensitive.h"

#include <protozero/pbf_reader.hpp>

#include "core/secret.h"
#include "plane/hot_request.h"

namespace quorate {

namespace {

using protozero::pbf_wire_type;
constexpr size_t kHandleBytes = 8;

uint64_t handleOf(Bytes content) {
  uint64_t handle;
  std::memcpy(&handle, content.data(), kHandleBytes);
  return handle;
}

protozero::pbf_reader readerOf(Bytes body) { return {reinterpret_cast<const char*>(body.data()), body.size()}; }

Bytes viewOf(protozero::pbf_reader& reader) {
  const protozero::data_view view = reader.get_view();
  return {reinterpret_cast<const uint8_t*>(view.data()), view.size()};
}

void appendVarint(Buffer* out, uint64_t value) {
  uint8_t bytes[kVarintBytesMax];
  out->insert(out->end(), bytes, putVarint(bytes, value));
}

void appendField(Buffer* out, uint32_t number, Bytes content) {
  appendVarint(out, static_cast<uint64_t>(number) << 3 | 2);
  appendVarint(out, content.size());
  out->insert(out->end(), content.begin(), content.end());
}

template <class T>
void appendFixed(Buffer* out, uint64_t tag, T value) {
  appendVarint(out, tag);
  const auto* p = reinterpret_cast<const uint8_t*>(&value);
  out->insert(out->end(), p, p + sizeof(value));
}

void copyField(protozero::pbf_reader& reader, Buffer* out) {
  const uint32_t number = reader.tag();  // gone once the content was read
  const uint64_t tag = static_cast<uint64_t>(number) << 3 | static_cast<uint64_t>(reader.wire_type());
  switch (reader.wire_type()) {
    case pbf_wire_type::varint:
      appendVarint(out, tag);
      appendVarint(out, reader.get_uint64());
      break;
    case pbf_wire_type::fixed64: appendFixed(out, tag, reader.get_fixed64()); break;
    case pbf_wire_type::fixed32: appendFixed(out, tag, reader.get_fixed32()); break;
    default: appendField(out, number, viewOf(reader)); break;
  }
}

}  // namespace

Code swapIn(const MethodRow& row, Bytes body, Buffer* out, std::vector<uint64_t>* handles, Fault* fault) {
  uint32_t seen[3] = {};
  protozero::pbf_reader reader = readerOf(body);
  while (reader.next()) {
    if (!isSensitive(row.sensitiveIn, reader.tag())) {
      copyField(reader, out);
      continue;
    }
    if (reader.wire_type() != pbf_wire_type::length_delimited) throw BadField{"", "a sensitive field has the wrong wire type"};
    const uint32_t number = reader.tag();
    if (isSensitive(seen, number)) throw BadField{"", "a sensitive field occurs twice"};
    for (uint32_t& slot : seen)
      if (slot == 0) {
        slot = number;
        break;
      }
    const Bytes content = viewOf(reader);
    if (content.empty()) continue;  // the default: left out
    if (const size_t most = sensitiveBytesMax(row.id); content.size() > most) {
      fault->detail = "a sensitive field is longer than " + std::to_string(most) + " bytes";
      return Code::INPUT_TOO_LONG;
    }
    Secret secret;
    if (const Code code = Secret::copy(content, &secret); code != Code::OK) return code;
    const uint64_t handle = HandleTable::put(std::move(secret));
    handles->push_back(handle);
    appendField(out, number, {reinterpret_cast<const uint8_t*>(&handle), kHandleBytes});
  }
  return Code::OK;
}

Code swapOut(const MethodRow& row, Bytes body, Reply& reply) {
  std::vector<SecretPtr> secrets;
  size_t total = body.size();
  Code code = Code::OK;
  for (protozero::pbf_reader reader = readerOf(body); reader.next();) {
    if (!isSensitive(row.sensitiveOut, reader.tag()) || reader.wire_type() != pbf_wire_type::length_delimited) {
      reader.skip();
      continue;
    }
    const Bytes content = viewOf(reader);
    SecretPtr secret = content.size() == kHandleBytes ? HandleTable::take(handleOf(content)) : nullptr;
    if (!secret && !content.empty()) code = Code::INTERNAL;  // goes on: every handle is consumed
    total += kNumberFieldBytesMax + (secret ? secret->size() : 0);
    secrets.push_back(std::move(secret));
  }
  if (code != Code::OK || total > kFrameBodyBytesMax) return Code::INTERNAL;
  uint8_t* out = reply.begin(total);
  size_t next = 0;
  const uint8_t* from = body.data();
  for (protozero::pbf_reader reader = readerOf(body); reader.next();) {
    const uint32_t number = reader.tag();
    const bool swapped = isSensitive(row.sensitiveOut, number) && reader.wire_type() == pbf_wire_type::length_delimited;
    reader.skip();
    const uint8_t* to = reinterpret_cast<const uint8_t*>(reader.data().data());
    if (swapped) {
      if (const SecretPtr& secret = secrets[next++]; secret) out = putField(out, number, Bytes(*secret));
    } else {
      std::memcpy(out, from, static_cast<size_t>(to - from));
      out += to - from;
    }
    from = to;
  }
  reply.end(out);
  return Code::OK;
}

void dropHandles(const MethodRow& row, Bytes body) {
  try {
    for (protozero::pbf_reader reader = readerOf(body); reader.next();) {
      if (isSensitive(row.sensitiveOut, reader.tag()) && reader.wire_type() == pbf_wire_type::length_delimited) {
        if (const Bytes content = viewOf(reader); content.size() == kHandleBytes) HandleTable::drop(handleOf(content));
      } else {
        reader.skip();
      }
    }
  } catch (const protozero::exception&) {  // not a message: what was readable of it is dropped
  }
}

}  // namespace quorate
