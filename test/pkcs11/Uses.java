import java.security.*;
import java.security.interfaces.*;
import java.security.spec.*;
import java.util.*;
import java.util.concurrent.*;
import javax.crypto.*;
import javax.crypto.spec.*;

/** What a Java program does with SunPKCS11; one line for each thing that went as it should. */
public class Uses {
  static Provider p11;

  static void check(boolean isSo, String what) {
    if (!isSo) throw new IllegalStateException(what);
    System.out.println(what + " ok");
  }

  static SecretKey aes() throws Exception {
    KeyGenerator generator = KeyGenerator.getInstance("AES", p11);
    generator.init(256);
    return generator.generateKey();
  }

  static void ciphers(byte[] message) throws Exception {
    SecretKey key = aes();
    byte[] iv = new byte[12];
    new SecureRandom().nextBytes(iv);
    Cipher gcm = Cipher.getInstance("AES/GCM/NoPadding", p11);
    gcm.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(128, iv));
    gcm.updateAAD("context".getBytes());
    byte[] sealed = gcm.doFinal(message);
    gcm.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, iv));
    gcm.updateAAD("context".getBytes());
    check(Arrays.equals(gcm.doFinal(sealed), message), "AES/GCM");
    sealed[0] ^= 1;
    gcm.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, iv));
    gcm.updateAAD("context".getBytes());
    try {
      gcm.doFinal(sealed);
      throw new IllegalStateException("a wrong tag was accepted");
    } catch (AEADBadTagException | ProviderException refused) {
      System.out.println("wrong tag refused");
    }
    for (String mode : new String[] {"CBC/PKCS5Padding", "CTR/NoPadding"}) {
      Cipher cipher = Cipher.getInstance("AES/" + mode, p11);
      IvParameterSpec block = new IvParameterSpec(new byte[16]);
      cipher.init(Cipher.ENCRYPT_MODE, key, block);
      byte[] first = cipher.update(message, 0, 7), rest = cipher.doFinal(message, 7, message.length - 7);
      byte[] all = new byte[(first == null ? 0 : first.length) + rest.length];
      if (first != null) System.arraycopy(first, 0, all, 0, first.length);
      System.arraycopy(rest, 0, all, all.length - rest.length, rest.length);
      cipher.init(Cipher.DECRYPT_MODE, key, block);
      check(Arrays.equals(cipher.doFinal(all), message), "AES/" + mode.substring(0, 3));
    }
  }

  static void signatures(byte[] message) throws Exception {
    KeyPairGenerator ec = KeyPairGenerator.getInstance("EC", p11);
    ec.initialize(new ECGenParameterSpec("secp256r1"));
    KeyPair pair = ec.generateKeyPair(), peer = ec.generateKeyPair();
    sign("SHA256withECDSA", null, pair, message, KeyFactory.getInstance("EC"));
    KeyPairGenerator rsa = KeyPairGenerator.getInstance("RSA", p11);
    rsa.initialize(2048);
    KeyPair signer = rsa.generateKeyPair();
    sign("SHA256withRSA", null, signer, message, KeyFactory.getInstance("RSA"));
    sign("RSASSA-PSS", new PSSParameterSpec("SHA-256", "MGF1", MGF1ParameterSpec.SHA256, 32, 1), signer, message, KeyFactory.getInstance("RSA"));
    byte[][] secrets = new byte[2][];
    for (int i = 0; i < 2; i++) {
      KeyAgreement agreement = KeyAgreement.getInstance("ECDH", p11);
      agreement.init(i == 0 ? pair.getPrivate() : peer.getPrivate());
      agreement.doPhase(i == 0 ? peer.getPublic() : pair.getPublic(), true);
      secrets[i] = agreement.generateSecret();
    }
    check(secrets[0].length == 32 && Arrays.equals(secrets[0], secrets[1]), "ECDH");
  }

  /** Verified by another provider, with the public key as it is encoded. */
  static void sign(String algorithm, PSSParameterSpec spec, KeyPair pair, byte[] message, KeyFactory other) throws Exception {
    Signature signer = Signature.getInstance(algorithm, p11);
    if (spec != null) signer.setParameter(spec);
    signer.initSign(pair.getPrivate());
    signer.update(message, 0, 5);
    signer.update(message, 5, message.length - 5);
    byte[] signature = signer.sign();
    Signature verifier = Signature.getInstance(algorithm, spec == null && algorithm.endsWith("ECDSA") ? "SunEC" : "SunRsaSign");
    if (spec != null) verifier.setParameter(spec);
    verifier.initVerify(other.generatePublic(new X509EncodedKeySpec(pair.getPublic().getEncoded())));
    verifier.update(message);
    check(verifier.verify(signature), algorithm);
  }

  static void threads(byte[] message) throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(8);
    List<Future<Boolean>> all = new ArrayList<>();
    for (int t = 0; t < 8; t++) {
      all.add(pool.submit(() -> {
        SecretKey key = aes();
        for (int i = 0; i < 200; i++) {
          byte[] iv = new byte[12];
          iv[0] = (byte) i;
          Cipher cipher = Cipher.getInstance("AES/GCM/NoPadding", p11);
          cipher.init(Cipher.ENCRYPT_MODE, key, new GCMParameterSpec(128, iv));
          byte[] sealed = cipher.doFinal(message);
          cipher.init(Cipher.DECRYPT_MODE, key, new GCMParameterSpec(128, iv));
          if (!Arrays.equals(cipher.doFinal(sealed), message)) return false;
        }
        return true;
      }));
    }
    boolean isRight = true;
    for (Future<Boolean> one : all) isRight &= one.get();
    pool.shutdown();
    check(isRight, "threads");
  }

  public static void main(String[] args) throws Exception {
    p11 = Security.getProvider("SunPKCS11").configure(args[0]);
    Security.addProvider(p11);
    byte[] message = "what is sealed and signed, longer than one block of AES".getBytes();
    ciphers(message);
    SecretKey secret = new SecretKeySpec(new byte[32], "HmacSHA256");
    Mac mac = Mac.getInstance("HmacSHA256", p11), own = Mac.getInstance("HmacSHA256", "SunJCE");
    mac.init(secret);
    own.init(secret);
    check(Arrays.equals(mac.doFinal(message), own.doFinal(message)), "HmacSHA256");
    signatures(message);
    check(Arrays.equals(MessageDigest.getInstance("SHA-256", p11).digest(message), MessageDigest.getInstance("SHA-256", "SUN").digest(message)), "SHA-256");
    threads(message);
  }
}
