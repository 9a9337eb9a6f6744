package bolt

import (
	"encoding/binary"
	"maps"
	"slices"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
	"cloudsettle/store/internal/packed"
)

// appendEntry packs e. The listing comes first because lists filter by it.
// The body stands at the end, as it arrived; the length of what precedes it
// comes before both.
func appendEntry(dst []byte, e core.JournalEntry) []byte {
	dst = append(dst, formatPacked1, 0, 0, 0, 0)
	from := len(dst)
	dst = packed.AppendText(dst, e.Listing)
	dst = packed.AppendText(dst, e.ID)
	dst = packed.AppendText(dst, e.Kind)
	dst = packed.AppendText(dst, e.Action)
	dst = packed.AppendText(dst, e.Delivery)
	dst = appendBool(dst, e.Verified)
	dst = packed.AppendText(dst, e.Result)
	dst = packed.AppendText(dst, e.Reason)
	dst = appendStrings(dst, e.Effects)
	dst = packed.AppendText(dst, e.Subscription)
	dst = binary.AppendVarint(dst, int64(e.Attempts))
	dst = appendTime(dst, e.ReceivedAt)
	dst = packed.AppendText(dst, e.Method)
	dst = packed.AppendText(dst, e.Endpoint)
	dst = packed.AppendText(dst, e.RawQuery)
	dst = appendEvent(dst, e.Event)
	binary.BigEndian.PutUint32(dst[from-entryHead:from], uint32(len(dst)-from))
	return append(dst, e.Body...)
}

// entryHead is how many bytes the length before an entry's fields takes.
const entryHead = 4

// entryParts splits a packed entry into its fields and its body.
func entryParts(value []byte) (u *unpacker, body []byte, err error) {
	if len(value) < 1+entryHead {
		return nil, nil, errCorrupt
	}
	if value[0] != formatPacked1 {
		return nil, nil, errFormat(value[0])
	}
	rest := value[1+entryHead:]
	n := binary.BigEndian.Uint32(value[1:])
	if uint64(n) > uint64(len(rest)) {
		return nil, nil, errCorrupt
	}
	return &unpacker{packed.Read(string(rest[:n]))}, rest[n:], nil
}

// entryIsOf reports whether a packed entry is of listing l, without reading more.
func entryIsOf(l marketplace.ListingID, value []byte) bool {
	if len(value) < 1+entryHead {
		return true // decoding it will tell what is wrong
	}
	n, width := binary.Uvarint(value[1+entryHead:])
	rest := value[min(len(value), 1+entryHead+max(width, 0)):]
	return width <= 0 || n > uint64(len(rest)) || string(rest[:n]) == string(l)
}

// decodeEntry reads what appendEntry wrote.
func decodeEntry(value []byte) (core.JournalEntry, error) {
	u, body, err := entryParts(value)
	if err != nil {
		return core.JournalEntry{}, err
	}
	e := core.JournalEntry{
		Listing:      marketplace.ListingID(u.Text()),
		ID:           marketplace.CallbackID(u.Text()),
		Kind:         marketplace.Kind(u.Text()),
		Action:       u.Text(),
		Delivery:     u.Text(),
		Verified:     u.bool(),
		Result:       marketplace.Result(u.Text()),
		Reason:       u.Text(),
		Effects:      u.strings(),
		Subscription: marketplace.SubscriptionID(u.Text()),
		Attempts:     int(u.Int()),
		ReceivedAt:   u.time(),
		Method:       u.Text(),
		Endpoint:     u.Text(),
		RawQuery:     u.Text(),
		Event:        u.event(),
	}
	if err := u.Done(); err != nil {
		return core.JournalEntry{}, err
	}
	if len(body) > 0 {
		e.Body = slices.Clone(body)
	}
	return e, nil
}

func appendEvent(dst []byte, ev *marketplace.Event) []byte {
	if ev == nil {
		return append(dst, 0)
	}
	dst = append(dst, 1)
	dst = packed.AppendText(dst, ev.Listing)
	dst = packed.AppendText(dst, ev.Provider)
	dst = packed.AppendText(dst, ev.Kind)
	dst = packed.AppendText(dst, ev.Action)
	dst = appendBool(dst, ev.Test)
	dst = packed.AppendText(dst, ev.Delivery)
	dst = packed.AppendText(dst, ev.Nonce)
	dst = packed.AppendText(dst, ev.Subject)
	dst = appendStrings(dst, ev.Also)
	dst = packed.AppendText(dst, ev.Proposed)
	dst = packed.AppendText(dst, ev.Previous)
	dst = appendStrings(dst, ev.Subjects)
	dst = packed.AppendText(dst, ev.Account)
	dst = packed.AppendText(dst, ev.AccountName)
	dst = packed.AppendText(dst, ev.Key)
	dst = packed.AppendText(dst, ev.Rank)
	dst = packed.AppendText(dst, ev.SKU)
	dst = binary.AppendVarint(dst, ev.Quantity)
	dst = appendMaybe(dst, ev.Trial)
	dst = appendTime(dst, ev.ExpiresAt)
	dst = appendAttributes(dst, ev.Attributes)
	return appendBool(dst, ev.Incomplete)
}

// appendAttributes writes a map by name, so that equal maps have equal bytes.
func appendAttributes(dst []byte, m map[string]string) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(m)))
	if len(m) == 0 {
		return dst
	}
	for _, name := range slices.Sorted(maps.Keys(m)) {
		dst = packed.AppendText(dst, name)
		dst = packed.AppendText(dst, m[name])
	}
	return dst
}

func (u *unpacker) event() *marketplace.Event {
	if !u.bool() {
		return nil
	}
	return &marketplace.Event{
		Listing:     marketplace.ListingID(u.Text()),
		Provider:    marketplace.Provider(u.Text()),
		Kind:        marketplace.Kind(u.Text()),
		Action:      u.Text(),
		Test:        u.bool(),
		Delivery:    u.Text(),
		Nonce:       u.Text(),
		Subject:     u.Text(),
		Also:        u.strings(),
		Proposed:    u.Text(),
		Previous:    u.Text(),
		Subjects:    u.strings(),
		Account:     u.Text(),
		AccountName: u.Text(),
		Key:         u.Text(),
		Rank:        u.Text(),
		SKU:         u.Text(),
		Quantity:    u.Int(),
		Trial:       u.maybe(),
		ExpiresAt:   u.time(),
		Attributes:  u.attributes(),
		Incomplete:  u.bool(),
	}
}

func (u *unpacker) attributes() map[string]string {
	n := u.listOf(minDetail)
	if n == 0 {
		return nil
	}
	m := make(map[string]string, n)
	for range n {
		name := u.Text()
		m[name] = u.Text()
	}
	return m
}
