// Between ec.cc (keys, agreement) and ecdsa.cc.
#pragma once
#include "core/key_row.h"
#include "core/libcrypto.h"

namespace quorate {

// The curve as libcrypto's fastest code has it. Public, made once, shared by all threads.
const EC_GROUP* ecGroup(const KeyRow& row);
// An uncompressed point on the curve, not at infinity; nullptr otherwise.
EcPoint ecPoint(const EC_GROUP* group, const KeyRow& row, Bytes uncompressed);

Code ecdsaSign(const KeyRow& row, const SignOptions& options, Bytes stored, PreparedPart* prepared, Bytes digest, Buffer* signature);
Code ecdsaVerify(const KeyRow& row, const SignOptions& options, Bytes publicKey, Bytes digest, Bytes signature, bool* valid);

}  // namespace quorate
