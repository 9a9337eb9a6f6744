package pricing_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/usage"
)

func dec(s string) decimal.Decimal { return decimal.MustParse(s) }

func day(t *testing.T, s string) usage.Day {
	t.Helper()
	d, err := usage.ParseDay(s)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// full returns a book with everything that a book can have.
func full() pricing.Book {
	return pricing.Book{
		ID: "pb_1", Name: "public", Zone: "CN", Currency: "CNY", EffectiveFrom: 20089, Version: 3, Scale: 6,
		Items: []pricing.Item{
			{
				Code: "trace", Name: "APM trace", Unit: dec("1000000"), Aggregation: pricing.Sum, Mode: pricing.Flat,
				FreeQuota: dec("0.5"), ExcludeVouchers: true,
				Measures: []pricing.Measure{
					{Code: "trace", Weight: dec("1"), Group: "ids"},
					{Code: "spans", Weight: dec("0.1"), Group: "spans", Event: &pricing.Event{
						Size: "bytes", Free: dec("1"), Per: dec("2"), Round: pricing.Ceil, Min: dec("3"),
					}},
				},
				Prices: []pricing.Price{{Variant: "3d", Price: dec("2")}, {Variant: "7d", Price: dec("0")}},
			},
			{
				Code: "storage", Unit: dec("1000000000"), Aggregation: pricing.Max, Mode: pricing.Graduated,
				Prices: []pricing.Price{{Tiers: []pricing.Tier{
					{UpTo: dec("5000000000"), Price: dec("0.007")}, {Price: dec("0.005")},
				}}},
			},
		},
	}
}

func TestValidateAcceptsAFullBook(t *testing.T) {
	t.Parallel()
	b := full()
	if err := b.Validate(); err != nil {
		t.Errorf("Validate() = %v", err)
	}
}

// TestValidate breaks one thing of a full book at a time.
func TestValidate(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		want  string
		spoil func(b *pricing.Book)
	}{
		{"/name: is missing", func(b *pricing.Book) { b.Name = "" }},
		{"/name: must be at most 200", func(b *pricing.Book) { b.Name = "a\x00" }},
		{"/name: must be at most 200", func(b *pricing.Book) { b.Name = "\xff" }},
		{"/name: must be at most 200", func(b *pricing.Book) { b.Name = strings.Repeat("a", 201) }},
		{"/zone: is missing", func(b *pricing.Book) { b.Zone = "" }},
		{"/zone: must be at most 64", func(b *pricing.Book) { b.Zone = "C N" }},
		{"/currency: must be three", func(b *pricing.Book) { b.Currency = "yuan" }},
		{"/scale: must be from 0 to 6", func(b *pricing.Book) { b.Scale = 7 }},
		{"/scale: must be from 0 to 6", func(b *pricing.Book) { b.Scale = -1 }},
		{"/items: is empty", func(b *pricing.Book) { b.Items = nil }},
		{"/items: more than 1000", func(b *pricing.Book) { b.Items = make([]pricing.Item, 1001) }},
		{"/items/0/item: is missing", func(b *pricing.Book) { b.Items[0].Code = "" }},
		{`/items/1/item: "trace" is there twice`, func(b *pricing.Book) { b.Items[1].Code = "trace" }},
		{`/items/1/item: "spans" is there twice`, func(b *pricing.Book) { b.Items[1].Code = "spans" }},
		{"/items/0/item: must be at most 64", func(b *pricing.Book) { b.Items[0].Code = strings.Repeat("a", 65) }},
		{"/items/0/name: must be", func(b *pricing.Book) { b.Items[0].Name = "\n" }},
		{"/items/0/unit: must be above zero", func(b *pricing.Book) { b.Items[0].Unit = decimal.Zero }},
		{"/items/0/aggregation: must be", func(b *pricing.Book) { b.Items[0].Aggregation = "mean" }},
		{"/items/0/mode: must be", func(b *pricing.Book) { b.Items[0].Mode = "" }},
		{"/items/0/free_quota: must not be negative", func(b *pricing.Book) { b.Items[0].FreeQuota = dec("-1") }},
		{"/items/0/measures/0/measure: is missing", func(b *pricing.Book) { b.Items[0].Measures[0].Code = "" }},
		{"/items/0/measures/0/weight: must be above", func(b *pricing.Book) { b.Items[0].Measures[0].Weight = decimal.Zero }},
		{"/items/0/measures/0/group: must be at most 64", func(b *pricing.Book) { b.Items[0].Measures[0].Group = "a b" }},
		{`/items/0/measures/1/measure: "trace" is there twice`, func(b *pricing.Book) { b.Items[0].Measures[1].Code = "trace" }},
		{"/items/0/measures/1/event/size: is missing", func(b *pricing.Book) { b.Items[0].Measures[1].Event.Size = "" }},
		{"/items/0/measures/1/event/per: must be above", func(b *pricing.Book) { b.Items[0].Measures[1].Event.Per = decimal.Zero }},
		{"/items/0/measures/1/event/free: must not", func(b *pricing.Book) { b.Items[0].Measures[1].Event.Free = dec("-1") }},
		{"/items/0/measures/1/event/min: must not", func(b *pricing.Book) { b.Items[0].Measures[1].Event.Min = dec("-1") }},
		{"/items/0/measures/1/event/round: must be", func(b *pricing.Book) { b.Items[0].Measures[1].Event.Round = "" }},
		{"/items/0/prices: is empty", func(b *pricing.Book) { b.Items[0].Prices = nil }},
		{"/items/0/prices: more than 100", func(b *pricing.Book) { b.Items[0].Prices = make([]pricing.Price, 101) }},
		{"/items/0/prices/1/variant: must be", func(b *pricing.Book) { b.Items[0].Prices[1].Variant = "7 d" }},
		{`/items/0/prices/1/variant: "3d" is there twice`, func(b *pricing.Book) { b.Items[0].Prices[1].Variant = "3d" }},
		{"/items/0/prices/0/price: must not be negative", func(b *pricing.Book) { b.Items[0].Prices[0].Price = dec("-0.1") }},
		{"/items/0/prices/0/tiers: a flat item", func(b *pricing.Book) { b.Items[0].Prices[0].Tiers = make([]pricing.Tier, 1) }},
		{"/items/1/prices/0/tiers: is empty", func(b *pricing.Book) { b.Items[1].Prices[0].Tiers = nil }},
		{"/items/1/prices/0/tiers: more than 100", func(b *pricing.Book) { b.Items[1].Prices[0].Tiers = make([]pricing.Tier, 101) }},
		{"/items/1/prices/0/price: an item with tiers", func(b *pricing.Book) { b.Items[1].Prices[0].Price = dec("1") }},
		{"/items/1/prices/0/tiers/0/up_to: must be above 0", func(b *pricing.Book) { b.Items[1].Prices[0].Tiers[0].UpTo = decimal.Zero }},
		{"/items/1/prices/0/tiers/1/up_to: the last tier", func(b *pricing.Book) { b.Items[1].Prices[0].Tiers[1].UpTo = dec("9") }},
		{"/items/1/prices/0/tiers/1/up_to: must be above 5000000000", func(b *pricing.Book) {
			p := &b.Items[1].Prices[0]
			p.Tiers = append(p.Tiers, p.Tiers[1])
			p.Tiers[1].UpTo = dec("5000000000")
		}},
		{"/items/1/prices/0/tiers/0/price: must not", func(b *pricing.Book) { b.Items[1].Prices[0].Tiers[0].Price = dec("-1") }},
	} {
		b := full()
		c.spoil(&b)
		var problems pricing.Problems
		if err := b.Validate(); !errors.As(err, &problems) || len(problems) != 1 || !strings.HasPrefix(problems[0].Error(), c.want) {
			t.Errorf("Validate() = %v, want %q and nothing else", err, c.want)
		}
	}
}

