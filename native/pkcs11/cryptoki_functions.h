// The lists of functions that an application gets from C_GetFunctionList (2.40) and C_GetInterface (3.0), made from functions.def.
#pragma once
#include "pkcs11/cryptoki.h"

extern "C" {

struct CK_FUNCTION_LIST;
#define FN(kind, name, params, args) CK_RV C_##name params;
#include "pkcs11/functions.def"

struct CK_FUNCTION_LIST {
  CK_VERSION version;
#define FN(kind, name, params, args) CK_RV (*C_##name) params;
#define FN3(kind, name, params, args)
#include "pkcs11/functions.def"
};

struct CK_FUNCTION_LIST_3_0 {
  CK_VERSION version;
#define FN(kind, name, params, args) CK_RV (*C_##name) params;
#include "pkcs11/functions.def"
};
}
