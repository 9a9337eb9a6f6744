package aws

import (
	"crypto/x509"
	"net/http"

	"cloudsettle/core"
)

// OpenWith opens a listing whose visits to SNS go through rt and whose signing
// certificates may be issued by roots.
func OpenWith(s core.Settings, rt http.RoundTripper, roots *x509.CertPool) (core.Marketplace, error) {
	a, err := open(s)
	if err != nil {
		return core.Marketplace{}, err
	}
	a.certs.client.Transport = rt
	a.certs.roots = roots
	return a.marketplace(), nil
}

// What tests of the package's own look at.
var (
	LicenseID = licenseID
	SpellARN  = spellARN
	RankOf    = rankOf
)
