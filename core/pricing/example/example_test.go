package example_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"

	"cloudsettle/core/money"
	"cloudsettle/core/pricing"
	"cloudsettle/core/pricing/example"
)

// The public price list: item, unit, then the prices of the four books, "-"
// where the item is not sold.
const (
	flatBooks  = "CN-CNY INTL-CNY CN-USD INTL-USD"
	flatPrices = `
data_scan 1000000000 0.1 0.2 0.014 0.028
reports 1 1 2 0.14 0.28
forwarding_external 1000000000 0.35 0.7 0.05 0.1
forwarding_storage 1000000000 0.007 0.014 0.001 0.002
network_hosts 1 2 4 0.29 0.6
session_replay 1000 2.5 2.5 0.35 0.35
synthetic_tests 10000 1 10 0.143 1.43
triggers 10000 1 2 0.14 0.3
sms 10 1 - - -
pipeline 1000000000 0.1 0.2 0.014 0.028
`
)

// The same for items priced by retention: item, unit, book, then the prices by
// days of retention.
const (
	retentions   = "3d 7d 14d 30d 60d 180d 360d"
	tieredPrices = `
time_series 1000 CN-CNY 0.6 0.7 0.8 1 - 4 7
time_series 1000 INTL-CNY 1.6 1.8 2.2 2.4 - 8 14
time_series 1000 CN-USD 0.09 0.1 0.12 0.14 - 0.58 1
time_series 1000 INTL-USD 0.23 0.26 0.32 0.35 - 1.2 2
logs 1000000 CN-CNY 1 1.2 1.5 2 2.5 - -
logs 1000000 INTL-CNY 2 2.4 3 4 5 - -
logs 1000000 CN-USD 0.15 0.17 0.22 0.28 0.36 - -
logs 1000000 INTL-USD 0.3 0.4 0.5 0.6 0.8 - -
logs_traffic 1000000000 CN-CNY 0.6 0.85 1 1.2 1.5 - -
logs_traffic 1000000000 INTL-CNY 1.4 2.1 2.8 3.08 3.36 - -
logs_traffic 1000000000 CN-USD 0.1 0.15 0.2 0.22 0.24 - -
logs_traffic 1000000000 INTL-USD 0.2 0.3 0.4 0.44 0.48 - -
trace 1000000 CN-CNY 2 3 6 10.8 19.44 - -
trace 1000000 INTL-CNY 6 10 20 36 64.8 - -
trace 1000000 CN-USD 0.29 0.43 0.86 1.54 2.78 - -
trace 1000000 INTL-USD 0.9 1.4 2.8 5.14 9.26 - -
profile 10000 CN-CNY 0.2 0.3 0.5 - - - -
profile 10000 INTL-CNY 0.4 0.6 1 - - - -
profile 10000 CN-USD 0.03 0.04 0.07 - - - -
profile 10000 INTL-USD 0.06 0.09 0.14 - - - -
pv 10000 CN-CNY 0.7 1 2 3.6 6.48 - -
pv 10000 INTL-CNY 2 3 5 9 16.2 - -
pv 10000 CN-USD 0.1 0.14 0.29 0.51 0.93 - -
pv 10000 INTL-USD 0.29 0.43 0.71 1.29 2.31 - -
`
)

// price is one cell of the price list.
type price struct{ Unit, Price string }

// want reads the tables above: prices by "book item variant".
func want() map[string]price {
	out := map[string]price{}
	for line := range strings.Lines(strings.TrimSpace(flatPrices)) {
		cells := strings.Fields(line)
		for i, book := range strings.Fields(flatBooks) {
			if p := cells[2+i]; p != "-" {
				out[book+" "+cells[0]+" "] = price{cells[1], p}
			}
		}
	}
	for line := range strings.Lines(strings.TrimSpace(tieredPrices)) {
		cells := strings.Fields(line)
		for i, variant := range strings.Fields(retentions) {
			if p := cells[3+i]; p != "-" {
				out[cells[2]+" "+cells[0]+" "+variant] = price{cells[1], p}
			}
		}
	}
	return out
}

func books(t *testing.T) []pricing.Book {
	t.Helper()
	books, err := example.Books()
	if err != nil {
		t.Fatal(err)
	}
	return books
}

// TestPrices: the files hold the price list, all of it and nothing else.
func TestPrices(t *testing.T) {
	t.Parallel()
	got := map[string]price{}
	for _, b := range books(t) {
		for _, it := range b.Items {
			for _, p := range it.Prices {
				key := b.Zone + "-" + string(b.Currency) + " " + it.Code + " " + p.Variant
				got[key] = price{it.Unit.String(), p.Price.String()}
			}
		}
	}
	if diff := cmp.Diff(want(), got); diff != "" {
		t.Errorf("prices differ from the list (-want +got):\n%s", diff)
	}
	if len(got) != 4*(9+6+5+5+5+3+5)+1 {
		t.Errorf("%d prices", len(got))
	}
}

// TestRules: how quantities are made, which is the same in every book.
func TestRules(t *testing.T) {
	t.Parallel()
	daily := "forwarding_storage network_hosts session_replay time_series"
	for _, b := range books(t) {
		for _, it := range b.Items {
			wantAggregation := pricing.Sum
			if strings.Contains(daily, it.Code) {
				wantAggregation = pricing.Max
			}
			if it.Aggregation != wantAggregation || it.Mode != pricing.Flat || it.Name == "" {
				t.Errorf("%s %s: aggregation %s, mode %s", b.Zone, it.Code, it.Aggregation, it.Mode)
			}
			if excluded := it.Code == "sms" || it.Code == "synthetic_tests"; it.ExcludeVouchers != excluded {
				t.Errorf("%s %s: exclude_vouchers = %v", b.Zone, it.Code, it.ExcludeVouchers)
			}
		}
	}
}

// TestEvents: what events count for, by the examples of the price list.
func TestEvents(t *testing.T) {
	t.Parallel()
	events := map[string]*pricing.Event{}
	for _, it := range books(t)[0].Items {
		for _, m := range it.Counted() {
			events[m.Code] = m.Event
		}
	}
	for _, c := range []struct{ measure, size, want string }{
		{"logs", "0", "1"}, {"logs", "10000", "1"}, {"logs", "19999", "1"}, {"logs", "25000", "2"},
		{"logs_external_store", "2000", "1"}, {"logs_external_store", "9000", "4"},
		{"profile", "299999", "1"}, {"profile", "900000", "3"},
		{"session_replay", "239", "1"}, {"session_replay", "480.5", "2"},
		{"trigger_range", "15", "0"}, {"trigger_range", "30", "1"}, {"trigger_range", "60", "3"},
	} {
		got, err := events[c.measure].Units(decimal.MustParse(c.size))
		if err != nil || got.String() != c.want {
			t.Errorf("%s of %s counts for %s, %v, want %s", c.measure, c.size, got, err, c.want)
		}
	}
}

func TestBooks(t *testing.T) {
	t.Parallel()
	for i, key := range strings.Fields(flatBooks) {
		zone, currency, _ := strings.Cut(key, "-")
		b := books(t)[i]
		if b.Zone != zone || b.Currency != money.Currency(currency) || b.Scale != 6 || b.Name != "public" {
			t.Errorf("book %d is %s %s %s with %d decimals, want %s", i, b.Name, b.Zone, b.Currency, b.Scale, key)
		}
	}
	if _, err := example.File("none.yaml"); err == nil {
		t.Error("File(none.yaml) = nil error")
	}
}
