package pricing_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/govalues/decimal"

	"cloudsettle/core/pricing"
	"cloudsettle/core/pricing/example"
)

// fullYAML says the same as full, but for what a store adds.
const fullYAML = `
name: public
zone: CN
currency: CNY
effective_from: 2025-01-01
items:
  - item: trace
    name: APM trace
    unit: 1000000
    aggregation: sum
    free_quota: 0.5
    exclude_vouchers: true
    measures:
      - {measure: trace, group: ids}
      - measure: spans
        weight: 0.1
        group: spans
        event: {size: bytes, free: 1, per: 2, round: ceil, min: 3}
    prices:
      - {variant: 3d, price: "2"}
      - {variant: 7d, price: 0}
  - item: storage
    unit: 1000000000
    aggregation: max
    mode: graduated
    prices:
      - tiers:
          - {up_to: 5000000000, price: 0.007}
          - {price: 0.005}
`

func TestParseYAML(t *testing.T) {
	t.Parallel()
	got, err := pricing.ParseYAML([]byte(fullYAML))
	if err != nil {
		t.Fatal(err)
	}
	want := full()
	want.ID, want.Version = "", 0
	if diff := cmp.Diff([]pricing.Book{want}, got, cmp.Comparer(decimal.Decimal.Equal)); diff != "" {
		t.Errorf("ParseYAML() (-want +got):\n%s", diff)
	}
}

// TestParseYAMLReadsTheAPI: a body of the API is a file.
func TestParseYAMLReadsTheAPI(t *testing.T) {
	t.Parallel()
	const body = `{"name":"public","zone":"CN","currency":"CNY","effective_from":"2026-01-01","scale":6,"items":[
		{"item":"logs","unit":"1000000","aggregation":"sum","prices":[{"variant":"14d","price":"1.5"}]},
		{"item":"time_series","unit":"1000","aggregation":"max","prices":[{"variant":"7d","price":"0.7"}]}]}`
	books, err := pricing.ParseYAML([]byte(strings.ReplaceAll(body, "\t", " ")))
	if err != nil || len(books) != 1 || len(books[0].Items) != 2 {
		t.Fatalf("ParseYAML() = %+v, %v", books, err)
	}
	if p := books[0].Items[1].Prices[0]; p.Variant != "7d" || p.Price.String() != "0.7" {
		t.Errorf("price = %+v", p)
	}
}

func TestParseYAMLOfSeveralBooks(t *testing.T) {
	t.Parallel()
	second := strings.Replace(fullYAML, "zone: CN", "zone: INTL", 1)
	books, err := pricing.ParseYAML([]byte(fullYAML + "---" + second))
	if err != nil || len(books) != 2 || books[0].Zone != "CN" || books[1].Zone != "INTL" {
		t.Fatalf("ParseYAML() = %+v, %v", books, err)
	}
}

// TestParseYAMLReportsAllAtOnce, each by its line and once.
func TestParseYAMLReportsAllAtOnce(t *testing.T) {
	t.Parallel()
	const file = `name: public
zone: ~
currency: yuan
effective_from: 2025-02-30
scale: six
colour: red
zone: CN
items:
  - item: trace
    unit: 1e6
    aggregation: mean
    exclude_vouchers: yes
    measures: none
    prices:
      - {variant: 3d}
      - {variant: 7d, price: 1.00000000000000000001}
      - {variant: 7d, price: 1}
  - item: storage
    unit: 0
    aggregation: max
    mode: graduated
    prices:
      - variant: [a]
        tiers:
          - {up_to: 5, price: 1}
          - {up_to: 5, price: 1}
          - {price: *x}
`
	anchored := strings.Replace(file, "name: public", "name: &x public", 1)
	_, err := pricing.ParseYAML([]byte(anchored))
	want := strings.TrimSpace(`
line 2: /zone: has no value
line 3: /currency: must be three capital letters such as CNY
line 4: /effective_from: day "2025-02-30" is not a date such as 2026-11-20
line 5: /scale: must be a whole number
line 6: unknown key "colour"
line 7: /zone: is there twice
line 10: /items/0/unit: number "1e6": not a decimal number
line 11: /items/0/aggregation: must be sum, max or last
line 12: /items/0/exclude_vouchers: must be true or false
line 13: /items/0/measures: must be a list
line 15: /items/0/prices/0/price: is missing
line 16: /items/0/prices/1/price: number "1.00000000000000000001": more decimals than can be kept
line 17: /items/0/prices/2/variant: "7d" is there twice
line 19: /items/1/unit: must be above zero
line 23: /items/1/prices/0/variant: must be a plain value
line 26: /items/1/prices/0/tiers/1/up_to: must be above 5
line 27: /items/1/prices/0/tiers/2/price: must be a plain value`)
	checkProblems(t, err, want)
}

