package bolt

import (
	"context"
	"iter"

	"cloudsettle/core"
	"cloudsettle/core/pricing"
)

// PriceBook implements core.PriceReader.
func (r *reader) PriceBook(_ context.Context, id pricing.BookID) (pricing.Book, error) {
	return find(r, priceBooks, "price book", string(id), decodeJSON[pricing.Book])
}

// PriceBooks implements core.PriceReader.
func (r *reader) PriceBooks(_ context.Context, p core.Page) iter.Seq2[pricing.Book, error] {
	return page(r, priceBooks, p, ascending, all(decodeJSON[pricing.Book]))
}

// AddPriceBook implements core.PriceWriter.
func (t *txn) AddPriceBook(_ context.Context, b pricing.Book) error {
	stored, err := t.lookup(priceBooks, string(b.ID))
	if err != nil {
		return err
	}
	if stored != nil {
		return core.Conflict("taken", "price book %q is stored already", b.ID)
	}
	return t.put(priceBooks, "price book", encodeJSON(b), string(b.ID))
}
