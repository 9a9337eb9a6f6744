package aws

import (
	"cmp"
	"context"
	"crypto/x509"
	"net/http"
	"net/http/httptrace"
	"time"

	api "github.com/aws/aws-sdk-go-v2/service/marketplacemetering"

	"cloudsettle/core"
	"cloudsettle/core/metering"
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

// OpenMeter returns the meter of a listing. It rests by calling rest, and a call
// may take no longer than within, unless that is zero.
func OpenMeter(
	s core.Settings, within time.Duration, rest func(context.Context, time.Duration) error,
) (core.Meter, error) {
	a, err := open(s)
	if err != nil {
		return nil, err
	}
	a.meter.rest = rest
	a.meter.within = cmp.Or(within, a.meter.within)
	return a.meter, nil
}

// BreakMeter makes the SDK panic, after it found a connection if sent.
func BreakMeter(m core.Meter, sent bool) {
	m.(*meter).send = func(
		ctx context.Context, _ *api.BatchMeterUsageInput, _ ...func(*api.Options),
	) (*api.BatchMeterUsageOutput, error) {
		if sent {
			httptrace.ContextClientTrace(ctx).GotConn(httptrace.GotConnInfo{})
		}
		panic("secret inside")
	}
}

// PrepareReport does what Report does without the network, and returns how
// many records it would send.
func PrepareReport(m core.Meter, records []metering.Record) int {
	own := m.(*meter)
	ready, _ := own.prepare(records)
	return len(own.input(ready).UsageRecords)
}

// What tests of the package's own look at.
var (
	LicenseID = licenseID
	SpellARN  = spellARN
	RankOf    = rankOf
)
