// One table of exports for each family of src/crypto/addon.ts; addon.cc puts them together.
#pragma once
#include "addon/arguments.h"

namespace quorate::addon {

std::span<const Export> processExports();
std::span<const Export> secretExports();
std::span<const Export> recordExports();
std::span<const Export> keyExports();
std::span<const Export> hpkeExports();
std::span<const Export> transportExports();
std::span<const Export> objectExports();
std::span<const Export> planeExports();
std::span<const Export> sessionExports();
std::span<const Export> nameExports();
std::span<const Export> auditExports();
std::span<const Export> credentialExports();

// `primitives`: for tests and bench.
std::span<const Export> gcmExports();
std::span<const Export> managedExports();
std::span<const Export> symmetricExports();
std::span<const Export> asymmetricExports();
std::span<const Export> jsonExports();

}  // namespace quorate::addon
