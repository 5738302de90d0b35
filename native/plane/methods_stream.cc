// EncryptStream, DecryptStream, StreamChunk: a file in chunks (docs/FORMAT.md). A chunk's plaintext is given out only after its
// own tag was checked; that the file is whole is known only after the chunk marked as last.
#include "plane/methods.h"

namespace quorate {

namespace {
constexpr size_t kChunkOverheadBytes = 16;
}

Code beginStream(Work& work, Session& session, uint64_t sessionKey, Reply& reply) {
  const HotRequest& r = work.request;
  const bool sealing = r.method == Method::EncryptStream;
  Stream stream;
  uint8_t header[kManagedHeaderBytes];
  const Code made = sealing ? ManagedKey::sealStream(work.key->managed, r.context, header, &stream.sealer)
                            : ManagedKey::openStream(work.key->managed, r.context, r.header, &stream.opener);
  if (made != Code::OK) return made;
  stream.keyId = work.key->id;
  stream.version = work.key->version;
  stream.sessionKey = sessionKey;
  stream.ref = std::string(r.key);
  uint64_t number = 0;
  if (const Code code = session.addStream(std::move(stream), &number); code != Code::OK) return code;
  uint8_t* out = reply.begin(fieldBytes(kManagedHeaderBytes) + 3 * kNumberFieldBytesMax);
  if (sealing) {
    out = putNumber(out, fields::EncryptStreamResponse::stream, number);
    out = putField(out, fields::EncryptStreamResponse::header, Bytes(header));
    out = putNumber(out, fields::EncryptStreamResponse::chunk_bytes, limits::stream_chunk_bytes);
    out = putNumber(out, fields::EncryptStreamResponse::version, work.key->version);
  } else {
    out = putNumber(out, fields::DecryptStreamResponse::stream, number);
    out = putNumber(out, fields::DecryptStreamResponse::chunk_bytes, limits::stream_chunk_bytes);
    out = putNumber(out, fields::DecryptStreamResponse::version, work.key->version);
  }
  reply.end(out);
  return Code::OK;
}

// Any error ends the stream.
Code streamChunk(const HotRequest& r, Session& session, Reply& reply) {
  Stream* stream = session.stream(r.stream);
  if (stream == nullptr) return Code::STREAM_INVALID;
  Code code = Code::OK;
  const size_t most = limits::stream_chunk_bytes + (stream->opener ? kChunkOverheadBytes : 0);
  if (r.data.size() > most || (stream->opener && r.data.size() < kChunkOverheadBytes)) {
    code = stream->opener ? Code::CIPHERTEXT_INVALID : Code::STREAM_INVALID;
  } else {
    const size_t n = stream->opener ? r.data.size() - kChunkOverheadBytes : r.data.size() + kChunkOverheadBytes;
    uint8_t* out = reply.begin(fieldBytes(n));
    uint8_t none;
    uint8_t* content = n > 0 ? putFieldHeader(out, fields::StreamChunkResponse::data, n) : &none;
    code = stream->opener ? stream->opener->chunk(r.data, r.last, {content, n}) : stream->sealer->chunk(r.data, r.last, {content, n});
    if (code == Code::OK) reply.end(n > 0 ? content + n : out);
  }
  if (code != Code::OK || r.last) session.endStream(r.stream);
  return code;
}

}  // namespace quorate
