package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"

	"cloudsettle/console/api"
	"cloudsettle/console/api/rest"
	"cloudsettle/core/pricing"
)

type priceBookCmds struct {
	Import importPriceBook `cmd:"" help:"Add the price books of a YAML, CSV or JSON file."`
	List   listPriceBooks  `cmd:"" help:"List price books, all versions."`
	Show   showPriceBook   `cmd:"" help:"Show one version of a price book."`
}

func priceBookColumns() []column[rest.PriceBook] {
	return []column[rest.PriceBook]{
		{"ID", func(b rest.PriceBook) string { return b.ID }},
		{"NAME", func(b rest.PriceBook) string { return b.Name }},
		{"ZONE", func(b rest.PriceBook) string { return b.Zone }},
		{"CURRENCY", func(b rest.PriceBook) string { return b.Currency }},
		{"FROM", func(b rest.PriceBook) string { return b.EffectiveFrom }},
		{"VERSION", func(b rest.PriceBook) string { return count(b.Version) }},
		{"ITEMS", func(b rest.PriceBook) string { return count(len(b.Items)) }},
	}
}

type importPriceBook struct {
	File string `arg:"" help:"With a name that ends in .yaml, .yml, .csv or .json." type:"existingfile"`
}

// Run adds the books of a file. All of them are read before the first is sent.
func (i *importPriceBook) Run(ctx context.Context, c *cli) error {
	books, err := i.read()
	if err != nil {
		return fmt.Errorf("%s: %w", i.File, err)
	}
	var added []rest.PriceBook
	for _, body := range books {
		b, err := received[rest.PriceBook](c.api.CreatePriceBook(ctx, nil, body))
		if err != nil {
			return errors.Join(printAll(c, added, priceBookColumns()), err)
		}
		added = append(added, b)
	}
	return printAll(c, added, priceBookColumns())
}

func (i *importPriceBook) read() ([]rest.NewPriceBook, error) {
	f, err := os.Open(i.File)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	switch filepath.Ext(i.File) {
	case ".json":
		d := json.NewDecoder(io.LimitReader(f, pricing.MaxFile))
		d.DisallowUnknownFields()
		var b rest.NewPriceBook
		err := d.Decode(&b)
		return []rest.NewPriceBook{b}, err
	case ".csv":
		books, err := pricing.ParseCSV(f)
		return newPriceBooks(books), err
	}
	text, err := io.ReadAll(io.LimitReader(f, pricing.MaxFile+1))
	if err != nil {
		return nil, err
	}
	books, err := pricing.ParseYAML(text)
	return newPriceBooks(books), err
}

// newPriceBooks writes books as the API takes them.
func newPriceBooks(books []pricing.Book) []rest.NewPriceBook {
	var out []rest.NewPriceBook
	for _, b := range books {
		v := api.EncodePriceBook(b)
		out = append(out, rest.NewPriceBook{
			Name: v.Name, Zone: v.Zone, Currency: v.Currency, EffectiveFrom: v.EffectiveFrom, Scale: &v.Scale, Items: v.Items,
		})
	}
	return out
}

type listPriceBooks struct{ listFlags }

// Run lists price books.
func (l *listPriceBooks) Run(ctx context.Context, c *cli) error {
	items, err := gather[rest.PriceBook](l.Limit, func(p page) (*http.Response, error) {
		return c.api.ListPriceBooks(ctx, &rest.ListPriceBooksParams{Limit: &p.limit, Cursor: p.cursor})
	})
	if err != nil {
		return err
	}
	return printAll(c, items, priceBookColumns())
}

type showPriceBook struct {
	ID string `arg:""`
}

// priceLine is one price or tier of a book.
type priceLine struct{ item, unit, aggregation, mode, variant, upTo, price string }

// Run shows the prices of a book.
func (s *showPriceBook) Run(ctx context.Context, c *cli) error {
	b, err := received[rest.PriceBook](c.api.GetPriceBook(ctx, s.ID))
	if err != nil {
		return err
	}
	if c.output == "json" {
		return printJSON(c.out, b)
	}
	return printAll(c, priceLines(b), []column[priceLine]{
		{"ITEM", func(l priceLine) string { return l.item }},
		{"VARIANT", func(l priceLine) string { return l.variant }},
		{"PRICE", func(l priceLine) string { return l.price }},
		{"UNIT", func(l priceLine) string { return l.unit }},
		{"AGGREGATION", func(l priceLine) string { return l.aggregation }},
		{"MODE", func(l priceLine) string { return l.mode }},
		{"UP TO", func(l priceLine) string { return l.upTo }},
	})
}

func priceLines(b rest.PriceBook) []priceLine {
	var out []priceLine
	for _, it := range b.Items {
		line := priceLine{item: it.Item, unit: it.Unit, aggregation: string(it.Aggregation)}
		if it.Mode != nil {
			line.mode = string(*it.Mode)
		}
		for _, p := range it.Prices {
			line.variant, line.upTo, line.price = text(p.Variant), "", text(p.Price)
			if p.Tiers == nil {
				out = append(out, line)
				continue
			}
			for _, t := range *p.Tiers {
				line.upTo, line.price = text(t.UpTo), t.Price
				out = append(out, line)
			}
		}
	}
	return out
}
