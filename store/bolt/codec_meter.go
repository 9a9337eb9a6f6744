package bolt

import (
	"encoding/binary"

	"cloudsettle/core/marketplace"
	"cloudsettle/core/metering"
	"cloudsettle/core/money"
	"cloudsettle/store/internal/packed"
)

// appendMeterAccount packs a with another revision.
func appendMeterAccount(dst []byte, a *metering.Account, rev uint64) []byte {
	dst = append(dst, formatPacked1)
	dst = binary.AppendUvarint(dst, rev)
	dst = packed.AppendText(dst, a.Subscription)
	dst = packed.AppendText(dst, a.Currency)
	for _, n := range []int64{int64(a.UnitAmount), int64(a.Charged), a.Accepted, a.InFlight, a.Lost} {
		dst = binary.AppendVarint(dst, n)
	}
	dst = packed.AppendText(dst, a.Hold)
	dst = appendTime(dst, a.HeldAt)
	dst = packed.AppendText(dst, a.LastAccepted)
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
		Rev: u.Uint(), Subscription: marketplace.SubscriptionID(u.Text()),
		Currency: money.Currency(u.Text()), UnitAmount: u.micros(), Charged: u.micros(), Accepted: u.Int(), InFlight: u.Int(), Lost: u.Int(),
		Hold: metering.Hold(u.Text()), HeldAt: u.time(), LastAccepted: metering.RecordID(u.Text()),
		AcceptedAt: u.time(), BilledAt: u.time(),
	}
	if err := u.Done(); err != nil {
		return metering.Account{}, err
	}
	return a, nil
}

// appendMeterRecord packs r with another revision.
func appendMeterRecord(dst []byte, r *metering.Record, rev uint64) []byte {
	dst = append(dst, formatPacked1)
	dst = binary.AppendUvarint(dst, rev)
	dst = packed.AppendText(dst, r.ID)
	dst = packed.AppendText(dst, r.Listing)
	dst = packed.AppendText(dst, r.Subscription)
	dst = packed.AppendText(dst, r.Dimension)
	dst = appendTime(dst, r.PeriodStart)
	dst = appendTime(dst, r.PeriodEnd)
	dst = binary.AppendVarint(dst, r.Units)
	dst = binary.AppendVarint(dst, int64(r.UnitAmount))
	dst = packed.AppendText(dst, r.Currency)
	dst = appendTime(dst, r.Deadline)
	dst = appendTime(dst, r.SealedAt)
	dst = packed.AppendText(dst, r.Status)
	dst = binary.AppendVarint(dst, int64(r.Attempts))
	dst = appendTime(dst, r.RetryAt)
	dst = appendTime(dst, r.SentAt)
	dst = appendBool(dst, r.Doubt)
	dst = packed.AppendText(dst, r.ProviderID)
	dst = packed.AppendText(dst, r.LastError)
	dst = packed.AppendText(dst, r.Subject)
	dst = packed.AppendText(dst, r.Account)
	dst = appendBool(dst, r.Resolution.Accepted)
	dst = packed.AppendText(dst, r.Resolution.By)
	dst = packed.AppendText(dst, r.Resolution.Reason)
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
		Rev: u.Uint(), ID: metering.RecordID(u.Text()), Listing: marketplace.ListingID(u.Text()),
		Subscription: marketplace.SubscriptionID(u.Text()), Dimension: u.Text(),
		PeriodStart: u.time(), PeriodEnd: u.time(), Units: u.Int(), UnitAmount: u.micros(),
		Currency: money.Currency(u.Text()), Deadline: u.time(), SealedAt: u.time(),
		Status: metering.Status(u.Text()), Attempts: int(u.Int()), RetryAt: u.time(), SentAt: u.time(),
		Doubt: u.bool(), ProviderID: u.Text(), LastError: u.Text(), Subject: u.Text(), Account: u.Text(),
		Resolution: metering.Resolution{Accepted: u.bool(), By: u.Text(), Reason: u.Text(), At: u.time()},
		Attributes: u.attributes(),
	}
	if err := u.Done(); err != nil {
		return metering.Record{}, err
	}
	return r, nil
}
