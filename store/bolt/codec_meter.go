package bolt

import (
	"encoding/binary"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
)

// appendMeterAccount packs a with another revision.
func appendMeterAccount(dst []byte, a *metering.Account, rev uint64) []byte {
	dst = append(dst, formatPacked1)
	dst = binary.AppendUvarint(dst, rev)
	dst = appendString(dst, a.Subscription)
	dst = appendString(dst, a.Currency)
	for _, n := range []int64{int64(a.UnitAmount), int64(a.Charged), a.Accepted, a.InFlight, a.Lost} {
		dst = binary.AppendVarint(dst, n)
	}
	dst = appendString(dst, a.Hold)
	dst = appendTime(dst, a.HeldAt)
	dst = appendString(dst, a.LastAccepted)
	dst = appendTime(dst, a.AcceptedAt)
	return appendTime(dst, a.BilledAt)
}

// decodeMeterAccount reads what appendMeterAccount wrote.
func decodeMeterAccount(value []byte) (metering.Account, error) {
	u, err := unpack(value)
	if err != nil {
		return metering.Account{}, err
	}
	a := metering.Account{
		Rev: u.uint(), Subscription: marketplace.SubscriptionID(u.string()),
		Currency: money.Currency(u.string()), UnitAmount: u.micros(), Charged: u.micros(), Accepted: u.int(), InFlight: u.int(), Lost: u.int(),
		Hold: metering.Hold(u.string()), HeldAt: u.time(), LastAccepted: metering.RecordID(u.string()),
		AcceptedAt: u.time(), BilledAt: u.time(),
	}
	if err := u.done(); err != nil {
		return metering.Account{}, err
	}
	return a, nil
}

// appendMeterRecord packs r with another revision.
func appendMeterRecord(dst []byte, r *metering.Record, rev uint64) []byte {
	dst = append(dst, formatPacked1)
	dst = binary.AppendUvarint(dst, rev)
	dst = appendString(dst, r.ID)
	dst = appendString(dst, r.Listing)
	dst = appendString(dst, r.Subscription)
	dst = appendString(dst, r.Dimension)
	dst = appendTime(dst, r.PeriodStart)
	dst = appendTime(dst, r.PeriodEnd)
	dst = binary.AppendVarint(dst, r.Units)
	dst = binary.AppendVarint(dst, int64(r.UnitAmount))
	dst = appendString(dst, r.Currency)
	dst = appendTime(dst, r.Deadline)
	dst = appendTime(dst, r.SealedAt)
	dst = appendString(dst, r.Status)
	dst = binary.AppendVarint(dst, int64(r.Attempts))
	dst = appendTime(dst, r.RetryAt)
	dst = appendTime(dst, r.SentAt)
	dst = appendBool(dst, r.Doubt)
	dst = appendString(dst, r.ProviderID)
	dst = appendString(dst, r.LastError)
	dst = appendString(dst, r.Subject)
	dst = appendString(dst, r.Account)
	dst = appendBool(dst, r.Resolution.Accepted)
	dst = appendString(dst, r.Resolution.By)
	dst = appendString(dst, r.Resolution.Reason)
	dst = appendTime(dst, r.Resolution.At)
	return appendAttributes(dst, r.Attributes)
}

// decodeMeterRecord reads what appendMeterRecord wrote.
func decodeMeterRecord(value []byte) (metering.Record, error) {
	u, err := unpack(value)
	if err != nil {
		return metering.Record{}, err
	}
	r := metering.Record{
		Rev: u.uint(), ID: metering.RecordID(u.string()), Listing: marketplace.ListingID(u.string()),
		Subscription: marketplace.SubscriptionID(u.string()), Dimension: u.string(),
		PeriodStart: u.time(), PeriodEnd: u.time(), Units: u.int(), UnitAmount: u.micros(),
		Currency: money.Currency(u.string()), Deadline: u.time(), SealedAt: u.time(),
		Status: metering.Status(u.string()), Attempts: int(u.int()), RetryAt: u.time(), SentAt: u.time(),
		Doubt: u.bool(), ProviderID: u.string(), LastError: u.string(), Subject: u.string(), Account: u.string(),
		Resolution: metering.Resolution{Accepted: u.bool(), By: u.string(), Reason: u.string(), At: u.time()},
		Attributes: u.attributes(),
	}
	if err := u.done(); err != nil {
		return metering.Record{}, err
	}
	return r, nil
}
