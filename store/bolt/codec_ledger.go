package bolt

import (
	"encoding/binary"

	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/store/internal/packed"
)

// appendHead packs h. Its revision is the number of its transactions.
func appendHead(dst []byte, h *ledger.Head) []byte {
	dst = append(dst, formatPacked1)
	dst = packed.AppendText(dst, h.Owner)
	dst = packed.AppendText(dst, h.Currency)
	dst = binary.AppendUvarint(dst, h.Seq)
	dst = append(dst, h.Hash[:]...)
	dst = binary.AppendUvarint(dst, uint64(len(h.Balances)))
	for _, b := range h.Balances {
		dst = binary.AppendVarint(packed.AppendText(dst, b.Account), int64(b.Micros))
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
		Owner: u.Text(), Currency: money.Currency(u.Text()), Seq: u.Uint(), Hash: u.hash(),
	}
	h.Rev = h.Seq
	h.Balances = list(u, leastDeduction, func(u *unpacker) ledger.Balance {
		return ledger.Balance{Account: ledger.Account(u.Text()), Micros: u.micros()}
	})
	if err := u.Done(); err != nil {
		return ledger.Head{}, err
	}
	return h, nil
}

// appendTransaction packs t.
func appendTransaction(dst []byte, t *ledger.Transaction) []byte {
	dst = append(dst, formatPacked1)
	dst = packed.AppendText(dst, t.Owner)
	dst = packed.AppendText(dst, t.Currency)
	dst = binary.AppendUvarint(dst, t.Seq)
	dst = appendTime(dst, t.At)
	dst = packed.AppendText(dst, t.Kind)
	dst = packed.AppendText(dst, t.Ref)
	dst = packed.AppendText(dst, t.Reason)
	dst = packed.AppendText(dst, t.By)
	dst = binary.AppendUvarint(dst, uint64(len(t.Postings)))
	for _, p := range t.Postings {
		dst = binary.AppendVarint(packed.AppendText(dst, p.Account), int64(p.Micros))
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
		Owner: u.Text(), Currency: money.Currency(u.Text()), Seq: u.Uint(), At: u.time(),
		Kind: ledger.Kind(u.Text()), Ref: u.Text(), Reason: u.Text(), By: u.Text(),
	}
	t.Postings = list(u, leastDeduction, func(u *unpacker) ledger.Posting {
		return ledger.Posting{Account: ledger.Account(u.Text()), Micros: u.micros()}
	})
	t.Prev, t.Hash = u.hash(), u.hash()
	if err := u.Done(); err != nil {
		return ledger.Transaction{}, err
	}
	return t, nil
}

func (u *unpacker) hash() (h ledger.Hash) {
	copy(h[:], u.Bytes(uint64(len(h))))
	return h
}
