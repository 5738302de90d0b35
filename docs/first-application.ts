import { connect, QuorateError } from 'quorate/client';

const quorate = await connect();
try {
  await quorate.keys.create('first-application', { type: 'aes-256' });
} catch (error) {
  if (!(error instanceof QuorateError && error.code === 'KEY_EXISTS')) throw error;
}

const { ciphertext } = await quorate.encrypt('first-application', 'iban FR76', { context: 'customer 7' });
console.log(`${ciphertext.byteLength} bytes to keep in your database`);

const plaintext = await quorate.decrypt(ciphertext, { context: 'customer 7' });
console.log(new TextDecoder().decode(plaintext));
plaintext.fill(0);

await quorate.close();
