/**
 * The one error table. Codes are wire and API: names and numbers never change, messages may.
 * `npm run generate` writes native/core/errors.gen.h from it; docs/PROTOCOL.md prints it.
 */

/** CK_RV values of PKCS#11 3.0, section 5.1, that the table maps to. */
const CKR = {
  OK: 0x0, HOST_MEMORY: 0x2, GENERAL_ERROR: 0x5, FUNCTION_FAILED: 0x6, ARGUMENTS_BAD: 0x7, DATA_INVALID: 0x20,
  DATA_LEN_RANGE: 0x21, DEVICE_ERROR: 0x30, DEVICE_MEMORY: 0x31, DEVICE_REMOVED: 0x32, ENCRYPTED_DATA_INVALID: 0x40,
  FUNCTION_NOT_SUPPORTED: 0x54, KEY_HANDLE_INVALID: 0x60, KEY_TYPE_INCONSISTENT: 0x63, KEY_FUNCTION_NOT_PERMITTED: 0x68,
  KEY_UNEXTRACTABLE: 0x6a, MECHANISM_INVALID: 0x70, MECHANISM_PARAM_INVALID: 0x71, OPERATION_NOT_INITIALIZED: 0x91,
  PIN_INCORRECT: 0xa0, SIGNATURE_INVALID: 0xc0, TEMPLATE_INCONSISTENT: 0xd1, TOKEN_NOT_PRESENT: 0xe0,
  TOKEN_WRITE_PROTECTED: 0xe2, USER_NOT_LOGGED_IN: 0x101, ATTRIBUTE_READ_ONLY: 0x10, ATTRIBUTE_TYPE_INVALID: 0x12, ATTRIBUTE_VALUE_INVALID: 0x13, ACTION_PROHIBITED: 0x1b, SESSION_COUNT: 0xb1,
  ENCRYPTED_DATA_LEN_RANGE: 0x41, KEY_SIZE_RANGE: 0x62, KEY_NOT_WRAPPABLE: 0x69, OBJECT_HANDLE_INVALID: 0x82, PIN_LEN_RANGE: 0xa2, PIN_LOCKED: 0xa4, TEMPLATE_INCOMPLETE: 0xd0,
  ATTRIBUTE_SENSITIVE: 0x11, WRAPPED_KEY_INVALID: 0x110, CURVE_NOT_SUPPORTED: 0x140,
} as const;

/** Exit codes of sysexits.h. */
const EX = { OK: 0, USAGE: 64, DATAERR: 65, NOINPUT: 66, UNAVAILABLE: 69, SOFTWARE: 70, OSERR: 71, CANTCREAT: 73, IOERR: 74, TEMPFAIL: 75, NOPERM: 77, CONFIG: 78 } as const;

export interface ErrorRow {
  /** u16 in the frame's status field. */
  readonly number: number;
  /** What happened, in a sentence without a full stop. */
  readonly message: string;
  /** `never`: the same request fails again; `later`: unchanged after a wait; `safe`: at once, with the same idempotency key. */
  readonly retry: 'never' | 'later' | 'safe';
  /** What was left untouched: the fate of the data. */
  readonly fate: string;
  /** What the person does next. */
  readonly next: string;
  readonly ckRv: number;
  readonly exit: number;
}

const row = (number: number, message: string, retry: ErrorRow['retry'], fate: string, next: string, ckRv: number, exit: number): ErrorRow =>
  ({ number, message, retry, fate, next, ckRv, exit });

const NOTHING = 'Nothing was changed.';

