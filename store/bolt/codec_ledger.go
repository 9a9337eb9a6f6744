package bolt

import (
	"encoding/binary"

	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
)

// appendHead packs h. Its revision is the number of its transactions.
func appendHead(dst []byte, h *ledger.Head) []byte {
	dst = append(dst, formatPacked1)
	dst = appendString(dst, h.Owner)
	dst = appendString(dst, h.Currency)
	dst = binary.AppendUvarint(dst, h.Seq)
	dst = append(dst, h.Hash[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(h.Balances)))
	for _, b := range h.Balances {
		dst = binary.AppendVarint(appendString(dst, b.Account), int64(b.Micros))
	}
	return dst
}

// decodeHead reads what appendHead wrote.
func decodeHead(value []byte) (ledger.Head, error) {
	u, err := unpack(value)
	if err != nil {
		return ledger.Head{}, err
	}
	h := ledger.Head{
		Owner: u.string(), Currency: money.Currency(u.string()), Seq: u.uint(), Hash: u.hash(),
	}
	h.Rev = h.Seq
	h.Balances = list(u, leastDeduction, func(u *unpacker) ledger.Balance {
		return ledger.Balance{Account: ledger.Account(u.string()), Micros: u.micros()}
	})
	if err := u.done(); err != nil {
		return ledger.Head{}, err
	}
	return h, nil
}

// appendTransaction packs t.
func appendTransaction(dst []byte, t *ledger.Transaction) []byte {
	dst = append(dst, formatPacked1)
	dst = appendString(dst, t.Owner)
	dst = appendString(dst, t.Currency)
	dst = binary.AppendUvarint(dst, t.Seq)
	dst = appendTime(dst, t.At)
	dst = appendString(dst, t.Kind)
	dst = appendString(dst, t.Ref)
	dst = appendString(dst, t.Reason)
	dst = appendString(dst, t.By)
	dst = binary.AppendUvarint(dst, uint64(len(t.Postings)))
	for _, p := range t.Postings {
		dst = binary.AppendVarint(appendString(dst, p.Account), int64(p.Micros))
	}
	return append(append(dst, t.Prev[:]...), t.Hash[:]...)
}

// decodeTransaction reads what appendTransaction wrote.
func decodeTransaction(value []byte) (ledger.Transaction, error) {
	u, err := unpack(value)
	if err != nil {
		return ledger.Transaction{}, err
	}
	t := ledger.Transaction{
		Owner: u.string(), Currency: money.Currency(u.string()), Seq: u.uint(), At: u.time(),
		Kind: ledger.Kind(u.string()), Ref: u.string(), Reason: u.string(), By: u.string(),
	}
	t.Postings = list(u, leastDeduction, func(u *unpacker) ledger.Posting {
		return ledger.Posting{Account: ledger.Account(u.string()), Micros: u.micros()}
	})
	t.Prev, t.Hash = u.hash(), u.hash()
	if err := u.done(); err != nil {
		return ledger.Transaction{}, err
	}
	return t, nil
}

func (u *unpacker) hash() (h ledger.Hash) {
	if len(u.rest) < len(h) {
		u.fail()
		return h
	}
	copy(h[:], u.rest)
	u.rest = u.rest[len(h):]
	return h
}
