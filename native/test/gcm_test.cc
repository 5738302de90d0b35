// AES-GCM: published answers, every kernel against libcrypto, refusals, memory bounds, and the picker.
#include "core/gcm.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstring>
#include <doctest/doctest.h>
#include <memory>

using namespace quorate;

namespace {

// SplitMix64: the same bytes in every run.
struct Generator {
  uint64_t state;
  uint64_t next() {
    uint64_t z = state += 0x9e3779b97f4a7c15;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
  }
  Buffer bytes(size_t n) {
    Buffer out(n);
    for (size_t i = 0; i < n; i++) out[i] = static_cast<uint8_t>(next());
    return out;
  }
};

Buffer unhex(const std::string& text) {
  Buffer out;
  for (size_t i = 0; i + 1 < text.size(); i += 2) out.push_back(static_cast<uint8_t>(std::stoul(text.substr(i, 2), nullptr, 16)));
  return out;
}

const GcmImplementation& portable() { return *gcmByName("portable"); }

// Those that this CPU runs; the test case "what runs here" says which are missing.
std::vector<const GcmImplementation*> runnable() {
  std::vector<const GcmImplementation*> out;
  for (const GcmImplementation* one : gcmImplementations()) {
    if (one->usable(cpuFeatures())) out.push_back(one);
  }
  return out;
}

struct Sealed {
  Buffer ciphertext;
  Buffer tag = Buffer(16);
};

Sealed sealWith(const GcmImplementation& kernel, const GcmKey& key, const Buffer& iv, const Buffer& aad, const Buffer& text) {
  Sealed out{Buffer(text.size())};
  kernel.seal(&key, iv.data(), aad.data(), aad.size(), text.data(), text.size(), out.ciphertext.data(), out.tag.data());
  return out;
}

struct Opened {
  bool fits;
  Buffer text;
};

Opened openWith(const GcmImplementation& kernel, const GcmKey& key, const Buffer& iv, const Buffer& aad, const Sealed& sealed, size_t tagBytes = 16) {
  Opened out{false, Buffer(sealed.ciphertext.size(), 0xee)};
  out.fits = kernel.open(&key, iv.data(), aad.data(), aad.size(), sealed.ciphertext.data(), sealed.ciphertext.size(), out.text.data(),
                         sealed.tag.data(), tagBytes);
  return out;
}

GcmKey prepared(const GcmImplementation& kernel, const Buffer& keyMaterial) {
  GcmKey key;
  std::memset(key.opaque, 0xa5, sizeof key.opaque);  // init must overwrite all that it uses
  kernel.init(&key, keyMaterial.data(), keyMaterial.size());
  return key;
}

bool allZero(const Buffer& bytes) {
  for (uint8_t byte : bytes) {
    if (byte != 0) return false;
  }
  return true;
}

struct Answer {
  const char *key, *iv, *aad, *text, *ciphertext, *tag;
};

// McGrew and Viega, "The Galois/Counter Mode of Operation (GCM)", appendix B: the cases with 96-bit IVs (1-4, 7-10, 13-16).
const char kText64[] =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b391aafd255";
const char kText60[] =
    "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
    "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39";
const char kAad[] = "feedfacedeadbeeffeedfacedeadbeefabaddad2";
const char kKey128[] = "feffe9928665731c6d6a8f9467308308";
const char kKey192[] = "feffe9928665731c6d6a8f9467308308feffe9928665731c";
const char kKey256[] = "feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308";
const char kZero128[] = "00000000000000000000000000000000";
const char kZero192[] = "000000000000000000000000000000000000000000000000";
const char kZero256[] = "0000000000000000000000000000000000000000000000000000000000000000";
const char kZeroIv[] = "000000000000000000000000";
const char kIv[] = "cafebabefacedbaddecaf888";

const Answer kAnswers[] = {
    {kZero128, kZeroIv, "", "", "", "58e2fccefa7e3061367f1d57a4e7455a"},
    {kZero128, kZeroIv, "", kZero128, "0388dace60b6a392f328c2b971b2fe78", "ab6e47d42cec13bdf53a67b21257bddf"},
    {kKey128, kIv, "", kText64,
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091473f5985",
     "4d5c2af327cd64a62cf35abd2ba6fab4"},
    {kKey128, kIv, kAad, kText60,
     "42831ec2217774244b7221b784d0d49ce3aa212f2c02a4e035c17e2329aca12e21d514b25466931c7d8f6a5aac84aa051ba30b396a0aac973d58e091",
     "5bc94fbc3221a5db94fae95ae7121a47"},
    {kZero192, kZeroIv, "", "", "", "cd33b28ac773f74ba00ed1f312572435"},
    {kZero192, kZeroIv, "", kZero128, "98e7247c07f0fe411c267e4384b0f600", "2ff58d80033927ab8ef4d4587514f0fb"},
    {kKey192, kIv, "", kText64,
     "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710acade256",
     "9924a7c8587336bfb118024db8674a14"},
    {kKey192, kIv, kAad, kText60,
     "3980ca0b3c00e841eb06fac4872a2757859e1ceaa6efd984628593b40ca1e19c7d773d00c144c525ac619d18c84a3f4718e2448b2fe324d9ccda2710",
     "2519498e80f1478f37ba55bd6d27618c"},
    {kZero256, kZeroIv, "", "", "", "530f8afbc74536b9a963b4f1c4cb738b"},
    {kZero256, kZeroIv, "", kZero128, "cea7403d4d606b6e074ec5d3baf39d18", "d0d1c8a799996bf0265b98b5d48ab919"},
    {kKey256, kIv, "", kText64,
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662898015ad",
     "b094dac5d93471bdec1a502270e3cc6c"},
    {kKey256, kIv, kAad, kText60,
     "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f662",
     "76fc6ece0f4e1768cddf8853bb2d551b"},
};

constexpr size_t kKeySizes[] = {16, 24, 32};

// Compares one message under `kernel` with libcrypto: sealed and opened, with a key for many messages and one for this one.
bool agrees(const GcmImplementation& kernel, const GcmKey& mine, const GcmKey& reference, const Buffer& keyMaterial, const Buffer& iv,
            const Buffer& aad, const Buffer& text) {
  const Sealed expected = sealWith(portable(), reference, iv, aad, text);
  const Sealed got = sealWith(kernel, mine, iv, aad, text);
  GcmKey once;
  std::memset(once.opaque, 0xa5, sizeof once.opaque);
  kernel.initOnce(&once, keyMaterial.data(), keyMaterial.size(), text.size());
  const Sealed gotOnce = sealWith(kernel, once, iv, aad, text);
  if (got.ciphertext != expected.ciphertext || got.tag != expected.tag) return false;
  if (gotOnce.ciphertext != expected.ciphertext || gotOnce.tag != expected.tag) return false;
  const Opened opened = openWith(kernel, mine, iv, aad, expected), openedOnce = openWith(kernel, once, iv, aad, expected);
  if (!opened.fits || opened.text != text || !openedOnce.fits || openedOnce.text != text) return false;
  Sealed inPlace{text};
  kernel.seal(&mine, iv.data(), aad.data(), aad.size(), inPlace.ciphertext.data(), text.size(), inPlace.ciphertext.data(), inPlace.tag.data());
  if (inPlace.ciphertext != expected.ciphertext || inPlace.tag != expected.tag) return false;
  return kernel.open(&mine, iv.data(), aad.data(), aad.size(), inPlace.ciphertext.data(), text.size(), inPlace.ciphertext.data(),
                     inPlace.tag.data(), 16) &&
         inPlace.ciphertext == text;
}

// Bytes that end where an unreadable page begins, and begin where one ends when `atStart`.
class Fenced {
 public:
  explicit Fenced(size_t n, bool atStart = false) : page_(static_cast<size_t>(sysconf(_SC_PAGESIZE))) {
    body_ = (n + page_ - 1) / page_ * page_;
    if (body_ == 0) body_ = page_;
    base_ = static_cast<uint8_t*>(mmap(nullptr, body_ + 2 * page_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    REQUIRE(base_ != MAP_FAILED);
    REQUIRE(mprotect(base_ + page_, body_, PROT_READ | PROT_WRITE) == 0);
    data_ = atStart ? base_ + page_ : base_ + page_ + body_ - n;
  }
  ~Fenced() { munmap(base_, body_ + 2 * page_); }
  Fenced(const Fenced&) = delete;
  Fenced& operator=(const Fenced&) = delete;
  uint8_t* data() { return data_; }
  void fill(const Buffer& bytes) {
    if (!bytes.empty()) std::memcpy(data_, bytes.data(), bytes.size());
  }

 private:
  size_t page_, body_;
  uint8_t *base_, *data_;
};

}  // namespace

TEST_CASE("gcm: what runs here") {
  for (const GcmImplementation* one : gcmImplementations()) {
    if (!one->usable(cpuFeatures())) MESSAGE("skipped, this CPU lacks it: ", one->name);
  }
  CHECK(gcmByName("portable") == gcmImplementations()[0]);
  CHECK(gcmByName("sparc") == nullptr);
}

TEST_CASE("gcm: published answers") {
  for (const GcmImplementation* kernel : runnable()) {
    CAPTURE(std::string(kernel->name));
    for (const Answer& answer : kAnswers) {
      CAPTURE(answer.tag);
      const Buffer iv = unhex(answer.iv), aad = unhex(answer.aad), text = unhex(answer.text);
      const GcmKey key = prepared(*kernel, unhex(answer.key));
      const Sealed sealed = sealWith(*kernel, key, iv, aad, text);
      CHECK(sealed.ciphertext == unhex(answer.ciphertext));
      CHECK(sealed.tag == unhex(answer.tag));
      const Opened opened = openWith(*kernel, key, iv, aad, sealed);
      CHECK(opened.fits);
      CHECK(opened.text == text);
    }
  }
}

TEST_CASE("gcm: kernels agree with libcrypto at every length to 1100") {
  Generator generator{1};
  for (size_t keyBytes : kKeySizes) {
    const Buffer keyMaterial = generator.bytes(keyBytes);
    const GcmKey reference = prepared(portable(), keyMaterial);
    for (const GcmImplementation* kernel : runnable()) {
      CAPTURE(std::string(kernel->name));
      const GcmKey mine = prepared(*kernel, keyMaterial);
      for (size_t len = 0; len <= 1100; len++) {
        CAPTURE(len);
        REQUIRE(agrees(*kernel, mine, reference, keyMaterial, generator.bytes(12), generator.bytes(len * 7 % 41), generator.bytes(len)));
      }
    }
  }
}

TEST_CASE("gcm: kernels agree with libcrypto at every AAD length to 300, and long ones") {
  Generator generator{2};
  for (size_t keyBytes : kKeySizes) {
    const Buffer keyMaterial = generator.bytes(keyBytes);
    const GcmKey reference = prepared(portable(), keyMaterial);
    for (const GcmImplementation* kernel : runnable()) {
      CAPTURE(std::string(kernel->name));
      const GcmKey mine = prepared(*kernel, keyMaterial);
      const auto check = [&](size_t aadBytes, size_t len) {
        CAPTURE(aadBytes);
        CAPTURE(len);
        REQUIRE(agrees(*kernel, mine, reference, keyMaterial, generator.bytes(12), generator.bytes(aadBytes), generator.bytes(len)));
      };
      for (size_t aadBytes = 0; aadBytes <= 300; aadBytes++) {
        for (size_t len : {0u, 1u, 17u, 64u, 130u, 513u}) check(aadBytes, len);
      }
      for (size_t aadBytes : {511u, 512u, 513u, 1008u, 1009u, 1024u, 1025u, 4096u, 65537u}) {
        for (size_t len : {0u, 15u, 64u, 500u, 1500u}) check(aadBytes, len);
      }
    }
  }
}

TEST_CASE("gcm: kernels agree with libcrypto on long messages") {
  // The counter's low byte carries every 4096 bytes, the next one at 1 MiB.
  Generator generator{3};
  for (size_t keyBytes : kKeySizes) {
    const Buffer keyMaterial = generator.bytes(keyBytes);
    const GcmKey reference = prepared(portable(), keyMaterial);
    for (const GcmImplementation* kernel : runnable()) {
      CAPTURE(std::string(kernel->name));
      const GcmKey mine = prepared(*kernel, keyMaterial);
      for (size_t len : {4031u, 4063u, 4064u, 4065u, 4096u, 8191u, 16384u, 65521u, 262145u, (1u << 20) - 31, 1u << 20, (1u << 20) + 77}) {
        CAPTURE(len);
        REQUIRE(agrees(*kernel, mine, reference, keyMaterial, generator.bytes(12), generator.bytes(20), generator.bytes(len)));
      }
    }
  }
}

TEST_CASE("gcm: a message with any changed bit is refused and nothing of it comes out") {
  Generator generator{4};
  for (const GcmImplementation* kernel : runnable()) {
    CAPTURE(std::string(kernel->name));
    for (size_t len : {0u, 1u, 16u, 47u, 64u, 100u, 512u, 1000u, 2500u}) {
      CAPTURE(len);
      const GcmKey key = prepared(*kernel, generator.bytes(kKeySizes[len % 3]));
      const Buffer iv = generator.bytes(12), aad = generator.bytes(21), text = generator.bytes(len);
      const Sealed sealed = sealWith(*kernel, key, iv, aad, text);
      const auto refused = [&](const Buffer& anIv, const Buffer& anAad, const Sealed& changed, size_t tagBytes) {
        const Opened opened = openWith(*kernel, key, anIv, anAad, changed, tagBytes);
        return !opened.fits && allZero(opened.text);
      };
      const auto flipped = [](Buffer bytes, size_t bit) {
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1u << (bit % 8)));
        return bytes;
      };
      for (size_t bit = 0; bit < len * 8; bit += len < 100 ? 1 : 37) {
        REQUIRE(refused(iv, aad, {flipped(sealed.ciphertext, bit), sealed.tag}, 16));
      }
      for (size_t bit = 0; bit < aad.size() * 8; bit++) REQUIRE(refused(iv, flipped(aad, bit), sealed, 16));
      for (size_t bit = 0; bit < iv.size() * 8; bit++) REQUIRE(refused(flipped(iv, bit), aad, sealed, 16));
      for (size_t tagBytes = 12; tagBytes <= 16; tagBytes++) {
        const Opened opened = openWith(*kernel, key, iv, aad, sealed, tagBytes);
        CHECK(opened.fits);
        CHECK(opened.text == text);
        for (size_t bit = 0; bit < tagBytes * 8; bit++) {
          REQUIRE(refused(iv, aad, {sealed.ciphertext, flipped(sealed.tag, bit)}, tagBytes));
        }
        // Bytes after a shortened tag do not count.
        if (tagBytes < 16) CHECK(openWith(*kernel, key, iv, aad, {sealed.ciphertext, flipped(sealed.tag, tagBytes * 8)}, tagBytes).fits);
      }
    }
  }
}

