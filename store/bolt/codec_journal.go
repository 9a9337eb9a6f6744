package bolt

import (
	"encoding/binary"
	"maps"
	"slices"

	"cloudsettle/core"
	"cloudsettle/core/marketplace"
)

// appendEntry packs e. The listing comes first because lists filter by it.
// The body stands at the end, as it arrived; the length of what precedes it
// comes before both.
func appendEntry(dst []byte, e core.JournalEntry) []byte {
	dst = append(dst, formatPacked1, 0, 0, 0, 0)
	from := len(dst)
	dst = appendString(dst, e.Listing)
	dst = appendString(dst, e.ID)
	dst = appendString(dst, e.Kind)
	dst = appendString(dst, e.Action)
	dst = appendString(dst, e.Delivery)
	dst = appendBool(dst, e.Verified)
	dst = appendString(dst, e.Result)
	dst = appendString(dst, e.Reason)
	dst = appendStrings(dst, e.Effects)
	dst = appendString(dst, e.Subscription)
	dst = binary.AppendVarint(dst, int64(e.Attempts))
	dst = appendTime(dst, e.ReceivedAt)
	dst = appendString(dst, e.Method)
	dst = appendString(dst, e.Endpoint)
	dst = appendString(dst, e.RawQuery)
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
	return &unpacker{rest: string(rest[:n])}, rest[n:], nil
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
		Listing:      marketplace.ListingID(u.string()),
		ID:           marketplace.CallbackID(u.string()),
		Kind:         marketplace.Kind(u.string()),
		Action:       u.string(),
		Delivery:     u.string(),
		Verified:     u.bool(),
		Result:       marketplace.Result(u.string()),
		Reason:       u.string(),
		Effects:      u.strings(),
		Subscription: marketplace.SubscriptionID(u.string()),
		Attempts:     int(u.int()),
		ReceivedAt:   u.time(),
		Method:       u.string(),
		Endpoint:     u.string(),
		RawQuery:     u.string(),
		Event:        u.event(),
	}
	if err := u.done(); err != nil {
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
	dst = appendString(dst, ev.Listing)
	dst = appendString(dst, ev.Provider)
	dst = appendString(dst, ev.Kind)
	dst = appendString(dst, ev.Action)
	dst = appendBool(dst, ev.Test)
	dst = appendString(dst, ev.Delivery)
	dst = appendString(dst, ev.Nonce)
	dst = appendString(dst, ev.Subject)
	dst = appendStrings(dst, ev.Also)
	dst = appendString(dst, ev.Proposed)
	dst = appendString(dst, ev.Previous)
	dst = appendStrings(dst, ev.Subjects)
	dst = appendString(dst, ev.Account)
	dst = appendString(dst, ev.AccountName)
	dst = appendString(dst, ev.Key)
	dst = appendString(dst, ev.Rank)
	dst = appendString(dst, ev.SKU)
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
		dst = appendString(dst, name)
		dst = appendString(dst, m[name])
	}
	return dst
}

func (u *unpacker) event() *marketplace.Event {
	if !u.bool() {
		return nil
	}
	return &marketplace.Event{
		Listing:     marketplace.ListingID(u.string()),
		Provider:    marketplace.Provider(u.string()),
		Kind:        marketplace.Kind(u.string()),
		Action:      u.string(),
		Test:        u.bool(),
		Delivery:    u.string(),
		Nonce:       u.string(),
		Subject:     u.string(),
		Also:        u.strings(),
		Proposed:    u.string(),
		Previous:    u.string(),
		Subjects:    u.strings(),
		Account:     u.string(),
		AccountName: u.string(),
		Key:         u.string(),
		Rank:        u.string(),
		SKU:         u.string(),
		Quantity:    u.int(),
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
		name := u.string()
		m[name] = u.string()
	}
	return m
}
