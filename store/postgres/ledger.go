package postgres

import (
	"context"
	"iter"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/account"
	"cloudsettle/core/ledger"
	"cloudsettle/core/money"
	"cloudsettle/core/settlement"
)

const headColumns = "h.owner, h.currency, h.seq, h.hash, h.balances"

func scanHead(rows pgx.Rows, h *ledger.Head) error {
	var hash, balances []byte
	if err := rows.Scan(&h.Owner, &h.Currency, &h.Seq, &hash, &balances); err != nil {
		return err
	}
	h.Rev = h.Seq
	copy(h.Hash[:], hash)
	var err error
	h.Balances, err = decodeBalances(balances)
	return err
}

// LedgerHead implements core.LedgerReader.
func (r *reader) LedgerHead(ctx context.Context, id account.ID, c money.Currency) (ledger.Head, error) {
	h, err := one(ctx, r, "ledger", scanHead,
		"select "+headColumns+" from ledger_heads h where h.owner = $1 and h.currency = $2", string(id), string(c))
	if isNotFound(err) {
		return ledger.Head{Owner: string(id), Currency: c}, nil
	}
	return h, err
}

// LedgerHeads implements core.LedgerReader.
func (r *reader) LedgerHeads(ctx context.Context, p core.Page) iter.Seq2[ledger.Head, error] {
	return list(ctx, r, p, listing[ledger.Head]{
		`select ` + headColumns + ` from ledger_heads h where (h.owner, h.currency) > ($1, $2)
		order by h.owner, h.currency limit $3`,
		func(after string) ([]any, error) {
			owner, currency := after, ""
			if at := strings.LastIndexByte(after, '/'); at >= 0 {
				owner, currency = after[:at], after[at+1:]
			}
			return []any{clean(owner), clean(currency)}, nil
		},
		scanHead, func(h *ledger.Head) string { return h.Owner + "/" + string(h.Currency) },
	})
}

const transactionColumns = "owner, currency, seq, at, kind, ref, reason, by_whom, postings, prev, hash"

func scanTransaction(rows pgx.Rows, t *ledger.Transaction) error {
	var postings, prev, hash []byte
	err := rows.Scan(&t.Owner, &t.Currency, &t.Seq, into(&t.At), &t.Kind, &t.Ref, &t.Reason, &t.By, &postings, &prev, &hash)
	if err != nil {
		return err
	}
	copy(t.Prev[:], prev)
	copy(t.Hash[:], hash)
	t.Postings, err = decodePostings(postings)
	return err
}

// LedgerTransactions implements core.LedgerReader.
func (r *reader) LedgerTransactions(
	ctx context.Context, id account.ID, c money.Currency, p core.Page,
) iter.Seq2[ledger.Transaction, error] {
	return list(ctx, r, p, listing[ledger.Transaction]{
		`select ` + transactionColumns + ` from ledger_transactions
		where owner = $1 and currency = $2 and seq > $3 order by seq limit $4`,
		func(after string) ([]any, error) {
			if after == "" {
				after = "0"
			}
			seq, err := strconv.ParseUint(after, 10, 63)
			if err != nil {
				err = core.Invalid("invalid_cursor", "%q is not the number of a transaction", after)
			}
			return []any{clean(string(id)), clean(string(c)), whole(seq)}, err
		},
		scanTransaction, func(t *ledger.Transaction) string { return strconv.FormatUint(t.Seq, 10) },
	})
}

// LedgerBooks implements core.LedgerReader.
func (r *reader) LedgerBooks(ctx context.Context, first, last ledger.Key) iter.Seq2[ledger.Transaction, error] {
	return list(ctx, r, core.Page{}, listing[ledger.Transaction]{
		`select ` + transactionColumns + ` from ledger_transactions
		where (owner, currency, seq) > ($1, $2, $3) and (owner, currency) <= ($4, $5) order by owner, currency, seq limit $6`,
		func(after string) ([]any, error) {
			at := []any{clean(first.Owner), clean(string(first.Currency)), int64(0)}
			if key := strings.Split(after, "\x00"); len(key) == len(at) {
				seq, err := strconv.ParseInt(key[2], 10, 64)
				if err != nil {
					return nil, err
				}
				at = []any{key[0], key[1], seq}
			}
			return append(at, clean(last.Owner), clean(string(last.Currency))), nil
		},
		scanTransaction, func(t *ledger.Transaction) string {
			return t.Owner + "\x00" + string(t.Currency) + "\x00" + strconv.FormatUint(t.Seq, 10)
		},
	})
}

