package alibaba

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"cloudsettle/core/money"
)

// Metering says how usage is reported. Without any of its keys nothing is.
type Metering struct {
	// Key is what the marketplace counts, one of meteringKeys, and Assist the
	// billing item of it, as the product's publishing page shows it. Products
	// published before there were billing items say WithoutAssist.
	Key           string `json:"key"`
	Assist        string `json:"assist"`
	WithoutAssist bool   `json:"without_assist"`
	// UnitAmount is what one unit of Key costs, as the listing states it. The
	// marketplace truncates a bill line to two decimals, so units that are no
	// multiple of 0.01 lose fractions there.
	UnitAmount string `json:"unit_amount"`
	// Cycle is how often the product is billed, hourly or daily; the default is
	// hourly, whose window is the shorter one.
	Cycle string `json:"cycle"`
	// API is the version of PushMeteringData: 2015-11-01, of both sites, or
	// 2022-12-30, of the international one, and the default there.
	API string `json:"api"`
	// Endpoint overrides the host of PushMeteringData alone: that of 2022-12-30
	// is inferred from a rule of the SDKs.
	Endpoint string `json:"endpoint"`
	// Batch is how many records share a call. Whether a call is taken or refused
	// as a whole is not documented: more than 1, the default, presumes it.
	Batch int `json:"batch"`
	// OnAmbiguous says what becomes of a record whose report got no answer. The
	// marketplace knows no repeats, so park (the default) leaves it to a person,
	// and resend sends it once more, at the risk of billing it twice.
	OnAmbiguous string `json:"on_ambiguous"`
	// OnServerError says whether an error of the marketplace's servers means that
	// nothing was taken: resend (the default; inferred) or park, which treats it
	// as ambiguous.
	OnServerError string `json:"on_server_error"`
	// ReportZero reports hours without usage as zero, which Value may be.
	ReportZero bool `json:"report_zero"`
}

// The values of keys that choose.
const (
	cycleHourly = "hourly"
	cycleDaily  = "daily"

	policyPark   = "park"
	policyResend = "resend"

	apiChina         = "2015-11-01"
	apiInternational = "2022-12-30"
)

// maxBatch is how many records a call may have, of products that are not
// billed in real time (page PushMeteringData).
const maxBatch = 100

// meteringKeys are the dimensions that the marketplace bills (page
// PushMeteringData); others do not exist.
var meteringKeys = []string{
	"Frequency", "Period", "PeriodMin", "Storage", "StorageGigaByte", "NetworkOut", "NetworkIn",
	"Character", "DailyActiveUser", "VirtualCpu", "Memory", "Unit", "KTokens", "Suit",
}

// assistPattern is wider than the documented <product code>-<key>-<n>: those
// of old products were named by hand.
var assistPattern = regexp.MustCompile(`^[A-Za-z0-9_.-]{1,128}$`)

// meteringSettings are the values of Metering that are more than text.
type meteringSettings struct {
	unitAmount money.Micros
	endpoint   endpoint
}

// parseMetering reports all problems of the metering keys.
func (c Config) parseMetering(p parsed, dev bool) (meteringSettings, error) {
	m := c.Metering
	if m == (Metering{}) {
		return meteringSettings{}, nil
	}
	var errs []error
	problem := func(wrong bool, format string, args ...any) {
		if wrong {
			errs = append(errs, fmt.Errorf("metering."+format, args...))
		}
	}
	one := func(name, value string, of ...string) {
		problem(!slices.Contains(of, value), "%s: %q is not one of %s", name, value, strings.Join(of, ", "))
	}
	one("key", m.Key, meteringKeys...)
	problem((m.Assist == "") != m.WithoutAssist,
		"assist: state it, or without_assist for a product that has none")
	problem(m.Assist != "" && !assistPattern.MatchString(m.Assist), "assist: %q is no billing item", m.Assist)
	one("cycle", m.Cycle, cycleHourly, cycleDaily)
	one("on_ambiguous", m.OnAmbiguous, policyPark, policyResend)
	one("on_server_error", m.OnServerError, policyPark, policyResend)
	one("api", m.API, apiChina, apiInternational)
	problem(m.API == apiInternational && c.Site != siteInternational,
		"api: %s is of the international site", m.API)
	problem(m.Batch < 1 || m.Batch > maxBatch, "batch: %d is not between 1 and %d", m.Batch, maxBatch)

	unit, err := money.ParseMicros(m.UnitAmount)
	problem(err != nil || unit <= 0,
		"unit_amount: %q is not a positive decimal with at most six places", m.UnitAmount)
	e, err := parseEndpoint(m.Endpoint, c.meteringEndpoint(p.endpoint), dev)
	problem(err != nil, "endpoint: %w", err)
	return meteringSettings{unit, e}, errors.Join(errs...)
}

func (m *Metering) setDefaults(site string) {
	m.Cycle = cmp.Or(m.Cycle, cycleHourly)
	m.OnAmbiguous = cmp.Or(m.OnAmbiguous, policyPark)
	m.OnServerError = cmp.Or(m.OnServerError, policyResend)
	m.Batch = cmp.Or(m.Batch, 1)
	if m.API == "" {
		m.API = map[string]string{siteChina: apiChina, siteInternational: apiInternational}[site]
	}
}

// meteringEndpoint returns where PushMeteringData is by default: the API of
// 2022-12-30 has a host of its own.
func (c Config) meteringEndpoint(e endpoint) endpoint {
	if c.Metering.API == apiInternational && c.Endpoint == "" {
		e.host = "marketplaceintl.aliyuncs.com"
	}
	return e
}
