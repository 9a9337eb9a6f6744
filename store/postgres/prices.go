package postgres

import (
	"context"
	"iter"

	"github.com/jackc/pgx/v5"

	"cloudsettle/core"
	"cloudsettle/core/pricing"
)

func scanPriceBook(rows pgx.Rows, b *pricing.Book) error {
	var text []byte
	if err := rows.Scan(&text); err != nil {
		return err
	}
	return decodeJSON(text, b)
}

// PriceBook implements core.PriceReader.
func (r *reader) PriceBook(ctx context.Context, id pricing.BookID) (pricing.Book, error) {
	return one(ctx, r, "price book", scanPriceBook, "select book from price_books where id = $1", string(id))
}

// PriceBooks implements core.PriceReader.
func (r *reader) PriceBooks(ctx context.Context, p core.Page) iter.Seq2[pricing.Book, error] {
	return list(ctx, r, p, listing[pricing.Book]{
		"select book from price_books where id > $1 order by id limit $2",
		byID, scanPriceBook, func(b *pricing.Book) string { return string(b.ID) },
	})
}

// AddPriceBook implements core.PriceWriter.
func (t *txn) AddPriceBook(_ context.Context, b pricing.Book) error {
	if err := checkKey("price book", string(b.ID)); err != nil {
		return err
	}
	text, err := encodeJSON(b)
	if err != nil {
		return err
	}
	return t.write(taken("price book", string(b.ID)), `
		insert into price_books (id, zone, currency, effective_from, version, book) values ($1, $2, $3, $4, $5, $6)`,
		b.ID, clean(b.Zone), b.Currency, int32(b.EffectiveFrom), b.Version, text)
}
