package rating_test

import (
	"testing"
	"time"

	"github.com/govalues/decimal"

	"cloudsettle/core/rating"
	"cloudsettle/core/usage"
)

// fifteen are the items of a busy workspace.
var fifteen = [][2]string{
	{"data_scan", ""}, {"forwarding_external", ""}, {"forwarding_storage", ""}, {"logs", "14d"}, {"logs", "7d"},
	{"network_hosts", ""}, {"pipeline", ""}, {"profile", "14d"}, {"pv", "14d"}, {"reports", ""},
	{"session_replay", ""}, {"sms", ""}, {"time_series", "7d"}, {"trace", "14d"}, {"triggers", ""},
}

// dayOf returns the samples of a day of fifteen items, as a store returns them.
func dayOf(hours int) []usage.Sample {
	var out []usage.Sample
	for i, key := range fifteen {
		for h := range hours {
			out = append(out, usage.Sample{
				Workspace: "ws_1", Item: key[0], Variant: key[1], Hour: midnight.Add(time.Duration(h) * time.Hour),
				Quantity: decimal.MustNew(int64(1_234_567*(i+1)+7919*h), h%3),
			})
		}
	}
	return out
}

// BenchmarkRate15Items is one workspace-day: of 24 samples an item, and of one,
// as where samples are added up when they are stored.
func BenchmarkRate15Items(b *testing.B) {
	r := exampleRater(b, "CN", "CNY")
	for _, c := range []struct {
		name  string
		hours int
	}{{"Hourly", 24}, {"Daily", 1}} {
		b.Run(c.name, func(b *testing.B) {
			in := dayOf(c.hours)
			var out rating.Result
			b.ReportAllocs()
			for b.Loop() {
				if err := r.Rate(&out, in); err != nil || len(out.Lines) != len(fifteen) {
					b.Fatalf("Rate() = %d lines, %v", len(out.Lines), err)
				}
			}
		})
	}
}

// TestRateAllocatesNothing once its result is large enough.
func TestRateAllocatesNothing(t *testing.T) {
	r := exampleRater(t, "CN", "CNY")
	in := dayOf(24)
	var out rating.Result
	if n := testing.AllocsPerRun(10, func() {
		if err := r.Rate(&out, in); err != nil {
			t.Error(err)
		}
	}); n != 0 {
		t.Errorf("Rate() allocates %v times", n)
	}
}
