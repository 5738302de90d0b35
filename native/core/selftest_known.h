// Known answers for the self-tests of the symmetric half. Every key here is public.
#pragma once
#include "core/selftest_hex.h"

namespace quorate::known {

// The GCM specification's test cases 4, 10 and 16 (one key, cut to each size); then kGcmLongBytes of (7 i + i / 256) mod 256 under the
// same key, IV and aad, enough for every kernel's long loop: SHA-256 of the ciphertext, and the tag (libcrypto gives the same).
inline constexpr auto kGcmKey = fromHex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308");
inline constexpr auto kGcmIv = fromHex("cafebabefacedbaddecaf888");
inline constexpr auto kGcmAad = fromHex("feedfacedeadbeeffeedfacedeadbeefabaddad2");
inline constexpr auto kGcmText = fromHex(
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39");
inline constexpr auto kGcmShort128 = fromHex(
    "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e0915bc94fbc"
    "3221a5db94fae95ae7121a47");
inline constexpr auto kGcmShort192 = fromHex(
    "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda27102519498e"
    "80f1478f37ba55bd6d27618c");
inline constexpr auto kGcmShort256 = fromHex(
    "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece"
    "0f4e1768cddf8853bb2d551b");
inline constexpr size_t kGcmLongBytes = 1400;
inline constexpr auto kGcmLong128 = fromHex(
    "2ad3c81311ec77638044107f3536a662354dd3f3dc5b595f297b3817ff3e28f6b4cf4756865c515013ce40208bbfdeaf");
inline constexpr auto kGcmLong192 = fromHex(
    "ef664f0bd602d07b8b1ee7fb4cabae4a574b706b02142555c8443e4eca3bf9c96b015d5a66ee67235e8fdf0cf500ce5c");
inline constexpr auto kGcmLong256 = fromHex(
    "8519360c2fdb7338f247d6f1ff4daf4724be8ca486dd327520d38519aa872008cc78875f0dbd2d6282299784f20589c7");

// FIPS 180-4: "abc".
inline constexpr auto kAbcSha1 = fromHex("a9993e364706816aba3e25717850c26c9cd0d89d");
inline constexpr auto kAbcSha224 = fromHex("23097d223405d8228642a477bda255b32aadbce4bda0b3f7e36c9da7");
inline constexpr auto kAbcSha256 = fromHex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
inline constexpr auto kAbcSha384 = fromHex(
    "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7");
inline constexpr auto kAbcSha512 = fromHex(
    "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f");

// RFC 4231, case 2: the key "Jefe"; SHA-1 from RFC 2202, case 2.
inline constexpr auto kJefeSha1 = fromHex("effcdf6ae5eb2fa2d27416d5f184df9c259a7c79");
inline constexpr auto kJefeSha224 = fromHex("a30e01098bc6dbbf45690f3a7e9e6d0f8bbea2a39e6148008fd05e44");
inline constexpr auto kJefeSha256 = fromHex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
inline constexpr auto kJefeSha384 = fromHex(
    "af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e8e2240ca5e69e2c78b3239ecfab21649");
inline constexpr auto kJefeSha512 = fromHex(
    "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737");

// RFC 5869 A.1; RFC 7914 section 12, the second with N = 16.
inline constexpr auto kHkdfSalt = fromHex("000102030405060708090a0b0c");
inline constexpr auto kHkdfInfo = fromHex("f0f1f2f3f4f5f6f7f8f9");
inline constexpr auto kHkdfOkm = fromHex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865");
inline constexpr auto kScrypt = fromHex(
    "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442fcd0069ded0948f8326a753a0fc81f17e8d3e0fb2e0d3628cf35e20c38d18906");

// SP 800-38A: F.2.1 (CBC) and F.5.5 (CTR), the first three blocks; RFC 4493, example 3 (CMAC over 40 bytes of the same text).
inline constexpr auto kModesText = fromHex(
    "6bc1bee22e409f96e93d7e117393172aae2d8a571e03ac9c9eb76fac45af8e5130c81c46a35ce411e5fbc1191a0a52ef");
inline constexpr auto kAes128 = fromHex("2b7e151628aed2a6abf7158809cf4f3c");
inline constexpr auto kAes256 = fromHex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4");
inline constexpr auto kCbcIv = fromHex("000102030405060708090a0b0c0d0e0f");
inline constexpr auto kCbcSealed = fromHex(
    "7649abac8119b246cee98e9b12e9197d5086cb9b507219ee95db113a917678b273bed6b8e3c1743b7116e69e22229516");
inline constexpr auto kCtrCounter = fromHex("f0f1f2f3f4f5f6f7f8f9fafbfcfdfeff");
inline constexpr auto kCtrSealed = fromHex(
    "601ec313775789a5b7a7f504bbf3d228f443e3ca4d62b59aca84e990cacaf5c52b0930daa23de94ce87017ba2d84988d");
inline constexpr auto kCmac = fromHex("dfa66747de9ae63030ca32611497c827");

// RFC 3394, 4.6; RFC 5649, 6, both examples.
inline constexpr auto kKwKek = fromHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
inline constexpr auto kKwText = fromHex("00112233445566778899aabbccddeeff000102030405060708090a0b0c0d0e0f");
inline constexpr auto kKwWrapped = fromHex("28c9f404c4b810f4cbccb35cfb87f8263f5786e2d80ed326cbc7f0e71a99f43bfb988b9b7a02dd21");
inline constexpr auto kKwpKek = fromHex("5840df6e29b02af1ab493b705bf16ea1ae8338f4dcc176a8");
inline constexpr auto kKwpText20 = fromHex("c37b7e6492584340bed12207808941155068f738");
inline constexpr auto kKwpWrapped20 = fromHex("138bdeaa9b8fa7fc61f97742e72248ee5ae6ae5360d1ae6a5f54f373fa543b6a");
inline constexpr auto kKwpText7 = fromHex("466f7250617369");
inline constexpr auto kKwpWrapped7 = fromHex("afbeb0f07dfbf5419200f2ccb50bb24f");

// C2SP's second vector of XAES-256-GCM: the key 32 times 03, text "XAES-256-GCM".
inline constexpr auto kXaesSealed = fromHex("986ec1832593df5443a179437fd083bf3fdb41abd740a21f71eb769d");

// docs/FORMAT.md's examples. The shared secret is kShareSecret; any two of the shares give it.
inline constexpr auto kStored = fromHex("000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f");
inline constexpr auto kKeyId = fromHex("a0a1a2a3a4a5a6a7a8a9aaabacadaeaf");
inline constexpr auto kContext = fromHex("696e766f6963652037");
inline constexpr auto kPlaintext = fromHex("6962616e2046523736");
inline constexpr auto kMessage = fromHex(
    "51a10101a0a1a2a3a4a5a6a7a8a9aaabacadaeaf03000000404142434445464748494a4b4c4d4e4f50515253545556575b2aee5eef9ffcc4ac6b25d382054780"
    "05b24a546ff54f87469a1ed84fc44737871fa3754ca6c84cc9ae509db3de48f117d0d84d367ee84db6");
inline constexpr auto kFile = fromHex(
    "51a10201a0a1a2a3a4a5a6a7a8a9aaabacadaeaf03000000606162636465666768696a6b6c6d6e6f7071727374757677086d01641ee94ff405838265e9b4ea02"
    "6129282ae28caa3d61074abea9b14077aa090f8e706ff7fb6fa1bd345bc0e28ecb7dbd499090ed38af");
inline constexpr auto kRecordKek = fromHex("101112131415161718191a1b1c1d1e1f202122232425262728292a2b2c2d2e2f");
inline constexpr auto kRecordAad = fromHex("616e206964656e74697479");
inline constexpr auto kRecordSalt = fromHex("c0c1c2c3c4c5c6c7c8c9cacbcccdcecf");
inline constexpr auto kRecord = fromHex("01c0c1c2c3c4c5c6c7c8c9cacbcccdcecff05310fd382abd9b0dbacb83e25af60c6ff5b7ce175de0b055");
inline constexpr auto kShareSecret = fromHex("202122232425262728292a2b2c2d2e2f303132333435363738393a3b3c3d3e3f");
inline constexpr auto kShare1 = fromHex("0102d0d1d2d3a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0");
inline constexpr auto kShare3 = fromHex("0302d0d1d2d3bbb9bfbdb3b1b7b5aba9afada3a1a7a59b999f9d939197958b898f8d83818785");

}  // namespace quorate::known
