package core

import (
	"context"
	"errors"
	"fmt"
	"sync"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/rating"
	"cloudsettle/core/usage"
)

// maxBooks bounds a scan of all price books; a seller has tens.
const maxBooks = 10_000

// settingNewestBook names the book that was added last: what was read of all
// books holds until that changes.
const settingNewestBook = "newest_price_book"

// AddPriceBook stores a new version of a price book. Errors: ErrInvalid with
// every problem.
func (s *Service) AddPriceBook(ctx context.Context, r Request, b pricing.Book) (pricing.Book, error) {
	if err := invalidBook(b.Validate()); err != nil {
		return pricing.Book{}, err
	}
	b.ID = pricing.BookID(s.NewID("pb"))
	return once(ctx, s, r, loadPriceBook, func(ctx context.Context, tx Tx) (pricing.Book, string, error) {
		b.Version = 1
		for other, err := range tx.PriceBooks(ctx, Page{Limit: maxBooks}) {
			if err != nil {
				return b, "", err
			}
			if other.Zone == b.Zone && other.Currency == b.Currency {
				b.Version = max(b.Version, other.Version+1)
			}
		}
		return b, string(b.ID), first(
			func() error { return tx.AddPriceBook(ctx, b) },
			func() error { return tx.PutSetting(ctx, settingNewestBook, string(b.ID)) },
		)
	})
}

func loadPriceBook(ctx context.Context, tx ReadTx, id string) (pricing.Book, error) {
	b, err := tx.PriceBook(ctx, pricing.BookID(id))
	return orNotFound(b, err, "price book", id)
}

// invalidBook turns the problems of a book into a fault with all of them.
func invalidBook(err error) error {
	if err == nil {
		return nil
	}
	f := &Fault{Err: ErrInvalid, Code: "invalid_price_book", Detail: "the price book has problems"}
	var problems pricing.Problems
	if errors.As(err, &problems) {
		for _, p := range problems {
			f.Fields = append(f.Fields, FieldFault{Field: p.Path, Detail: p.Detail})
		}
	} else {
		f.Detail = err.Error()
	}
	return f
}

// PriceBook returns one version of a price book.
func (s *Service) PriceBook(ctx context.Context, id pricing.BookID) (pricing.Book, error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (pricing.Book, error) {
		return loadPriceBook(ctx, tx, string(id))
	})
}

// PriceBooks lists price books, all versions.
func (s *Service) PriceBooks(ctx context.Context, p Page) (List[pricing.Book], error) {
	return InView(ctx, s.Store, func(ctx context.Context, tx ReadTx) (List[pricing.Book], error) {
		return listed(tx.PriceBooks(ctx, more(p)), p, func(b pricing.Book) string { return string(b.ID) })
	})
}

// tariffs is all price books of a moment, compiled when they are needed.
type tariffs struct {
	books  []pricing.Book
	mu     sync.Mutex
	raters map[pricing.BookID]*rating.Rater
	known  map[string]map[string]bool // zone → measures that samples may be called
}

// priceList keeps tariffs between reports.
type priceList struct {
	mu     sync.Mutex
	newest string // the book added last when they were read
	*tariffs
}

// tariffs returns all price books, compiled once for all who ask.
func (s *Service) tariffs(ctx context.Context, tx ReadTx) (*tariffs, error) {
	return s.prices.read(ctx, tx)
}

// read returns all price books of a snapshot, and those of the last time unless
// one was added since.
func (l *priceList) read(ctx context.Context, tx ReadTx) (*tariffs, error) {
	newest, err := tx.Setting(ctx, settingNewestBook)
	if err != nil && !errors.Is(err, ErrNotFound) {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tariffs != nil && l.newest == newest {
		return l.tariffs, nil
	}
	t, err := loadTariffs(ctx, tx)
	if err == nil {
		l.newest, l.tariffs = newest, t
	}
	return t, err
}

// loadTariffs reads all price books.
func loadTariffs(ctx context.Context, tx ReadTx) (*tariffs, error) {
	books, err := collect(tx.PriceBooks(ctx, Page{Limit: maxBooks}))
	if err != nil {
		return nil, err
	}
	t := &tariffs{books: books, raters: map[pricing.BookID]*rating.Rater{}, known: map[string]map[string]bool{}}
	for i := range books {
		b := &books[i]
		zone := t.known[b.Zone]
		if zone == nil {
			zone = map[string]bool{}
			t.known[b.Zone] = zone
		}
		for j := range b.Items {
			for _, m := range b.Items[j].Counted() {
				zone[m.Code] = true
			}
		}
	}
	return t, nil
}

// rater returns the compiled book that holds in a zone and currency on a day.
func (t *tariffs) rater(zone string, c money.Currency, day usage.Day) (*rating.Rater, bool, error) {
	b, ok := pricing.Select(t.books, zone, c, day)
	if !ok {
		return nil, false, nil
	}
	r, err := t.compiled(b)
	return r, err == nil, err
}

// version returns a certain book compiled, or the one that holds if id is "".
func (t *tariffs) version(zone string, c money.Currency, day usage.Day, id pricing.BookID) (*rating.Rater, bool, error) {
	if id == "" {
		return t.rater(zone, c, day)
	}
	for _, b := range t.books {
		if b.ID == id {
			r, err := t.compiled(b)
			return r, err == nil, err
		}
	}
	return nil, false, nil
}

func (t *tariffs) compiled(b pricing.Book) (*rating.Rater, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if r := t.raters[b.ID]; r != nil {
		return r, nil
	}
	r, err := rating.Compile(b)
	if err != nil {
		return nil, fmt.Errorf("price book %s: %w", b.ID, err)
	}
	t.raters[b.ID] = r
	return r, nil
}
