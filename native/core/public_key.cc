// Public halves as people and other programs want them: PEM (RFC 7468), JWK (RFC 7517, 7518, 8037).
#include <array>

#include "core/key_der.h"
#include "core/key_row.h"

namespace quorate {
namespace {

constexpr char kBase64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char kBase64Url[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

// RFC 4648 sections 4 and 5. Public data: looks up its table in variable time.
std::string base64(Bytes in, const char* alphabet, bool padded) {
  std::string out;
  for (size_t i = 0; i < in.size(); i += 3) {
    const size_t here = std::min<size_t>(3, in.size() - i);
    uint32_t group = 0;
    for (size_t k = 0; k < 3; k++) group = group << 8 | (k < here ? in[i + k] : 0);
    for (size_t k = 0; k < 4; k++) {
      if (k <= here) {
        out += alphabet[group >> (18 - 6 * k) & 63];
      } else if (padded) {
        out += '=';
      }
    }
  }
  return out;
}

std::string member(const char* name, Bytes value) { return std::string("\"") + name + "\":\"" + base64(value, kBase64Url, false) + '"'; }

}  // namespace

std::string publicPem(Bytes spki) {
  const std::string body = base64(spki, kBase64, true);
  std::string pem = "-----BEGIN PUBLIC KEY-----\n";
  for (size_t i = 0; i < body.size(); i += 64) pem += body.substr(i, 64) + '\n';
  return pem + "-----END PUBLIC KEY-----\n";
}

// Members in the order of RFC 7638, without white space: the SHA-256 of the text is the key's thumbprint.
Code publicJwk(KeyType type, Bytes spki, std::string* json) {
  const KeyRow* row = keyRow(type);
  PublicKeyInfo info;
  if (row == nullptr || row->verbs == nullptr) return Code::BAD_REQUEST;
  if (!readPublicKeyInfo(spki, &info) || info.algorithm.size() != row->algorithm.size() ||
      !std::equal(info.algorithm.begin(), info.algorithm.end(), row->algorithm.begin()) ||
      row->verbs->checkPublic(*row, info.publicKey, nullptr) != Code::OK) {
    return Code::KEY_INVALID;
  }
  const Bytes octets = info.publicKey;
  if (row->verbs == &kRsaVerbs) {
    RsaPublicParts parts;
    if (!readRsaPublicKey(octets, &parts)) return Code::KEY_INVALID;
    *json = "{" + member("e", parts.e) + ",\"kty\":\"RSA\"," + member("n", parts.n) + "}";
    return Code::OK;
  }
  const std::string curve = std::string("{\"crv\":\"") + row->jwkCurve + "\",\"kty\":";
  if (row->verbs == &kEcVerbs) {
    *json = curve + "\"EC\"," + member("x", octets.subspan(1, row->bytes)) + ',' + member("y", octets.last(row->bytes)) + "}";
  } else {
    *json = curve + "\"OKP\"," + member("x", octets) + "}";
  }
  return Code::OK;
}

}  // namespace quorate
