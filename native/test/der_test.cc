// The DER reader and writer: exactly one encoding of everything.
#include "core/der.h"

#include <doctest/doctest.h>

#include "core/key_der.h"
#include "hex.h"

using namespace quorate;
using namespace quorate::test;

namespace {

bool readsOctets(const std::string& der) {
  const Buffer bytes = hex(der);
  DerReader in(bytes);
  Bytes content;
  return in.read(der::kOctetString, &content) && in.atEnd();
}

// The magnitude in hex, or "refused".
std::string integerOf(const std::string& der) {
  const Buffer bytes = hex(der);
  DerReader in(bytes);
  Bytes magnitude;
  return in.readUnsigned(&magnitude) && in.atEnd() ? toHex(magnitude) : "refused";
}

// Vectors are written with spaces where their parts meet.
Buffer spaced(std::string text) {
  std::erase(text, ' ');
  return hex(text);
}

std::string signatureOf(const std::string& der) {
  Buffer fixed(8);
  return readEcdsaSignature(spaced(der), 4, fixed) ? toHex(fixed) : "refused";
}

}  // namespace

TEST_CASE("der: lengths are minimal, definite and all there") {
  CHECK(readsOctets("0400"));
  CHECK(readsOctets("04010a"));
  CHECK(readsOctets("047f" + std::string(254, '0')));
  CHECK(readsOctets("048180" + std::string(256, '0')));
  CHECK(readsOctets("0481ff" + std::string(510, '0')));
  CHECK(readsOctets("04820100" + std::string(512, '0')));
  CHECK_FALSE(readsOctets(""));
  CHECK_FALSE(readsOctets("04"));
  CHECK_FALSE(readsOctets("0401"));
  CHECK_FALSE(readsOctets("04020a"));
  CHECK_FALSE(readsOctets("04010a00"));    // a byte too many
  CHECK_FALSE(readsOctets("05010a"));      // another tag
  CHECK_FALSE(readsOctets("04800a0000"));  // indefinite
  CHECK_FALSE(readsOctets("0481010a"));    // long form of a short length
  CHECK_FALSE(readsOctets("04817f" + std::string(254, '0')));
  CHECK_FALSE(readsOctets("04820080" + std::string(256, '0')));  // leading zero
  CHECK_FALSE(readsOctets("048300000101"));
  CHECK_FALSE(readsOctets("0483010000" + std::string(131072, '0')));  // longer than anything here
  CHECK_FALSE(readsOctets("0481"));
  CHECK_FALSE(readsOctets("048201"));
  CHECK_FALSE(readsOctets("0482ffff00"));
  CHECK_FALSE(readsOctets("04ff00"));
}

TEST_CASE("der: integers are minimal and not negative") {
  CHECK(integerOf("020100") == "00");
  CHECK(integerOf("02017f") == "7f");
  CHECK(integerOf("02020080") == "80");
  CHECK(integerOf("02020100") == "0100");
  CHECK(integerOf("0200") == "refused");
  CHECK(integerOf("020180") == "refused");
  CHECK(integerOf("0202ff7f") == "refused");
  CHECK(integerOf("0202007f") == "refused");
  CHECK(integerOf("02020000") == "refused");
  CHECK(integerOf("0203000080") == "refused");
}

TEST_CASE("der: bit strings are whole octets") {
  Bytes octets;
  const Buffer good = hex("03020041"), empty = hex("030100"), odd = hex("03020140"), none = hex("0300");
  CHECK(DerReader(good).readBits(der::kBitString, &octets));
  CHECK(toHex(octets) == "41");
  CHECK(DerReader(empty).readBits(der::kBitString, &octets));
  CHECK(octets.empty());
  CHECK_FALSE(DerReader(odd).readBits(der::kBitString, &octets));
  CHECK_FALSE(DerReader(none).readBits(der::kBitString, &octets));
}

TEST_CASE("der: what the writer writes, the reader reads") {
  for (const size_t length : {0u, 1u, 127u, 128u, 255u, 256u, 300u, 65535u}) {
    CAPTURE(length);
    const Buffer content = pattern(length);
    Buffer buffer(length + 4);
    DerWriter writer(buffer);
    writer.element(der::kOctetString, content);
    const MutBytes result = writer.result();
    DerReader in(result);
    Bytes read;
    REQUIRE(in.read(der::kOctetString, &read));
    CHECK(in.atEnd());
    CHECK(Buffer(read.begin(), read.end()) == content);
  }
  Buffer buffer(16);
  DerWriter writer(buffer);
  writer.unsignedInteger(hex("0000ff"));
  writer.unsignedInteger(hex("0000"));
  writer.unsignedInteger({});
  writer.unsignedInteger(hex("7f"));
  CHECK(toHex(writer.result()) == "02017f020100020100020200ff");
}

