#include "core/key_der.h"

#include <array>

namespace quorate {
namespace {

// An AlgorithmIdentifier is compared as a whole, so its bytes with the header are wanted.
bool readAlgorithm(DerReader* in, Bytes* whole) {
  Bytes content;
  if (!in->read(der::kSequence, &content) || content.size() > 0x7f) return false;
  *whole = Bytes(content.data() - 2, content.size() + 2);
  return true;
}

// Attributes mean nothing here; they must still be well formed.
bool skipAttributes(DerReader* in) {
  DerReader attributes({});
  if (!in->enter(der::kContext0, &attributes)) return false;
  while (!attributes.atEnd()) {
    Bytes attribute;
    if (!attributes.read(der::kSequence, &attribute)) return false;
  }
  return true;
}

}  // namespace

bool readPrivateKeyInfo(Bytes der, PrivateKeyInfo* out) {
  DerReader outer(der), in({});
  Bytes version;
  *out = {};
  if (!outer.enter(der::kSequence, &in) || !outer.atEnd()) return false;
  if (!in.readUnsigned(&version) || version.size() != 1 || version[0] > 1) return false;
  if (!readAlgorithm(&in, &out->algorithm) || !in.read(der::kOctetString, &out->privateKey)) return false;
  if (in.next(der::kContext0) && !skipAttributes(&in)) return false;
  const bool withPublic = in.next(der::kPublicKeyContext);
  if (withPublic != (version[0] == 1)) return false;
  if (withPublic && (!in.readBits(der::kPublicKeyContext, &out->publicKey) || out->publicKey.empty())) return false;
  return in.atEnd();
}

void closePrivateKeyInfo(Bytes algorithm, DerWriter* writer) {
  writer->close(der::kOctetString, 0);
  writer->raw(algorithm);
  writer->unsignedInteger(std::array<uint8_t, 1>{0});
  writer->close(der::kSequence, 0);
}

bool readPublicKeyInfo(Bytes der, PublicKeyInfo* out) {
  DerReader outer(der), in({});
  return outer.enter(der::kSequence, &in) && outer.atEnd() && readAlgorithm(&in, &out->algorithm) &&
         in.readBits(der::kBitString, &out->publicKey) && in.atEnd();
}

void writePublicKeyInfo(Bytes algorithm, Bytes publicKey, Buffer* der) {
  Buffer buffer(algorithm.size() + publicKey.size() + 16);
  DerWriter writer(buffer);
  writer.bits(der::kBitString, publicKey);
  writer.raw(algorithm);
  writer.close(der::kSequence, 0);
  const Bytes result = writer.result();
  der->assign(result.begin(), result.end());
}

bool readRsaPublicKey(Bytes der, RsaPublicParts* out) {
  DerReader outer(der), in({});
  return outer.enter(der::kSequence, &in) && outer.atEnd() && in.readUnsigned(&out->n) && in.readUnsigned(&out->e) && in.atEnd();
}

void writeRsaPublicKey(const RsaPublicParts& parts, Buffer* der) {
  Buffer buffer(parts.n.size() + parts.e.size() + 16);
  DerWriter writer(buffer);
  writer.unsignedInteger(parts.e);
  writer.unsignedInteger(parts.n);
  writer.close(der::kSequence, 0);
  const Bytes result = writer.result();
  der->assign(result.begin(), result.end());
}

bool readRsaPrivateKey(Bytes der, RsaPrivateParts* out) {
  DerReader outer(der), in({});
  if (!outer.enter(der::kSequence, &in) || !outer.atEnd() || !in.readVersion(0)) return false;
  for (Bytes* part : {&out->n, &out->e, &out->d, &out->p, &out->q, &out->dp, &out->dq, &out->qi}) {
    if (!in.readUnsigned(part)) return false;
  }
  return in.atEnd();
}

void writeRsaPrivateKey(const RsaPrivateParts& parts, DerWriter* writer) {
  const size_t from = writer->size();
  for (const Bytes part : {parts.qi, parts.dq, parts.dp, parts.q, parts.p, parts.d, parts.e, parts.n}) writer->unsignedInteger(part);
  writer->unsignedInteger(std::array<uint8_t, 1>{0});
  writer->close(der::kSequence, from);
}

bool readEcPrivateKey(Bytes der, EcPrivateParts* out) {
  DerReader outer(der), in({}), bits({});
  *out = {};
  if (!outer.enter(der::kSequence, &in) || !outer.atEnd() || !in.readVersion(1)) return false;
  if (!in.read(der::kOctetString, &out->scalar)) return false;
  if (in.next(der::kContext0) && (!in.read(der::kContext0, &out->curve) || out->curve.empty())) return false;
  if (in.next(der::kContext1)) {
    if (!in.enter(der::kContext1, &bits) || !bits.readBits(der::kBitString, &out->publicKey)) return false;
    if (!bits.atEnd() || out->publicKey.empty()) return false;
  }
  return in.atEnd();
}

void writeEcPrivateKey(Bytes scalar, Bytes publicKey, DerWriter* writer) {
  const size_t from = writer->size();
  writer->bits(der::kBitString, publicKey);
  writer->close(der::kContext1, from);
  writer->element(der::kOctetString, scalar);
  writer->unsignedInteger(std::array<uint8_t, 1>{1});
  writer->close(der::kSequence, from);
}

}  // namespace quorate
