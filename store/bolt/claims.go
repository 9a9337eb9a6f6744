package bolt

import (
	"context"

	"cloudsettle/core"
	"cloudsettle/store/internal/packed"
)

// appendClaim packs c.
func appendClaim(dst []byte, c core.Claim) []byte {
	dst = append(dst, formatPacked1)
	dst = packed.AppendText(dst, c.Digest)
	dst = packed.AppendText(dst, c.Result)
	return appendTime(dst, c.At)
}

// decodeClaim reads what appendClaim wrote.
func decodeClaim(value []byte) (core.Claim, error) {
	u, err := unpack(value)
	if err != nil {
		return core.Claim{}, err
	}
	c := core.Claim{Digest: u.Text(), Result: u.Text(), At: u.time()}
	if err := u.Done(); err != nil {
		return core.Claim{}, err
	}
	return c, nil
}

// Claim implements core.Claimer. There is one writer, so looking first is the
// same as inserting first.
func (t *txn) Claim(
	_ context.Context, scope, key string, c core.Claim,
) (prior core.Claim, fresh bool, err error) {
	value, err := t.lookup(claims, scope, key)
	if err != nil {
		return core.Claim{}, false, err
	}
	if value != nil {
		prior, err = decodeClaim(value)
		return prior, false, err
	}
	err = t.put(claims, "claim", func(dst []byte) ([]byte, error) {
		return appendClaim(dst, c), nil
	}, scope, key)
	return core.Claim{}, err == nil, err
}

// DropClaims implements core.Claimer.
func (t *txn) DropClaims(_ context.Context, scope, before string, limit int) (int, error) {
	if t.over {
		return 0, errOver
	}
	prefix := prefixOf(scope)
	end := string(prefix) + before
	dropped := 0
	for key := range t.scan(claims, prefix, nil, ascending) {
		if dropped >= limit || string(key) >= end {
			break
		}
		t.own.set(claims, t.arena.keep(append(t.arena.room(), key...)), nil)
		dropped++
	}
	return dropped, nil
}
