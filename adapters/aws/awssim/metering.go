package awssim

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"slices"
	"strings"
	"time"
)

// The rules of BatchMeterUsage (API Reference "BatchMeterUsage" and
// "UsageRecord", Seller Guide "metering-for-usage", July 2026).
const (
	meterBatch    = 25
	meterPerSec   = 10 // calls, of an account in a Region
	usageWindow   = 24 * time.Hour
	monthGrace    = 6 * time.Hour
	finalWindow   = time.Hour
	maxDimension  = 255
	maxTags       = 5
	maxTagKey     = 100
	maxTagValue   = 256
	tagCharacters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+ -=._:/@"
)

// meterRequest is the input of BatchMeterUsage. Records are kept as sent: each
// attempt at one is to have the same bytes.
type meterRequest struct {
	ProductCode  *string
	UsageRecords []json.RawMessage
}

// usageRecord is one record, in requests and in answers.
type usageRecord struct {
	CustomerAWSAccountID string `json:"CustomerAWSAccountId,omitempty"`
	CustomerIdentifier   string `json:",omitempty"`
	LicenseArn           string `json:",omitempty"`
	Dimension            string
	Quantity             int64
	Timestamp            float64
	UsageAllocations     []allocation `json:",omitempty"`

	sent      string
	at        time.Time
	agreement *Agreement // whose usage it is, if it is anybody's
}

type allocation struct {
	AllocatedUsageQuantity int64
	Tags                   []tag `json:",omitempty"`
}

type tag struct{ Key, Value string }

// usageResult is what is answered about one record.
type usageResult struct {
	MeteringRecordID string `json:"MeteringRecordId,omitempty"`
	Status           string
	UsageRecord      usageRecord
}

type meterResponse struct {
	Results            []usageResult
	UnprocessedRecords []usageRecord
}

// lostReply is an answer that does not reach the caller: the connection breaks.
func lostReply() *apiError { return &apiError{kind: "lost"} }

func badRequest(kind, format string, args ...any) *apiError {
	return &apiError{http.StatusBadRequest, kind, fmt.Sprintf(format, args...)}
}

// regionOf returns the Region that a call was signed for.
func regionOf(r *http.Request) string {
	scope := strings.Split(r.Header.Get("Authorization"), "/")
	if len(scope) < 3 {
		return ""
	}
	return scope[2]
}

// batchMeterUsage takes usage. A record that breaks a rule of the call refuses
// all of them; nothing is processed then.
func (s *Simulator) batchMeterUsage(r *http.Request, in meterRequest) (any, *apiError) {
	s.dawdle(r.Context())
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meter.calls++
	if fault := s.meterTrouble(); fault != nil {
		return nil, fault
	}
	records, fault := s.readUsage(in)
	if fault != nil {
		return nil, fault
	}
	out := s.takeUsage(regionOf(r), in.ProductCode, records)
	switch f := &s.meter.faults; {
	case take(&f.FailAfter):
		return nil, internalError()
	case take(&f.LoseReply):
		return nil, lostReply()
	}
	return out, nil
}

func internalError() *apiError {
	return &apiError{http.StatusInternalServerError, "InternalServiceErrorException", "try again"}
}

// readUsage decodes and checks all records of a call.
func (s *Simulator) readUsage(in meterRequest) ([]usageRecord, *apiError) {
	if in.UsageRecords == nil || len(in.UsageRecords) > meterBatch {
		s.meter.violate("a call with %d records", len(in.UsageRecords))
		return nil, badRequest("ValidationException", "UsageRecords has from 0 to %d members", meterBatch)
	}
	records := make([]usageRecord, len(in.UsageRecords))
	for i, raw := range in.UsageRecords {
		u := &records[i]
		if err := json.Unmarshal(raw, u); err != nil {
			return nil, badRequest("SerializationException", "record %d: %v", i, err)
		}
		u.sent = string(raw)
		u.at = time.UnixMilli(int64(u.Timestamp * 1000)).UTC()
		if fault := s.checkUsage(in.ProductCode, u); fault != nil {
			return nil, fault
		}
	}
	return records, nil
}

// checkUsage applies the rules that refuse a whole call.
func (s *Simulator) checkUsage(product *string, u *usageRecord) *apiError {
	for _, rule := range []func() *apiError{
		func() *apiError { return checkFields(u) },
		func() *apiError { return s.checkIdentity(product, u) },
		func() *apiError { return s.checkDimension(u) },
		func() *apiError { return checkTime(s.cfg.Now(), u.at) },
		func() *apiError { return checkActivation(u) },
		func() *apiError { return checkAllocations(u) },
	} {
		if fault := rule(); fault != nil {
			return fault
		}
	}
	return nil
}

