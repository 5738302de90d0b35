// System calls that are not crypto: files that hold secrets, the lock of a store, hardening, the service manager. No Node here.
#pragma once
#include "core/secret.h"

namespace quorate::addon {

// PR_SET_DUMPABLE 0 (no core dump, no ptrace by the same uid, /proc/self owned by root) and RLIMIT_CORE 0. INTERNAL.
Code hardenProcess(std::string* detail);

// sd_notify(3): one datagram to NOTIFY_SOCKET; "@" begins an abstract name. *sent is false when the variable is not set.
// BAD_REQUEST for an address that is neither; INTERNAL when nobody takes the datagram within two seconds.
Code notifyService(const std::string& message, bool* sent, std::string* detail);

// Opens (makes, mode 0600) and locks with flock: the lock goes with the descriptor. ALREADY_RUNNING, STORE_IO.
Code lockFile(const std::string& path, int* fd, std::string* detail);

// A whole regular file straight into the arena: no stdio buffer, no heap. STORE_IO (missing, unreadable, not a regular file,
// empty, longer than bytesMax); ARENA_FULL. bytesMax is at most limits::secret_bytes_max.
Code readSecretFile(const std::string& path, size_t bytesMax, Secret* out, std::string* detail);

// A new file of mode 0600, on disk with its folder's entry when it returns. An existing file is left alone: STORE_IO, as for
// every other failure, after which no file is left behind.
Code writeSecretFile(const std::string& path, Bytes content, std::string* detail);

// A file in memory (memfd_create(2)) that holds `content` and that nobody changes any more through any descriptor, its owner and root included: sealed
// against writing, shrinking, growing and other seals, and where the kernel knows that (Linux 6.3) against being made executable. Mode 0400. *fd is
// for reading, at offset 0, close-on-exec. Its pages are not locked: they can reach the swap. OUTPUT_UNWRITABLE, as where the
// kernel or a seccomp filter refuses memfd_create: there is no second way that is weaker.
Code sealedFile(Bytes content, int* fd, std::string* detail);

// BAD_REQUEST unless fd is a listening Unix stream socket: anything else that the plane would own and close.
Code checkListening(int fd, std::string* detail);

// The path that a Unix socket is bound to; "" for an abstract address, none, or another kind of descriptor. Asked of the descriptor itself:
// /proc/net/unix has the sockets of one network namespace, and a service manager's is made in another.
std::string socketPath(int fd);

}  // namespace quorate::addon