// Purses implements core.LedgerReader.
func (r *reader) Purses(ctx context.Context, keys ...ledger.Key) ([]settlement.Purse, error) {
	owners := make([]string, len(keys))
	for i, k := range keys {
		owners[i] = clean(k.Owner)
	}
	var heads []ledger.Head
	var funds []settlement.Fund
	err := r.ask(ctx, query{`
		select ` + headColumns + ` from ledger_heads h where h.owner = any($1::text[])`,
		[]any{owners}, func(rows pgx.Rows) error { return collect(rows, &heads, scanHead) },
	}, query{`
		select ` + fundColumns + ` from funds where owner = any($1::text[]) and owner <> '' order by id`,
		[]any{owners}, func(rows pgx.Rows) error { return collect(rows, &funds, scanFund) },
	})
	if err != nil {
		return nil, err
	}
	byKey, byOwner := make(map[ledger.Key]ledger.Head, len(heads)), map[string][]settlement.Fund{}
	for _, h := range heads {
		byKey[ledger.Key{Owner: h.Owner, Currency: h.Currency}] = h
	}
	for _, f := range funds {
		byOwner[f.Owner] = append(byOwner[f.Owner], f)
	}
	purses := make([]settlement.Purse, len(keys))
	for i, k := range keys {
		h, ok := byKey[k]
		if !ok {
			h = ledger.Head{Owner: k.Owner, Currency: k.Currency}
		}
		purses[i] = settlement.Purse{Head: h, Funds: append([]settlement.Fund(nil), byOwner[k.Owner]...)}
	}
	return purses, nil
}

// AppendLedger implements core.LedgerWriter. The place of what was added in the
// chain decides, not the revision of the head. A stored head's revision is the
// number of its transactions.
func (t *txn) AppendLedger(_ context.Context, books ...ledger.Book) error {
	if t.over {
		return errOver
	}
	var fresh, known headArrays
	var added transactionArrays
	seen := make(map[ledger.Key]bool, len(books))
	flush := func() error {
		err := t.putHeads(&fresh, &known, &added)
		fresh, known, added = headArrays{}, headArrays{}, transactionArrays{}
		clear(seen)
		return err
	}
	for i := range books {
		b := &books[i]
		if err := checkBook(b); err != nil {
			return err
		}
		k := ledger.Key{Owner: b.Head.Owner, Currency: b.Head.Currency}
		if seen[k] { // one statement changes a row once
			if err := flush(); err != nil {
				return err
			}
		}
		seen[k] = true
		if b.Added[0].Seq == 1 {
			fresh.add(b)
		} else {
			known.add(b)
		}
		for j := range b.Added {
			added.add(&b.Added[j])
		}
	}
	return flush()
}

// checkBook checks that what was added is a chain that leads to the head. That
// it continues what is stored is for the store to see.
func checkBook(b *ledger.Book) error {
	h := &b.Head
	if err := checkKey("ledger", h.Owner, string(h.Currency)); err != nil {
		return err
	}
	for i := range b.Added {
		tx := &b.Added[i]
		switch {
		case i > 0 && (tx.Seq != b.Added[i-1].Seq+1 || tx.Prev != b.Added[i-1].Hash):
			return core.Conflict("stale_head", "transaction %d of %q in %s does not follow", tx.Seq, h.Owner, h.Currency)
		case tx.Owner != h.Owner || tx.Currency != h.Currency:
			return errBookOf(h)
		case !isText(tx.Ref) || !isText(tx.Reason) || !isText(tx.By): // they are hashed as they are
			return core.Invalid("invalid_transaction", "a text of transaction %d holds a NUL or is not UTF-8", tx.Seq)
		}
	}
	if n := len(b.Added); n == 0 || b.Added[n-1].Seq != h.Seq || b.Added[n-1].Hash != h.Hash {
		return errBookOf(h)
	}
	if first := &b.Added[0]; first.Seq == 0 || first.Seq == 1 && first.Prev != (ledger.Hash{}) {
		return core.Conflict("stale_head", "transaction %d of %q in %s follows nothing", first.Seq, h.Owner, h.Currency)
	}
	return nil
}

func errBookOf(h *ledger.Head) error {
	return core.Invalid("invalid_transaction",
		"what was added does not lead to head %d of %q in %s", h.Seq, h.Owner, h.Currency)
}

// headArrays are the columns of the heads of several books, and where they were.
type headArrays struct {
	owners, currencies      []string
	seqs, before            []int64
	hashes, prevs, balances [][]byte
}

func (c *headArrays) add(b *ledger.Book) {
	first := &b.Added[0]
	c.owners, c.currencies = append(c.owners, b.Head.Owner), append(c.currencies, string(b.Head.Currency))
	c.seqs, c.before = append(c.seqs, whole(b.Head.Seq)), append(c.before, whole(first.Seq-1))
	c.hashes, c.prevs = append(c.hashes, append([]byte(nil), b.Head.Hash[:]...)), append(c.prevs, append([]byte(nil), first.Prev[:]...))
	c.balances = append(c.balances, appendBalances(nil, b.Head.Balances))
}

