// Objects that are made: each begins as one of the daemon's session, and is kept there where its template says so.
#pragma once
#include "pkcs11/operation.h"

namespace quorate::pkcs11 {

// Sends what makes an object (GenerateObject, CreateObject, CopyObject, UnwrapObject, DeriveObject) and keeps it if it is to be a token object.
CK_RV makeObject(Session& session, Method method, Request* request, EntryPtr* made);
// CKR_SESSION_READ_ONLY: a token object, from a session that may not write.
CK_RV checkWriter(const Session& session, bool isToken);
void addIdempotencyKey(uint32_t tag, Request* request);
// As Wire::call(), for what changes what is kept.
CK_RV callWriting(Session& session, Method method, Request* request, Answer* answer);
// The daemon's session object, which nobody knows.
void destroySessionObject(Wire* wire, const std::string& ref, uint64_t epoch);
// Reads the answer to `method` as an ObjectResponse and puts it into the table.
CK_RV putStored(Session& session, const Answer& answer, EntryPtr* out);
CK_RV putSessionObject(Session& session, const Answer& answer, uint64_t epoch, uint64_t number, CK_SESSION_HANDLE owner, EntryPtr* out);

}  // namespace quorate::pkcs11
