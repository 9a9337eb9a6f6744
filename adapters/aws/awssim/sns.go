package awssim

import (
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1" // #nosec -- SignatureVersion 1 of SNS is SHA-1
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"math/big"
	"time"
)

// signer signs SNS messages with a key of its own.
type signer struct {
	key  *rsa.PrivateKey
	pem  []byte
	path string // of the certificate
}

func newSigner(now time.Time) (*signer, error) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(now.UnixNano()), Subject: pkix.Name{CommonName: "sns.amazonaws.com"},
		DNSNames: []string{"sns.amazonaws.com"}, KeyUsage: x509.KeyUsageDigitalSignature,
		NotBefore: now.AddDate(-1, 0, 0), NotAfter: now.AddDate(10, 0, 0), // the program's clock may be moved
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	digest := sha256.Sum256(der)
	return &signer{
		key: key, pem: pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
		path: "/SimpleNotificationService-" + hex.EncodeToString(digest[:16]) + ".pem",
	}, nil
}

// sign signs the fields of an SNS message, version 1 with SHA-1 and version 2
// with SHA-256.
func (s *signer) sign(m map[string]string) error {
	var text []byte
	for _, name := range []string{
		"Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type",
	} {
		if v, ok := m[name]; ok {
			text = fmt.Appendf(text, "%s\n%s\n", name, v)
		}
	}
	hash, digest := crypto.SHA256, make([]byte, 0, sha256.Size)
	if m["SignatureVersion"] == "1" {
		hash = crypto.SHA1
		sum := sha1.Sum(text) // #nosec -- see the import
		digest = append(digest, sum[:]...)
	} else {
		sum := sha256.Sum256(text)
		digest = append(digest, sum[:]...)
	}
	signature, err := rsa.SignPKCS1v15(rand.Reader, s.key, hash, digest)
	if err != nil {
		return err
	}
	m["Signature"] = base64.StdEncoding.EncodeToString(signature)
	return nil
}
