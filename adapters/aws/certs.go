package aws

import (
	"context"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"time"
)

// Limits of fetching what a message points to.
const (
	fetchWithin     = 3 * time.Second // SNS gives a delivery 15 s in all
	fetchAtOnce     = 4               // strangers can make us ask for certificates, but not many
	maxCertBytes    = 64 << 10        // a leaf has 2 KiB, a chain 10
	maxConfirmBytes = 64 << 10        // the answer to a confirmation is half a KiB of XML
	maxCerts        = 64              // SNS has one certificate in use per region
	certFreshFor    = 24 * time.Hour  // so that a withdrawn certificate does not live on
	minKeyBits      = 2048            // what SNS uses
)

// certCache holds signing certificates by URL. It remembers certificates, not
// verdicts: every message is verified, and the validity is checked each time.
type certCache struct {
	now           func() time.Time
	client        *http.Client
	full          bool
	domains       []string
	roots         *x509.CertPool // nil: the system's
	intermediates []*x509.Certificate
	unnamed       *regexp.Regexp // hosts of simulators, whose certificates nobody signed
	slots         chan struct{}

	mu   sync.RWMutex
	held map[string]heldCert
}

type heldCert struct {
	key       *rsa.PublicKey
	from, to  time.Time
	fetchedAt time.Time
}

func newCertCache(c Config, now func() time.Time) (*certCache, error) {
	more, err := parseCerts([]byte(c.SigningCertIntermediates))
	if err != nil {
		return nil, fmt.Errorf("signing_cert_intermediates: %w", err)
	}
	var hosts []string
	for _, h := range c.SigningCertHosts {
		hosts = append(hosts, regexp.QuoteMeta(h))
	}
	cache := &certCache{
		now: now, full: c.SigningCertChain == chainFull,
		domains: c.SNSDomains, intermediates: more,
		slots: make(chan struct{}, fetchAtOnce), held: make(map[string]heldCert),
		client: &http.Client{Timeout: fetchWithin, CheckRedirect: noRedirects},
	}
	if len(hosts) > 0 {
		cache.unnamed = regexp.MustCompile(`\Ahttps?://(?:` + strings.Join(hosts, "|") + `)/`)
	}
	return cache, nil
}

// noRedirects keeps a host that we trust from sending us to one that we do not.
func noRedirects(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// key returns the public key behind a URL that was checked. Errors:
// ErrUnverified if the certificate is not one to trust, ErrUnavailable if it
// cannot be had now.
func (c *certCache) key(ctx context.Context, url string) (*rsa.PublicKey, error) {
	now := c.now()
	cert, ok := c.lookup(url, now)
	if !ok {
		var err error
		if cert, err = c.fetch(ctx, url, now); err != nil {
			return nil, err
		}
	}
	if now.Before(cert.from) || now.After(cert.to) {
		return nil, unverified("the signing certificate is not valid now")
	}
	return cert.key, nil
}

func (c *certCache) lookup(url string, now time.Time) (heldCert, bool) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	cert, ok := c.held[url]
	return cert, ok && now.Sub(cert.fetchedAt) < certFreshFor
}

func (c *certCache) fetch(ctx context.Context, url string, now time.Time) (heldCert, error) {
	select {
	case c.slots <- struct{}{}:
		defer func() { <-c.slots }()
	case <-ctx.Done():
		return heldCert{}, unavailable("signing certificate", ctx.Err())
	}
	if cert, ok := c.lookup(url, now); ok {
		return cert, nil // another message fetched it meanwhile
	}
	body, err := c.get(ctx, url, maxCertBytes)
	if err != nil {
		return heldCert{}, err
	}
	leaf, err := c.trust(url, body, now)
	if err != nil {
		return heldCert{}, err
	}
	leaf.fetchedAt = now
	c.hold(url, leaf)
	return leaf, nil
}

// hold keeps cert and makes room by dropping any other one.
func (c *certCache) hold(url string, cert heldCert) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for old := range c.held {
		if len(c.held) < maxCerts {
			break
		}
		delete(c.held, old)
	}
	c.held[url] = cert
}

// get fetches a URL that was checked. A host that says no is final, one that
// does not answer is not.
func (c *certCache) get(ctx context.Context, url string, most int64) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, unverified("malformed URL")
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, unavailable("fetch from SNS", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	switch {
	case resp.StatusCode >= 500 || resp.StatusCode == http.StatusTooManyRequests:
		return nil, unavailable("fetch from SNS", fmt.Errorf("status %d", resp.StatusCode))
	case resp.StatusCode != http.StatusOK:
		return nil, unverified("SNS answers its URL with %d", resp.StatusCode)
	case err != nil:
		return nil, unavailable("fetch from SNS", err)
	case int64(len(body)) > most:
		return nil, unverified("what SNS sent is over %d bytes", most)
	}
	return body, nil
}

// trust checks that body holds a certificate that SNS may sign with.
func (c *certCache) trust(url string, body []byte, now time.Time) (heldCert, error) {
	chain, err := parseCerts(body)
	if err != nil || len(chain) == 0 {
		return heldCert{}, unverified("the signing certificate is malformed")
	}
	leaf := chain[0]
	key, ok := leaf.PublicKey.(*rsa.PublicKey)
	if !ok || key.N.BitLen() < minKeyBits {
		return heldCert{}, unverified("the signing certificate has no RSA key of %d bits", minKeyBits)
	}
	if c.unnamed == nil || !c.unnamed.MatchString(url) {
		if err := errors.Join(c.checkName(leaf), c.checkChain(leaf, chain[1:], now)); err != nil {
			return heldCert{}, unverified("the signing certificate: %v", err)
		}
	}
	return heldCert{key: key, from: leaf.NotBefore, to: leaf.NotAfter}, nil
}

// checkName wants a certificate of SNS. Its name holds no region, unlike the
// host that serves it.
func (c *certCache) checkName(leaf *x509.Certificate) error {
	var err error
	for _, d := range c.domains {
		if err = leaf.VerifyHostname("sns." + d); err == nil {
			return nil
		}
	}
	return err
}

// checkChain verifies validity and issuer. A leaf that came alone may have an
// issuer that we lack; unless the chain is required in full, the TLS connection
// to the host of SNS vouches for it instead.
func (c *certCache) checkChain(leaf *x509.Certificate, more []*x509.Certificate, now time.Time) error {
	pool := x509.NewCertPool()
	for _, cert := range append(more, c.intermediates...) {
		pool.AddCert(cert)
	}
	_, err := leaf.Verify(x509.VerifyOptions{
		Roots: c.roots, Intermediates: pool, CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny},
	})
	var unknown x509.UnknownAuthorityError
	if errors.As(err, &unknown) && !c.full && len(more) == 0 {
		return nil
	}
	return err
}

func parseCerts(text []byte) ([]*x509.Certificate, error) {
	var out []*x509.Certificate
	for {
		block, rest := pem.Decode(text)
		if block == nil {
			if strings.TrimSpace(string(text)) != "" {
				return nil, errors.New("not a PEM certificate")
			}
			return out, nil
		}
		cert, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, err
		}
		out, text = append(out, cert), rest
	}
}