func checkProblems(t *testing.T, err error, want string) {
	t.Helper()
	var problems pricing.Problems
	if !errors.As(err, &problems) {
		t.Fatalf("error = %v, want Problems", err)
	}
	var got []string
	for _, p := range problems {
		got = append(got, p.Error())
	}
	if diff := cmp.Diff(strings.Split(want, "\n"), got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestParseYAMLRefuses(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ in, want string }{
		"Empty":     {"", "line 1: there is no book in it"},
		"Comment":   {"# nothing\n", "line 1: there is no book in it"},
		"Scalar":    {"hello", "line 1: must be a mapping of keys to values"},
		"NotYAML":   {"name: a\n\tzone: b", "line 2: line 2: found a tab character that violates indentation"},
		"NotText":   {"\xff\xfe\xfd", "yaml"},
		"TooLong":   {strings.Repeat(" ", pricing.MaxFile+1), "longer than 4194304 bytes"},
		"ManyItems": {"items: [" + strings.Repeat("{},", 1001) + "]", "/items: more than 1000"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			books, err := pricing.ParseYAML([]byte(c.in))
			var problems pricing.Problems
			if books != nil || !errors.As(err, &problems) {
				t.Fatalf("ParseYAML() = %v, %v, want Problems", books, err)
			}
			if name != "NotText" && !strings.Contains(err.Error(), c.want) {
				t.Errorf("ParseYAML() = %v, want %q", err, c.want)
			}
		})
	}
}

// tablesCSV is a book as a spreadsheet exports it: with a mark at its
// beginning, carriage returns, and quotes.
const tablesCSV = "\ufeffname,zone,currency,effective_from,scale,item,item_name,unit,aggregation,mode,variant,up_to,price,exclude_vouchers,free_quota\r\n" +
	"public,CN,CNY,2026-01-01,4,logs,\"Logs, all\",1000000,sum,,7d,,1.2,,10\r\n" +
	",,,,,,,,,,14d,,1.5,,\r\n" +
	",,,,,sms,,10,sum,flat,,,1,true,\r\n" +
	",,,,,storage,,1000000000,max,graduated,180d,5000000000,0.007,,\r\n" +
	",,,,,storage,,1000000000,max,graduated,180d,,0.005,,\r\n" +
	",,,,,,,,,,360d,,0.004,,\r\n" +
	",INTL,,,,sms,,10,sum,,,,2,,\r\n"

func TestParseCSV(t *testing.T) {
	t.Parallel()
	got, err := pricing.ParseCSV(strings.NewReader(tablesCSV))
	if err != nil {
		t.Fatal(err)
	}
	from := day(t, "2026-01-01")
	want := []pricing.Book{
		{Name: "public", Zone: "CN", Currency: "CNY", EffectiveFrom: from, Scale: 4, Items: []pricing.Item{
			{
				Code: "logs", Name: "Logs, all", Unit: dec("1000000"), Aggregation: pricing.Sum, Mode: pricing.Flat,
				FreeQuota: dec("10"),
				Prices:    []pricing.Price{{Variant: "7d", Price: dec("1.2")}, {Variant: "14d", Price: dec("1.5")}},
			},
			{
				Code: "sms", Unit: dec("10"), Aggregation: pricing.Sum, Mode: pricing.Flat, ExcludeVouchers: true,
				Prices: []pricing.Price{{Price: dec("1")}},
			},
			{
				Code: "storage", Unit: dec("1000000000"), Aggregation: pricing.Max, Mode: pricing.Graduated,
				Prices: []pricing.Price{
					{Variant: "180d", Tiers: []pricing.Tier{{UpTo: dec("5000000000"), Price: dec("0.007")}, {Price: dec("0.005")}}},
					{Variant: "360d", Tiers: []pricing.Tier{{Price: dec("0.004")}}},
				},
			},
		}},
		{Name: "public", Zone: "INTL", Currency: "CNY", EffectiveFrom: from, Scale: 4, Items: []pricing.Item{
			{
				Code: "sms", Unit: dec("10"), Aggregation: pricing.Sum, Mode: pricing.Flat,
				Prices: []pricing.Price{{Price: dec("2")}},
			},
		}},
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(decimal.Decimal.Equal)); diff != "" {
		t.Errorf("ParseCSV() (-want +got):\n%s", diff)
	}
}

