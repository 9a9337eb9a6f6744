package core_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core"
	"cloudsettle/core/pricing"
)

// BenchmarkSmallReports reports an hour of one workspace at a time, as agents in
// workspaces do, many of them at once.
func BenchmarkSmallReports(b *testing.B) {
	const workspaces = 1000
	svc, st, day := benchTill(b, workspaces)
	for range 10 { // of other zones, and from other years
		book := pricing.Book{Name: "other", Zone: "INTL", Currency: "USD", Scale: 6}
		for i := range 2 * benchItems {
			book.Items = append(book.Items, pricing.Item{
				Code: fmt.Sprintf("other-%02d", i), Unit: decimal.MustParse("1000"), Aggregation: pricing.Max, Mode: pricing.Flat,
				Prices: []pricing.Price{{Variant: "3d", Price: decimal.MustParse("0.7")}, {Variant: "7d", Price: decimal.MustParse("0.9")}},
			})
		}
		if _, err := svc.AddPriceBook(b.Context(), core.Request{}, book); err != nil {
			b.Fatal(err)
		}
	}
	var names []string
	err := st.View(b.Context(), func(ctx context.Context, tx core.ReadTx) error {
		for w, err := range tx.Workspaces(ctx, core.Page{}) {
			if err != nil {
				return err
			}
			names = append(names, string(w.ID))
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	from, _ := (day + 1).Bounds(time.UTC)
	var next atomic.Int64
	b.SetParallelism(32)
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			n := int(next.Add(1))
			report := make([]core.UsageSample, benchItems)
			for i := range report {
				report[i] = core.UsageSample{
					Workspace: names[n%workspaces], Item: fmt.Sprintf("item-%02d", i), Variant: "7d",
					Hour: from.Add(time.Duration(n/workspaces%8) * time.Hour), Quantity: decimal.MustNew(int64(n), 0),
				}
			}
			if r, err := svc.ReportUsage(b.Context(), report); err != nil || len(r.Rejected) > 0 {
				b.Error(r, err)
				return
			}
		}
	})
}