func checkFields(u *usageRecord) *apiError {
	switch {
	case u.Dimension == "" || len(u.Dimension) > maxDimension:
		return badRequest("ValidationException", "Dimension has from 1 to %d characters", maxDimension)
	case u.Timestamp <= 0:
		return badRequest("ValidationException", "Timestamp is missing")
	case u.Quantity < 0 || u.Quantity > math.MaxInt32:
		return badRequest("ValidationException", "Quantity is from 0 to %d", math.MaxInt32)
	case strings.Trim(u.CustomerAWSAccountID, "0123456789") != "":
		return badRequest("ValidationException", "CustomerAWSAccountId has digits only")
	case (u.CustomerAWSAccountID == "") == (u.CustomerIdentifier == ""):
		return badRequest("InvalidCustomerIdentifierException",
			"exactly one of CustomerAWSAccountId and CustomerIdentifier")
	}
	return nil
}

// checkIdentity finds whose usage it is: by license, or, at listings from
// before licenses, by product and customer.
func (s *Simulator) checkIdentity(product *string, u *usageRecord) *apiError {
	if u.LicenseArn == "" {
		return s.checkLegacy(product, u)
	}
	if product != nil {
		s.meter.violate("a license and a product code in one call")
		return badRequest("ValidationException", "ProductCode is not supported with LicenseArn")
	}
	license, spelled := strings.CutPrefix(u.LicenseArn, licensePrefix)
	for _, a := range s.agreements {
		if spelled && a.License == license {
			u.agreement = a
		}
	}
	switch {
	case u.CustomerIdentifier != "":
		return badRequest("InvalidCustomerIdentifierException",
			"CustomerAWSAccountId is required with LicenseArn")
	case u.agreement == nil:
		return badRequest("InvalidLicenseException", "the license is not one of this product")
	}
	return nil
}

func (s *Simulator) checkLegacy(product *string, u *usageRecord) *apiError {
	if product == nil || *product != s.listing.ProductCode {
		return badRequest("InvalidProductCodeException", "the product code is not known")
	}
	for _, a := range s.agreements {
		if u.CustomerIdentifier == a.Customer || u.CustomerAWSAccountID == a.Account {
			u.agreement = a
		}
	}
	if a := u.agreement; a != nil && !a.Legacy {
		return badRequest("InvalidLicenseException", "LicenseArn is required for concurrent agreements")
	}
	return nil
}

func (s *Simulator) checkDimension(u *usageRecord) *apiError {
	known := append([]string{s.listing.Metering.Dimension}, s.meter.faults.Dimensions...)
	if !slices.Contains(known, u.Dimension) {
		return badRequest("InvalidUsageDimensionException", "the product has no dimension %q", u.Dimension)
	}
	return nil
}

// checkTime applies the window: less than 24 hours old, not of the future, and
// of this month, unless the 1st is not six hours old.
func checkTime(now, at time.Time) *apiError {
	now = now.UTC()
	month := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, time.UTC)
	switch {
	case at.After(now):
		return badRequest("TimestampOutOfBoundsException", "the timestamp is in the future")
	case now.Sub(at) >= usageWindow:
		return badRequest("TimestampOutOfBoundsException", "the timestamp is 24 hours or more ago")
	case at.Before(month) && now.Sub(month) >= monthGrace:
		return badRequest("TimestampOutOfBoundsException", "the month of the timestamp is closed")
	}
	return nil
}

// checkActivation: usage is of hours in which the license was active.
func checkActivation(u *usageRecord) *apiError {
	a := u.agreement
	if a == nil || u.LicenseArn == "" || a.ActivatedAt.IsZero() {
		return nil
	}
	early := u.at.Before(a.ActivatedAt.UTC().Truncate(time.Hour))
	if late := !a.EndedAt.IsZero() && u.at.After(a.EndedAt); early || late {
		return badRequest("InvalidLicenseException", "the license was not active then")
	}
	return nil
}

func checkAllocations(u *usageRecord) *apiError {
	var sum int64
	for _, a := range u.UsageAllocations {
		sum += a.AllocatedUsageQuantity
		if len(a.Tags) > maxTags {
			return badRequest("InvalidTagException", "at most %d tags", maxTags)
		}
		for _, t := range a.Tags {
			long := len(t.Key) > maxTagKey || len(t.Value) > maxTagValue
			if long || strings.Trim(t.Key+t.Value, tagCharacters) != "" {
				return badRequest("InvalidTagException", "a tag is too long or has other characters")
			}
		}
	}
	if u.UsageAllocations != nil && sum != u.Quantity {
		return badRequest("InvalidUsageAllocationsException",
			"the allocations do not add up to the quantity")
	}
	return nil
}