func TestValidateReportsAllAtOnce(t *testing.T) {
	t.Parallel()
	b := full()
	b.Zone, b.Scale, b.Items[0].Unit, b.Items[1].Mode = "", 9, dec("-1"), "linear"
	var problems pricing.Problems
	if !errors.As(b.Validate(), &problems) {
		t.Fatal("Validate() = nil")
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Path)
	}
	want := []string{"/zone", "/scale", "/items/0/unit", "/items/1/mode"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Validate() paths (-want +got):\n%s", diff)
	}
}

func TestSelect(t *testing.T) {
	t.Parallel()
	book := func(id pricing.BookID, zone string, c money.Currency, from string, version int) pricing.Book {
		return pricing.Book{ID: id, Zone: zone, Currency: c, EffectiveFrom: day(t, from), Version: version}
	}
	books := []pricing.Book{
		book("june", "CN", "CNY", "2026-06-01", 3),
		book("first", "CN", "CNY", "2026-01-01", 1),
		book("corrected", "CN", "CNY", "2026-01-01", 2),
		book("backdated", "CN", "CNY", "2026-03-01", 4), // stored last; June still comes
		book("dollars", "CN", "USD", "2026-06-01", 1),
		book("abroad", "INTL", "CNY", "2026-06-01", 1),
	}
	for _, c := range []struct {
		zone     string
		currency money.Currency
		day      string
		want     pricing.BookID
	}{
		{"CN", "CNY", "2025-12-31", ""},
		{"CN", "CNY", "2026-01-01", "corrected"},
		{"CN", "CNY", "2026-02-28", "corrected"},
		{"CN", "CNY", "2026-03-01", "backdated"},
		{"CN", "CNY", "2026-05-31", "backdated"},
		{"CN", "CNY", "2026-06-01", "june"},
		{"CN", "CNY", "2030-01-01", "june"},
		{"CN", "USD", "2026-06-01", "dollars"},
		{"INTL", "CNY", "2026-06-01", "abroad"},
		{"INTL", "USD", "2026-06-01", ""},
	} {
		got, ok := pricing.Select(books, c.zone, c.currency, day(t, c.day))
		if got.ID != c.want || ok != (c.want != "") {
			t.Errorf("Select(%s, %s, %s) = %q, %v, want %q", c.zone, c.currency, c.day, got.ID, ok, c.want)
		}
	}
}

