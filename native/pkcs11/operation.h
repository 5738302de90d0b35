// What encrypting, decrypting, signing, verifying and digesting have in common: from Init, which sends nothing, to the end.
#pragma once
#include "pkcs11/module.h"

namespace quorate::pkcs11 {

// Data of operations that give nothing before their end is kept up to here, and sent as one message; what is longer is sent in pieces, to an
// operation in the daemon.
inline constexpr size_t kHeldBytesMax = 64 * 1024;
inline constexpr size_t kPieceBytes = 4 * 1024 * 1024;

inline std::string_view viewOf(const CK_BYTE* data, CK_ULONG bytes) { return {reinterpret_cast<const char*>(data), data == nullptr ? 0 : bytes}; }

struct MechanismAnswer {
  std::string_view data, iv;
  uint64_t operation = 0;
  bool isValid = false;
};
// CKR_DEVICE_ERROR: that is no answer.
CK_RV readMechanismAnswer(const Answer& answer, MechanismAnswer* out);

// Writes which key it is, at which version, and what the message makes sense on.
void writeKey(const Entry& key, uint32_t tag, Request* request);
// Whether the key may be used so, as its attributes say. The daemon asks the same again.
CK_RV checkUse(const ObjectRef& key, const MechanismRow& row, Use use);

// Each Init. Without a mechanism (3.0): ends the one that is active.
CK_RV beginOperation(Module& m, Use use, CK_SESSION_HANDLE session, const CK_MECHANISM* mechanism, CK_OBJECT_HANDLE key, bool byMessage = false);
// nullptr: CKR_OPERATION_NOT_INITIALIZED.
Operation* activeOperation(Session& session, Use use, bool byMessage);
// Ends it, in the daemon too. Gives `rv` back: every failure but a short buffer ends an operation.
CK_RV ended(Session& session, CK_RV rv);

// The whole in one message.
CK_RV sendWhole(Session& session, std::string_view data, std::string_view signature, MechanismAnswer* out);
// The next piece, of which held data is the beginning; `isLast` ends the operation in the daemon.
CK_RV sendPiece(Session& session, std::string_view data, bool isLast, std::string_view signature, MechanismAnswer* out);
// Data of an operation that gives nothing before its end.
CK_RV collectData(Session& session, std::string_view data);

// Gives a result to the application and ends the operation; what doesn't fit is kept, and CKR_BUFFER_TOO_SMALL.
CK_RV giveResult(Session& session, std::string_view result, CK_BYTE* out, CK_ULONG* outBytes);
CK_RV giveKept(Session& session, CK_BYTE* out, CK_ULONG* outBytes);

}  // namespace quorate::pkcs11
