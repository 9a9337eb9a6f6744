package api

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/govalues/decimal"

	"cloudsettle/console/api/rest"
	"cloudsettle/core"
	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
)

// ListPriceBooks implements rest.StrictServerInterface.
func (h handlers) ListPriceBooks(
	ctx context.Context, r rest.ListPriceBooksRequestObject,
) (rest.ListPriceBooksResponseObject, error) {
	list, err := h.svc.PriceBooks(ctx, page(r.Params.Limit, r.Params.Cursor))
	return rest.ListPriceBooks200JSONResponse{
		Data: encodeAll(list.Items, EncodePriceBook), NextCursor: list.Next,
	}, err
}

// GetPriceBook implements rest.StrictServerInterface.
func (h handlers) GetPriceBook(
	ctx context.Context, r rest.GetPriceBookRequestObject,
) (rest.GetPriceBookResponseObject, error) {
	b, err := h.svc.PriceBook(ctx, pricing.BookID(r.ID))
	return rest.GetPriceBook200JSONResponse(EncodePriceBook(b)), err
}

// CreatePriceBook implements rest.StrictServerInterface.
func (h handlers) CreatePriceBook(
	ctx context.Context, r rest.CreatePriceBookRequestObject,
) (rest.CreatePriceBookResponseObject, error) {
	b, err := newPriceBook(r)
	if err != nil {
		return nil, err
	}
	b, err = h.svc.AddPriceBook(ctx, requestOf(ctx), b)
	return rest.CreatePriceBook201JSONResponse(EncodePriceBook(b)), err
}

// newPriceBook reads a book as JSON or as a YAML file of one book.
func newPriceBook(r rest.CreatePriceBookRequestObject) (pricing.Book, error) {
	if r.JSONBody != nil {
		d := bookDecoder{fault: &core.Fault{Err: core.ErrInvalid, Code: "invalid_fields", Detail: "some fields are wrong"}}
		b := d.book(*r.JSONBody)
		if len(d.fault.Fields) > 0 {
			return b, d.fault
		}
		return b, nil
	}
	text, err := io.ReadAll(r.Body) // the guard has bounded it
	if err != nil {
		return pricing.Book{}, err
	}
	books, err := pricing.ParseYAML(text)
	if err != nil {
		return pricing.Book{}, core.Invalid("invalid_price_book", "%v", err)
	}
	if len(books) != 1 {
		return pricing.Book{}, core.Invalid("invalid_price_book", "the file has %d books: send them one by one", len(books))
	}
	return books[0], nil
}

// errMissing is the error of a number that must be there.
var errMissing = errors.New("is missing")

// bookDecoder fills in what a book leaves out and notes what cannot be read.
type bookDecoder struct{ fault *core.Fault }

func (d *bookDecoder) wrong(path string, err error) {
	d.fault.Fields = append(d.fault.Fields, core.FieldFault{Field: path, Detail: err.Error()})
}

// decimal reads a number, or returns the default if there is none.
func (d *bookDecoder) decimal(path string, text *string, none decimal.Decimal) decimal.Decimal {
	if text == nil {
		return none
	}
	v, err := money.ParseDecimal(*text)
	if err != nil {
		d.wrong(path, err)
	}
	return v
}

func (d *bookDecoder) book(in rest.NewPriceBook) pricing.Book {
	b := pricing.Book{Name: in.Name, Zone: in.Zone, Currency: money.Currency(in.Currency), Scale: pricing.DefaultScale}
	if in.Scale != nil {
		b.Scale = *in.Scale
	}
	day, err := usage.ParseDay(in.EffectiveFrom)
	if err != nil {
		d.wrong("effective_from", err)
	}
	b.EffectiveFrom = day
	for i, it := range in.Items {
		b.Items = append(b.Items, d.item(fmt.Sprintf("items/%d", i), it))
	}
	return b
}

