package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"slices"
)

// Hash is the SHA-256 of a transaction and all before it.
type Hash [sha256.Size]byte

// MarshalText writes the hash in hex. It never fails.
func (h Hash) MarshalText() ([]byte, error) { return hex.AppendEncode(nil, h[:]), nil }

// UnmarshalText reads what MarshalText writes.
func (h *Hash) UnmarshalText(text []byte) error {
	b, err := hex.DecodeString(string(text))
	if err != nil || len(b) != len(h) {
		return fmt.Errorf("hash %q: %w", text, ErrBroken)
	}
	copy(h[:], b)
	return nil
}

// digest hashes every field but Hash itself, each with its length, so that no
// two transactions have the same bytes.
func (t *Transaction) digest() Hash {
	b := make([]byte, 0, 256)
	for _, s := range []string{t.Owner, string(t.Currency), string(t.Kind), t.Ref, t.Reason, t.By} {
		b = appendText(b, s)
	}
	b = binary.BigEndian.AppendUint64(b, t.Seq)
	b = binary.BigEndian.AppendUint64(b, uint64(t.At.UnixMicro())) // #nosec -- any 64 bits will do
	b = binary.AppendUvarint(b, uint64(len(t.Postings)))
	for _, p := range t.Postings {
		b = appendText(b, string(p.Account))
		b = binary.BigEndian.AppendUint64(b, uint64(p.Micros)) // #nosec -- likewise
	}
	b = append(b, t.Prev[:]...)
	return sha256.Sum256(b)
}

func appendText(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

// Proof replays a book transaction by transaction. The zero Proof with Owner
// and Currency set begins at the beginning.
type Proof struct{ head Head }

// NewProof begins to replay a book.
func NewProof(empty Head) *Proof { return &Proof{head: empty} }

// Next checks that t follows: its place, its hash, its postings.
func (p *Proof) Next(t Transaction) error {
	again := t
	next, again, err := p.head.Post(again)
	switch {
	case err != nil:
		return fmt.Errorf("transaction %d: %w", t.Seq, err)
	case again.Seq != t.Seq || again.Prev != t.Prev || again.Hash != t.Hash ||
		again.Owner != t.Owner || again.Currency != t.Currency || !slices.Equal(again.Postings, t.Postings):
		return fmt.Errorf("transaction %d: %w", t.Seq, ErrBroken)
	}
	p.head = next
	return nil
}

// Head is the end of what was replayed so far.
func (p *Proof) Head() Head { return p.head }

// End checks that h is the head that the replayed transactions lead to.
func (p *Proof) End(h Head) error {
	if h.Seq != p.head.Seq || h.Hash != p.head.Hash || !slices.Equal(h.Balances, p.head.Balances) {
		return fmt.Errorf("balances are not the sum of %d transactions: %w", p.head.Seq, ErrBroken)
	}
	return nil
}
