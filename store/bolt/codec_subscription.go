package bolt

import (
	"encoding/binary"
	"slices"

	"cloudsettle/core/marketplace"
	"cloudsettle/store/internal/packed"
)

// The least bytes that list members take: one for each of their fields.
const (
	minFact   = 10
	minDetail = 2
)

// appendSubscription packs s at revision rev. What lists and revisions look
// at comes first: see subscriptionHead.
func appendSubscription(dst []byte, s marketplace.Subscription, rev uint64) []byte {
	dst = append(dst, formatPacked1)
	dst = binary.AppendUvarint(dst, rev)
	dst = packed.AppendText(dst, s.Listing)
	dst = packed.AppendText(dst, s.Account)
	dst = packed.AppendText(dst, s.Subject)
	dst = appendStrings(dst, s.Also)
	dst = packed.AppendText(dst, s.ID)
	dst = packed.AppendText(dst, s.Provider)
	dst = packed.AppendText(dst, s.Previous)
	dst = packed.AppendText(dst, s.Next)
	dst = binary.AppendUvarint(dst, uint64(len(s.Facts)))
	for i := range s.Facts {
		dst = appendFact(dst, &s.Facts[i])
	}
	dst = packed.AppendText(dst, s.Status)
	dst = packed.AppendText(dst, s.SKU)
	dst = binary.AppendVarint(dst, s.Quantity)
	dst = appendBool(dst, s.Trial)
	dst = appendTime(dst, s.ExpiresAt)
	dst = appendBool(dst, s.Replaced)
	dst = appendTime(dst, s.CreatedAt)
	return appendTime(dst, s.LastEventAt)
}

func appendFact(dst []byte, f *marketplace.Fact) []byte {
	dst = packed.AppendText(dst, f.Kind)
	dst = packed.AppendText(dst, f.Key)
	dst = packed.AppendText(dst, f.Rank)
	dst = appendTime(dst, f.SeenAt)
	dst = packed.AppendText(dst, f.Callback)
	dst = appendMaybe(dst, f.Trial)
	dst = packed.AppendText(dst, f.SKU)
	dst = binary.AppendVarint(dst, f.Quantity)
	dst = appendTime(dst, f.ExpiresAt)
	dst = binary.AppendUvarint(dst, uint64(len(f.Details)))
	for _, d := range f.Details {
		dst = packed.AppendText(dst, d.Name)
		dst = packed.AppendText(dst, d.Value)
	}
	return dst
}

// subscriptionHead is the part of a packed subscription that finds it.
type subscriptionHead struct {
	rev     uint64
	listing marketplace.ListingID
	account marketplace.AccountID
	subject string
	also    []string
}

func (u *unpacker) subscriptionHead() subscriptionHead {
	return subscriptionHead{
		rev:     u.Uint(),
		listing: marketplace.ListingID(u.Text()),
		account: marketplace.AccountID(u.Text()),
		subject: u.Text(),
		also:    u.strings(),
	}
}

// names yields every name of the subscription, each once.
func (h *subscriptionHead) names(yield func(string) bool) {
	if h.subject != "" && !yield(h.subject) {
		return
	}
	for i, name := range h.also {
		again := name == h.subject || slices.Contains(h.also[:i], name)
		if name != "" && !again && !yield(name) {
			return
		}
	}
}

// decodeSubscriptionHead reads only the head.
func decodeSubscriptionHead(value []byte) (subscriptionHead, error) {
	u, err := unpack(value)
	if err != nil {
		return subscriptionHead{}, err
	}
	h := u.subscriptionHead()
	if u.Bad() {
		return subscriptionHead{}, errCorrupt
	}
	return h, nil
}

// decodeSubscription reads what appendSubscription wrote.
func decodeSubscription(value []byte) (marketplace.Subscription, error) {
	u, err := unpack(value)
	if err != nil {
		return marketplace.Subscription{}, err
	}
	h := u.subscriptionHead()
	s := marketplace.Subscription{
		Rev: h.rev, Listing: h.listing, Account: h.account, Subject: h.subject, Also: h.also,
	}
	s.ID = marketplace.SubscriptionID(u.Text())
	s.Provider = marketplace.Provider(u.Text())
	s.Previous = marketplace.SubscriptionID(u.Text())
	s.Next = marketplace.SubscriptionID(u.Text())
	s.Facts = u.facts()
	s.Status = marketplace.Status(u.Text())
	s.SKU = u.Text()
	s.Quantity = u.Int()
	s.Trial = u.bool()
	s.ExpiresAt = u.time()
	s.Replaced = u.bool()
	s.CreatedAt = u.time()
	s.LastEventAt = u.time()
	if err := u.Done(); err != nil {
		return marketplace.Subscription{}, err
	}
	return s, nil
}

func (u *unpacker) facts() []marketplace.Fact {
	n := u.listOf(minFact)
	if n == 0 {
		return nil
	}
	facts := make([]marketplace.Fact, n)
	for i := range facts {
		facts[i] = u.fact()
	}
	return facts
}

func (u *unpacker) fact() marketplace.Fact {
	return marketplace.Fact{
		Kind:      marketplace.Kind(u.Text()),
		Key:       u.Text(),
		Rank:      u.Text(),
		SeenAt:    u.time(),
		Callback:  marketplace.CallbackID(u.Text()),
		Trial:     u.maybe(),
		SKU:       u.Text(),
		Quantity:  u.Int(),
		ExpiresAt: u.time(),
		Details:   u.details(),
	}
}

func (u *unpacker) details() []marketplace.Attributed {
	n := u.listOf(minDetail)
	if n == 0 {
		return nil
	}
	list := make([]marketplace.Attributed, n)
	for i := range list {
		list[i] = marketplace.Attributed{Name: u.Text(), Value: u.Text()}
	}
	return list
}

// appendCloudAccount packs a at revision rev.
func appendCloudAccount(dst []byte, a marketplace.Account, rev uint64) []byte {
	dst = append(dst, formatPacked1)
	dst = binary.AppendUvarint(dst, rev)
	dst = packed.AppendText(dst, a.ID)
	dst = packed.AppendText(dst, a.Listing)
	dst = packed.AppendText(dst, a.Provider)
	dst = packed.AppendText(dst, a.ProviderID)
	dst = packed.AppendText(dst, a.Name)
	dst = packed.AppendText(dst, a.BillingAccount)
	dst = binary.AppendUvarint(dst, uint64(len(a.Subscriptions)))
	for _, id := range a.Subscriptions {
		dst = packed.AppendText(dst, id)
	}
	return appendTime(dst, a.CreatedAt)
}

// decodeCloudAccount reads what appendCloudAccount wrote.
func decodeCloudAccount(value []byte) (marketplace.Account, error) {
	u, err := unpack(value)
	if err != nil {
		return marketplace.Account{}, err
	}
	a := marketplace.Account{
		Rev:            u.Uint(),
		ID:             marketplace.AccountID(u.Text()),
		Listing:        marketplace.ListingID(u.Text()),
		Provider:       marketplace.Provider(u.Text()),
		ProviderID:     u.Text(),
		Name:           u.Text(),
		BillingAccount: u.Text(),
	}
	if n := u.count(); n > 0 {
		a.Subscriptions = make([]marketplace.SubscriptionID, n)
	}
	for i := range a.Subscriptions {
		a.Subscriptions[i] = marketplace.SubscriptionID(u.Text())
	}
	a.CreatedAt = u.time()
	if err := u.Done(); err != nil {
		return marketplace.Account{}, err
	}
	return a, nil
}