func (d *bookDecoder) item(path string, in rest.PriceItem) pricing.Item {
	it := pricing.Item{
		Code: in.Item, Name: value(in.Name), Unit: d.decimal(path+"/unit", &in.Unit, decimal.Zero),
		Aggregation: pricing.Aggregation(in.Aggregation), Mode: pricing.Flat,
		FreeQuota:       d.decimal(path+"/free_quota", in.FreeQuota, decimal.Zero),
		ExcludeVouchers: value(in.ExcludeVouchers),
	}
	if in.Mode != nil {
		it.Mode = pricing.Mode(*in.Mode)
	}
	for i, m := range value(in.Measures) {
		it.Measures = append(it.Measures, d.measure(fmt.Sprintf("%s/measures/%d", path, i), m))
	}
	for i, p := range in.Prices {
		it.Prices = append(it.Prices, d.price(fmt.Sprintf("%s/prices/%d", path, i), it.Mode, p))
	}
	return it
}

func (d *bookDecoder) measure(path string, in rest.PriceMeasure) pricing.Measure {
	m := pricing.Measure{Code: in.Measure, Weight: d.decimal(path+"/weight", in.Weight, decimal.One), Group: value(in.Group)}
	if e := in.Event; e != nil {
		m.Event = &pricing.Event{
			Size: e.Size, Per: d.decimal(path+"/event/per", &e.Per, decimal.Zero), Round: pricing.Round(e.Round),
			Free: d.decimal(path+"/event/free", e.Free, decimal.Zero), Min: d.decimal(path+"/event/min", e.Min, decimal.Zero),
		}
	}
	return m
}

func (d *bookDecoder) price(path string, mode pricing.Mode, in rest.Price) pricing.Price {
	p := pricing.Price{Variant: value(in.Variant), Price: d.decimal(path+"/price", in.Price, decimal.Zero)}
	if mode == pricing.Flat && in.Price == nil { // a forgotten price is not a price of nothing
		d.wrong(path+"/price", errMissing)
	}
	for i, t := range value(in.Tiers) {
		at := fmt.Sprintf("%s/tiers/%d", path, i)
		p.Tiers = append(p.Tiers, pricing.Tier{
			UpTo: d.decimal(at+"/up_to", t.UpTo, decimal.Zero), Price: d.decimal(at+"/price", &t.Price, decimal.Zero),
		})
	}
	return p
}

// EncodePriceBook writes a price book as the API shows it.
func EncodePriceBook(b pricing.Book) rest.PriceBook {
	return rest.PriceBook{
		ID: string(b.ID), Name: b.Name, Zone: b.Zone, Currency: string(b.Currency),
		EffectiveFrom: b.EffectiveFrom.String(), Version: b.Version, Scale: b.Scale,
		Items: encodeAll(b.Items, encodePriceItem),
	}
}

func encodePriceItem(it pricing.Item) rest.PriceItem {
	mode := rest.PriceItemMode(it.Mode)
	out := rest.PriceItem{
		Item: it.Code, Name: optional(it.Name), Unit: it.Unit.String(), Mode: &mode,
		Aggregation: rest.PriceItemAggregation(it.Aggregation), FreeQuota: optionalDecimal(it.FreeQuota),
		ExcludeVouchers: optional(it.ExcludeVouchers), Prices: []rest.Price{},
	}
	if len(it.Measures) > 0 {
		measures := encodeAll(it.Measures, encodeMeasure)
		out.Measures = &measures
	}
	for _, p := range it.Prices {
		price := rest.Price{Variant: optional(p.Variant)}
		if it.Mode == pricing.Flat {
			text := p.Price.String()
			price.Price = &text
		} else {
			tiers := encodeAll(p.Tiers, func(t pricing.Tier) rest.PriceTier {
				return rest.PriceTier{UpTo: optionalDecimal(t.UpTo), Price: t.Price.String()}
			})
			price.Tiers = &tiers
		}
		out.Prices = append(out.Prices, price)
	}
	return out
}

func encodeMeasure(m pricing.Measure) rest.PriceMeasure {
	weight := m.Weight.String()
	out := rest.PriceMeasure{Measure: m.Code, Weight: &weight, Group: optional(m.Group)}
	if e := m.Event; e != nil {
		out.Event = &rest.PriceEvent{
			Size: e.Size, Per: e.Per.String(), Round: rest.PriceEventRound(e.Round),
			Free: optionalDecimal(e.Free), Min: optionalDecimal(e.Min),
		}
	}
	return out
}

func optionalDecimal(d decimal.Decimal) *string {
	if d.IsZero() {
		return nil
	}
	text := d.String()
	return &text
}