export const ERRORS = {
  OK: row(0, 'done', 'never', '', '', CKR.OK, EX.OK),
  INTERNAL: row(1, 'the daemon failed in a way it does not know', 'safe', 'A write may or may not have happened.', 'Read the daemon\'s log; report it with the code and the time.', CKR.GENERAL_ERROR, EX.SOFTWARE),
  BAD_REQUEST: row(2, 'the request cannot be decoded or a field has a value that is not allowed', 'never', NOTHING, 'Correct the named field.', CKR.ARGUMENTS_BAD, EX.USAGE),
  UNKNOWN_METHOD: row(3, 'the daemon has no such method', 'never', NOTHING, 'Upgrade the daemon, or the client that called it.', CKR.FUNCTION_NOT_SUPPORTED, EX.UNAVAILABLE),
  FRAME_TOO_LARGE: row(4, 'the frame is longer than the limit, and the connection was closed', 'never', NOTHING, 'Send less at once; files go by streaming.', CKR.DATA_LEN_RANGE, EX.DATAERR),
  HELLO_REQUIRED: row(5, 'the first frame was not Hello', 'never', NOTHING, 'Open each connection with Hello.', CKR.GENERAL_ERROR, EX.SOFTWARE),
  VERSION_UNSUPPORTED: row(6, 'daemon and client have no protocol version in common', 'never', NOTHING, 'Upgrade the older of the two.', CKR.GENERAL_ERROR, EX.UNAVAILABLE),
  DENIED: row(7, 'this principal may not do that', 'never', NOTHING, 'Ask an administrator for: quorate allow PRINCIPAL ACTION KEY; quorate can-i says why.', CKR.ACTION_PROHIBITED, EX.NOPERM),
  SEALED: row(8, 'the daemon is sealed', 'later', 'Keys are safe and cannot be used.', 'Run: quorate unseal', CKR.USER_NOT_LOGGED_IN, EX.UNAVAILABLE),
  UNINITIALISED: row(9, 'the store is not initialised', 'later', NOTHING, 'Run: quorate init', CKR.TOKEN_NOT_PRESENT, EX.UNAVAILABLE),
  ALREADY_INITIALISED: row(10, 'the store is already initialised', 'never', 'The existing store was left as it is.', 'Choose another store, or use this one.', CKR.FUNCTION_FAILED, EX.CANTCREAT),
  BUSY: row(11, 'the daemon has too much waiting', 'later', NOTHING, 'Try again after the time it hints at.', CKR.DEVICE_ERROR, EX.TEMPFAIL),
  LIMIT_EXCEEDED: row(12, 'a limit was reached', 'later', NOTHING, 'Close what is not needed, or see docs/PROTOCOL.md for the limits.', CKR.SESSION_COUNT, EX.TEMPFAIL),
  DEADLINE_EXCEEDED: row(13, 'no answer came in time', 'safe', 'A write may or may not have happened; the same idempotency key finds out.', 'Try again with the same idempotency key.', CKR.DEVICE_ERROR, EX.TEMPFAIL),
  UNSEAL_FAILED: row(14, 'the seal did not open', 'never', 'The daemon stays sealed.', 'Check the passphrase, credential or shares and run quorate unseal again.', CKR.PIN_INCORRECT, EX.NOPERM),
  KEY_NOT_FOUND: row(20, 'there is no such key', 'never', NOTHING, 'List keys with: quorate key ls', CKR.KEY_HANDLE_INVALID, EX.NOINPUT),
  KEY_EXISTS: row(21, 'a key of that name exists', 'never', 'The existing key was left as it is.', 'Choose another name.', CKR.ATTRIBUTE_VALUE_INVALID, EX.CANTCREAT),
  KEY_STATE_DENIED: row(22, 'the key\'s state does not allow that', 'never', NOTHING, 'See the state with: quorate key get', CKR.KEY_FUNCTION_NOT_PERMITTED, EX.NOPERM),
  KEY_USAGE_DENIED: row(23, 'a key of this type and scheme does not do that', 'never', NOTHING, 'Use a key made for it; docs/ARCHITECTURE.md has the table.', CKR.KEY_TYPE_INCONSISTENT, EX.USAGE),
  KEY_VERSION_NOT_FOUND: row(24, 'the key has no such version', 'never', NOTHING, 'See its versions with: quorate key get', CKR.KEY_HANDLE_INVALID, EX.NOINPUT),
  KEY_VERSION_REVOKED: row(25, 'that version of the key was revoked', 'never', NOTHING, 'Nothing opens it with this key again while the version is revoked.', CKR.KEY_FUNCTION_NOT_PERMITTED, EX.NOPERM),
  KEY_DESTROYED: row(26, 'the key was destroyed', 'never', 'What was encrypted with it cannot be read again.', 'None: destruction is final.', CKR.KEY_HANDLE_INVALID, EX.DATAERR),
  KEY_NOT_EXPORTABLE: row(27, 'the key was made not to leave', 'never', NOTHING, 'Make a key with --exportable if it must be wrapped.', CKR.KEY_UNEXTRACTABLE, EX.NOPERM),
  KEY_INVALID: row(28, 'the key material fails its checks', 'never', 'Nothing was imported.', 'Check the format, the type and the material\'s source.', CKR.ATTRIBUTE_VALUE_INVALID, EX.DATAERR),
  KEY_SCHEME_INVALID: row(29, 'that type has no such scheme', 'never', NOTHING, 'See the types and schemes in docs/ARCHITECTURE.md.', CKR.TEMPLATE_INCONSISTENT, EX.USAGE),
  KEY_EXHAUSTED: row(30, 'the key has used all random IVs it may', 'never', 'Decryption goes on.', 'Rotate the key: quorate key rotate', CKR.KEY_FUNCTION_NOT_PERMITTED, EX.UNAVAILABLE),
  NAME_INVALID: row(31, 'the name is not allowed', 'never', NOTHING, 'Use 1 to 128 bytes of NFC text: letters, digits, and . _ - / inside.', CKR.ATTRIBUTE_VALUE_INVALID, EX.USAGE),
  CONTEXT_TOO_LONG: row(32, 'the context is longer than the limit', 'never', NOTHING, 'Shorten it, or hash it first.', CKR.MECHANISM_PARAM_INVALID, EX.USAGE),
  LABEL_INVALID: row(33, 'a label is not allowed', 'never', NOTHING, 'Use at most 32 labels, keys up to 64 bytes, values up to 256.', CKR.ATTRIBUTE_VALUE_INVALID, EX.USAGE),
  SCHEDULE_INVALID: row(34, 'that time is not allowed', 'never', NOTHING, 'Destroying waits 7 to 30 days; activation comes before deactivation.', CKR.ARGUMENTS_BAD, EX.USAGE),
  CIPHERTEXT_INVALID: row(40, 'the ciphertext was changed, cut short, or is not one of Quorate\'s', 'never', 'No plaintext was released.', 'Fetch an unchanged copy; check the context too.', CKR.ENCRYPTED_DATA_INVALID, EX.DATAERR),
  CIPHERTEXT_WRONG_KEY: row(41, 'the ciphertext belongs to another key', 'never', 'No plaintext was released.', 'Leave the key out: the ciphertext names it.', CKR.ENCRYPTED_DATA_INVALID, EX.DATAERR),
  SIGNATURE_INVALID: row(42, 'the signature does not fit the message', 'never', NOTHING, 'Check the message, the key and its version.', CKR.SIGNATURE_INVALID, EX.DATAERR),
  TAG_LENGTH_INVALID: row(43, 'tags have 12 to 16 bytes', 'never', NOTHING, 'Ask for 16.', CKR.MECHANISM_PARAM_INVALID, EX.USAGE),
  IV_INVALID: row(44, 'the IV has the wrong length, or was given where the daemon chooses it', 'never', NOTHING, 'See docs/PROTOCOL.md, Encrypt.', CKR.MECHANISM_PARAM_INVALID, EX.USAGE),
  DIGEST_INVALID: row(45, 'the digest\'s length does not fit its hash, or the hash does not fit the key', 'never', NOTHING, 'Send the message, or the right digest.', CKR.DATA_LEN_RANGE, EX.USAGE),
  INPUT_TOO_LONG: row(46, 'the input is longer than this key or method takes', 'never', NOTHING, 'Send less, or stream it.', CKR.DATA_LEN_RANGE, EX.DATAERR),
  STREAM_INVALID: row(48, 'there is no such stream, or it has ended', 'never', 'No plaintext was released for this chunk.', 'Begin the stream again.', CKR.OPERATION_NOT_INITIALIZED, EX.DATAERR),
  CONFLICT: row(50, 'the record changed in between', 'safe', NOTHING, 'Read it again, then repeat.', CKR.FUNCTION_FAILED, EX.TEMPFAIL),
  IDEMPOTENCY_MISMATCH: row(51, 'that idempotency key was used for a different request', 'never', NOTHING, 'Use a new one for a new request.', CKR.ARGUMENTS_BAD, EX.USAGE),
  STORE_KEY_WRONG: row(52, 'the store belongs to another root key', 'never', 'The store was not changed.', 'Put back the root key or seal.json that belongs to this store.', CKR.DEVICE_ERROR, EX.CONFIG),
  STORE_SCHEMA_NEWER: row(53, 'a newer release wrote this store', 'never', 'The store was not changed.', 'Start that release or a later one.', CKR.DEVICE_ERROR, EX.CONFIG),
  STORE_FULL: row(54, 'the disk or the store is full', 'later', 'The write did not happen; keys stay usable.', 'Make room, then try again.', CKR.DEVICE_MEMORY, EX.IOERR),
  STORE_CORRUPT: row(55, 'the store is damaged', 'never', 'The store was left as found.', 'Restore it from a copy; do not start on it.', CKR.DEVICE_ERROR, EX.IOERR),
  ALREADY_RUNNING: row(56, 'another daemon runs on this store', 'never', 'That daemon goes on.', 'Use it, or stop it first.', CKR.FUNCTION_FAILED, EX.TEMPFAIL),
  STORE_IO: row(57, 'the store could not be read or written', 'safe', 'A write may or may not have happened.', 'Check the disk; the same idempotency key finds out.', CKR.DEVICE_ERROR, EX.IOERR),
  STORE_NOT_ENCRYPTED: row(58, 'the store is not encrypted, or the database library cannot encrypt', 'never', 'The store was not opened.', 'Reinstall, so that sqlite3 is the SQLCipher build.', CKR.DEVICE_ERROR, EX.CONFIG),
  ARENA_LOCK_FAILED: row(60, 'the secure arena cannot be locked in memory', 'never', 'The daemon did not start.', 'Raise RLIMIT_MEMLOCK (LimitMEMLOCK= in the unit, ulimit -l) to at least the arena.', CKR.DEVICE_MEMORY, EX.OSERR),
  ARENA_FULL: row(61, 'the secure arena is full', 'later', NOTHING, 'Close sessions that hold keys, or raise arena_bytes.', CKR.DEVICE_MEMORY, EX.TEMPFAIL),
  SELF_TEST_FAILED: row(62, 'a cryptographic self-test failed', 'never', 'The daemon stays sealed.', 'Do not use this machine for keys; report the failing test.', CKR.DEVICE_ERROR, EX.SOFTWARE),
  SESSION_KEY_QUOTA: row(63, 'this uid holds as many session keys as it may', 'later', NOTHING, 'Destroy some, or close their sessions.', CKR.DEVICE_MEMORY, EX.TEMPFAIL),
  OUTCOME_UNKNOWN: row(70, 'the write may or may not have become durable', 'safe', 'The same request with the same idempotency key finds out.', 'Repeat it unchanged.', CKR.DEVICE_ERROR, EX.TEMPFAIL),
  CONNECT_FAILED: row(80, 'no daemon answers on the socket', 'later', NOTHING, 'Start it with: quorate start', CKR.DEVICE_REMOVED, EX.UNAVAILABLE),
  CONNECTION_LOST: row(81, 'the daemon closed the connection', 'safe', 'A write may or may not have happened; the same idempotency key finds out.', 'Connect again and repeat.', CKR.DEVICE_REMOVED, EX.TEMPFAIL),
  USAGE: row(82, 'the command line is not understood', 'never', NOTHING, 'See: quorate --help', CKR.ARGUMENTS_BAD, EX.USAGE),
  INPUT_UNREADABLE: row(83, 'the input cannot be read', 'never', NOTHING, 'Check the path and its permissions.', CKR.DATA_INVALID, EX.NOINPUT),
  OUTPUT_UNWRITABLE: row(84, 'the output cannot be written', 'never', 'An existing file was left as it is.', 'Check the path, its permissions and the room on the disk.', CKR.FUNCTION_FAILED, EX.CANTCREAT),
  CONFIG_INVALID: row(85, 'the configuration is not valid', 'never', 'Nothing was started or changed.', 'Correct the named setting.', CKR.ARGUMENTS_BAD, EX.CONFIG),
  SOCKET_UNUSABLE: row(86, 'the socket cannot be made', 'never', 'The daemon did not start.', 'Check the folder, its permissions and the path\'s length.', CKR.FUNCTION_FAILED, EX.OSERR),
  AUDIT_UNAVAILABLE: row(90, 'the audit log cannot be written, so nothing is done', 'later', NOTHING, 'Repair the audit folder (quorate audit verify says what is wrong); the service opens again by itself.', CKR.DEVICE_ERROR, EX.UNAVAILABLE),
  AUDIT_CORRUPT: row(91, 'the audit log was changed', 'never', 'The log was left as found.', 'Compare with a checkpoint kept elsewhere; then: quorate audit repair --accept-loss', CKR.DEVICE_ERROR, EX.DATAERR),
  TOKEN_REJECTED: row(92, 'the access token is not accepted', 'never', NOTHING, 'Ask for a new token; the audit log has the reason.', CKR.PIN_INCORRECT, EX.NOPERM),
  SESSION_EXPIRED: row(93, 'the session has ended', 'safe', NOTHING, 'Open a new one; its session keys are gone.', CKR.USER_NOT_LOGGED_IN, EX.NOPERM),
  SESSION_NOT_FOUND: row(94, 'there is no such session', 'never', NOTHING, 'List sessions with: quorate session ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  DOMAIN_NOT_FOUND: row(95, 'there is no such domain', 'never', NOTHING, 'List domains with: quorate domain ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  DOMAIN_EXISTS: row(96, 'a domain of that name exists', 'never', 'The existing domain was left as it is.', 'Choose another name.', CKR.ARGUMENTS_BAD, EX.CANTCREAT),
  PRINCIPAL_NOT_FOUND: row(97, 'there is no such principal', 'never', NOTHING, 'List principals with: quorate principal ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  PRINCIPAL_INVALID: row(98, 'that is not a principal', 'never', NOTHING, 'Write user:NAME, uid:N, app:NAME, service:NAME or unit:NAME.', CKR.ARGUMENTS_BAD, EX.USAGE),
  APP_EXISTS: row(99, 'an application of that name exists', 'never', 'The existing application was left as it is.', 'Choose another name, or remove it first.', CKR.ARGUMENTS_BAD, EX.CANTCREAT),
  APP_NOT_FOUND: row(100, 'there is no such application', 'never', NOTHING, 'List applications with: quorate app ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  POLICY_INVALID: row(101, 'the policy is not valid', 'never', 'No policy was changed.', 'Correct it at the place that is named.', CKR.ARGUMENTS_BAD, EX.DATAERR),
  POLICY_NOT_FOUND: row(102, 'there is no such policy', 'never', NOTHING, 'List policies with: quorate policy ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  TOKEN_NOT_FOUND: row(103, 'there is no such token', 'never', NOTHING, 'List tokens with: quorate token ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  APPROVAL_REQUIRED: row(104, 'another principal must approve this', 'never', 'The request waits as a proposal; nothing was changed yet.', 'Have another principal run: quorate approve ID', CKR.FUNCTION_FAILED, EX.TEMPFAIL),
  PROPOSAL_NOT_FOUND: row(105, 'there is no such proposal, or it has expired', 'never', NOTHING, 'List proposals with: quorate proposal ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  MAPPING_EXISTS: row(106, 'that local identity is mapped to another principal', 'never', 'The existing mapping was left as it is.', 'Remove it from the other principal first.', CKR.ARGUMENTS_BAD, EX.CANTCREAT),
  MECHANISM_INVALID: row(110, 'there is no such mechanism here, or the key does not do it', 'never', NOTHING, 'See the mechanisms in docs/PKCS11.md.', CKR.MECHANISM_INVALID, EX.USAGE),
  MECHANISM_PARAM_INVALID: row(111, 'the mechanism\'s parameters are not allowed', 'never', NOTHING, 'See the mechanism in docs/PKCS11.md.', CKR.MECHANISM_PARAM_INVALID, EX.USAGE),
  USE_NOT_PERMITTED: row(112, 'the key\'s attributes do not permit that', 'never', NOTHING, 'Use a key that was made for it.', CKR.KEY_FUNCTION_NOT_PERMITTED, EX.NOPERM),
  TEMPLATE_INCOMPLETE: row(113, 'the template lacks an attribute', 'never', 'No object was made.', 'Give the attribute that is named.', CKR.TEMPLATE_INCOMPLETE, EX.USAGE),
  TEMPLATE_INCONSISTENT: row(114, 'the template contradicts itself, the mechanism or what it is made from', 'never', 'No object was made or changed.', 'See the rules of attributes in docs/PKCS11.md.', CKR.TEMPLATE_INCONSISTENT, EX.USAGE),
  ATTRIBUTE_TYPE_INVALID: row(115, 'an object of that class has no such attribute', 'never', NOTHING, 'Leave out the attribute that is named.', CKR.ATTRIBUTE_TYPE_INVALID, EX.USAGE),
  ATTRIBUTE_VALUE_INVALID: row(116, 'an attribute has a value that is not allowed', 'never', NOTHING, 'Correct the attribute that is named.', CKR.ATTRIBUTE_VALUE_INVALID, EX.USAGE),
  ATTRIBUTE_READ_ONLY: row(117, 'that attribute cannot be set, or not to that value', 'never', NOTHING, 'Make a new object with it.', CKR.ATTRIBUTE_READ_ONLY, EX.USAGE),
  ATTRIBUTE_SENSITIVE: row(118, 'the value is not told', 'never', NOTHING, 'A key that shall be readable is made so.', CKR.ATTRIBUTE_SENSITIVE, EX.NOPERM),
  KEY_NOT_WRAPPABLE: row(119, 'that key may not be wrapped by this one', 'never', NOTHING, 'See wrapping in docs/PKCS11.md: which keys may take another one out.', CKR.KEY_NOT_WRAPPABLE, EX.NOPERM),
  KEY_SIZE_INVALID: row(120, 'keys of that size are not made here', 'never', NOTHING, 'See the mechanisms and their sizes in docs/PKCS11.md.', CKR.KEY_SIZE_RANGE, EX.USAGE),
  CURVE_NOT_SUPPORTED: row(121, 'there is no such curve here', 'never', NOTHING, 'Use P-256, P-384, P-521, Ed25519 or X25519.', CKR.CURVE_NOT_SUPPORTED, EX.USAGE),
  DATA_LENGTH_INVALID: row(122, 'the mechanism does not take data of that length', 'never', NOTHING, 'Pad the data, or use a mechanism that does.', CKR.DATA_LEN_RANGE, EX.DATAERR),
  CIPHERTEXT_LENGTH_INVALID: row(123, 'the mechanism does not take ciphertext of that length', 'never', 'No plaintext was released.', 'Fetch an unchanged copy.', CKR.ENCRYPTED_DATA_LEN_RANGE, EX.DATAERR),
  WRAPPED_KEY_INVALID: row(124, 'the wrapped key does not open, or is not of its type', 'never', 'No object was made.', 'Fetch an unchanged copy; check the mechanism and the type.', CKR.WRAPPED_KEY_INVALID, EX.DATAERR),
  OPERATION_INVALID: row(125, 'there is no such operation, or it has ended', 'never', NOTHING, 'Begin the operation again.', CKR.OPERATION_NOT_INITIALIZED, EX.DATAERR),
  OBJECT_NOT_FOUND: row(126, 'there is no such object', 'never', NOTHING, 'Look for it again.', CKR.OBJECT_HANDLE_INVALID, EX.NOINPUT),
  OBJECT_TOO_LARGE: row(127, 'the object\'s attributes are longer than the limit', 'never', NOTHING, 'Keep large data encrypted outside, and its key here.', CKR.ATTRIBUTE_VALUE_INVALID, EX.DATAERR),
  PIN_REJECTED: row(128, 'the PIN is not accepted', 'never', NOTHING, 'Check it; ten wrong ones in a row lock it.', CKR.PIN_INCORRECT, EX.NOPERM),
  PIN_LOCKED: row(129, 'the PIN is locked after too many wrong ones', 'never', NOTHING, 'An administrator sets a new one: quorate pkcs11 pin set', CKR.PIN_LOCKED, EX.NOPERM),
  PIN_INVALID: row(130, 'a PIN has 8 to 256 bytes', 'never', NOTHING, 'Choose another one.', CKR.PIN_LEN_RANGE, EX.USAGE),
  PIN_NOT_FOUND: row(131, 'there is no such PIN', 'never', NOTHING, 'List PINs with: quorate pkcs11 pin ls', CKR.PIN_INCORRECT, EX.NOINPUT),
  AUTHENTICATION_REQUIRED: row(132, 'the key asks for the PIN at each use', 'never', NOTHING, 'Log in for this use (C_Login with CKU_CONTEXT_SPECIFIC).', CKR.USER_NOT_LOGGED_IN, EX.NOPERM),
  READ_ONLY: row(133, 'writes are refused: too few zones would hold them', 'later', 'Nothing was changed; keys stay usable.', 'See what is missing with: quorate status', CKR.TOKEN_WRITE_PROTECTED, EX.TEMPFAIL),
  COPY_DIVERGED: row(134, 'this host\'s copy differs from the engine\'s history', 'later', 'The copy confirms nothing any more; keys stay usable.', 'It is fetched anew by itself; keep the old file until the cause is known.', CKR.DEVICE_ERROR, EX.IOERR),
  COPY_ROLLED_BACK: row(135, 'a host\'s copy has lost what it had confirmed', 'later', 'It confirms nothing until it has been fetched anew.', 'Find out who put an old file back, or check the disk; then acknowledge the alarm.', CKR.DEVICE_ERROR, EX.IOERR),
  PEER_REFUSED: row(136, 'a host of the region is not who it should be', 'never', 'Only this connection was closed.', 'Check its certificate, its name and its region.', CKR.DEVICE_ERROR, EX.NOPERM),
  INCARNATION_MISMATCH: row(137, 'the two hosts belong to different incarnations of the region', 'never', 'Neither takes anything from the other.', 'A host of the older one joins again; its copy is kept aside.', CKR.DEVICE_ERROR, EX.CONFIG),
  INVITATION_INVALID: row(140, 'that is not an invitation to a region, or it was changed', 'never', NOTHING, 'Copy the whole line again, or ask for a new one: quorate region invite', CKR.ARGUMENTS_BAD, EX.DATAERR),
  INVITATION_REFUSED: row(141, 'the region does not take that invitation', 'never', 'The host has not joined; the region is as it was.', 'Ask for a new one: quorate region invite', CKR.PIN_INCORRECT, EX.NOPERM),
  OLD_HOSTS_ANSWER: row(148, 'hosts of the region that is to be rebuilt still answer', 'never', 'Nothing was changed; the region is as it was.', 'Turn them off for good, or let them be the region: quorate status', CKR.FUNCTION_FAILED, EX.TEMPFAIL),
  QUARANTINED: row(149, 'this host belongs to an incarnation of the region that was followed by a later one', 'never', 'Nothing was changed; its copy stays as it is, and its keys stay usable.', 'See what only it holds: quorate region quarantine. It comes back by joining with an empty store.', CKR.TOKEN_WRITE_PROTECTED, EX.CONFIG),
  ENGINE_UNAVAILABLE: row(150, 'no member of the replication engine answered, or it has no leader', 'later', 'Nothing was changed; keys stay usable.', 'See which hosts are down: quorate status', CKR.DEVICE_ERROR, EX.UNAVAILABLE),
  ENGINE_COMPACTED: row(151, 'the engine no longer keeps that revision', 'safe', NOTHING, 'Read again at the present revision.', CKR.DEVICE_ERROR, EX.TEMPFAIL),
  ENGINE_REFUSED: row(152, 'the replication engine does not allow that now', 'later', NOTHING, 'The detail says why; quorate region ls shows its members.', CKR.FUNCTION_FAILED, EX.TEMPFAIL),
  ENGINE_UNUSABLE: row(153, 'the replication engine\'s program is missing or too old', 'never', 'Nothing was started or changed.', 'Install etcd 3.5.13 or later (3.4.31 or later of 3.4).', CKR.DEVICE_ERROR, EX.CONFIG),
  CAPACITY: row(158, 'the replication engine is full', 'later', 'The write did not happen; keys stay usable.', 'Make room with: quorate region clear-alarms', CKR.DEVICE_MEMORY, EX.IOERR),
  RECEIPT_NOT_FOUND: row(159, 'this host has no receipt to give for that write', 'never', 'The write is as durable as it was.', 'Ask on the host that answered it, as who wrote it, before it is sealed or restarted.', CKR.FUNCTION_FAILED, EX.NOINPUT),
  BACKUP_UNAVAILABLE: row(170, 'a backup destination does not answer', 'later', 'What it holds stays; the other destination goes on.', 'Check its disk, network and endpoint; it is caught up when it returns.', CKR.DEVICE_ERROR, EX.UNAVAILABLE),
  BACKUP_REFUSED: row(171, 'a backup destination refuses this host, or is not fit for backups', 'never', 'What it holds stays.', 'Check the credentials, the permissions and the setting that the detail names.', CKR.DEVICE_ERROR, EX.NOPERM),
  BACKUP_FULL: row(172, 'a backup destination is full', 'later', 'What it holds stays; nothing half-written counts.', 'Make room there, or raise its quota.', CKR.DEVICE_MEMORY, EX.IOERR),
  BACKUP_CORRUPT: row(173, 'a backup was changed or damaged', 'never', 'Nothing was restored from it; it was left as found.', 'Use the other destination: quorate backup verify names what is sound.', CKR.DEVICE_ERROR, EX.DATAERR),
  BACKUP_INCOMPLETE: row(174, 'a backup lacks a part of its chain', 'never', 'Nothing was restored from it; it was left as found.', 'Use the other destination, or a point in time that is whole: quorate backup ls', CKR.DEVICE_ERROR, EX.DATAERR),
  BACKUP_NEWER: row(175, 'a newer release wrote this backup', 'never', 'It was left as found.', 'Restore it with that release or a later one.', CKR.DEVICE_ERROR, EX.CONFIG),
  BACKUP_NOT_FOUND: row(176, 'there is no backup of that time there', 'never', NOTHING, 'See the points in time with: quorate backup ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  BACKUP_KEY_WRONG: row(177, 'the recovery kit, or this host, does not open that backup', 'never', 'Nothing was restored.', 'Use the kit of the service that wrote it.', CKR.PIN_INCORRECT, EX.NOPERM),
  DOMAIN_SHREDDED: row(178, 'the domain is shredded, or about to be', 'never', NOTHING, 'See how far it is with: quorate domain shred NAME --status; until it is due, --cancel opens the domain again. No name comes back.', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  SECRET_NOT_FOUND: row(180, 'there is no such secret', 'never', NOTHING, 'List secrets with: quorate secret ls', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  SECRET_VERSION_NOT_FOUND: row(181, 'the secret has no such version', 'never', NOTHING, 'See its versions with: quorate secret versions PATH', CKR.ARGUMENTS_BAD, EX.NOINPUT),
  SECRET_STATE_DENIED: row(182, 'that version is deactivated or deleted', 'never', NOTHING, 'See its versions with: quorate secret versions PATH; activate or undelete brings back what is not gone.', CKR.ARGUMENTS_BAD, EX.NOPERM),
  SECRET_CAS_MISMATCH: row(183, 'the secret has another current version', 'never', 'Nothing was written.', 'Read it again, and put with --cas and the version that it has.', CKR.FUNCTION_FAILED, EX.TEMPFAIL),
  SECRET_EXISTS: row(184, 'there is, or was, a secret of that path', 'never', 'It was left as it is.', 'Choose another path: no number of a version comes twice.', CKR.ARGUMENTS_BAD, EX.CANTCREAT),
} as const satisfies Record<string, ErrorRow>;

export type ErrorCode = keyof typeof ERRORS;

const byNumber = new Map<number, ErrorCode>(Object.entries(ERRORS).map(([code, r]) => [r.number, code as ErrorCode]));

/** The code of a frame's status; INTERNAL for a number this release does not know. */
export function codeOfNumber(number: number): ErrorCode {
  return byNumber.get(number) ?? 'INTERNAL';
}

/** An operating error with a stable code. `detail` is the fact (names allowed, secret values never). */
export class QuorateError extends Error {
  override readonly name = 'QuorateError';
  readonly code: ErrorCode;
  readonly detail: string;
  readonly field: string;
  readonly retryAfterMs: number;

  constructor(code: ErrorCode, detail = '', options: { field?: string; retryAfterMs?: number; cause?: unknown } = {}) {
    super(`${code}: ${detail || ERRORS[code].message}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.detail = detail;
    this.field = options.field ?? '';
    this.retryAfterMs = options.retryAfterMs ?? 0;
  }

  get row(): ErrorRow {
    return ERRORS[this.code];
  }
}
