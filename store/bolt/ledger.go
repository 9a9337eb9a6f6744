package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"strconv"
	"strings"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
)

// LedgerHead implements core.LedgerReader.
func (r *reader) LedgerHead(
	_ context.Context, id account.ID, c money.Currency,
) (ledger.Head, error) {
	empty := ledger.Head{Owner: string(id), Currency: c}
	value, err := r.lookup(ledgerHeads, string(id), string(c))
	if err != nil || value == nil {
		return empty, err
	}
	h, err := decodeHead(value)
	if err != nil {
		return empty, errBook(string(id), c, err)
	}
	return h, nil
}

func errBook(owner string, c money.Currency, err error) error {
	return fmt.Errorf("bolt: ledger of %q in %s: %w", owner, c, err)
}

// LedgerHeads implements core.LedgerReader.
func (r *reader) LedgerHeads(_ context.Context, p core.Page) iter.Seq2[ledger.Head, error] {
	if at := strings.LastIndexByte(p.After, '/'); at >= 0 {
		p.After = p.After[:at] + "\x00" + p.After[at+1:]
	}
	return page(r, ledgerHeads, p, ascending, all(decodeHead))
}

// LedgerTransactions implements core.LedgerReader.
func (r *reader) LedgerTransactions(
	_ context.Context, id account.ID, c money.Currency, p core.Page,
) iter.Seq2[ledger.Transaction, error] {
	return func(yield func(ledger.Transaction, error) bool) {
		prefix, after, err := bookPage(id, c, p)
		if r.over {
			err = errOver
		}
		if err != nil {
			yield(ledger.Transaction{}, err)
			return
		}
		left := p.Limit
		for _, value := range r.scan(ledgerTransactions, prefix, after, ascending) {
			t, err := decodeTransaction(value)
			if err != nil {
				yield(ledger.Transaction{}, errBook(string(id), c, err))
				return
			}
			if !yield(t, nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// LedgerBooks implements core.LedgerReader.
func (r *reader) LedgerBooks(_ context.Context, first, last ledger.Key) iter.Seq2[ledger.Transaction, error] {
	return func(yield func(ledger.Transaction, error) bool) {
		if r.over {
			yield(ledger.Transaction{}, errOver)
			return
		}
		for key, value := range r.span(ledgerTransactions, bookPrefix(first), bookPrefix(last)) {
			t, err := decodeTransaction(value)
			if err != nil {
				err = fmt.Errorf("bolt: ledger at %q: %w", key, err)
			}
			if !yield(t, err) || err != nil {
				return
			}
		}
	}
}

// bookPrefix is what the keys of a book begin with.
func bookPrefix(k ledger.Key) []byte { return append(append(prefixOf(k.Owner), k.Currency...), 0) }

// bookPage returns what the keys of a book begin with and where a page begins.
func bookPage(id account.ID, c money.Currency, p core.Page) (prefix, after []byte, err error) {
	prefix = bookPrefix(ledger.Key{Owner: string(id), Currency: c})
	if p.After == "" {
		return prefix, nil, nil
	}
	seq, err := strconv.ParseUint(p.After, 10, 64)
	if err != nil {
		return nil, nil, core.Invalid("invalid_cursor", "%q is not the number of a transaction", p.After)
	}
	return prefix, binary.BigEndian.AppendUint64(bytes.Clone(prefix), seq), nil
}

// AppendLedger implements core.LedgerWriter. The place of what was added in the
// chain decides, not the revision of the head. A stored head's revision is the
// number of its transactions.
func (t *txn) AppendLedger(ctx context.Context, books ...ledger.Book) error {
	for i := range books {
		if err := t.appendBook(ctx, &books[i]); err != nil {
			return err
		}
	}
	return nil
}

func (t *txn) appendBook(ctx context.Context, b *ledger.Book) error {
	h := &b.Head
	before, err := t.LedgerHead(ctx, account.ID(h.Owner), h.Currency)
	if err != nil {
		return err
	}
	key, err := t.key("ledger", h.Owner, string(h.Currency))
	if err != nil {
		return err
	}
	seq, hash := before.Seq, before.Hash
	for i := range b.Added {
		tx := &b.Added[i]
		if tx.Seq != seq+1 || tx.Prev != hash {
			return core.Conflict("stale_head", "the ledger of %q in %s is at %d, not before %d",
				h.Owner, h.Currency, seq, tx.Seq)
		}
		if tx.Owner != h.Owner || tx.Currency != h.Currency {
			return errBookOf(h)
		}
		seq, hash = tx.Seq, tx.Hash
		at := append(append(t.arena.room(), key...), 0)
		at = t.arena.keep(binary.BigEndian.AppendUint64(at, tx.Seq))
		t.own.set(ledgerTransactions, at, t.arena.keep(appendTransaction(t.arena.room(), tx)))
	}
	if len(b.Added) == 0 || seq != h.Seq || hash != h.Hash {
		return errBookOf(h)
	}
	t.own.set(ledgerHeads, key, t.arena.keep(appendHead(t.arena.room(), h)))
	return nil
}

func errBookOf(h *ledger.Head) error {
	return core.Invalid("invalid_transaction",
		"what was added does not lead to head %d of %q in %s", h.Seq, h.Owner, h.Currency)
}

// Purses implements core.LedgerReader.
func (r *reader) Purses(ctx context.Context, keys ...ledger.Key) ([]settlement.Purse, error) {
	purses := make([]settlement.Purse, len(keys))
	for i, k := range keys {
		var err error
		if purses[i].Head, err = r.LedgerHead(ctx, account.ID(k.Owner), k.Currency); err != nil {
			return nil, err
		}
		for f, err := range r.FundsOf(ctx, account.ID(k.Owner)) {
			if err != nil {
				return nil, err
			}
			purses[i].Funds = append(purses[i].Funds, f)
		}
	}
	return purses, nil
}

// Fund implements core.LedgerReader.
func (r *reader) Fund(_ context.Context, id string) (settlement.Fund, error) {
	return find(r, funds, "fund", id, decodeJSON[settlement.Fund])
}

// FundsOf implements core.LedgerReader.
func (r *reader) FundsOf(
	ctx context.Context, id account.ID,
) iter.Seq2[settlement.Fund, error] {
	return members(r, fundsByOwner, string(id), core.Page{}, func(id string) (settlement.Fund, error) {
		return r.Fund(ctx, id)
	})
}

// PutFund implements core.LedgerWriter.
func (t *txn) PutFund(_ context.Context, f settlement.Fund) error {
	before, err := revised(t, funds, "fund", f.ID, f.Rev,
		decodeJSON[settlement.Fund], func(f *settlement.Fund) uint64 { return f.Rev })
	if err != nil {
		return err
	}
	f.Rev++
	return t.storeFund(before, f)
}

// storeFund writes f in place of before, or of nothing.
func (t *txn) storeFund(before *settlement.Fund, f settlement.Fund) error {
	owner := ""
	if before != nil {
		owner = before.Owner
	}
	if err := t.list(fundsByOwner, "owner of a fund", owner, f.Owner, f.ID); err != nil {
		return err
	}
	f.From, f.Until = utc(f.From), utc(f.Until)
	return t.put(funds, "fund", encodeJSON(f), f.ID)
}