func TestEventUnits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		event      pricing.Event
		size, want string
	}{
		{pricing.Event{Per: dec("10"), Round: pricing.Floor}, "9.999", "0"},
		{pricing.Event{Per: dec("10"), Round: pricing.Floor}, "10", "1"},
		{pricing.Event{Per: dec("10"), Round: pricing.Ceil}, "10", "1"},
		{pricing.Event{Per: dec("10"), Round: pricing.Ceil}, "10.0000000001", "2"},
		{pricing.Event{Per: dec("10"), Round: pricing.Ceil, Min: dec("1")}, "0", "1"},
		{pricing.Event{Per: dec("10"), Round: pricing.Ceil, Free: dec("10")}, "10", "0"},
		{pricing.Event{Per: dec("0.3"), Round: pricing.Floor, Free: dec("0.05")}, "1", "3"},
		{pricing.Event{Per: dec("1"), Round: pricing.Floor}, "9999999999999999999", "9999999999999999999"},
	} {
		if got, err := c.event.Units(dec(c.size)); err != nil || got.Cmp(dec(c.want)) != 0 {
			t.Errorf("%+v.Units(%s) = %s, %v, want %s", c.event, c.size, got, err, c.want)
		}
	}
	tiny := pricing.Event{Size: "bytes", Per: dec("0.1"), Round: pricing.Floor}
	if got, err := tiny.Units(dec("9999999999999999999")); !errors.Is(err, money.ErrOverflow) {
		t.Errorf("Units of the largest size = %s, %v, want ErrOverflow", got, err)
	}
	if got, err := tiny.Units(dec("-1")); err == nil {
		t.Errorf("Units(-1) = %s, want an error", got)
	}
}

// TestBookJSON: the keys are those of the API, and nothing is lost.
func TestBookJSON(t *testing.T) {
	t.Parallel()
	b := full()
	text, err := json.Marshal(b)
	if err != nil {
		t.Fatal(err)
	}
	var back pricing.Book
	if err := json.Unmarshal(text, &back); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(b, back, cmp.Comparer(decimal.Decimal.Equal)); diff != "" {
		t.Errorf("Unmarshal(Marshal) (-want +got):\n%s", diff)
	}
	want := `{"id":"pb_1","name":"public","zone":"CN","currency":"CNY","effective_from":"2025-01-01","version":3,"scale":6,"items":[{"item":"trace",`
	if !strings.HasPrefix(string(text), want) {
		t.Errorf("Marshal() = %s, want it to begin %s", text, want)
	}
}