// transactionArrays are the columns of several transactions.
type transactionArrays struct {
	owners, currencies, kinds, refs, reasons, by []string
	seqs                                         []int64
	at                                           []*time.Time
	postings, prevs, hashes                      [][]byte
}

func (c *transactionArrays) add(t *ledger.Transaction) {
	c.owners, c.currencies, c.kinds = append(c.owners, t.Owner), append(c.currencies, string(t.Currency)), append(c.kinds, string(t.Kind))
	c.refs, c.reasons, c.by = append(c.refs, t.Ref), append(c.reasons, t.Reason), append(c.by, t.By)
	c.seqs, c.at = append(c.seqs, whole(t.Seq)), append(c.at, orNull(t.At))
	c.postings = append(c.postings, appendPostings(nil, t.Postings))
	c.prevs, c.hashes = append(c.prevs, append([]byte(nil), t.Prev[:]...)), append(c.hashes, append([]byte(nil), t.Hash[:]...))
}

// putHeads stores heads of books with what was added to them.
func (t *txn) putHeads(fresh, known *headArrays, added *transactionArrays) error {
	staleHead := func() error { return core.Conflict("stale_head", "a ledger is not where it was when it was read") }
	if len(fresh.owners) > 0 {
		err := t.write(staleHead, `
			insert into ledger_heads (owner, currency, seq, hash, balances)
			select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::jsonb[])`,
			fresh.owners, fresh.currencies, fresh.seqs, fresh.hashes, fresh.balances)
		if err != nil {
			return err
		}
	}
	if len(known.owners) > 0 {
		err := t.write(staleHead, `
			with changed as (
				update ledger_heads h set seq = k.seq, hash = k.hash, balances = k.balances
				from unnest($1::text[], $2::text[], $3::bigint[], $4::bytea[], $5::jsonb[], $6::bigint[], $7::bytea[])
					as k (owner, currency, seq, hash, balances, before, prev)
				where h.owner = k.owner collate "C" and h.currency = k.currency collate "C" and h.seq = k.before and h.hash = k.prev
					and h.owner = any($1::text[])
				returning 1
			) select 1 / (count(*) = cardinality($1::text[]))::int from changed`,
			known.owners, known.currencies, known.seqs, known.hashes, known.balances, known.before, known.prevs)
		if err != nil {
			return err
		}
	}
	if len(added.owners) == 0 {
		return nil
	}
	return t.write(staleHead, `
		insert into ledger_transactions (`+transactionColumns+`)
		select * from unnest($1::text[], $2::text[], $3::bigint[], $4::timestamptz[], $5::text[], $6::text[], $7::text[],
			$8::text[], $9::jsonb[], $10::bytea[], $11::bytea[])`,
		added.owners, added.currencies, added.seqs, added.at, added.kinds, added.refs, added.reasons, added.by,
		added.postings, added.prevs, added.hashes)
}

const fundColumns = "id, rev, owner, kind, currency, face, from_at, until_at"

func scanFund(rows pgx.Rows, f *settlement.Fund) error {
	return rows.Scan(&f.ID, &f.Rev, &f.Owner, &f.Kind, &f.Currency, &f.Face, into(&f.From), into(&f.Until))
}

// Fund implements core.LedgerReader.
func (r *reader) Fund(ctx context.Context, id string) (settlement.Fund, error) {
	return one(ctx, r, "fund", scanFund, "select "+fundColumns+" from funds where id = $1", id)
}

// FundsOf implements core.LedgerReader.
func (r *reader) FundsOf(ctx context.Context, id account.ID) iter.Seq2[settlement.Fund, error] {
	return yieldAll(ctx, r, scanFund,
		"select "+fundColumns+" from funds where owner = $1 and owner <> '' order by id", clean(string(id)))
}

// PutFund implements core.LedgerWriter.
func (t *txn) PutFund(_ context.Context, f settlement.Fund) error {
	return t.put("fund", f.ID, f.Rev, `
		insert into funds (id, rev, owner, kind, currency, face, from_at, until_at)
		values ($1, $2::bigint + 1, $3, $4, $5, $6, $7, $8)`, `
		update funds set rev = rev + 1, owner = $3, kind = $4, currency = $5, face = $6, from_at = $7, until_at = $8
		where id = $1 and rev = $2`, []any{
		f.ID, whole(f.Rev), f.Owner, f.Kind, f.Currency, int64(f.Face), orNull(f.From), orNull(f.Until),
	})
}