func TestParseCSVReportsAllAtOnce(t *testing.T) {
	t.Parallel()
	const file = `name,zone,currency,effective_from,item,unit,aggregation,mode,variant,up_to,price
public,CN,yuan,2026-01-01,logs,1e6,sum,,7d,,1.2
public,CN,,,logs,,,,7d,,-1
,,,,,,mean,,14d,5,1
a,b
,,,,sms,,last,,,,
,,,,storage,1,max,volume,,7,1
,,,,,,,,,7,
,,,,,,,,,,one
`
	_, err := pricing.ParseCSV(strings.NewReader(file))
	checkProblems(t, err, strings.TrimSpace(`
line 2: /items/0/unit: number "1e6": not a decimal number
line 2: /currency: must be three capital letters such as CNY
line 3: /items/0/prices/1/variant: "7d" is there twice
line 3: /items/0/prices/1/price: must not be negative
line 4: /items/0: aggregation is not as in line 2
line 4: /items/0/prices/2/up_to: a flat item has no tiers
line 5: has not as many cells as there are columns
line 6: /items/1/unit: is missing
line 6: /items/1/prices/0/price: is missing
line 8: /items/2/prices/0/tiers/1/price: is missing
line 8: /items/2/prices/0/tiers/1/up_to: must be above 7
line 9: /items/2/prices/0/tiers/2/price: number "one": not a decimal number`))
}

func TestParseCSVRefuses(t *testing.T) {
	t.Parallel()
	const header = "name,zone,currency,effective_from,item,unit,aggregation,price\n"
	for name, c := range map[string]struct{ in, want string }{
		"Empty":         {"", "line 1: there is no header"},
		"OnlyHeader":    {header, "line 1: there is no book in it"},
		"UnknownColumn": {"colour," + header, `line 1: unknown column "colour"`},
		"ColumnTwice":   {"name," + header, `line 1: column "name" is there twice`},
		"MissingColumn": {"name\n", "line 1: column zone is missing"},
		"Quotes":        {header + `a"b` + "\n", `line 2: bare " in non-quoted-field`},
		"TooLong":       {strings.Repeat("a", pricing.MaxFile+1), "longer than"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			books, err := pricing.ParseCSV(strings.NewReader(c.in))
			var problems pricing.Problems
			if books != nil || !errors.As(err, &problems) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("ParseCSV() = %v, %v, want %q", books, err, c.want)
			}
		})
	}
	if _, err := pricing.ParseCSV(brokenReader{}); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("ParseCSV of a broken reader = %v, want its error", err)
	}
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

// checkParsed: what was read is valid, and nothing is half read.
func checkParsed(t *testing.T, books []pricing.Book, err error) {
	if (err == nil) == (len(books) == 0) {
		t.Fatalf("%d books beside the error %v", len(books), err)
	}
	for i := range books {
		if err := books[i].Validate(); err != nil {
			t.Errorf("a book that was read is not valid: %v", err)
		}
	}
}

func FuzzParseYAML(f *testing.F) {
	f.Add([]byte(fullYAML))
	for _, name := range example.Names() {
		data, err := example.File(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte("a: &a [*a]\n--- {<<: *a}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		books, err := pricing.ParseYAML(data)
		checkParsed(t, books, err)
	})
}

func FuzzParseCSV(f *testing.F) {
	f.Add(tablesCSV)
	f.Add("name,zone,currency,effective_from,item,unit,aggregation,price\n,,,,,,,\n")
	f.Fuzz(func(t *testing.T, data string) {
		books, err := pricing.ParseCSV(strings.NewReader(data))
		checkParsed(t, books, err)
	})
}