TEST_CASE("gcm: nothing is read or written outside the buffers") {
  Generator generator{5};
  Fenced iv(12), tag(16), keyBytes(32);
  iv.fill(generator.bytes(12));
  keyBytes.fill(generator.bytes(32));
  for (const GcmImplementation* kernel : runnable()) {
    CAPTURE(std::string(kernel->name));
    GcmKey key;
    for (size_t size : kKeySizes) {
      Fenced exact(size);
      kernel->init(&key, exact.data(), size);
    }
    kernel->init(&key, keyBytes.data(), 32);
    for (size_t len = 0; len <= 1100; len += len < 200 ? 1 : 13) {
      const size_t aadBytes = len * 5 % 301;
      for (bool atStart : {false, true}) {
        Fenced aad(aadBytes, atStart), in(len, atStart), out(len, atStart);
        const Buffer text = generator.bytes(len);
        aad.fill(generator.bytes(aadBytes));
        in.fill(text);
        kernel->seal(&key, iv.data(), aad.data(), aadBytes, in.data(), len, out.data(), tag.data());
        for (size_t tagBytes = 12; tagBytes <= 16; tagBytes++) {
          Fenced cut(tagBytes), again(len, atStart);
          std::memcpy(cut.data(), tag.data(), tagBytes);
          REQUIRE(kernel->open(&key, iv.data(), aad.data(), aadBytes, out.data(), len, again.data(), cut.data(), tagBytes));
          REQUIRE(Buffer(again.data(), again.data() + len) == text);
        }
      }
    }
  }
}

