// The objects of one slot: those that the daemon keeps, as far as this principal sees them, and those of the sessions.
#pragma once
#include <map>
#include <unordered_map>

#include "pkcs11/template.h"
#include "pkcs11/wire.h"

namespace quorate::pkcs11 {

// A key with both its halves, a certificate or data. Never changed: a new one takes its place.
struct Entry {
  uint64_t number = 0;  // from 1, for as long as the module is initialised: the objects' handles are made of it
  std::string ref;      // what the daemon calls it: 32 hexadecimal digits, or "session:N"
  std::string id;       // 16 bytes; empty: a session object
  KeyType type{};       // unspecified: a certificate or data
  uint32_t version = 0;
  Sheet main, publicHalf;    // empty: no such object
  bool isLonePublic = false;  // publicHalf is all there is, and all that the daemon calls its attributes
  std::string spki;
  PublicParts parts;
  CertificateParts certificate;  // views into main
  uint64_t epoch = 0;            // session objects: the connection that they live with
  CK_SESSION_HANDLE owner = 0;   // and the session that made them

  bool isToken() const { return epoch == 0; }
};
using EntryPtr = std::shared_ptr<const Entry>;

enum class Half { main, publicKey };
struct ObjectRef {
  EntryPtr entry;  // empty: there is no such object
  Half half{};
  explicit operator bool() const { return entry != nullptr; }
  const Sheet& sheet() const { return half == Half::main ? entry->main : entry->publicHalf; }
  CK_OBJECT_CLASS objectClass() const { return sheet().number(CKA_CLASS, CK_UNAVAILABLE_INFORMATION); }
  CK_OBJECT_HANDLE handle() const { return 2 * entry->number + (half == Half::publicKey ? 1 : 0); }
};

// Makes what derives from sheets and public key. `attributes` is of a lone public key when it says so.
void completeEntry(std::string attributes, std::string publicAttributes, Entry* entry);

class ObjectTable {
 public:
  explicit ObjectTable(Wire& wire) : wire_(wire) {}

  ObjectRef find(CK_OBJECT_HANDLE handle);
  // A session object, or a token object that this module just made or changed. Keeps the handle of what has the same id. Returns the entry as it is kept.
  EntryPtr put(Entry entry);
  void drop(uint64_t number);
  // Session objects that `owner` made; their names in the daemon, as far as they are still there.
  std::vector<std::string> dropOwned(CK_SESSION_HANDLE owner);

  // Makes what is known true: one message when nothing changed.
  CK_RV refresh();
  // Somebody else may see other things.
  void forgetSync();
  std::vector<CK_OBJECT_HANDLE> matching(Template wanted);
  bool hasTokenObjects();

 private:
  using Handles = std::vector<CK_OBJECT_HANDLE>;
  CK_RV askEpoch(uint64_t* epoch);
  CK_RV sync();
  CK_RV page(std::string* pageToken, std::string* since, bool* isComplete, uint64_t walk);
  EntryPtr putLocked(Entry entry);
  void dropLocked(uint64_t number);
  void dropIdLocked(const std::string& id);
  void index(const Entry& entry, bool isAdded);
  bool isAlive(const Entry& entry) const { return entry.epoch == 0 || entry.epoch == wire_.epoch(); }

  Wire& wire_;
  std::mutex syncing_;  // one walk at a time
  std::mutex lock_;     // what is below, for a moment
  std::map<uint64_t, EntryPtr> entries_;
  std::unordered_map<std::string, uint64_t> ids_;
  std::unordered_map<std::string, Handles> labels_, attributeIds_;
  std::unordered_map<uint64_t, uint64_t> seen_;  // by number: the walk that last named it
  uint64_t walk_ = 0;
  uint64_t syncedEpoch_ = 0;
  int64_t validUntilNs_ = 0;  // 0: never synchronised
  std::string since_;
};

// Reads an ObjectView; false: one that was removed, or that has no place here (managed keys). Throws what protozero throws.
bool readObjectView(std::string_view message, Entry* entry, bool* isRemoved);

}  // namespace quorate::pkcs11
