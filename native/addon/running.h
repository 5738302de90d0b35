// The plane that runs, for the files that bind it to JavaScript.
#pragma once
#include "addon/arguments.h"
#include "plane/plane.h"

namespace quorate::addon {

// nullptr after planeStop; BAD_REQUEST before planeStart.
Plane* planeIfRunning();

// peer, uid, gid, listener, unit, domain, identity.
void setPeer(Napi::Object result, const Peer& peer);

}  // namespace quorate::addon