TEST_CASE("der: a writer whose buffer is too short says so and gives nothing") {
  Buffer buffer(5);
  DerWriter writer(buffer);
  writer.element(der::kOctetString, hex("010203"));
  CHECK(writer.fits());
  writer.raw(hex("04"));
  CHECK_FALSE(writer.fits());
  CHECK(writer.result().empty());
  Buffer small(4);
  DerWriter other(small);
  other.element(der::kOctetString, hex("010203"));  // the content fits, the header does not
  CHECK_FALSE(other.fits());
}

TEST_CASE("der: ECDSA signatures have one form") {
  CHECK(signatureOf("3006020101020102") == "0000000100000002");
  CHECK(signatureOf("300c02047f0203040204050607 08") == "7f02030405060708");
  CHECK(signatureOf("300d020500ff020304020405060708") == "ff02030405060708");
  CHECK(signatureOf("3006020100020100") == "0000000000000000");  // range is the verifier's business
  for (const char* bad : {
           "",
           "30",
           "3000",
           "3003020101",
           "300602010102010200",         // a byte after the end
           "3007020101020102",           // too long a length
           "300702010102010200",         // a byte within, after s
           "30060201010201",             // cut short
           "308106020101020102",         // long form of a short length
           "3080020101020102 0000",      // indefinite
           "30070202000102 0102",        // needless zero
           "3006020181020102",           // negative
           "300502000201 02",            // empty integer
           "3106020101020102",           // a set
           "3006030101020102",           // not an integer
           "3009020101020102020103",     // three numbers
           "300b020501020304050201 02",  // r longer than the scalar
           "300c020600ff020304050201 02",
       }) {
    CAPTURE(bad);
    CHECK(signatureOf(bad) == "refused");
  }
  // And the writer's is the one that the reader takes, with and without the sign byte.
  for (const char* fixed : {"0000000100000002", "ff02030405060708", "00000000ffffffff", "8000000000000080"}) {
    Buffer der;
    writeEcdsaSignature(hex(fixed), &der);
    CHECK(signatureOf(toHex(der)) == fixed);
  }
}

TEST_CASE("der: PKCS#8 versions, attributes and public halves") {
  const std::string algorithm = "300506032b6570", inner = "0402aabb", attribute = "a0043002 0500", publicKey = "81020041";
  PrivateKeyInfo info;
  const auto reads = [&](const std::string& content) {
    Buffer body = spaced(content), whole(body.size() + 4);
    DerWriter writer(whole);
    writer.element(der::kSequence, body);
    const Bytes result = writer.result();
    const Buffer der(result.begin(), result.end());
    return readPrivateKeyInfo(der, &info);
  };
  CHECK(reads("020100" + algorithm + inner));
  CHECK(reads("020100" + algorithm + inner + attribute));
  CHECK(reads("020101" + algorithm + inner + publicKey));
  CHECK(reads("020101" + algorithm + inner + attribute + publicKey));
  CHECK_FALSE(reads("020101" + algorithm + inner));              // version 1 says that a public half follows
  CHECK_FALSE(reads("020100" + algorithm + inner + publicKey));  // version 0 that none does
  CHECK_FALSE(reads("020102" + algorithm + inner));
  CHECK_FALSE(reads(algorithm + inner));
  CHECK_FALSE(reads("020100" + inner));
  CHECK_FALSE(reads("020100" + algorithm));
  CHECK_FALSE(reads("020101" + algorithm + inner + publicKey + attribute));  // order
  CHECK_FALSE(reads("020101" + algorithm + inner + "810100"));               // an empty public half
  CHECK_FALSE(reads("020101" + algorithm + inner + "81020141"));             // unused bits
  CHECK_FALSE(reads("020100" + algorithm + inner + "a0030500"));             // a broken attribute
  CHECK_FALSE(reads("020100" + algorithm + inner + "0500"));
}
