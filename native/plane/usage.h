// What each key type and scheme does: the one table of the plane. src/keys/usage.ts is its twin.
#pragma once
#include "core/base.h"
#include "plane/methods.gen.h"

namespace quorate {

// A key of this scheme answers this method. KEY_USAGE_DENIED otherwise. By mechanism (MechanismEncrypt and so on) a raw key answers too, as far as
// its scheme amounts to it: that is sheetsOf()'s to say.
bool schemeAllows(KeyScheme scheme, Method method);
// Keys of this type may have this scheme. KEY_SCHEME_INVALID otherwise.
bool typeHasScheme(KeyType type, KeyScheme scheme);
// The scheme of a key made without one; unspecified for an unknown type.
KeyScheme defaultScheme(KeyType type);
// The method uses the private half of an asymmetric key: a public-only key denies it.
bool needsPrivate(Method method);

}  // namespace quorate