TEST_CASE("gcm: bytes around the output stay as they were") {
  Generator generator{6};
  for (const GcmImplementation* kernel : runnable()) {
    CAPTURE(std::string(kernel->name));
    const GcmKey key = prepared(*kernel, generator.bytes(32));
    const Buffer iv = generator.bytes(12);
    for (size_t len = 0; len <= 700; len++) {
      Buffer out(len + 128, 0x5c), tag(16);
      const Buffer text = generator.bytes(len);
      kernel->seal(&key, iv.data(), nullptr, 0, text.data(), len, out.data() + 64, tag.data());
      for (size_t i = 0; i < 64; i++) REQUIRE((out[i] == 0x5c && out[len + 64 + i] == 0x5c));
    }
  }
}

TEST_CASE("gcm: the picker takes the best that runs and is allowed") {
  const CpuFeatures none, old{.aesni = true}, middle{.aesni = true, .vaes256 = true}, all{.aesni = true, .vaes256 = true, .vaes512 = true};
  const auto picked = [](const CpuFeatures& cpu, const char* forced) { return std::string(gcmPick(cpu, forced).name); };
  CHECK(picked(none, "") == "portable");
  CHECK(picked(none, "vaes512") == "portable");
  CHECK(picked(none, "sparc") == "portable");
#if defined(__x86_64__)
  CHECK(picked(old, "") == "aesni");
  CHECK(picked(middle, "") == "vaes256");
  CHECK(picked(all, "") == "vaes512");
  CHECK(picked(all, "portable") == "portable");
  CHECK(picked(all, "aesni") == "aesni");
  CHECK(picked(all, "vaes256") == "vaes256");
  CHECK(picked(old, "vaes512") == "aesni");
  CHECK(picked(middle, "vaes512") == "vaes256");
  CHECK(picked(all, "sparc") == "vaes512");
#endif
  CHECK(&gcm() == &gcmPick(cpuFeatures(), gcmForced()));
}
