package huawei

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha1" // #nosec -- fixed by the protocol; derives a key from a secret
	"encoding/base64"
	"strings"
	"unicode/utf8"
)

// The sizes of the two keys that a seller chooses between; 1 and 2 are their
// numbers on the wire.
const (
	aes256Bytes = 32 // encryptType 1, AES256_CBC_PKCS5Padding
	aes128Bytes = 16 // encryptType 2, AES128_CBC_PKCS5Padding
)

// sha1PRNG returns the first n bytes of Java's SecureRandom "SHA1PRNG" seeded
// with seed. Huawei's samples derive AES keys with it, so the generator of the
// JDK is part of the protocol.
func sha1PRNG(seed []byte, n int) []byte {
	state := sha1.Sum(seed) // #nosec -- see above
	var out []byte
	for len(out) < n {
		block := sha1.Sum(state[:]) // #nosec -- see above
		out = append(out, block[:]...)
		advance(&state, block)
	}
	return out[:n]
}

// advance is the generator's state update: an addition that begins with a
// carry of one, over bytes that Java takes as signed, carry included.
func advance(state *[sha1.Size]byte, block [sha1.Size]byte) {
	carry, changed := 1, false
	for i := range state {
		v := int(int8(state[i])) + int(int8(block[i])) + carry // #nosec -- Java's bytes are signed
		next := byte(v & 0xff)
		changed = changed || next != state[i]
		state[i] = next
		carry = v >> 8
	}
	if !changed {
		state[0]++
	}
}

// fieldCipher decrypts the fields that version 1 encrypts, under either size of
// key; the seller's choice is tried first.
type fieldCipher struct{ blocks [2]cipher.Block }

func newFieldCipher(key, encryptType string) fieldCipher {
	sizes := [2]int{aes256Bytes, aes128Bytes}
	if encryptType == "2" {
		sizes = [2]int{aes128Bytes, aes256Bytes}
	}
	material := sha1PRNG([]byte(key), aes256Bytes)
	var f fieldCipher
	for i, n := range sizes {
		f.blocks[i], _ = aes.NewCipher(material[:n]) // both sizes are valid
	}
	return f
}

// decrypt returns the text of a field: sixteen characters of IV, then base64.
// It reports false for what does not decrypt under either key.
func (f fieldCipher) decrypt(field string) (string, bool) {
	if len(field) <= aes.BlockSize {
		return "", false
	}
	sealed, err := base64.StdEncoding.DecodeString(strings.ReplaceAll(field[aes.BlockSize:], " ", "+"))
	if err != nil || len(sealed) == 0 || len(sealed)%aes.BlockSize != 0 {
		return "", false
	}
	for _, block := range f.blocks {
		plain := make([]byte, len(sealed))
		cipher.NewCBCDecrypter(block, []byte(field[:aes.BlockSize])).CryptBlocks(plain, sealed)
		if text, ok := unpad(plain); ok && utf8.Valid(text) {
			return string(text), true
		}
	}
	return "", false
}

// unpad removes PKCS #5 padding. The ciphertext was authenticated with the
// whole query before, so that nobody can probe it.
func unpad(b []byte) ([]byte, bool) {
	n := int(b[len(b)-1])
	if n == 0 || n > aes.BlockSize {
		return nil, false
	}
	for _, c := range b[len(b)-n:] {
		if int(c) != n {
			return nil, false
		}
	}
	return b[:len(b)-n], true
}
